//! Reads the schema of a runtime without a version: the client runs the program for it, once in a session.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use openai_codex_protocol::table::CLIENT_REQUESTS;
use serde_json::Value;
use tokio::sync::{OnceCell, oneshot};

use crate::background::{Boxed, thread};
use crate::process::launch::Launch;
use crate::process::reap::is_reaped_elsewhere;

/// How long the program may take to print its schema.
const LIMIT: Duration = Duration::from_secs(30);

/// The fields of each parameter type that differs between runtimes.
type Fields = Vec<(&'static str, Vec<String>)>;

/// Reads which fields a runtime without a version supports.
#[derive(Debug, Default)]
pub(crate) struct SchemaProbe {
    /// How the runtime was started. `None` if this crate did not start it.
    pub(crate) launch: Option<Launch>,
    fields: OnceCell<Result<Fields, String>>,
}

impl SchemaProbe {
    pub(crate) fn new(launch: Launch) -> Self {
        Self { launch: Some(launch), fields: OnceCell::new() }
    }

    /// Whether the parameter type has the field. `None` if the command line is the program's own, and the client cannot run it
    /// for its schema. The error is why reading the schema failed.
    pub(crate) fn has_field<'a>(
        &'a self,
        params: &'a str,
        field: &'a str,
    ) -> Boxed<'a, Option<Result<bool, String>>> {
        Box::pin(async move {
            let launch = self.launch.as_ref().filter(|launch| launch.is_standard())?;
            let fields = match self.fields.get_or_init(|| probe(launch.clone())).await {
                Ok(fields) => {
                    let known = fields.iter().find(|(name, _)| *name == params);
                    known.ok_or_else(|| format!("its schema does not have {params}"))
                }
                Err(why) => Err(why.clone()),
            };
            Some(fields.map(|(_, fields)| fields.iter().any(|name| name == field)))
        })
    }
}

/// Reads the schema on its own thread, because the caller may be on any executor.
async fn probe(launch: Launch) -> Result<Fields, String> {
    let (schema, read) = oneshot::channel();
    let reading = thread(
        "codex-schema",
        Box::new(move || {
            // The caller may have been dropped.
            let _ = schema.send(read_schema(&launch));
        }),
    );
    reading.map_err(|error| error.to_string())?;
    read.await.unwrap_or_else(|_| Err("the thread that reads its schema ended unexpectedly".into()))
}

fn read_schema(launch: &Launch) -> Result<Fields, String> {
    let folder = Folder::new().map_err(|error| format!("cannot create a folder for its schema: {error}"))?;
    let mut child = launch
        .schema_command(&folder.0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("it cannot be started to print its schema: {error}"))?;
    let started = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            // The written files then show whether it did its work.
            Err(error) if is_reaped_elsewhere(&error) => break None,
            Ok(None) if started.elapsed() < LIMIT => std::thread::sleep(Duration::from_millis(10)),
            outcome => {
                // It may have ended already.
                let _ = child.kill();
                let _ = child.wait();
                return Err(match outcome {
                    Err(error) => format!("printing its schema: {error}"),
                    Ok(_) => format!("it has not printed its schema within {LIMIT:?}"),
                });
            }
        }
    };
    if let Some(status) = status.filter(|status| !status.success()) {
        return Err(format!("it does not print its schema ({status})"));
    }
    let mut fields = Fields::new();
    let limited = CLIENT_REQUESTS.iter().filter(|request| !request.fields.is_empty());
    for params in limited.filter_map(|request| request.params) {
        let Ok(text) = std::fs::read_to_string(folder.0.join("v2").join(format!("{params}.json"))) else {
            continue;
        };
        let schema: Value =
            serde_json::from_str(&text).map_err(|error| format!("its schema of {params}: {error}"))?;
        let mut known = Vec::new();
        let mut add = |object: &Value| {
            for (field, _) in object["properties"].as_object().into_iter().flatten() {
                known.push(field.clone());
            }
        };
        add(&schema);
        // Some parameter types are one of several objects.
        for object in schema["oneOf"].as_array().map(Vec::as_slice).unwrap_or_default() {
            add(object);
        }
        fields.push((params, known));
    }
    Ok(fields)
}

/// A new folder. Dropping it removes the folder.
struct Folder(PathBuf);

impl Folder {
    fn new() -> std::io::Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let folder = std::env::temp_dir().join(format!("codex-schema-{}-{now}", std::process::id()));
        std::fs::create_dir(&folder).map(|()| Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let folder: &Path = &self.0;
        let _ = std::fs::remove_dir_all(folder);
    }
}

//! Writes all messages of a client to a file, for bug reports.
//!
//! Each line is a message: `{"ms": 12, "sent": {…}}`, `{"ms": 15, "received": {…}}`, and `{"ms": 20, "received": "text"}` for
//! a line that is not JSON. Values of secret fields are replaced before they are written.
//!
//! `{"ms": 25, "ended": true}` marks the loss of the connection: the server has ended, has closed its output or cannot be
//! reached any more. A close by the client writes no such line. Lines after it came too late, or belong to the next runtime
//! if the client has started one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use crate::shared_redactor::SharedRedactor;
use crate::transport::frames::{BoxFuture, FrameReader, FrameWriter, ReadState, Transport};

/// Writes all messages of a client to a file, for bug reports; see
/// [`CodexConfig::wire_log`](crate::CodexConfig::wire_log).
///
/// The log replaces the values of fields with secret names, such as keys and tokens, by `<redacted>`, and also each key that
/// this client has logged in with. **It does not replace prompts, files and the output of commands**: read a log before you
/// share it. The testkit can play a log back as a server.
///
/// The thread that reads also writes the log, so a slow disk slows the client down. If a write fails, the log ends and the
/// client goes on.
#[derive(Clone, Debug)]
pub struct WireLog {
    path: PathBuf,
    max_bytes: u64,
    keep: u32,
}

impl WireLog {
    /// A log in this file. Each client truncates it and removes its older files. The log continues over restarts of the
    /// runtime.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), max_bytes: 64 << 20, keep: 2 }
    }

    /// The size at which a new file begins, 64 MiB by default. Older files get the suffixes `.1`, `.2`, ….
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// How many older files are kept, 2 by default.
    pub fn keep(mut self, files: u32) -> Self {
        self.keep = files;
        self
    }

    /// Opens the log.
    pub(crate) fn open(&self) -> io::Result<Arc<Recorder>> {
        let file = create(&self.path)?;
        // A playback would take older files for the beginning of this log.
        let older = (1..).map(|number| self.numbered(number));
        older.take_while(|older| fs::remove_file(older).is_ok()).for_each(drop);
        let state = Some(State { file, written: 0 });
        Ok(Arc::new(Recorder { log: self.clone(), since: Instant::now(), state: state.into() }))
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }

    /// Renames the older files, and creates a new file.
    fn rotate(&self) -> io::Result<File> {
        for number in (1..self.keep).rev() {
            let from = self.numbered(number);
            if from.exists() {
                fs::rename(from, self.numbered(number + 1))?;
            }
        }
        if self.keep > 0 {
            fs::rename(&self.path, self.numbered(1))?;
        }
        create(&self.path)
    }
}

/// Creates a file that only its owner can read, because it holds the user's conversations.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    // The file may have existed with other permissions.
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(file)
}

/// An open log.
#[derive(Debug)]
pub(crate) struct Recorder {
    log: WireLog,
    since: Instant,
    /// `None` after a write has failed.
    state: Mutex<Option<State>>,
}

#[derive(Debug)]
struct State {
    file: File,
    written: u64,
}

impl Recorder {
    /// Wraps a transport so that all its frames are recorded.
    pub(crate) fn attach(self: &Arc<Self>, transport: Transport, secrets: &Arc<SharedRedactor>) -> Transport {
        let (log, secrets) = (self, secrets);
        let (reader, writer) = transport.into_halves();
        Transport::new(
            Logged { inner: reader, log: log.clone(), secrets: secrets.clone() },
            Logged { inner: writer, log: log.clone(), secrets: secrets.clone() },
        )
    }

    fn record(&self, secrets: &SharedRedactor, direction: &'static str, frames: &[Bytes]) {
        let ms = self.ms();
        let mut lines = String::new();
        for frame in frames {
            let text = String::from_utf8_lossy(frame);
            let mut message =
                serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.into_owned()));
            redact(&mut message);
            let line = Line { ms, key: direction, value: message }.to_text();
            // A message can repeat a sent secret under any name.
            lines.push_str(secrets.redact_text(&line).as_deref().unwrap_or(&line));
            lines.push('\n');
        }
        self.append(&lines);
    }

    /// Records the loss of the connection.
    pub(crate) fn record_end(&self) {
        let line = Line { ms: self.ms(), key: "ended", value: true.into() };
        self.append(&(line.to_text() + "\n"));
    }

    fn ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn append(&self, lines: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = &mut *state else { return };
        if self.write(open, lines.as_bytes()).is_err() {
            *state = None;
        }
    }

    fn write(&self, open: &mut State, lines: &[u8]) -> io::Result<()> {
        if open.written > 0 && open.written + lines.len() as u64 > self.log.max_bytes {
            *open = State { file: self.log.rotate()?, written: 0 };
        }
        open.written += lines.len() as u64;
        open.file.write_all(lines)
    }
}

struct Line {
    ms: u64,
    key: &'static str,
    value: Value,
}

impl Line {
    fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Serialize for Line {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("ms", &self.ms)?;
        map.serialize_entry(self.key, &self.value)?;
        map.end()
    }
}

/// A half of a transport whose frames are recorded.
struct Logged<T> {
    inner: T,
    log: Arc<Recorder>,
    secrets: Arc<SharedRedactor>,
}

impl FrameReader for Logged<Box<dyn FrameReader>> {
    fn read<'a>(&'a mut self, frames: &'a mut Vec<Bytes>) -> BoxFuture<'a, io::Result<ReadState>> {
        Box::pin(async move {
            let before = frames.len();
            let more = self.inner.read(frames).await?;
            self.log.record(&self.secrets, "received", frames.get(before..).unwrap_or_default());
            Ok(more)
        })
    }
}

impl FrameWriter for Logged<Box<dyn FrameWriter>> {
    fn write<'a>(&'a mut self, frames: &'a [Bytes]) -> BoxFuture<'a, io::Result<()>> {
        self.log.record(&self.secrets, "sent", frames);
        self.inner.write(frames)
    }
}

/// Replaces the values of all secret fields.
fn redact(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields.iter_mut() {
                match value {
                    Value::String(text) if is_secret(name) => "<redacted>".clone_into(text),
                    _ => redact(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        _ => {}
    }
}

/// Whether a field of this name holds a secret: `apiKey`, `access_token`, `Authorization`, `OPENAI_API_KEY`.
fn is_secret(name: &str) -> bool {
    let name: String =
        name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    ["apikey", "accesskey", "token", "secret", "password", "authorization", "pairingcode", "cookie"]
        .iter()
        .any(|secret| name.ends_with(secret))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_are_replaced_at_any_depth() {
        let mut value = json!({
            "id": 1,
            "params": {
                "apiKey": "sk-1", "nested": [{"access_token": "sk-2", "text": "hello"}],
                "env": {"OPENAI_API_KEY": "sk-3"}, "headers": {"Authorization": "Bearer sk-4"},
                "tokenUsage": {"totalTokens": 7}, "nextCursor": "c"
            }
        });
        redact(&mut value);
        let text = value.to_string();
        assert!(!text.contains("sk-"), "{text}");
        assert!(text.contains("hello") && text.contains("\"totalTokens\":7") && text.contains("\"c\""));
    }

    #[test]
    fn a_log_rotates_and_a_new_log_removes_the_older_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wire.jsonl");
        let names = || {
            let entries = fs::read_dir(folder.path()).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let log = WireLog::new(&path).max_bytes(100).keep(2);
        let recorder = log.open().unwrap();
        for n in 0..10 {
            recorder.record(
                &SharedRedactor::default(),
                "sent",
                &[Bytes::from(format!("{{\"n\":{n},\"text\":\"{}\"}}", "x".repeat(60)))],
            );
        }
        assert_eq!(names(), ["wire.jsonl", "wire.jsonl.1", "wire.jsonl.2"]);
        assert!(fs::read_to_string(&path).unwrap().contains("\"n\":9"));
        assert!(fs::read_to_string(folder.path().join("wire.jsonl.2")).unwrap().contains("\"n\":7"));
        log.open().unwrap();
        assert_eq!(names(), ["wire.jsonl"]);
    }
}

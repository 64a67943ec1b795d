//! Moves a thread to another home: its rollout file, read and written by the servers.

mod compare;
mod head;

use std::fmt;
use std::sync::Arc;

use openai_codex_protocol::methods;
use openai_codex_protocol::types::{
    Thread, ThreadArchiveParams, ThreadReadParams, ThreadResumeParams, ThreadUnarchiveParams,
};
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeStruct, Serializer};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use crate::dispatch::registry::HandlerSet;
use crate::error::{Error, ErrorKind, Result};
use crate::session::load_options::LoadOptions;
use crate::session::moved_files::{self, ARCHIVE, FileSearch, is_archived};
use crate::session::runtime::Session;
use crate::session::supervisor::ClientCore;
use crate::session::thread_settings::Settings;
use crate::session::thread_state::{ThreadSetup, ThreadState};
use crate::session::unused_threads;
use crate::thread::rollout::compare::{Stored, compare, decode_base64};

/// The stored history of a thread, to be kept elsewhere or given to a runtime with another home. It can be serialized.
///
/// It holds the user's conversation: prompts, files and the output of commands.
#[derive(Clone, PartialEq, Eq)]
pub struct Rollout {
    thread_id: String,
    /// The name of the file, which begins with the time of the thread's start.
    file_name: String,
    /// The contents, as Base64.
    data: String,
}

impl Rollout {
    /// Returns the id of the thread.
    pub fn thread_id(&self) -> &str {
        &self.thread_id
    }

    /// Returns the id of the thread whose stored history comes before this one: the source of a fork. `None` if the history is whole.
    ///
    /// A fork of runtime 0.163.0 and newer refers to the file of its source, and stores only its own turns.
    pub fn base_thread_id(&self) -> Option<String> {
        head::read(&decode_base64(&self.data)?)?.base
    }

    /// Refuses a file name that no runtime writes. A runtime finds the folder in it: `rollout-2026-11-28T…` belongs to `2026/11/28`.
    fn check_name(&self) -> Result<()> {
        let is_day = |day: &str| {
            let parts: Vec<_> = day.split('-').collect();
            parts.len() == 3 && parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let is_name = |rest: &str| !rest.contains(['/', '\\']) && rest.contains(&*self.thread_id);
        match self.file_name.strip_prefix("rollout-").and_then(|rest| rest.split_once('T')) {
            Some((day, rest)) if is_day(day) && is_name(rest) => Ok(()),
            _ => Err(Error::invalid_input("the rollout's file name is not one that a runtime writes")),
        }
    }

    fn contents(&self) -> Result<Vec<u8>> {
        decode_base64(&self.data).ok_or_else(|| Error::invalid_input("the rollout's data is not Base64"))
    }
}

/// The names of the members, which serialized rollouts have.
const MEMBERS: [&str; 3] = ["thread_id", "file_name", "data"];

impl Serialize for Rollout {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut rollout = serializer.serialize_struct("Rollout", MEMBERS.len())?;
        for (name, value) in MEMBERS.into_iter().zip([&self.thread_id, &self.file_name, &self.data]) {
            rollout.serialize_field(name, value)?;
        }
        rollout.end()
    }
}

impl<'de> Deserialize<'de> for Rollout {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_struct("Rollout", &MEMBERS, RolloutVisitor)
    }
}

struct RolloutVisitor;

impl RolloutVisitor {
    /// The rollout of the members in the order of [`MEMBERS`].
    fn rollout<E: de::Error>(members: [Option<String>; 3]) -> std::result::Result<Rollout, E> {
        if let Some(missing) = members.iter().position(Option::is_none) {
            return Err(E::missing_field(MEMBERS[missing]));
        }
        let [thread_id, file_name, data] = members.map(Option::unwrap_or_default);
        Ok(Rollout { thread_id, file_name, data })
    }
}

impl<'de> Visitor<'de> for RolloutVisitor {
    type Value = Rollout;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("struct Rollout")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Rollout, A::Error> {
        let mut members = [None, None, None];
        while let Some(name) = map.next_key::<String>()? {
            match MEMBERS.iter().position(|member| *member == name) {
                Some(at) => members[at] = Some(map.next_value()?),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Self::rollout(members)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> std::result::Result<Rollout, A::Error> {
        let mut members = [None, None, None];
        for member in &mut members {
            *member = values.next_element()?;
        }
        Self::rollout(members)
    }
}

/// Leaves out the conversation.
impl fmt::Debug for Rollout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rollout").field("file_name", &self.file_name).finish_non_exhaustive()
    }
}

pub(crate) async fn export(core: &Arc<ClientCore>, thread: &ThreadState) -> Result<Rollout> {
    let session = thread.session_for_stored(core).await?;
    let mut search = FileSearch::default();
    let (path, contents) = loop {
        let (path, contents) = read_stored(&session, thread).await?;
        match contents {
            Err(error) if error.kind() == ErrorKind::Internal && search.look_again() => {
                session.connection.sleep(moved_files::PAUSE).await;
            }
            contents => break (path, contents.map_err(|error| error.with_thread(Some(&thread.id)))?),
        }
    };
    let data = contents["dataBase64"].as_str().unwrap_or_default().to_owned();
    let file_name = path.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
    Ok(Rollout { thread_id: thread.id.to_string(), file_name, data })
}

/// Looks for the file of a thread, and reads it. The read fails if the file is moved in between.
async fn read_stored(session: &Session, thread: &ThreadState) -> Result<(String, Result<Value>)> {
    let params = ThreadReadParams::new(&*thread.id).include_turns(false);
    let read = session.call::<methods::ThreadRead>(&params, Some(&thread.id)).await?.thread;
    let path = read.path.clone().ok_or_else(|| {
        let message = "the runtime does not store the thread, so it cannot be exported: it is ephemeral";
        Error::new(ErrorKind::ThreadNotFound, message).with_thread(Some(&thread.id))
    })?;
    if session.runs_or_starts_turn(&read).await? {
        let message = "a turn runs in the thread, and its history is incomplete; export the thread when the turn has ended";
        return Err(Error::invalid_input(message).with_thread(Some(&thread.id)));
    }
    let contents = match call(session, "fs/readFile", &json!({"path": path})).await {
        // The thread has not run a turn yet.
        Err(error) if error.kind() == ErrorKind::Internal && read.preview.is_empty() => {
            unused_threads::store(session, &thread.id).await?;
            call(session, "fs/readFile", &json!({"path": path})).await
        }
        contents => contents,
    };
    Ok((path, contents))
}

/// Stores a rollout. A history that is a part of it from its beginning is replaced.
///
/// The new file is written into the archive, and the runtime moves it to its place. So the runtime never loads half a file, and no other
/// runtime of the home loads the thread meanwhile. An import that was cut off leaves an archived thread with a part of the history, which
/// the next one replaces.
pub(crate) async fn import(core: &Arc<ClientCore>, rollout: &Rollout) -> Result<Arc<ThreadState>> {
    rollout.check_name()?;
    let contents = rollout.contents()?;
    let head = head::read(&contents).filter(|head| head.thread_id == rollout.thread_id).ok_or_else(|| {
        let message = "the rollout's data does not begin as the history of its thread does; it is damaged, or of another thread";
        Error::invalid_input(message).with_thread(Some(&rollout.thread_id))
    })?;
    let session = core.session().await?;
    check_base(&session, rollout, head.base.as_deref()).await?;
    let archive = format!("{}/{ARCHIVE}", session.metadata.codex_home);
    let path = format!("{archive}/{}", rollout.file_name);
    let thread_id = Some(&*rollout.thread_id);
    let params = ThreadReadParams::new(&*rollout.thread_id).include_turns(false);
    let is_complete = match session.call::<methods::ThreadRead>(&params, thread_id).await {
        Ok(read) => {
            let is_same = compare_with(&session, rollout, &contents, &read.thread)
                .await
                .map_err(|error| error.with_thread(thread_id))?;
            match (is_same, is_archived(read.thread.path.as_deref())) {
                (true, false) => return Ok(unloaded(core, read.thread, &session)),
                (false, false) => {
                    // Fails if another runtime has the thread loaded.
                    let params = ThreadArchiveParams::new(&*rollout.thread_id);
                    session.call::<methods::ThreadArchive>(&params, thread_id).await?;
                    false
                }
                (is_same, true) => is_same,
            }
        }
        Err(error) if error.kind() == ErrorKind::ThreadNotFound => false,
        // A runtime cannot read a file that was cut off in its first line.
        Err(error) if error.kind() == ErrorKind::Internal => match read_file(&session, &path).await {
            Ok(stored) if contents.starts_with(&stored) => false,
            _ => return Err(error),
        },
        Err(error) => return Err(error),
    };
    if !is_complete {
        call(&session, "fs/createDirectory", &json!({"path": archive, "recursive": true})).await?;
        call(&session, "fs/writeFile", &json!({"path": path, "dataBase64": rollout.data})).await?;
    }
    let params = ThreadUnarchiveParams::new(&*rollout.thread_id);
    let thread = session.call::<methods::ThreadUnarchive>(&params, thread_id).await?.thread;
    Ok(unloaded(core, thread, &session))
}

/// Refuses the history of a fork if the home does not have its source.
async fn check_base(session: &Session, rollout: &Rollout, base: Option<&str>) -> Result<()> {
    let Some(base) = base else { return Ok(()) };
    let params = ThreadReadParams::new(base).include_turns(false);
    match session.call::<methods::ThreadRead>(&params, Some(base)).await {
        Err(error) if error.kind() == ErrorKind::ThreadNotFound => {
            let message = format!(
                "the thread is a fork, and its history refers to that of thread {base}, which the home does not have; import that \
                 thread first"
            );
            Err(Error::invalid_input(message).with_thread(Some(&rollout.thread_id)))
        }
        read => read.map(drop),
    }
}

/// Whether the home has the same history. An error if it has one that the import must not replace.
async fn compare_with(
    session: &Session,
    rollout: &Rollout,
    contents: &[u8],
    thread: &Thread,
) -> Result<bool> {
    let path = thread.path.as_deref().unwrap_or_default();
    let found = match path.rsplit(['/', '\\']).next() {
        Some(name) if name == rollout.file_name => {
            let stored = match read_file(session, path).await {
                // A runtime that has compressed the file unpacks it to load the thread.
                Err(error) if error.kind() == ErrorKind::Internal => {
                    let params = ThreadResumeParams::new(&*thread.id);
                    session.call::<methods::ThreadResume>(&params, Some(&thread.id)).await?;
                    read_file(session, path).await?
                }
                stored => stored?,
            };
            compare(&stored, contents)
        }
        // It is not the file of this history.
        _ => Stored::Other,
    };
    let refusal = match found {
        Stored::Same => return Ok(true),
        Stored::Older if !session.runs_or_starts_turn(thread).await? => return Ok(false),
        Stored::Older => "a turn runs in the thread of this home; import the history when the turn has ended",
        Stored::Newer => {
            "the home has this thread with more turns than the history, and the import changed nothing; resume the thread, or \
             delete it to import the older history"
        }
        Stored::Other => {
            "the home has this thread with other turns than the history, because turns ran in both homes, and the import changed \
             nothing; export the home's thread to keep its turns, and delete it to import the history"
        }
    };
    Err(Error::invalid_input(refusal))
}

/// The state of a thread that the server does not load here. The handle's first use does.
pub(super) fn unloaded(core: &Arc<ClientCore>, thread: Thread, session: &Session) -> Arc<ThreadState> {
    let setup = ThreadSetup {
        load_options: LoadOptions::default(),
        handlers: HandlerSet::default(),
        requested: Settings::default(),
        current: None,
        loads: false,
        transport: session.connection.transport(),
    };
    ThreadState::new(core, thread, session, setup)
}

pub(super) async fn read_file(session: &Session, path: &str) -> Result<Vec<u8>> {
    let response = call(session, "fs/readFile", &json!({"path": path})).await?;
    let data = response["dataBase64"].as_str().and_then(decode_base64);
    data.ok_or_else(|| Error::new(ErrorKind::Decode, "the response to fs/readFile has no contents"))
}

pub(super) async fn call(session: &Session, method: &str, params: &Value) -> Result<Value> {
    let params = to_raw_value(params).map_err(|error| Error::invalid_input(error.to_string()))?;
    let response = session.call_raw(method, Some(&params)).await?;
    Ok(serde_json::from_str(&response).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollout_is_serialized_as_its_members_and_read_from_them() {
        let rollout = Rollout { thread_id: "t".to_owned(), file_name: "f".to_owned(), data: "d".to_owned() };
        let text = serde_json::to_string(&rollout).unwrap();
        assert_eq!(text, r#"{"thread_id":"t","file_name":"f","data":"d"}"#);
        for same in [&*text, r#"["t","f","d"]"#, r#"{"new":[1],"data":"d","file_name":"f","thread_id":"t"}"#]
        {
            assert_eq!(serde_json::from_str::<Rollout>(same).unwrap(), rollout, "{same}");
        }
        for (bad, error) in [
            (r#"{"thread_id":"t","data":"d"}"#, "missing field `file_name`"),
            (r#"["t"]"#, "missing field `file_name`"),
            (r#"{"thread_id":7}"#, "invalid type: integer `7`, expected a string"),
            ("7", "invalid type: integer `7`, expected struct Rollout"),
        ] {
            let found = serde_json::from_str::<Rollout>(bad).unwrap_err().to_string();
            assert!(found.starts_with(error), "{bad}: {found}");
        }
    }

    #[test]
    fn a_rollout_has_the_name_of_a_runtimes_file_and_names_no_other_place() {
        let named = |file_name: &str| Rollout {
            thread_id: "01a2".into(),
            file_name: file_name.into(),
            data: String::new(),
        };
        named("rollout-2026-11-28T18-54-14-01a2.jsonl").check_name().unwrap();
        for bad in [
            "",
            "other-2026-11-28T18-54-14-01a2.jsonl",
            "rollout-2026-11T18-54-14-01a2.jsonl",
            "rollout-..-..-..T18-54-14-01a2.jsonl",
            "rollout-2026-11-28T/../../01a2.jsonl",
            "rollout-2026-11-28T18-54-14-other.jsonl",
        ] {
            assert_eq!(named(bad).check_name().unwrap_err().kind(), ErrorKind::InvalidInput, "{bad}");
        }
    }
}

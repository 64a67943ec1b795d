//! A wire log of the SDK, played back: a report of a bug becomes a test.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::{Answer, Script, Step};

#[derive(Deserialize)]
struct Line {
    sent: Option<Value>,
    received: Option<Value>,
    #[serde(default)]
    ended: bool,
}

impl Script {
    /// Makes a server out of a log that the SDK has written (`CodexConfig::wire_log`): it waits for what the client has
    /// sent, and sends what it has received, in the order of the log. The older files of a log that was rotated (`.1`,
    /// `.2`, …) come first.
    ///
    /// The program under test has to send the same requests in the same order; what it says in them may differ. The
    /// server's answers go to the requests that they were for, whatever their ids are now.
    ///
    /// Where the log says that the connection was lost, the server exits, so that a crash is played back too; with the
    /// code 1, since the log does not know it. There the script ends: what a client that starts its runtime again has
    /// logged afterwards is another server's. Lines of a kind that is not known here are passed over.
    ///
    /// # Errors
    /// A file that cannot be read, or a line that is none of a wire log; the error names both.
    pub fn from_wire_log(path: impl AsRef<Path>) -> io::Result<Self> {
        let mut script = Self::new();
        for file in files(path.as_ref()) {
            for (number, line) in fs::read_to_string(&file)?.lines().enumerate() {
                let line: Line = serde_json::from_str(line).map_err(|error| {
                    let place = format!("{}, line {}: {error}", file.display(), number + 1);
                    io::Error::new(io::ErrorKind::InvalidData, place)
                })?;
                script.steps.extend(line.sent.map(expected).into_iter().flatten());
                script.steps.extend(line.received.map(sent));
                if line.ended {
                    return Ok(script.exit(1));
                }
            }
        }
        Ok(script)
    }
}

/// The files of a log, the oldest first.
fn files(path: &Path) -> Vec<PathBuf> {
    let numbered = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    let older = (1..).map(numbered).take_while(|file| file.exists());
    let mut files: Vec<_> = older.collect();
    files.reverse();
    files.push(path.to_owned());
    files
}

/// The name under which a request is answered later.
fn name(id: &Value) -> String {
    format!("request {id}")
}

/// What is waited for: something that the client sent.
fn expected(mut message: Value) -> Option<Step> {
    let method = message["method"].as_str().map(str::to_owned);
    match (method, message.get("id").is_some()) {
        (Some(method), true) => Some(Step::Expect { method, params: None, name: Some(name(&message["id"])) }),
        (Some(method), false) => Some(Step::ExpectNotification { method }),
        (None, true) => Some(Step::ExpectAnswer { id: message["id"].take(), result: None }),
        (None, false) => None,
    }
}

/// What is sent: something that the client received.
fn sent(mut message: Value) -> Step {
    if let Value::String(line) = message {
        return Step::Raw { bytes: format!("{line}\n").into_bytes() };
    }
    let is_answer = message.get("method").is_none();
    let answer = match (message.get_mut("result").map(Value::take), message.get_mut("error").map(Value::take))
    {
        (_, Some(error)) if is_answer => Answer::Error(error),
        (Some(result), None) if is_answer => Answer::Result(result),
        _ => return Step::Send { message },
    };
    Step::Respond { to: Some(name(&message["id"])), answer }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn script(log: &str) -> io::Result<Script> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("wire.jsonl");
        fs::write(&path, log)?;
        Script::from_wire_log(&path)
    }

    #[test]
    fn a_lost_connection_is_an_exit_and_the_end_of_the_script() {
        let first = "{\"ms\":1,\"sent\":{\"method\":\"a\"}}\n{\"ms\":2,\"received\":{\"method\":\"b\"}}\n";
        let played = Script::new().expect_notification("a").send(json!({"method": "b"}));
        assert_eq!(script(first).unwrap(), played);
        let restarted = format!("{first}{{\"ms\":3,\"ended\":true}}\n{first}");
        assert_eq!(script(&restarted).unwrap(), played.exit(1));
    }

    #[test]
    fn unknown_lines_are_passed_over_and_broken_ones_are_named() {
        assert_eq!(script("{\"ms\":1,\"new\":{}}\n").unwrap(), Script::new());
        let error = script("{\"ms\":1,\"sent\":null}\n{\"ms\":2,\"rece").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().contains("wire.jsonl, line 2: "), "{error}");
    }
}

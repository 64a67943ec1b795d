//! Plays back a wire log of the SDK, so that a bug report becomes a test.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::{Response, Script, Step};

#[derive(Deserialize)]
struct Line {
    sent: Option<Value>,
    received: Option<Value>,
    #[serde(default)]
    ended: bool,
}

impl Script {
    /// Makes a server from a log that the SDK wrote (`CodexConfig::wire_log`). It waits for what the client sent, and
    /// sends what the client received, in the order of the log. It reads the older files of a rotated log (`.1`, `.2`,
    /// …) first.
    ///
    /// The program under test must send the same requests in the same order; their content may differ. The server
    /// matches its responses to the requests, whatever their ids are now.
    ///
    /// Where the log records a lost connection, the server exits, so that it plays back a crash too. The exit code is
    /// 1, because the log does not contain the real one. The script ends there: if the client restarted its runtime,
    /// the rest of the log belongs to another server. The server ignores unknown lines.
    ///
    /// # Errors
    /// A file cannot be read, or a line does not belong to a wire log. The error names both.
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

/// The files of a log, oldest first.
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

/// The name that a later response uses for the request.
fn name(id: &Value) -> String {
    format!("request {id}")
}

/// A message that the client sent, so the server waits for it.
fn expected(mut message: Value) -> Option<Step> {
    let method = message["method"].as_str().map(str::to_owned);
    match (method, message.get("id").is_some()) {
        (Some(method), true) => Some(Step::Expect { method, params: None, name: Some(name(&message["id"])) }),
        (Some(method), false) => Some(Step::ExpectNotification { method }),
        (None, true) => Some(Step::ExpectResponse { id: message["id"].take(), result: None }),
        (None, false) => None,
    }
}

/// A message that the client received, so the server sends it.
fn sent(mut message: Value) -> Step {
    if let Value::String(line) = message {
        return Step::Raw { bytes: format!("{line}\n").into_bytes() };
    }
    let is_response = message.get("method").is_none();
    let response =
        match (message.get_mut("result").map(Value::take), message.get_mut("error").map(Value::take)) {
            (_, Some(error)) if is_response => Response::Error(error),
            (Some(result), None) if is_response => Response::Result(result),
            _ => return Step::Send { message },
        };
    Step::Respond { to: Some(name(&message["id"])), response }
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
    fn a_lost_connection_exits_and_ends_the_script() {
        let first = "{\"ms\":1,\"sent\":{\"method\":\"a\"}}\n{\"ms\":2,\"received\":{\"method\":\"b\"}}\n";
        let played = Script::new().expect_notification("a").send(json!({"method": "b"}));
        assert_eq!(script(first).unwrap(), played);
        let restarted = format!("{first}{{\"ms\":3,\"ended\":true}}\n{first}");
        assert_eq!(script(&restarted).unwrap(), played.exit(1));
    }

    #[test]
    fn unknown_lines_are_ignored_and_broken_lines_are_errors() {
        assert_eq!(script("{\"ms\":1,\"new\":{}}\n").unwrap(), Script::new());
        let error = script("{\"ms\":1,\"sent\":null}\n{\"ms\":2,\"rece").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().contains("wire.jsonl, line 2: "), "{error}");
    }
}

//! The steps of a script.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::burst::Burst;
use super::chunks::Chunks;

/// A step of a [`Script`](super::Script). The methods of `Script` create most steps. The type is public for programs
/// that generate scripts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "camelCase")]
#[non_exhaustive]
pub enum Step {
    /// Waits for a request from the client.
    Expect {
        /// The method.
        method: String,
        /// The minimum content of the params; see [`Script::expect_with`](super::Script::expect_with).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        params: Option<Value>,
        /// A name for a later step that responds to it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// Waits for a notification from the client.
    ExpectNotification {
        /// The method.
        method: String,
    },
    /// Waits for the client's response to a server request.
    ExpectResponse {
        /// The request's id.
        id: Value,
        /// The minimum content of the result.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        result: Option<Value>,
    },
    /// Waits until the client closes its side.
    ExpectEnd,
    /// Responds to a request.
    Respond {
        /// The request's name. Without it, the request of the last `Expect`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
        /// The response.
        response: Response,
    },
    /// Sends a message unchanged: a notification or a server request.
    Send {
        /// The message.
        message: Value,
    },
    /// Sends bytes unchanged, without adding a line end.
    Raw {
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Sends a message with a member `padding`.
    SendPadded {
        /// The message, an object.
        message: Value,
        /// The length of its line.
        bytes: u64,
    },
    /// Sends many notifications at full speed.
    Burst(Burst),
    /// Splits all further output.
    Cut {
        /// How. `None` ends the splitting.
        chunks: Option<Chunks>,
    },
    /// Writes a lot of text to stderr.
    FloodStderr {
        /// The number of bytes.
        bytes: u64,
    },
    /// Writes to stderr.
    Stderr {
        /// The text, unchanged.
        text: String,
    },
    /// Creates an empty file as a signal for a test.
    Touch {
        /// The file.
        path: PathBuf,
    },
    /// Waits until a file exists. The server reads nothing from the client meanwhile.
    AwaitFile {
        /// The file.
        path: PathBuf,
    },
    /// Closes stdout. Later output is lost.
    CloseStdout,
    /// Stops reading.
    StopReading,
    /// Stops reading and closes stdin.
    CloseStdin,
    /// Ignores SIGTERM from here on (a process on Unix only).
    IgnoreTerminate,
    /// Stops reading and writing, and never ends.
    Hang,
    /// Exits at once with this code.
    Exit {
        /// The code.
        code: i32,
    },
}

/// A response to a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Response {
    /// A result.
    Result(Value),
    /// A result that opens a thread, such as [`thread_start_response`](super::messages::thread_start_response). Like
    /// the runtime, it copies the options of the request, such as sandbox, folder and model.
    Opens(Value),
    /// An error: `{"code": …, "message": …}`, optionally with `data`.
    Error(Value),
    /// These members beside the id, unchanged.
    Members(Map<String, Value>),
    /// No response.
    Silence,
}

impl Response {
    /// An error.
    pub fn error(code: i64, message: impl Into<String>) -> Self {
        Self::Error(json!({"code": code, "message": message.into()}))
    }

    /// The message for a request with this id.
    pub(crate) fn message(&self, id: &Value) -> Option<Value> {
        match self {
            Self::Result(result) | Self::Opens(result) => Some(json!({"id": id, "result": result})),
            Self::Error(error) => Some(json!({"id": id, "error": error})),
            Self::Members(members) => {
                let mut message = members.clone();
                message.insert("id".into(), id.clone());
                Some(message.into())
            }
            Self::Silence => None,
        }
    }
}

/// The reaction to a request without a step or a standing response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Unexpected {
    /// The server responds with the error -32601, method not found.
    #[default]
    MethodNotFound,
    /// The server does not respond.
    Ignore,
    /// The script fails.
    Fail,
}

impl Step {
    /// Whether the step waits for this message.
    pub(crate) fn wants(&self, message: &Value) -> bool {
        let (id, method) = (message.get("id"), message.get("method").and_then(Value::as_str));
        match self {
            Self::Expect { method: wanted, params, .. } => {
                id.is_some()
                    && method == Some(wanted)
                    && params.as_ref().is_none_or(|params| contains(&message["params"], params))
            }
            Self::ExpectNotification { method: wanted } => id.is_none() && method == Some(wanted),
            Self::ExpectResponse { id: wanted, .. } => method.is_none() && id == Some(wanted),
            _ => false,
        }
    }
}

/// Whether `value` contains `part`: every member of an object, every element of an array of the same length; anything
/// else must be equal.
pub(crate) fn contains(value: &Value, part: &Value) -> bool {
    match (value, part) {
        (Value::Object(value), Value::Object(part)) => {
            part.iter().all(|(key, part)| value.get(key).is_some_and(|value| contains(value, part)))
        }
        (Value::Array(value), Value::Array(part)) => {
            value.len() == part.len() && value.iter().zip(part).all(|(value, part)| contains(value, part))
        }
        _ => value == part,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contains_finds_parts_at_any_depth() {
        let value = json!({"a": {"b": [1, {"c": 2, "d": 3}]}, "e": null});
        assert!(contains(&value, &json!({"a": {"b": [1, {"c": 2}]}})));
        assert!(contains(&value, &json!({"e": null})));
        assert!(!contains(&value, &json!({"f": null})));
        assert!(!contains(&value, &json!({"a": {"b": [1]}})));
        assert!(!contains(&value, &json!({"a": {"b": [1, {"c": 3}]}})));
    }

    #[test]
    fn steps_accept_only_their_kind_of_message() {
        let request = json!({"id": 1, "method": "m", "params": {"a": 1}});
        let notification = json!({"method": "m"});
        let response = json!({"id": "x", "result": {}});
        let wants = |step: Step| [&request, &notification, &response].map(|message| step.wants(message));
        let expect = |params| Step::Expect { method: "m".into(), params, name: None };
        assert_eq!(wants(expect(None)), [true, false, false]);
        assert_eq!(wants(expect(Some(json!({"a": 2})))), [false; 3]);
        assert_eq!(wants(Step::ExpectNotification { method: "m".into() }), [false, true, false]);
        assert_eq!(wants(Step::ExpectResponse { id: "x".into(), result: None }), [false, false, true]);
        assert_eq!(wants(Step::Hang), [false; 3]);
    }
}

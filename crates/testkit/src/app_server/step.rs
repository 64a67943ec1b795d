//! The steps of a script.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::chunks::Chunks;
use super::pour::Pour;

/// One step of a [`Script`](super::Script). Scripts are usually written with the methods of `Script`; the steps are
/// public for those who make scripts with a program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "camelCase")]
#[non_exhaustive]
pub enum Step {
    /// Waits for a request of the client.
    Expect {
        /// Its method.
        method: String,
        /// What its params must hold at least; see [`Script::expect_with`](super::Script::expect_with).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        params: Option<Value>,
        /// A name by which a later step can answer it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// Waits for a notification of the client.
    ExpectNotification {
        /// Its method.
        method: String,
    },
    /// Waits for the client's answer to a request of the server.
    ExpectAnswer {
        /// The id of that request.
        id: Value,
        /// What the result must hold at least.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        result: Option<Value>,
    },
    /// Waits until the client has closed its side.
    ExpectEnd,
    /// Answers a request.
    Respond {
        /// The name that the request was given; without it the request of the last `Expect`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
        /// The answer.
        answer: Answer,
    },
    /// Sends a message as it is: a notification or a request of the server.
    Send {
        /// The message.
        message: Value,
    },
    /// Sends bytes as they are, without a line end of its own.
    Raw {
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Sends a message with a member `padding`.
    SendPadded {
        /// The message, an object.
        message: Value,
        /// How long its line is then.
        bytes: u64,
    },
    /// Sends many notifications at full speed.
    Pour(Pour),
    /// Cuts what is written from here on.
    Cut {
        /// How; `None` ends that.
        chunks: Option<Chunks>,
    },
    /// Writes much to stderr.
    FloodStderr {
        /// How much.
        bytes: u64,
    },
    /// Writes to stderr.
    Stderr {
        /// The text, as it is.
        text: String,
    },
    /// Creates an empty file, for a test to find.
    Touch {
        /// The file.
        path: PathBuf,
    },
    /// Waits until a file exists. Nothing is read from the client meanwhile.
    AwaitFile {
        /// The file.
        path: PathBuf,
    },
    /// Closes stdout; whatever is sent later is lost.
    CloseStdout,
    /// Reads nothing more.
    StopReading,
    /// Reads nothing more, and the client can write nothing more.
    CloseStdin,
    /// Takes no notice of SIGTERM from here on (a process on Unix only).
    IgnoreTerminate,
    /// Reads nothing more, does nothing more and never ends.
    Hang,
    /// Ends at once with this exit code.
    Exit {
        /// The code.
        code: i32,
    },
}

/// How a request is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Answer {
    /// With a result.
    Result(Value),
    /// With a result that opens a thread, such as that of [`thread_start_response`](super::messages::thread_start_response),
    /// in which the options that the request names hold, as the runtime has it: its sandbox, folder, model and the like.
    Opens(Value),
    /// With an error: `{"code": …, "message": …}` and perhaps `data`.
    Error(Value),
    /// With these members beside the id, whatever they are.
    Members(Map<String, Value>),
    /// Not at all.
    Silence,
}

impl Answer {
    /// An error.
    pub fn error(code: i64, message: impl Into<String>) -> Self {
        Self::Error(json!({"code": code, "message": message.into()}))
    }

    /// The message for a request of this id.
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

/// What happens to a request that no step and no standing answer is meant for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Unexpected {
    /// It is answered with the error -32601, method not found.
    #[default]
    MethodNotFound,
    /// It is never answered.
    Ignore,
    /// The script fails.
    Fail,
}

impl Step {
    /// Whether the step waits for a message like this.
    pub(crate) fn wants(&self, message: &Value) -> bool {
        let (id, method) = (message.get("id"), message.get("method").and_then(Value::as_str));
        match self {
            Self::Expect { method: wanted, params, .. } => {
                id.is_some()
                    && method == Some(wanted)
                    && params.as_ref().is_none_or(|params| contains(&message["params"], params))
            }
            Self::ExpectNotification { method: wanted } => id.is_none() && method == Some(wanted),
            Self::ExpectAnswer { id: wanted, .. } => method.is_none() && id == Some(wanted),
            _ => false,
        }
    }
}

/// Whether `value` holds all that `part` holds: every member of an object, every element of an array of the same
/// length, anything else as it is.
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
    fn parts_are_found_at_any_depth() {
        let value = json!({"a": {"b": [1, {"c": 2, "d": 3}]}, "e": null});
        assert!(contains(&value, &json!({"a": {"b": [1, {"c": 2}]}})));
        assert!(contains(&value, &json!({"e": null})));
        assert!(!contains(&value, &json!({"f": null})));
        assert!(!contains(&value, &json!({"a": {"b": [1]}})));
        assert!(!contains(&value, &json!({"a": {"b": [1, {"c": 3}]}})));
    }

    #[test]
    fn steps_want_their_kind_of_message() {
        let request = json!({"id": 1, "method": "m", "params": {"a": 1}});
        let notification = json!({"method": "m"});
        let answer = json!({"id": "x", "result": {}});
        let wants = |step: Step| [&request, &notification, &answer].map(|message| step.wants(message));
        let expect = |params| Step::Expect { method: "m".into(), params, name: None };
        assert_eq!(wants(expect(None)), [true, false, false]);
        assert_eq!(wants(expect(Some(json!({"a": 2})))), [false; 3]);
        assert_eq!(wants(Step::ExpectNotification { method: "m".into() }), [false, true, false]);
        assert_eq!(wants(Step::ExpectAnswer { id: "x".into(), result: None }), [false, false, true]);
        assert_eq!(wants(Step::Hang), [false; 3]);
    }
}

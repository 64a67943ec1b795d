//! The builder for scripts.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use openai_codex::transport::Transport;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};

use super::burst::Burst;
use super::frames::Frames;
use super::messages;
use super::port::{Port, Streams};
use super::running_script::RunningScript;
use super::script_runner::{ScriptError, ScriptResult, ScriptRunner};
use super::step::{Response, Step, Unexpected};

/// The server's side of a conversation: a sequence of steps.
///
/// The server reads the client's messages only while a step waits for one. It keeps a message that a later step waits
/// for, so concurrent requests may arrive in any order. To any other request it sends the [standing
/// response](Self::always), or reacts as [`unexpected`](Self::unexpected) says. After the last step it goes on like
/// this until the client ends the stream, and then exits with code 0.
///
/// To hold the server at some point, make it wait for a request that only the test sends, such as
/// `expect("test/go").respond(json!({}))`.
///
/// ```
/// use openai_codex_testkit::app_server::Script;
/// use serde_json::json;
///
/// let script = Script::standard()
///     .start_thread("thread-1")
///     .start_turn("thread-1", "turn-1")
///     .agent_message("thread-1", "turn-1", "item-1", ["he", "llo"])
///     .complete_turn("thread-1", "turn-1");
/// # let _ = script;
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[must_use = "a script does nothing until it is played"]
pub struct Script {
    /// The steps.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// Standing responses, by method.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub responses: BTreeMap<String, Response>,
    /// The reaction to other requests that no step expects.
    #[serde(default)]
    pub unexpected: Unexpected,
    /// The file that records every line of the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<PathBuf>,
}

impl Script {
    /// An empty script: a server that responds to every request with an error.
    pub fn new() -> Self {
        Self::default()
    }

    /// A script that starts with the handshake: `initialize` with its response, and `initialized`. Its user has no
    /// settings: `config/read`, which the client may send before it starts a thread, has a standing response.
    pub fn standard() -> Self {
        Self::new()
            .expect("initialize")
            .respond(messages::initialize_response())
            .expect_notification("initialized")
            .always("config/read", messages::config_read_response())
    }

    /// Adds a step.
    pub fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Adds the steps of another script.
    pub fn then(mut self, other: Self) -> Self {
        self.steps.extend(other.steps);
        self.responses.extend(other.responses);
        self
    }

    /// Waits for a request from the client.
    pub fn expect(self, method: impl Into<String>) -> Self {
        self.step(Step::Expect { method: method.into(), params: None, name: None })
    }

    /// Waits for a request whose params contain at least these: every member of an object, at any depth, and arrays of
    /// the same length.
    pub fn expect_with(self, method: impl Into<String>, params: Value) -> Self {
        self.step(Step::Expect { method: method.into(), params: Some(params), name: None })
    }

    /// Waits for a request, and names it for a later [`respond_to`](Self::respond_to).
    pub fn expect_as(self, name: impl Into<String>, method: impl Into<String>) -> Self {
        self.step(Step::Expect { method: method.into(), params: None, name: Some(name.into()) })
    }

    /// Waits for a notification from the client.
    pub fn expect_notification(self, method: impl Into<String>) -> Self {
        self.step(Step::ExpectNotification { method: method.into() })
    }

    /// Waits until the client closes its side. The end of the script does the same.
    pub fn expect_end(self) -> Self {
        self.step(Step::ExpectEnd)
    }

    /// Responds to the last expected request.
    pub fn respond(self, result: Value) -> Self {
        self.step(Step::Respond { to: None, response: Response::Result(result) })
    }

    /// Responds to the last expected request with an error.
    pub fn respond_error(self, code: i64, message: impl Into<String>) -> Self {
        self.step(Step::Respond { to: None, response: Response::error(code, message) })
    }

    /// Responds to a request that was [expected by name](Self::expect_as).
    pub fn respond_to(self, name: impl Into<String>, response: Response) -> Self {
        self.step(Step::Respond { to: Some(name.into()), response })
    }

    /// Sends a notification.
    pub fn notify(self, method: &str, params: Value) -> Self {
        self.send(json!({"method": method, "params": params}))
    }

    /// Sends a request to the client and waits for any response.
    pub fn ask(self, id: impl Into<Value>, method: &str, params: Value) -> Self {
        let id = id.into();
        self.request(id.clone(), method, params).step(Step::ExpectResponse { id, result: None })
    }

    /// Sends a request to the client and waits for a response whose result contains at least this.
    pub fn ask_expecting(self, id: impl Into<Value>, method: &str, params: Value, result: Value) -> Self {
        let id = id.into();
        self.request(id.clone(), method, params).step(Step::ExpectResponse { id, result: Some(result) })
    }

    /// Sends a request to the client. [`expect_response`](Self::expect_response) waits for the response.
    pub fn request(self, id: impl Into<Value>, method: &str, params: Value) -> Self {
        self.send(json!({"id": id.into(), "method": method, "params": params}))
    }

    /// Waits for the client's response to a server request.
    pub fn expect_response(self, id: impl Into<Value>) -> Self {
        self.step(Step::ExpectResponse { id: id.into(), result: None })
    }

    /// Sends any message.
    pub fn send(self, message: Value) -> Self {
        self.step(Step::Send { message })
    }

    /// Sends any line, which need not be JSON.
    pub fn line(self, line: impl AsRef<[u8]>) -> Self {
        self.raw([line.as_ref(), b"\n"].concat())
    }

    /// Sends bytes without a line end, such as half a line or binary data.
    pub fn raw(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.step(Step::Raw { bytes: bytes.into() })
    }

    /// Sends many notifications at full speed.
    pub fn burst(self, burst: Burst) -> Self {
        self.step(Step::Burst(burst))
    }

    /// Writes a line to stderr.
    pub fn stderr(self, line: impl Into<String>) -> Self {
        self.step(Step::Stderr { text: line.into() + "\n" })
    }

    /// Creates a file, which signals a test that the script has reached this point.
    pub fn touch(self, path: impl Into<PathBuf>) -> Self {
        self.step(Step::Touch { path: path.into() })
    }

    /// Waits until a file exists. Use it where a [request](Self) cannot be the signal.
    pub fn await_file(self, path: impl Into<PathBuf>) -> Self {
        self.step(Step::AwaitFile { path: path.into() })
    }

    /// Closes stdout; the server lives on.
    pub fn close_stdout(self) -> Self {
        self.step(Step::CloseStdout)
    }

    /// Ignores SIGTERM from here on.
    pub fn ignore_terminate(self) -> Self {
        self.step(Step::IgnoreTerminate)
    }

    /// Stops reading and writing, and does not exit when stdin ends.
    pub fn hang(self) -> Self {
        self.step(Step::Hang)
    }

    /// Exits at once.
    pub fn exit(self, code: i32) -> Self {
        self.step(Step::Exit { code })
    }

    /// Sets a standing response for a method, used when no step waits for such a request.
    pub fn always(mut self, method: impl Into<String>, result: Value) -> Self {
        self.responses.insert(method.into(), Response::Result(result));
        self
    }

    /// Like [`always`](Self::always), with another kind of response.
    pub fn always_respond(mut self, method: impl Into<String>, response: Response) -> Self {
        self.responses.insert(method.into(), response);
        self
    }

    /// Sets the reaction to requests that the script does not expect.
    pub fn unexpected(mut self, unexpected: Unexpected) -> Self {
        self.unexpected = unexpected;
        self
    }

    /// Appends every line of the client to a file.
    pub fn record(mut self, path: impl Into<PathBuf>) -> Self {
        self.record = Some(path.into());
        self
    }

    /// Expects `thread/start` and responds with a thread of this id, which has the options of the request.
    pub fn start_thread(self, thread: &str) -> Self {
        let response = Response::Opens(messages::thread_start_response(thread));
        self.expect("thread/start").step(Step::Respond { to: None, response })
    }

    /// Expects `turn/start`, responds with a turn of this id, and sends `turn/started`.
    pub fn start_turn(self, thread: &str, turn: &str) -> Self {
        self.expect_with("turn/start", json!({"threadId": thread}))
            .respond(json!({"turn": messages::turn(turn, "inProgress")}))
            .send(messages::turn_started(thread, turn))
    }

    /// Sends a whole agent message: its start, these pieces of text, and its end.
    pub fn agent_message<'a>(
        mut self,
        thread: &str,
        turn: &str,
        item: &str,
        pieces: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let mut text = String::new();
        self = self.send(messages::item_started(thread, turn, messages::agent_message(item, "")));
        for piece in pieces {
            text.push_str(piece);
            self = self.send(messages::delta(thread, turn, item, piece));
        }
        self.send(messages::item_completed(thread, turn, messages::agent_message(item, &text)))
    }

    /// Sends that a turn has failed with this message.
    pub fn fail_turn(self, thread: &str, turn: &str, message: &str) -> Self {
        self.send(messages::turn_completed(thread, messages::failed_turn(turn, message)))
    }

    /// Sends that a turn is completed.
    pub fn complete_turn(self, thread: &str, turn: &str) -> Self {
        self.send(messages::turn_completed(thread, messages::turn(turn, "completed")))
    }

    /// Writes the script to a file for the program.
    pub fn save(&self, path: impl AsRef<Path>) -> io::Result<()> {
        std::fs::write(path, serde_json::to_vec(self)?)
    }

    /// Reads a script from a file.
    pub fn load(path: impl AsRef<Path>) -> io::Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(path)?)?)
    }

    /// Plays the script over a pair of byte streams, such as the halves of a [`tokio::io::duplex`], with one message
    /// per line. Only [`await_file`](Self::await_file) needs a Tokio runtime.
    pub async fn play(
        &self,
        reader: impl AsyncRead + Unpin + Send,
        writer: impl AsyncWrite + Unpin + Send,
    ) -> Result<ScriptResult, ScriptError> {
        let mut port = Streams::new(reader, writer);
        let played = ScriptRunner::new(self, &mut port)?.play().await?;
        Ok(ScriptResult { stderr: port.stderr, ..played })
    }
    /// Plays the script over a transport of the SDK. Bytes of [`raw`](Self::raw) are cut into frames at line ends.
    pub async fn play_frames(&self, transport: Transport) -> Result<ScriptResult, ScriptError> {
        let mut port = Frames::new(transport);
        let played = ScriptRunner::new(self, &mut port)?.play().await;
        // Close the server's side at the end, so that a half-written frame goes out.
        let closed = port.close().await;
        let played = played?;
        closed?;
        Ok(ScriptResult { stderr: port.stderr, ..played })
    }

    /// Plays the script on its own thread. Returns the client's end of the connection, for `AsyncCodex::with_transport`
    /// and `Codex::with_transport`.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use openai_codex::{Codex, CodexConfig};
    /// use openai_codex_testkit::Script;
    ///
    /// let script = Script::standard()
    ///     .start_thread("thread-1")
    ///     .start_turn("thread-1", "turn-1")
    ///     .agent_message("thread-1", "turn-1", "item-1", ["he", "llo"])
    ///     .complete_turn("thread-1", "turn-1");
    /// let (transport, running) = script.connect()?;
    /// let codex = Codex::with_transport(CodexConfig::new(), transport)?;
    /// let result = codex.thread_start().send()?.run("Say hello.")?;
    /// assert_eq!(result.final_response.as_deref(), Some("hello"));
    /// codex.close()?;
    /// assert_eq!(running.finish()?.messages()[3]["method"], "turn/start");
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect(self) -> io::Result<(Transport, RunningScript)> {
        let (client, server) = Transport::memory_pair();
        Ok((client, RunningScript::start(self, server)?))
    }
}

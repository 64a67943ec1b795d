//! Plays a script.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use super::chunks::Cutter;
use super::messages;
use super::port::Port;
use super::script::Script;
use super::step::{Response, Step, Unexpected, contains};

/// The outcome of a finished script.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct ScriptResult {
    /// Every line that the server read from the client, in order.
    pub received: Vec<String>,
    /// The text that the server wrote to stderr.
    pub stderr: String,
    /// The exit code, if a step set one.
    pub exit_code: Option<i32>,
}

impl ScriptResult {
    /// The client's lines as JSON. A line that is not JSON is `Null`.
    pub fn messages(&self) -> Vec<Value> {
        self.received.iter().map(|line| serde_json::from_str(line).unwrap_or_default()).collect()
    }
}

/// Why a script failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum ScriptError {
    /// The client closed its side while a step waited for it.
    Ended {
        /// The number of the step, from 0.
        step: usize,
        /// The expected message.
        waiting_for: String,
    },
    /// A message does not match the script.
    Mismatch {
        /// The number of the step, from 0.
        step: usize,
        /// The mismatch.
        reason: String,
    },
    /// A step responds to a request that no earlier step expects.
    NothingToRespondTo {
        /// The number of the step, from 0.
        step: usize,
    },
    /// The script did not end in time.
    Unfinished {
        /// The time limit.
        after: Duration,
    },
    /// The connection or a file failed.
    Io(io::Error),
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended { step, waiting_for } => {
                write!(
                    f,
                    "step {step} of the script: the client closed its side before it sent {waiting_for}"
                )
            }
            Self::Mismatch { step, reason } => write!(f, "step {step} of the script: {reason}"),
            Self::NothingToRespondTo { step } => {
                write!(
                    f,
                    "step {step} of the script: there is no request to respond to; put an `expect` before it"
                )
            }
            Self::Unfinished { after } => {
                write!(f, "the script has not ended within {after:?}; close its client first")
            }
            Self::Io(error) => write!(f, "the scripted app-server failed: {error}"),
        }
    }
}

impl std::error::Error for ScriptError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for ScriptError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

pub(crate) struct ScriptRunner<'a, P> {
    script: &'a Script,
    port: &'a mut P,
    record: Option<File>,
    /// The current step.
    now: usize,
    /// Messages that arrived early, by the step that waits for them.
    early: BTreeMap<usize, Value>,
    /// Ids of expected requests, by name. The last one has no name.
    names: BTreeMap<Option<String>, Value>,
    received: Vec<String>,
    /// Whether the client has stopped reading.
    gone: bool,
    /// Whether the server has stopped reading.
    deaf: bool,
    cutter: Option<Cutter>,
}

impl<'a, P: Port> ScriptRunner<'a, P> {
    pub(crate) fn new(script: &'a Script, port: &'a mut P) -> io::Result<Self> {
        let record = match &script.record {
            Some(path) => Some(File::options().create(true).append(true).open(path)?),
            None => None,
        };
        let (early, names, received) = Default::default();
        Ok(Self {
            script,
            port,
            record,
            now: 0,
            early,
            names,
            received,
            gone: false,
            deaf: false,
            cutter: None,
        })
    }

    /// Plays all steps, then responds to requests until the client closes its side.
    pub(crate) async fn play(mut self) -> Result<ScriptResult, ScriptError> {
        for (now, step) in self.script.steps.iter().enumerate() {
            self.now = now;
            if let Some(code) = self.step(step).await? {
                return Ok(self.played(Some(code)));
            }
        }
        self.now = self.script.steps.len();
        while self.next().await?.is_some() {}
        Ok(self.played(None))
    }

    fn played(self, exit_code: Option<i32>) -> ScriptResult {
        ScriptResult { received: self.received, stderr: String::new(), exit_code }
    }

    /// Plays one step. Returns the exit code if the step exits.
    async fn step(&mut self, step: &Step) -> Result<Option<i32>, ScriptError> {
        match step {
            Step::Expect { name, .. } => {
                let id = self.wait(step).await?["id"].clone();
                self.names.insert(None, id.clone());
                if name.is_some() {
                    self.names.insert(name.clone(), id);
                }
            }
            Step::ExpectNotification { .. } => drop(self.wait(step).await?),
            Step::ExpectResponse { result, .. } => {
                let response = self.wait(step).await?;
                if result.as_ref().is_some_and(|result| !contains(&response["result"], result)) {
                    return Err(self.mismatch(format!("the client responded {response}")));
                }
            }
            Step::ExpectEnd => while self.next().await?.is_some() {},
            Step::Respond { to, response } => {
                let id =
                    self.names.get(to).ok_or(ScriptError::NothingToRespondTo { step: self.now })?.clone();
                self.respond(&id, response).await?;
            }
            Step::Send { message } => self.send(message).await?,
            Step::Raw { bytes } => self.write(bytes.clone().into()).await?,
            Step::Burst(burst) => {
                let (block, times, rest) = burst.blocks();
                for _ in 0..times {
                    self.write(block.clone()).await?;
                }
                self.write(rest).await?;
            }
            Step::SendPadded { message, bytes } => {
                let mut message = message.clone();
                if !message.is_object() {
                    return Err(self.mismatch("only an object can be padded".into()));
                }
                message["padding"] = "".into();
                let room = usize::try_from(*bytes).unwrap_or(usize::MAX);
                let room = room.saturating_sub(message.to_string().len() + 1);
                message["padding"] = "x".repeat(room).into();
                self.send(&message).await?;
            }
            Step::Cut { chunks } => self.cutter = chunks.map(Cutter::new),
            Step::FloodStderr { bytes } => {
                const LINE: &str =
                    "A line of this length is written to stderr as often as it takes to fill it.\n";
                for _ in 0..bytes / LINE.len() as u64 {
                    self.port.log(LINE);
                }
                self.port.log(&LINE[LINE.len() - (bytes % LINE.len() as u64) as usize..]);
            }
            Step::StopReading => self.deaf = true,
            Step::CloseStdin => {
                self.deaf = true;
                self.port.close_input()?;
            }
            Step::Stderr { text } => self.port.log(text),
            Step::Touch { path } => drop(File::create(path)?),
            Step::AwaitFile { path } => {
                while !path.exists() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            Step::CloseStdout => self.port.close().await?,
            Step::IgnoreTerminate => self.port.ignore_terminate()?,
            Step::Hang => std::future::pending().await,
            Step::Exit { code } => return Ok(Some(*code)),
        }
        Ok(None)
    }

    /// Waits for the message of the current step.
    async fn wait(&mut self, step: &Step) -> Result<Value, ScriptError> {
        loop {
            if let Some(message) = self.early.remove(&self.now) {
                return Ok(message);
            }
            if self.next().await?.is_none() {
                return Err(ScriptError::Ended { step: self.now, waiting_for: describe(step) });
            }
        }
    }

    /// Reads one message and keeps it for its step, responds to it, or ignores it. Returns `None` when the client has
    /// closed its side.
    async fn next(&mut self) -> Result<Option<()>, ScriptError> {
        if self.deaf {
            return std::future::pending().await;
        }
        let Some(line) = self.port.receive().await? else { return Ok(None) };
        if let Some(record) = &mut self.record {
            record.write_all(&[&line[..], b"\n"].concat())?;
        }
        let message = serde_json::from_slice::<Value>(&line);
        self.received.push(String::from_utf8_lossy(&line).into_owned());
        let message = message
            .map_err(|error| self.mismatch(format!("the client sent a line that is not JSON: {error}")))?;
        let waiting = self.script.steps.iter().enumerate().skip(self.now);
        let place = waiting
            .filter(|(place, step)| !self.early.contains_key(place) && step.wants(&message))
            .map(|(place, _)| place)
            .next();
        if let Some(place) = place {
            self.early.insert(place, message);
        } else if let (Some(id), Some(method)) = (message.get("id"), message["method"].as_str()) {
            self.unexpected(id, method, &message).await?;
        }
        Ok(Some(()))
    }

    /// Handles a request that no step expects.
    async fn unexpected(&mut self, id: &Value, method: &str, message: &Value) -> Result<(), ScriptError> {
        if let Some(response) = self.script.responses.get(method) {
            return self.respond(id, response).await;
        }
        match self.script.unexpected {
            Unexpected::MethodNotFound => {
                let reason = format!("the server's script does not expect the request {method}");
                self.respond(id, &Response::error(-32601, reason)).await
            }
            Unexpected::Ignore => Ok(()),
            Unexpected::Fail => Err(self.mismatch(format!("the client sent {message}"))),
        }
    }

    async fn respond(&mut self, id: &Value, response: &Response) -> Result<(), ScriptError> {
        match response.message(id) {
            Some(mut message) => {
                if matches!(response, Response::Opens(_))
                    && let Some(request) = self.request(id)
                {
                    messages::take_options(&mut message["result"], &request["params"]);
                }
                self.send(&message).await
            }
            None => Ok(()),
        }
    }

    /// The request with this id.
    fn request(&self, id: &Value) -> Option<Value> {
        let mut received =
            self.received.iter().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        received.find(|message| message["id"] == *id && message.get("method").is_some())
    }

    async fn send(&mut self, message: &Value) -> Result<(), ScriptError> {
        self.write(Bytes::from(format!("{message}\n"))).await
    }

    /// Ignore a write to a closed client. The next step that waits for the client reports it.
    async fn write(&mut self, mut bytes: Bytes) -> Result<(), ScriptError> {
        while let Some(cutter) = &mut self.cutter
            && !bytes.is_empty()
        {
            let piece = cutter.cut(&mut bytes);
            self.write_piece(piece).await?;
            // Let a reader on the same thread receive the piece.
            tokio::task::yield_now().await;
        }
        self.write_piece(bytes).await
    }

    async fn write_piece(&mut self, bytes: Bytes) -> Result<(), ScriptError> {
        if self.gone || bytes.is_empty() {
            return Ok(());
        }
        match self.port.send(bytes).await {
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                self.gone = true;
                Ok(())
            }
            other => Ok(other?),
        }
    }

    fn mismatch(&self, reason: String) -> ScriptError {
        ScriptError::Mismatch { step: self.now, reason }
    }
}

fn describe(step: &Step) -> String {
    match step {
        Step::Expect { method, params: None, .. } => format!("the request {method}"),
        Step::Expect { method, params: Some(params), .. } => format!("the request {method} with {params}"),
        Step::ExpectNotification { method } => format!("the notification {method}"),
        Step::ExpectResponse { id, .. } => format!("a response to the request {id}"),
        _ => "something".into(),
    }
}

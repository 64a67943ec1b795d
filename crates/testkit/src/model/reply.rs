//! The model's reply to one request.

use std::time::Duration;

use serde_json::Value;

use super::gate::{Barrier, Gate};
use super::message::{Phase, Usage};
use super::reasoning::Reasoning;
use super::tool::ModelToolCall;

/// The model's reply to one request of the runtime: a sequence of parts, sent in order.
///
/// ```
/// use openai_codex_testkit::{ModelReply, ModelToolCall, Phase, Reasoning, Usage};
///
/// let plain = ModelReply::text("hello");
/// let streamed = ModelReply::new().delta("he").delta("llo").usage(Usage::new(11, 7).cached(3).reasoning(5));
/// let phases =
///     ModelReply::new().message("thinking aloud", Phase::Commentary).message("done", Phase::FinalAnswer);
/// let command = ModelReply::exec_command("echo hi");
/// let remove = ModelToolCall::exec_command("rm -r build").escalate("the build is stale");
/// let asks_first = ModelReply::new().call(remove);
/// let two_at_once = ModelReply::exec_command("cargo fmt").call(ModelToolCall::exec_command("cargo doc"));
/// let thoughtful = ModelReply::new().reasoning(Reasoning::summary("Look first.")).delta("I looked.");
/// let broken = ModelReply::failed("boom from mock model");
/// let busy = ModelReply::http_error(429, "slow down").header("retry-after", "1");
/// let lost = ModelReply::new().delta("he").disconnect();
/// # let _ = (plain, streamed, phases, command, asks_first, two_at_once, thoughtful, broken, busy, lost);
/// ```
///
/// After a reply with tool calls the runtime runs them and sends another request. Queue a second reply for it.
#[derive(Debug, Clone, Default)]
#[must_use = "a reply does nothing until it is given to a model"]
pub struct ModelReply {
    pub(crate) parts: Vec<Part>,
    pub(crate) usage: Usage,
    pub(crate) end: End,
    /// The phase of the message that the next delta opens.
    phase: Option<Phase>,
    /// Whether the next delta continues the last message.
    open: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Part {
    /// The start of a message.
    Open(Option<Phase>),
    /// Text of the open message.
    Delta(String),
    /// The end of the open message.
    Close,
    Call(ModelToolCall),
    Reasoning(Reasoning),
    Pause(Barrier),
    Delay(Duration),
    /// Bytes, unchanged.
    Raw(String),
}

#[derive(Debug, Clone, Default)]
pub(crate) enum End {
    #[default]
    Completed,
    Failed {
        code: String,
        message: String,
    },
    Incomplete {
        reason: String,
    },
    Http {
        status: u16,
        headers: Vec<(String, String)>,
        body: String,
    },
    /// The body ends properly, but without an event that says so.
    Silent,
    /// The connection breaks.
    Cut {
        /// Whether half an event is sent first.
        mid_event: bool,
    },
}

impl ModelReply {
    /// An empty reply: the model finishes without a message.
    pub fn new() -> Self {
        Self::default()
    }

    /// One message without a phase, in one delta.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new().delta(text)
    }

    /// One call of the runtime's own command tool.
    pub fn exec_command(command: impl Into<String>) -> Self {
        Self::new().call(ModelToolCall::exec_command(command))
    }

    /// One call of any tool, such as a function that the client declared.
    pub fn tool_call(name: impl Into<String>, arguments: Value) -> Self {
        Self::new().call(ModelToolCall::new(name, arguments))
    }

    /// A stream that starts and then reports that the model failed, with this message.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new().fail(message)
    }

    /// An HTTP response with this status instead of a stream. Only the pauses and delays of the reply apply.
    ///
    /// The runtime shows the `error.message` of a JSON body for some statuses (401 among them), the whole body for 400,
    /// and its own text for 429 and 5xx.
    pub fn http_error(status: u16, body: impl Into<String>) -> Self {
        Self { end: End::Http { status, headers: Vec::new(), body: body.into() }, ..Self::default() }
    }

    /// Adds a header to an [HTTP error](Self::http_error), such as `retry-after`. Other replies have no headers.
    ///
    /// The model's configuration turns retries off. If `request_max_retries` or `stream_max_retries` of
    /// `model_providers.scripted` turns them on, runtime 0.163.0 waits as many seconds as `retry-after` says. After a
    /// 429 it retries only if that header is present and `stream_max_retries` allows it.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        if let End::Http { headers, .. } = &mut self.end {
            headers.push((name.into(), value.into()));
        }
        self
    }

    /// Adds a piece of text to the open message, or starts a new message with it.
    pub fn delta(mut self, text: impl Into<String>) -> Self {
        if !self.open {
            self.parts.push(Part::Open(self.phase.take()));
            self.open = true;
        }
        self.parts.push(Part::Delta(text.into()));
        self
    }

    /// Ends the open message. The next [`delta`](Self::delta) starts another.
    pub fn end_message(mut self) -> Self {
        if std::mem::take(&mut self.open) {
            self.parts.push(Part::Close);
        }
        self
    }

    /// Ends the open message and sets the phase of the next one.
    pub fn phase(mut self, phase: Phase) -> Self {
        self = self.end_message();
        self.phase = Some(phase);
        self
    }

    /// Adds a whole message with a phase.
    pub fn message(self, text: impl Into<String>, phase: Phase) -> Self {
        self.phase(phase).delta(text).end_message()
    }

    /// Adds a tool call.
    pub fn call(mut self, call: ModelToolCall) -> Self {
        self = self.end_message();
        self.parts.push(Part::Call(call));
        self
    }

    /// Adds reasoning, before the model speaks or acts.
    pub fn reasoning(mut self, reasoning: Reasoning) -> Self {
        self = self.end_message();
        self.parts.push(Part::Reasoning(reasoning));
        self
    }

    /// Adds any event of the Responses API, valid or not. Its `type` is its name.
    pub fn event(self, event: Value) -> Self {
        let name = event["type"].as_str().unwrap_or_default();
        self.raw(format!("event: {name}\ndata: {event}\n\n"))
    }

    /// Adds an event whose data is not valid JSON. The runtime skips it.
    pub fn malformed_event(self) -> Self {
        self.raw("event: response.output_text.delta\ndata: {\"type\": \"response.output_te\n\n")
    }

    /// Adds text to the body, unchanged, between events.
    pub fn raw(mut self, text: impl Into<String>) -> Self {
        self.parts.push(Part::Raw(text.into()));
        self
    }

    /// Waits in real time. If the test knows when to go on, use [`pause`](Self::pause): it is as fast as possible, and
    /// never too fast. A delay is for an expiring timeout, or for a stream to watch.
    pub fn delay(mut self, time: Duration) -> Self {
        self.parts.push(Part::Delay(time));
        self
    }

    /// Stops here until the test opens the gate. The model has sent everything before it.
    pub fn pause(mut self, gate: &Gate) -> Self {
        self.parts.push(Part::Pause(gate.barrier()));
        self
    }

    /// Ends the reply with a failure instead of completion. The code is `invalid_prompt`: the runtime does not retry,
    /// and passes the message on unchanged.
    pub fn fail(self, message: impl Into<String>) -> Self {
        self.fail_with("invalid_prompt", message)
    }

    /// Ends the reply with a failure of another code, such as `rate_limit_exceeded`, `context_length_exceeded`,
    /// `insufficient_quota` or `server_is_overloaded`.
    pub fn fail_with(mut self, code: impl Into<String>, message: impl Into<String>) -> Self {
        self.end = End::Failed { code: code.into(), message: message.into() };
        self
    }

    /// Ends the reply with `response.incomplete`, for a reason such as `max_output_tokens` or `content_filter`. The
    /// turn fails with that reason.
    pub fn incomplete(mut self, reason: impl Into<String>) -> Self {
        self.end = End::Incomplete { reason: reason.into() };
        self
    }

    /// Breaks the connection after the parts so far, instead of ending the reply.
    pub fn disconnect(mut self) -> Self {
        self.end = End::Cut { mid_event: false };
        self
    }

    /// Breaks the connection in the middle of one more event.
    pub fn disconnect_mid_event(mut self) -> Self {
        self.end = End::Cut { mid_event: true };
        self
    }

    /// Ends the body properly after the parts so far, but without `response.completed`.
    pub fn end_early(mut self) -> Self {
        self.end = End::Silent;
        self
    }

    /// Sets the token counts at the end of the reply. The default is zero.
    pub fn usage(mut self, usage: Usage) -> Self {
        self.usage = usage;
        self
    }

    /// The parts, with the last message closed.
    pub(crate) fn into_parts(self) -> (Vec<Part>, Usage, End) {
        let closed = match self.end {
            End::Completed => self.end_message(),
            // Anything else would cut a message short.
            _ => self,
        };
        (closed.parts, closed.usage, closed.end)
    }
}

impl From<&str> for ModelReply {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for ModelReply {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<Reasoning> for ModelReply {
    fn from(reasoning: Reasoning) -> Self {
        Self::new().reasoning(reasoning)
    }
}

impl From<ModelToolCall> for ModelReply {
    fn from(call: ModelToolCall) -> Self {
        Self::new().call(call)
    }
}

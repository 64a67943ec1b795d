//! What the model answers to one request.

use serde_json::{Map, Value};

use super::gate::{Barrier, Gate};

/// The model's answer to one request of the runtime: a sequence of parts, sent in order.
///
/// ```
/// use openai_codex_testkit::{Phase, Reply, ToolCall, Usage};
///
/// let plain = Reply::text("hello");
/// let streamed = Reply::new().delta("he").delta("llo").usage(Usage::new(11, 7).cached(3).reasoning(5));
/// let phases = Reply::new().message("thinking aloud", Phase::Commentary).message("done", Phase::FinalAnswer);
/// let command = Reply::exec_command("echo hi");
/// let asks_first = Reply::new().call(ToolCall::exec_command("rm -r build").escalate("the build is stale"));
/// let broken = Reply::failed("boom from mock model");
/// # let _ = (plain, streamed, phases, command, asks_first, broken);
/// ```
///
/// A reply that holds tool calls makes the runtime run them and ask the model again: queue a second reply for that.
#[derive(Debug, Clone, Default)]
#[must_use = "a reply does nothing until it is given to a model"]
pub struct Reply {
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
    /// A message begins.
    Open(Option<Phase>),
    /// More text of the message that is open.
    Delta(String),
    /// The message that is open ends.
    Close,
    Call(ToolCall),
    Pause(Barrier),
}

#[derive(Debug, Clone, Default)]
pub(crate) enum End {
    #[default]
    Completed,
    Failed {
        code: String,
        message: String,
    },
    Http {
        status: u16,
        body: String,
    },
}

impl Reply {
    /// An empty reply: the model says nothing and is done.
    pub fn new() -> Self {
        Self::default()
    }

    /// One message without a phase, in one delta.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new().delta(text)
    }

    /// One call of the runtime's own command tool.
    pub fn exec_command(command: impl Into<String>) -> Self {
        Self::new().call(ToolCall::exec_command(command))
    }

    /// One call of any tool, such as a function that the client declared.
    pub fn tool_call(name: impl Into<String>, arguments: Value) -> Self {
        Self::new().call(ToolCall::new(name, arguments))
    }

    /// The stream begins and then reports that the model failed, with this message.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new().fail(message)
    }

    /// No stream at all: an HTTP answer of this status.
    pub fn http_error(status: u16, body: impl Into<String>) -> Self {
        Self { end: End::Http { status, body: body.into() }, ..Self::default() }
    }

    /// A piece of text: the next one of the message that is open, or the first of a new one.
    pub fn delta(mut self, text: impl Into<String>) -> Self {
        if !self.open {
            self.parts.push(Part::Open(self.phase.take()));
            self.open = true;
        }
        self.parts.push(Part::Delta(text.into()));
        self
    }

    /// Ends the message that is open; the next [`delta`](Self::delta) begins another.
    pub fn end_message(mut self) -> Self {
        if std::mem::take(&mut self.open) {
            self.parts.push(Part::Close);
        }
        self
    }

    /// Ends the message that is open and gives the next one a phase.
    pub fn phase(mut self, phase: Phase) -> Self {
        self = self.end_message();
        self.phase = Some(phase);
        self
    }

    /// A whole message in a phase.
    pub fn message(self, text: impl Into<String>, phase: Phase) -> Self {
        self.phase(phase).delta(text).end_message()
    }

    /// A tool call.
    pub fn call(mut self, call: ToolCall) -> Self {
        self = self.end_message();
        self.parts.push(Part::Call(call));
        self
    }

    /// Stops here until the test releases the gate. What came before has been sent.
    pub fn pause(mut self, gate: &Gate) -> Self {
        self.parts.push(Part::Pause(gate.barrier()));
        self
    }

    /// Ends the reply with a failure instead of completion. The code is `invalid_prompt`: the runtime doesn't try
    /// again, and passes the message on as it is.
    pub fn fail(self, message: impl Into<String>) -> Self {
        self.fail_with("invalid_prompt", message)
    }

    /// Ends the reply with a failure of another code, such as `rate_limit_exceeded`, `context_length_exceeded`,
    /// `insufficient_quota` or `server_is_overloaded`.
    pub fn fail_with(mut self, code: impl Into<String>, message: impl Into<String>) -> Self {
        self.end = End::Failed { code: code.into(), message: message.into() };
        self
    }

    /// The token counts reported at the end; zeros unless said.
    pub fn usage(mut self, usage: Usage) -> Self {
        self.usage = usage;
        self
    }

    /// The parts with the last message closed.
    pub(crate) fn into_parts(self) -> (Vec<Part>, Usage, End) {
        let closed = match self.end {
            // A failure cuts a message short.
            End::Failed { .. } => self,
            _ => self.end_message(),
        };
        (closed.parts, closed.usage, closed.end)
    }
}

impl From<&str> for Reply {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Reply {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<ToolCall> for Reply {
    fn from(call: ToolCall) -> Self {
        Self::new().call(call)
    }
}

/// What a message of the model is meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// A remark on the way.
    Commentary,
    /// The answer.
    FinalAnswer,
}

impl Phase {
    pub(crate) fn wire(self) -> &'static str {
        match self {
            Self::Commentary => "commentary",
            Self::FinalAnswer => "final_answer",
        }
    }
}

/// Token counts of one reply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the request, cached ones included.
    pub input: u64,
    /// Those of `input` that came from a cache.
    pub cached: u64,
    /// Tokens of the answer, reasoning included.
    pub output: u64,
    /// Those of `output` that were reasoning.
    pub reasoning: u64,
}

impl Usage {
    /// Counts without cache and reasoning.
    pub const fn new(input: u64, output: u64) -> Self {
        Self { input, cached: 0, output, reasoning: 0 }
    }

    /// Sets [`cached`](Self::cached).
    pub const fn cached(mut self, tokens: u64) -> Self {
        self.cached = tokens;
        self
    }

    /// Sets [`reasoning`](Self::reasoning).
    pub const fn reasoning(mut self, tokens: u64) -> Self {
        self.reasoning = tokens;
        self
    }
}

/// One call of a tool by the model.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a call does nothing until it is part of a reply"]
pub struct ToolCall {
    pub(crate) name: String,
    pub(crate) arguments: Value,
    pub(crate) call_id: Option<String>,
    pub(crate) namespace: Option<String>,
}

impl ToolCall {
    /// A call with all its arguments. An object is usual; anything else is sent as it is, which is a way to see what
    /// happens to a call that makes no sense.
    pub fn new(name: impl Into<String>, arguments: Value) -> Self {
        Self { name: name.into(), arguments, call_id: None, namespace: None }
    }

    /// The runtime's own command tool: it runs the line in a shell, in its sandbox.
    ///
    /// The argument `login` is false, so that the start-up files of whoever runs the test don't add to the output.
    pub fn exec_command(command: impl Into<String>) -> Self {
        Self::new("exec_command", Value::Object(Map::new())).arg("cmd", command.into()).arg("login", false)
    }

    /// One more argument, or another value for one. `exec_command` knows `workdir`, `yield_time_ms`,
    /// `max_output_tokens`, `tty`, `shell`, `login`, `prefix_rule` and what [`escalate`](Self::escalate) sets.
    ///
    /// # Panics
    /// If the arguments aren't an object.
    pub fn arg(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        let Value::Object(arguments) = &mut self.arguments else {
            panic!("the arguments of the tool call {:?} are no object", self.name);
        };
        arguments.insert(name.into(), value.into());
        self
    }

    /// Asks to run outside the sandbox, for this reason. With an approval policy of `on-request` and the user as the
    /// reviewer, the runtime asks the client.
    pub fn escalate(self, justification: impl Into<String>) -> Self {
        self.arg("sandbox_permissions", "require_escalated").arg("justification", justification.into())
    }

    /// The namespace of the tool, for one that has one: `multi_agent_v1` has `spawn_agent` and `wait_agent`.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// The id that ties the call to its output; otherwise one is made up.
    pub fn call_id(mut self, id: impl Into<String>) -> Self {
        self.call_id = Some(id.into());
        self
    }
}

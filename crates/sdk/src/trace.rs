//! Spans for the crate `tracing`. Without the feature of that name, they cost nothing.
//!
//! Names and fields follow OpenTelemetry's conventions for generative AI and for RPC where these exist. They hold ids,
//! names, numbers and kinds of errors, and never the content of a conversation.

#[cfg(feature = "tracing")]
use tracing::field::Empty;

use openai_codex_protocol::types::TokenUsageBreakdown;

use crate::error::Error;

/// A span, from its creation to its drop.
#[derive(Clone, Debug)]
pub(crate) struct Span(#[cfg(feature = "tracing")] tracing::Span);

/// Creates a span. Without the feature, it is empty.
macro_rules! span {
    ($level:ident, $($span:tt)+) => {
        Span(#[cfg(feature = "tracing")] tracing::span!(target: "openai_codex", tracing::Level::$level, $($span)+))
    };
}

/// The start of a client.
pub(crate) fn client() -> Span {
    span!(INFO, "codex.client.start", "error.type" = Empty)
}

/// A request to the server, until its response.
#[cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "they are fields of the span"))]
pub(crate) fn request(method: &str, id: i64, thread_id: Option<&str>) -> Span {
    span!(
        DEBUG,
        "codex.request",
        "otel.kind" = "client",
        "rpc.system.name" = "jsonrpc",
        "rpc.method" = method,
        "jsonrpc.request.id" = id,
        "gen_ai.conversation.id" = thread_id,
        "error.type" = Empty,
    )
}

/// The opening of a thread: a start, a resume or a fork.
#[cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "they are fields of the span"))]
pub(crate) fn thread(operation: &str) -> Span {
    span!(
        INFO,
        "codex.thread.open",
        "codex.operation" = operation,
        "gen_ai.conversation.id" = Empty,
        "error.type" = Empty,
    )
}

/// A turn, as long as a handle holds it, and at most until its end.
#[cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "they are fields of the span"))]
pub(crate) fn turn(thread_id: &str) -> Span {
    span!(
        INFO,
        "invoke_agent codex",
        "gen_ai.operation.name" = "invoke_agent",
        "gen_ai.provider.name" = "openai",
        "gen_ai.agent.name" = "codex",
        "gen_ai.conversation.id" = thread_id,
        "codex.turn.id" = Empty,
        "codex.turn.status" = Empty,
        "gen_ai.usage.input_tokens" = Empty,
        "gen_ai.usage.output_tokens" = Empty,
        "error.type" = Empty,
    )
}

/// A server request, until its response.
#[cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "they are fields of the span"))]
pub(crate) fn served(method: &str, thread_id: Option<&str>, turn_id: Option<&str>) -> Span {
    span!(
        INFO,
        "codex.server_request",
        "otel.kind" = "server",
        "rpc.system.name" = "jsonrpc",
        "rpc.method" = method,
        "gen_ai.conversation.id" = thread_id,
        "codex.turn.id" = turn_id,
        "error.type" = Empty,
    )
}

#[cfg_attr(
    not(feature = "tracing"),
    expect(unused_variables, clippy::unused_self, reason = "there is no span")
)]
impl Span {
    /// Runs the future inside the span, and records its error.
    pub(crate) async fn around<T>(self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        #[cfg(feature = "tracing")]
        let work = tracing::Instrument::instrument(work, self.0.clone());
        let done = work.await;
        if let Err(error) = &done {
            self.failed(error);
        }
        done
    }

    pub(crate) fn failed(&self, error: &Error) {
        self.record("error.type", &format_args!("{:?}", error.kind()));
    }

    /// Records that a handler has failed.
    pub(crate) fn handler_failed(&self) {
        self.record("error.type", &"HandlerFailed");
    }

    pub(crate) fn conversation(&self, thread_id: &str) {
        self.record("gen_ai.conversation.id", &thread_id);
    }

    pub(crate) fn turn_id(&self, turn_id: &str) {
        self.record("codex.turn.id", &turn_id);
    }

    /// Whether a subscriber records the span.
    pub(crate) fn is_enabled(&self) -> bool {
        #[cfg(feature = "tracing")]
        return !self.0.is_disabled();
        #[cfg(not(feature = "tracing"))]
        false
    }

    pub(crate) fn ended(&self, status: &str, usage: Option<&TokenUsageBreakdown>) {
        self.record("codex.turn.status", &status);
        if let Some(usage) = usage {
            self.record("gen_ai.usage.input_tokens", &usage.input_tokens);
            self.record("gen_ai.usage.output_tokens", &usage.output_tokens);
        }
    }

    fn record(&self, field: &'static str, value: &dyn std::fmt::Display) {
        #[cfg(feature = "tracing")]
        self.0.record(field, tracing::field::display(value));
    }
}

/// A server request that no handler has answered, or whose handler has failed.
#[cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "they are fields of the event"))]
pub(crate) fn unhandled(method: &str, failed: bool) {
    #[cfg(feature = "tracing")]
    match failed {
        true => {
            tracing::warn!(target: "openai_codex", { "rpc.method" = method }, "a handler of a server request failed")
        }
        false => {
            tracing::debug!(target: "openai_codex", { "rpc.method" = method }, "a server request got the default response")
        }
    }
}

/// A line that is not a message.
pub(crate) fn malformed() {
    #[cfg(feature = "tracing")]
    tracing::warn!(target: "openai_codex", "the server wrote a line that is not a message");
}

/// The loss of a connection. A close by the program is not one.
#[cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "it is a field of the event"))]
pub(crate) fn lost(error: &Error) {
    #[cfg(feature = "tracing")]
    tracing::error!(target: "openai_codex", { "error.type" = ?error.kind() }, "the connection to the runtime has ended");
}

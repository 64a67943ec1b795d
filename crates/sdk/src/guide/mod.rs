//! The guide: how the crate behaves, by subject.

/// Approvals: modes, handlers, and default responses.
#[doc = include_str!("approvals.md")]
pub mod approvals {}

/// Cancellation: the effect of drops, interrupts, closes and limits.
#[doc = include_str!("cancellation.md")]
pub mod cancellation {}

/// Timeouts: how long each wait may take.
#[doc = include_str!("timeouts.md")]
pub mod timeouts {}

/// Durable turns: a turn that runs once, however many callers ask for it, and however often.
#[doc = include_str!("durable.md")]
pub mod durable {}

/// Endpoints: servers that run by themselves, and that several programs share.
#[doc = include_str!("endpoints.md")]
pub mod endpoints {}

/// Lost connections: what a client does when it loses the server of its endpoint.
#[doc = include_str!("lost_connections.md")]
pub mod lost_connections {}

/// Errors and retry: kinds of errors, failed turns, and retryable errors.
#[doc = include_str!("errors.md")]
pub mod errors {}

/// Inputs: text, images, skills, mentions, and external messages.
#[doc = include_str!("inputs.md")]
pub mod inputs {}

/// Login and account: API keys, interactive logins, and secrets.
#[doc = include_str!("login.md")]
pub mod login {}

/// Observing: the wire log, spans, trace contexts, and events.
#[doc = include_str!("observing.md")]
pub mod observing {}

/// Restart: replacing a lost runtime.
#[doc = include_str!("restart.md")]
pub mod restart {}

/// Streaming: the order of events, and slow consumers.
#[doc = include_str!("streaming.md")]
pub mod streaming {}

/// Testing an agent offline.
#[doc = include_str!("testing.md")]
pub mod testing {}

/// Threads and turns: settings, lifetime, and results.
#[doc = include_str!("threads.md")]
pub mod threads {}

/// Tools: functions of your program that the model can call.
#[doc = include_str!("tools.md")]
pub mod tools {}

/// Trust: what a folder may run, and who decides.
#[doc = include_str!("trust.md")]
pub mod trust {}

/// Typed output: final responses as values of a Rust type.
#[doc = include_str!("typed_output.md")]
pub mod typed_output {}

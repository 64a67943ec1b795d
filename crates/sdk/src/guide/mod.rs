//! The guide: how the crate behaves, by subject.

/// Approvals: who is asked, and what happens when nobody answers.
#[doc = include_str!("approvals.md")]
pub mod approvals {}

/// Cancellation: what ends when something is dropped, interrupted, closed or late.
#[doc = include_str!("cancellation.md")]
pub mod cancellation {}

/// Timeouts: which wait ends when.
#[doc = include_str!("timeouts.md")]
pub mod timeouts {}

/// Errors and retry: what an error tells, and which ones are worth another try.
#[doc = include_str!("errors.md")]
pub mod errors {}

/// Inputs: what a turn can be given.
#[doc = include_str!("inputs.md")]
pub mod inputs {}

/// Login and account: keys, people who log in, and what is kept secret.
#[doc = include_str!("login.md")]
pub mod login {}

/// Seeing it: a log of the wire, spans, and events.
#[doc = include_str!("observing.md")]
pub mod observing {}

/// Restart: a new runtime for one that was lost.
#[doc = include_str!("restart.md")]
pub mod restart {}

/// Streaming and ordering: what comes when, and what is never lost.
#[doc = include_str!("streaming.md")]
pub mod streaming {}

/// Testing your own agent, offline.
#[doc = include_str!("testing.md")]
pub mod testing {}

/// Threads and turns: the objects, and how they live.
#[doc = include_str!("threads.md")]
pub mod threads {}

/// Tools: functions of your program that the model can call.
#[doc = include_str!("tools.md")]
pub mod tools {}

/// Trust: what may run because of the folder that a thread works in.
#[doc = include_str!("trust.md")]
pub mod trust {}

/// Typed output: a final response that is a value of a Rust type.
#[doc = include_str!("typed_output.md")]
pub mod typed_output {}

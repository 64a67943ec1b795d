//! The guide: how to test an agent offline, by subject.
//!
//! All code in them runs as a test of this crate, with the real runtime.

/// A first test: a model that says what the test wants, and a client that is tested.
#[doc = include_str!("first_test.md")]
pub mod first_test {}

/// Scripting the model: replies, streams, reasoning, several threads, failures.
#[doc = include_str!("model.md")]
pub mod model {}

/// Commands and patches, which run for real in the sandbox.
#[doc = include_str!("commands.md")]
pub mod commands {}

/// Approvals, questions and everything else that the runtime asks, and who answers.
#[doc = include_str!("approvals.md")]
pub mod approvals {}

/// Faults: servers that do what the real one won't do on demand; and a bug report as a test.
#[doc = include_str!("faults.md")]
pub mod faults {}

/// Leak checks: what a test has left behind.
#[doc = include_str!("leak_checks.md")]
pub mod leak_checks {}

//! The guide: how to test an agent offline.
//!
//! All code in these pages runs as a test of this crate, on the real runtime.

/// A first test: a scripted model, and a client under test.
#[doc = include_str!("first_test.md")]
pub mod first_test {}

/// The model: replies, streams, reasoning, several threads, failures.
#[doc = include_str!("model.md")]
pub mod model {}

/// Commands and patches, which really run in the sandbox.
#[doc = include_str!("commands.md")]
pub mod commands {}

/// Approvals, questions and every other server request.
#[doc = include_str!("approvals.md")]
pub mod approvals {}

/// Faults: servers that misbehave on demand, and wire logs as tests.
#[doc = include_str!("faults.md")]
pub mod faults {}

/// Connections: a proxy that breaks them where the test wants it.
#[cfg(unix)]
#[doc = include_str!("connections.md")]
pub mod connections {}

/// Leak checks: processes and threads that a test leaves behind.
#[doc = include_str!("leak_checks.md")]
pub mod leak_checks {}

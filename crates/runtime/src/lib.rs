//! Find or install the pinned `codex` program, the runtime that the crate `openai-codex` drives.
//!
//! Two operations, kept apart on purpose:
//!
//! - [`locate`] looks at a handful of paths and says which program to run. It never downloads, spawns nothing and takes well
//!   under a millisecond; starting a client does this and no more.
//! - [`install`] brings the pinned version ([`VERSION`]) into a per-user cache, through the npm client, or pip where npm is
//!   missing. With a filled cache it touches no network. [`InstallOptions`] sets the folder, a deadline, a progress callback. It comes with the
//!   cargo feature `install`.
//!
//! ```no_run
//! // Once, with progress on stderr; afterwards `Codex::new()` finds it.
//! let runtime = openai_codex_runtime::install()?;
//! println!("codex {} is at {}", openai_codex_runtime::VERSION, runtime.program().display());
//! # Ok::<(), openai_codex_runtime::Error>(())
//! ```
//!
//! # Where it looks
//!
//! 1. a program given by the caller;
//! 2. the environment variable `CODEX_BIN`;
//! 3. the managed install ([`managed_dir`]);
//! 4. `codex` on `PATH`. npm's `codex` is a Node script; the native program behind it is used instead.
//!
//! 1 and 2 name one program: if it cannot be used, that is an error, and nothing else is tried.
//!
//! # The cache
//!
//! An install is `<cache>/openai-codex/runtime/<version>-<platform>/`, where `<cache>` is `$CODEX_RUNTIME_CACHE`, else
//! `$XDG_CACHE_HOME` or `~/.cache` (Linux), or `~/Library/Caches` (macOS). The folders from `openai-codex` down have mode 0700
//! and must belong to the user. Several processes may install at once: one does, the others wait for it. An install is
//! unpacked beside its place, checked against recorded hashes, marked as complete and then moved into place in one step, so a
//! folder of that name is a whole install or none.
//!
//! What protects what: npm and pip check the hash of the package before they unpack it, and this crate checks the hash of
//! every program in it before the move. Later starts see the marker and the program and do not hash 380 MB again: whoever can
//! write to the folder later on (the user, root) is trusted.
//!
//! Linux and macOS are supported, on x86-64 and arm64. On Windows this compiles, finds what is named explicitly, and reports
//! an install as unsupported.

// Much of what only an install uses stands beside what finding a runtime uses.
#![cfg_attr(not(feature = "install"), allow(dead_code))]

mod cache;
#[cfg(feature = "install")]
mod child;
mod client;
mod environment;
mod error;
#[cfg(feature = "install")]
mod install;
mod launcher;
mod locate;
mod marker;
mod pin;
#[cfg(feature = "install")]
mod progress;
#[cfg(feature = "install")]
mod staging;
#[cfg(feature = "install")]
mod verify;

#[cfg(all(test, unix, feature = "install"))]
mod tests;

pub use client::Client;
pub use environment::Environment;
pub use error::{ClientFailure, Error, Place};
#[cfg(feature = "install")]
pub use install::{InstallOptions, install};
pub use locate::{Runtime, Source, locate, managed_dir};
pub use pin::VERSION;
#[cfg(feature = "install")]
pub use progress::{Progress, progress_to_stderr};

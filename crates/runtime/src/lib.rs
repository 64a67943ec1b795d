//! Find or install the pinned `codex` program, the runtime that the crate `openai-codex` starts.
//!
//! - [`locate`] checks a handful of paths and returns the program to run. It never downloads, starts no process, and takes well
//!   under a millisecond. Starting a client does only this.
//! - [`install`] installs the pinned version ([`VERSION`]) into a per-user cache, with npm, or with pip if npm is missing. If the
//!   version is already there, it uses no network. [`InstallOptions`] sets the folder, a time limit and a progress callback. It needs
//!   the cargo feature `install`.
//!
//! ```no_run
//! // Once, with progress on stderr; afterwards `Codex::new()` finds it.
//! let runtime = openai_codex_runtime::install()?;
//! println!("codex {} is at {}", openai_codex_runtime::VERSION, runtime.program().display());
//! # Ok::<(), openai_codex_runtime::Error>(())
//! ```
//!
//! # Search order
//!
//! 1. a program that the caller names;
//! 2. the environment variable `CODEX_BIN`;
//! 3. the managed install ([`managed_dir`]);
//! 4. `codex` on `PATH`. npm's `codex` is a Node script; this crate uses the native program behind it.
//!
//! 1 and 2 name one program. If it cannot be used, the search ends with an error.
//!
//! # The cache
//!
//! An install is `<cache>/openai-codex/runtime/<version>-<platform>/`. `<cache>` is `$CODEX_RUNTIME_CACHE`, else `$XDG_CACHE_HOME`
//! or `~/.cache` (Linux), or `~/Library/Caches` (macOS). The folders from `openai-codex` down have mode 0700 and must belong to
//! the user. If several processes install at once, one does the work and the others wait. An install is unpacked beside its
//! final place, checked against recorded hashes, marked as complete, and then moved in one step. So a folder with the final name is
//! always a complete install.
//!
//! npm and pip check the hash of the package before they unpack it. This crate checks the hash of every program before the
//! move. Later starts check the marker and the program, and do not hash 380 MB again: they trust the accounts that can write to the
//! folder (the user, root).
//!
//! # Platforms
//!
//! Linux and macOS, on x86-64 and arm64. On Windows the crate compiles, finds an explicitly named program, and reports that it cannot
//! install.

// Install-only code stands beside the code that finds a runtime.
#![cfg_attr(not(feature = "install"), allow(dead_code))]

mod cache;
#[cfg(feature = "install")]
mod child;
mod environment;
mod error;
#[cfg(feature = "install")]
mod install;
mod locate;
mod marker;
mod npm_shim;
mod package_manager;
mod pin;
#[cfg(feature = "install")]
mod progress;
#[cfg(feature = "install")]
mod staging;
#[cfg(feature = "install")]
mod verify;

#[cfg(all(test, unix, feature = "install"))]
mod tests;

pub use environment::Environment;
pub use error::{ClientFailure, Error, Place};
#[cfg(feature = "install")]
pub use install::{InstallOptions, install};
pub use locate::{Runtime, Source, locate, managed_dir};
pub use package_manager::PackageManager;
pub use pin::VERSION;
#[cfg(feature = "install")]
pub use progress::{Progress, progress_to_stderr};

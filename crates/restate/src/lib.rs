//! Durable Codex turns on the engine [Restate](https://restate.dev).
//!
//! A turn runs for minutes or hours, on machines that end. The engine records which turns are to run, and workers run them. A worker
//! that is killed in the middle of a turn loses nothing, and no turn is begun twice. An approval waits in the engine, for days if it has
//! to. `docs/beyond_one_process.md` in the repository is the guide: how to start a turn from any language, what is guaranteed, and how to
//! operate it.
//!
//! - [`serve`] makes the program a worker. The program `codex-worker` does the same.
//! - [`RunRequest`] and [`RunOutcome`] are the input and the output of a turn, [`ThreadStatus`] and [`OpenAsk`] what a thread does and
//!   what it waits for. Any program sends and receives them as JSON, at the engine.
//! - [`fleet`] returns what all workers do.
//!
//! ```no_run
//! use openai_codex::CodexConfig;
//! use openai_codex_restate::{WorkerConfig, serve};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let config = WorkerConfig::new()
//!         .codex(CodexConfig::new().env("CODEX_HOME", "/srv/codex"))
//!         .admin("http://127.0.0.1:9070");
//!     let ctrl_c = async {
//!         let _ = tokio::signal::ctrl_c().await;
//!     };
//!     Ok(serve(config, ctrl_c).await?)
//! }
//! ```

mod accept;
mod ask;
mod asked;
mod control;
mod desk;
mod engine;
mod fleet;
mod http;
mod interrupts;
mod length;
mod looks;
mod naming;
mod notes;
mod object;
mod openings;
mod outcome;
mod process;
mod request;
mod runner;
mod serve;
mod siblings;
mod steers;
mod turn;
mod worker;

pub use ask::{Ask, AskKind, OpenAsk};
pub use fleet::{Fleet, WorkerRow, fleet};
pub use object::{Reached, RunningTurn, ThreadStatus, Totals, WorkerTotals};
pub use outcome::{How, RunOutcome};
pub use request::{Approvals, HalfDoneChoice, InputPart, OnHalfDone, RunInput, RunOptions, RunRequest};
pub use serve::{WorkerConfig, WorkerError, serve};
pub use turn::Place;
pub use worker::WorkerReport;

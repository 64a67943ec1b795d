//! The engine, workers, the real runtime and a scripted model.

mod approvals;
mod cancelling;
mod deaths;
mod ending;
mod interrupts;
mod moving;
mod openings;
mod steps;
mod support;
mod takeover;
mod turns;
mod waits;

//! The runtime as a child process: its command line, its standard error, its end.

mod descendants;
mod launch;
mod reap;
mod stderr;

pub(crate) use launch::Launch;
pub(crate) use reap::{Group, end};
pub(crate) use stderr::StderrTail;

//! The runtime as a child process: its command line, its environment, its home, its standard error, its end.

mod before_spawn;
mod descendants;
mod environment;
mod home;
mod launch;
mod reap;
mod stderr;

pub(crate) use before_spawn::BeforeSpawn;
pub(crate) use environment::ChildEnvironment;
pub(crate) use home::Home;
pub(crate) use launch::Launch;
pub(crate) use reap::{Group, end, is_reaped_elsewhere};
pub(crate) use stderr::StderrTail;

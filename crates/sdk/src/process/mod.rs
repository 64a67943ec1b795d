//! The runtime as a child process: its command line, its environment, its home, its standard error, its end.

pub(crate) mod before_spawn;
pub(crate) mod descendants;
pub(crate) mod environment;
pub(crate) mod home;
pub(crate) mod launch;
pub(crate) mod orphans;
#[cfg(target_os = "linux")]
pub(crate) mod process_table;
pub(crate) mod reap;
pub(crate) mod stderr;

//! Threads: conversations that the runtime keeps.

pub(crate) mod archive;
pub(crate) mod ensure;
pub(crate) mod find_turn;
pub(crate) mod fork;
pub(crate) mod half_done;
pub(crate) mod handles;
pub(crate) mod history;
pub(crate) mod list;
pub(crate) mod missing_folder;
pub(crate) mod options;
pub(crate) mod read;
pub(crate) mod resume;
pub(crate) mod rollout;
#[cfg(feature = "schemars")]
pub(crate) mod run_as;
pub(crate) mod set_name;
pub(crate) mod start;
pub(crate) mod trust;
pub(crate) mod unsubscribe;

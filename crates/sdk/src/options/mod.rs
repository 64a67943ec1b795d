//! The values of options, and their checks.

pub(crate) mod approval;
pub(crate) mod attempts;
pub(crate) mod connection_policy;
pub(crate) mod external_message;
pub(crate) mod gap_policy;
pub(crate) mod input;
pub(crate) mod method_class;
pub(crate) mod restart_policy;
pub(crate) mod sandbox;
pub(crate) mod trace_context;

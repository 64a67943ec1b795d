//! Handlers of server requests: approvals, questions to the user, tools.

pub(crate) mod accept_all;
pub(crate) mod closures;
pub(crate) mod command_line;
pub(crate) mod reply;
pub(crate) mod request;
pub(crate) mod request_ext;
pub(crate) mod request_handler;

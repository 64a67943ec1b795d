//! Finds the handlers of a request, and calls them on threads of their own.

pub(crate) mod binding;
pub(crate) mod dispatcher;
pub(crate) mod registry;

//! A server request, undecoded, as handlers get it.

use crate::cancellation::Signal;
use crate::connection::server_requests::ServerRequest;

/// A server request with the signal that its response is no longer wanted.
pub(crate) type IncomingRequest = ServerRequest<Signal>;

//! The scripted model: over HTTP, with the real runtime, and with the SDK's clients.

mod clients;
mod faults;
mod http;
mod parts;
mod runtime;
mod server_requests;

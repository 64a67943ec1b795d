//! The scripted model: over HTTP, with the real runtime, and with the SDK's clients.

mod asks;
mod clients;
mod faults;
mod http;
mod parts;
mod runtime;

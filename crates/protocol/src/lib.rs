//! Typed messages and the method table of the Codex app-server protocol (v2).
//!
//! Everything per-method comes from one table that `cargo xtask codegen` generates from the schemas of several runtimes
//! ([`table::RUNTIMES`]; the vendored facts under `protocol/`). What only some of them have says so in its documentation: "In
//! runtime 0.154.0 and newer, not in 0.144.4". Of the versions between those two nothing is known.
//!
//! - [`types`]: every type of the protocol. Objects keep the fields they do not know in [`Extra`], string enums and
//!   unions keep what they do not know in `Unrecognized`: nothing a newer server says is lost, and all of it is written
//!   back.
//! - [`methods`], [`server_requests`], [`notifications`], [`client_notifications`]: one marker type a method, which ties
//!   the name to the types of its parameters and its answer.
//! - [`Notification`] and [`ServerRequest`]: the matchable sums of what the server sends.
//! - [`table`]: the same as plain lists.
//!
//! A value that cannot be read under a name that *is* known is never taken for an unknown one: in an answer it is a
//! [`DecodeError`] that names the method and the JSON path, in a notification it is [`Notification::Undecodable`] with
//! that error and the raw JSON.
//!
//! The crate knows no I/O: serde and nothing else.

#[macro_use]
mod macros;

mod by_hand;
mod decode;
mod error;
mod extra;
mod generated;
mod locate;
mod method;
mod method_info;
mod raw;
mod read;
mod wire;

pub use decode::decode_response;
pub use error::DecodeError;
pub use extra::Extra;
pub use generated::notification::{Notification, NotificationKind};
pub use generated::server_request::ServerRequest;
pub use generated::{client_notifications, methods, notifications, server_requests, table, types};
pub use method::{ClientNotification, ClientRequest, Params, ServerNotification, ServerRequestMethod};
pub use raw::{UndecodableNotification, UndecodableRequest, UnknownNotification, UnknownRequest};

/// A JSON object with arbitrary content.
pub type JsonObject = serde_json::Map<String, serde_json::Value>;

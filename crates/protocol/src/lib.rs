//! Typed messages and the method table of the Codex app-server protocol (v2).
//!
//! `cargo xtask codegen` generates all types and methods from the schemas of several runtimes ([`table::RUNTIMES`]), which are
//! vendored as facts under `protocol/`. The documentation of an item says if only some of these runtimes have it: "In runtime
//! 0.154.0 and newer, not in 0.144.4". For the versions between those two it is unknown.
//!
//! - [`types`]: every type of the protocol. Objects keep unknown fields in [`Extra`]. String enums and unions keep unknown values
//!   in `Unrecognized`. Encoding writes all of them back.
//! - [`methods`], [`server_requests`], [`notifications`], [`client_notifications`]: one marker type per method, which connects
//!   the name with the types of the parameters and the response.
//! - [`Notification`] and [`ServerRequest`]: enums of the messages from the server.
//! - [`table`]: the methods as plain lists.
//!
//! An invalid value under a *known* name never counts as unknown. In a response it is a [`DecodeError`] that names the method and
//! the JSON path. In a notification it is [`Notification::Undecodable`], with that error and the raw JSON.
//!
//! The crate does no I/O and depends on serde only.

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
mod write;

#[doc(hidden)]
pub use decode::FromValue;
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

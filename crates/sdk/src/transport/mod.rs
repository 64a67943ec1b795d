//! The interface between a connection and its carrier: whole frames in, whole frames out.
//!
//! A frame is one JSON message without its delimiter. Only the transport knows how frames are delimited: by lines on stdio,
//! as messages on a socket or a channel.

pub(crate) mod frames;
pub(crate) mod lines;
pub(crate) mod memory;
#[cfg(feature = "endpoints")]
pub(crate) mod web_socket;

pub use bytes::Bytes;

pub use crate::transport::frames::{BoxFuture, FrameReader, FrameWriter, ReadState, Transport};

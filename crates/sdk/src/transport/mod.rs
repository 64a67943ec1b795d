//! The seam between a connection and what carries it: whole frames in, whole frames out.
//!
//! A frame is one JSON message without its delimiter. How frames are told apart (a line each over stdio, a message
//! each over a socket or a channel) is the transport's business and nobody else's.

pub(crate) mod frames;
pub(crate) mod lines;
pub(crate) mod memory;

pub use bytes::Bytes;

pub use crate::transport::frames::{BoxFuture, FrameReader, FrameWriter, ReadState, Transport};

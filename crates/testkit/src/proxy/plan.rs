//! What happens to a connection, and where.

use std::time::Duration;

/// A direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flow {
    /// What the client sends.
    ToServer,
    /// What the server sends.
    ToClient,
}

/// A place in one direction of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub(crate) flow: Flow,
    pub(crate) point: Point,
    pub(crate) part: Part,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    /// This many bytes have passed, those of the HTTP handshake included.
    Byte(u64),
    /// The message with this number, from 1.
    Message(u64),
    /// The first message of this method.
    Method(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Before,
    Inside,
    After,
}

impl Place {
    /// After this many bytes, those of the HTTP handshake included.
    pub fn byte(flow: Flow, count: u64) -> Self {
        Self { flow, point: Point::Byte(count), part: Part::Before }
    }

    /// Before the message with this number, from 1. A WebSocket message is one, however many fragments it has; a ping is none.
    pub fn message(flow: Flow, number: u64) -> Self {
        Self { flow, point: Point::Message(number), part: Part::Before }
    }

    /// Before the first request or notification of this method.
    pub fn method(flow: Flow, method: impl Into<String>) -> Self {
        Self { flow, point: Point::Method(method.into()), part: Part::Before }
    }

    /// In the middle of the message instead of before it.
    pub fn inside(mut self) -> Self {
        self.part = Part::Inside;
        self
    }

    /// After the message instead of before it.
    pub fn after(mut self) -> Self {
        self.part = Part::After;
        self
    }
}

/// What happens at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection ends in both directions.
    Cut,
    /// The connection stays open, and from now on nothing passes in either direction: the proxy reads everything and throws it
    /// away. So does a network that has forgotten the connection.
    Swallow,
    /// The proxy reads nothing more in this direction until [`FaultyProxy::resume`](super::FaultyProxy::resume). The sender's buffers
    /// fill.
    Stall,
    /// What follows in this direction comes so much later.
    Delay(Duration),
}

/// The faults of one connection.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub(crate) faults: Vec<(Place, Fault)>,
}

impl Plan {
    /// A connection without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a fault. It happens once.
    pub fn at(mut self, place: Place, fault: Fault) -> Self {
        self.faults.push((place, fault));
        self
    }
}

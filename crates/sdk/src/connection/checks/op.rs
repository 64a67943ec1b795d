//! Operations on a router, encoded as four bytes each.

/// One operation. Its numbers are taken modulo the size of what they choose from, so any number is valid.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    /// The client registers a request.
    Request,
    /// The client registers a `turn/start`, with a stream from the beginning or only at the end.
    Start { thread: u8, stream: bool },
    /// The client registers a `thread/compact/start`.
    Compact { thread: u8, stream: bool },
    /// The client follows a turn, which another client may have started.
    Follow { turn: u8, stream: bool },
    /// The client stops following a turn that was over.
    Unfollow { subscription: u8 },
    /// The client unsubscribes from a thread.
    Unsubscribe { thread: u8 },
    /// The client resumes a thread.
    Resume { thread: u8 },
    /// The client writes a request, or discards it because no call waits for it any more.
    Write { request: u8 },
    /// The server responds to a request, possibly twice, or to an unknown request.
    Response { request: u8, how: How, turn: u8, flush: bool },
    /// The server reports an event of a turn.
    Event { turn: u8, kind: Kind, with_thread: bool, flush: bool },
    /// The server reports that a thread has spawned another.
    Spawned { thread: u8, parent: u8 },
    /// The server reports that a thread was closed.
    Closed { thread: u8 },
    /// The server sends a request.
    IncomingRequest { id: u8, params: u8, turn: u8, flush: bool },
    /// A handler responds to a dispatched request.
    Respond { request: u8 },
    /// The server no longer waits for a response.
    Resolved { id: u8, flush: bool },
    /// A caller cancels its wait for a response.
    Cancel { request: u8 },
    /// A caller drops the last handle of a turn.
    Release { subscription: u8, interrupt: bool },
    /// A timeout passes.
    Expire { request: u8 },
    /// The connection ends.
    Fail,
}

/// The kind of a response.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum How {
    WithTurn,
    WithoutTurn,
    Error,
    MalformedError,
}

/// The kind of a turn's event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Started,
    Delta,
    ItemCompleted,
    Usage,
    Unknown,
    Completed,
}

impl Op {
    /// Decodes an operation from any four bytes. The important operations are the most frequent.
    pub(crate) fn read([op, a, b, c]: [u8; 4]) -> Self {
        let flush = c & 1 == 1;
        match op % 32 {
            0 if c >= 192 => Self::Unsubscribe { thread: a },
            0 if c >= 128 => Self::Resume { thread: a },
            0 => Self::Request,
            1..=3 => Self::Start { thread: a, stream: flush },
            4 if c >= 224 => Self::Follow { turn: a, stream: flush },
            5 if c >= 224 => Self::Unfollow { subscription: a },
            4..=5 => Self::Compact { thread: a, stream: flush },
            6..=7 => Self::Write { request: a },
            8..=11 => Self::Response {
                request: a,
                how: match c >> 1 & 7 {
                    0 => How::Error,
                    1 => How::WithoutTurn,
                    2 if b > 200 => How::MalformedError,
                    _ => How::WithTurn,
                },
                turn: b,
                flush,
            },
            12..=19 => Self::Event {
                turn: a,
                kind: match b % 8 {
                    0 | 1 => Kind::Started,
                    2 => Kind::ItemCompleted,
                    3 => Kind::Usage,
                    4 => Kind::Unknown,
                    5 | 6 => Kind::Completed,
                    _ => Kind::Delta,
                },
                with_thread: c & 6 != 0,
                flush,
            },
            20 => Self::Spawned { thread: a, parent: b },
            21 => Self::Closed { thread: a },
            22..=23 => Self::IncomingRequest { id: a, params: b, turn: c >> 1, flush },
            24..=25 => Self::Respond { request: a },
            26 => Self::Resolved { id: a, flush },
            27..=28 => Self::Cancel { request: a },
            29..=30 => Self::Release { subscription: a, interrupt: b & 1 == 1 },
            _ if a < 64 && b < 64 => Self::Fail,
            _ => Self::Expire { request: a },
        }
    }
}

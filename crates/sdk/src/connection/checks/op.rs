//! What can happen to a router, four bytes each.

/// One thing that happens to a router. The numbers choose among what there is: any number is a choice.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    /// A request is registered.
    Request,
    /// A `turn/start` is registered; with a stream from the beginning, or only at the end.
    Start { thread: u8, stream: bool },
    /// A `thread/compact/start` is registered.
    Compact { thread: u8, stream: bool },
    /// A request is written, or left out because nobody waits for it any more.
    Write { request: u8 },
    /// The server answers a request, perhaps again, perhaps one that was never made.
    Answer { request: u8, how: How, turn: u8, flush: bool },
    /// The server tells something about a turn.
    Event { turn: u8, kind: Kind, with_thread: bool, flush: bool },
    /// The server tells that a thread has come from another.
    Spawned { thread: u8, parent: u8 },
    /// The server tells that a thread was closed.
    Closed { thread: u8 },
    /// The server asks for something.
    IncomingRequest { id: u8, params: u8, turn: u8, flush: bool },
    /// One of the requests that were handed out is answered.
    Reply { ask: u8 },
    /// The server no longer waits for an answer.
    Resolved { id: u8, flush: bool },
    /// Whoever waits for an answer goes.
    Cancel { request: u8 },
    /// The last handle of a turn goes.
    Release { log: u8, interrupt: bool },
    /// A timeout passes.
    Expire { request: u8 },
    /// The connection ends.
    Fail,
}

/// How a request is answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum How {
    WithTurn,
    WithoutTurn,
    Error,
    MalformedError,
}

/// What is told about a turn.
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
    /// Any four bytes are an operation; the frequent ones are the ones that matter.
    pub(crate) fn read([op, a, b, c]: [u8; 4]) -> Self {
        let flush = c & 1 == 1;
        match op % 32 {
            0 => Self::Request,
            1..=3 => Self::Start { thread: a, stream: flush },
            4..=5 => Self::Compact { thread: a, stream: flush },
            6..=7 => Self::Write { request: a },
            8..=11 => Self::Answer {
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
            24..=25 => Self::Reply { ask: a },
            26 => Self::Resolved { id: a, flush },
            27..=28 => Self::Cancel { request: a },
            29..=30 => Self::Release { log: a, interrupt: b & 1 == 1 },
            _ if a < 64 && b < 64 => Self::Fail,
            _ => Self::Expire { request: a },
        }
    }
}

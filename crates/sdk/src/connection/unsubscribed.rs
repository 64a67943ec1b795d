//! The threads that the program has unsubscribed from. The client does not subscribe to them again after a reconnect. If the program
//! subscribes again while a turn runs, the events in between are missing.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::{Error, ErrorKind};

/// How many requests are remembered.
const MAX_REQUESTS: usize = 1_024;

/// The latest requests to unsubscribe that the server has not refused, each with its thread and its id.
#[derive(Debug, Default)]
pub(crate) struct Unsubscribed(VecDeque<(Arc<str>, i64)>);

impl Unsubscribed {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn contains(&self, thread_id: &str) -> bool {
        self.0.iter().any(|(known, _)| **known == *thread_id)
    }

    /// Adds a thread that a request has unsubscribed from.
    pub(crate) fn add(&mut self, thread_id: &str, request: i64) {
        if self.0.len() == MAX_REQUESTS {
            self.0.pop_front();
        }
        self.0.push_back((thread_id.into(), request));
    }

    /// Notes that the server has refused a request to unsubscribe.
    pub(crate) fn handle_refused(&mut self, request: i64) {
        self.0.retain(|(_, unsubscribe)| *unsubscribe != request);
    }

    /// Notes that a request has opened a thread. One that was sent before the client has unsubscribed does not count. Returns whether
    /// the client is subscribed.
    pub(crate) fn handle_opened(&mut self, thread_id: &str, request: i64) -> bool {
        self.0.retain(|(known, unsubscribe)| **known != *thread_id || request < *unsubscribe);
        !self.contains(thread_id)
    }
}

/// The error of a turn that went on while the program was not subscribed to its thread.
pub(crate) fn gap(thread_id: &str) -> Error {
    let message = "the program unsubscribed from the thread while the turn ran, and resumed the thread before the turn's end: events in \
                   between did not arrive. The turn may have had effects: `recover` reads what the runtime has recorded. To receive the \
                   rest of such a turn, call `follow` on the resumed thread";
    Error::new(ErrorKind::TurnLost, message).with_thread(Some(thread_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_request_subscribes_again() {
        let mut threads = Unsubscribed::default();
        threads.add("t", 2);
        assert!(!threads.handle_opened("t", 1) && threads.contains("t") && !threads.contains("u"));
        assert!(threads.handle_opened("t", 3) && !threads.contains("t"));
        threads.add("t", 4);
        threads.handle_refused(3);
        assert!(threads.contains("t"));
        threads.add("t", 5);
        threads.handle_refused(5);
        assert!(threads.contains("t"));
        threads.handle_refused(4);
        assert!(!threads.contains("t"));
        (0..MAX_REQUESTS as i64 + 1).for_each(|request| threads.add(&request.to_string(), request));
        assert!(!threads.contains("0") && threads.contains("1"));
    }
}

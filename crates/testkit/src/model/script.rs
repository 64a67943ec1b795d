//! The queue of replies and the record of requests.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::reply::ModelReply;
use super::request::RecordedRequest;

type Condition = Box<dyn Fn(&RecordedRequest) -> bool + Send>;

/// The state that the test and the server share.
#[derive(Default)]
pub(crate) struct Script {
    state: Mutex<State>,
    /// The number of requests. It changes after the request is recorded.
    count: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<(Option<Condition>, ModelReply)>,
    fallback: Option<ModelReply>,
    /// The reviewer's verdict.
    review: Option<ModelReply>,
    requests: Vec<RecordedRequest>,
    others: Vec<RecordedRequest>,
}

impl Script {
    /// A condition that panics breaks its connection, not the script.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, condition: Option<Condition>, reply: ModelReply) {
        self.state().queue.push_back((condition, reply));
    }

    pub(crate) fn set_fallback(&self, reply: ModelReply) {
        self.state().fallback = Some(reply);
    }

    pub(crate) fn set_review(&self, reply: ModelReply) {
        self.state().review = Some(reply);
    }

    pub(crate) fn queued(&self) -> usize {
        self.state().queue.len()
    }

    pub(crate) fn requests(&self) -> Vec<RecordedRequest> {
        self.state().requests.clone()
    }

    pub(crate) fn other_requests(&self) -> Vec<RecordedRequest> {
        self.state().others.clone()
    }

    pub(crate) fn count(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }

    /// Records a request. Returns its reply and its number, which starts at 1.
    pub(crate) fn reply_to(&self, mut request: RecordedRequest) -> (usize, Option<ModelReply>) {
        let mut state = self.state();
        // A review is not part of the conversation. It takes only replies that are meant for it.
        let review = request.is_review();
        let accepts =
            |entry: &(Option<Condition>, ModelReply)| entry.0.as_ref().map_or(!review, |fits| fits(&request));
        let reply = match state.queue.iter().position(accepts) {
            Some(place) => state.queue.remove(place).map(|(_, reply)| reply),
            None if review => state.review.clone(),
            None => state.fallback.clone(),
        };
        request.answered = reply.is_some();
        state.requests.push(request);
        let number = state.requests.len();
        drop(state);
        self.count.send_replace(number);
        (number, reply)
    }

    pub(crate) fn record_other(&self, request: RecordedRequest) {
        self.state().others.push(request);
    }
}

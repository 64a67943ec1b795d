//! The unanswered server requests, and the latest responses, in case the server repeats a request.
//!
//! After a resume the server repeats its pending requests under their first ids. Handlers get each request once: a pending
//! one stays with its handlers, and an answered one gets the same response again.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use openai_codex_protocol::types::RequestId;
use serde_json::value::RawValue;

/// How many responses are kept. The server confirms each with `serverRequest/resolved`, and it is then dropped.
const MAX_KEPT_RESPONSES: usize = 256;

/// A server request, undecoded. It needs one response. `S` is the host's token that signals the request's handlers.
#[derive(Debug)]
pub(crate) struct ServerRequest<S> {
    pub(crate) id: RequestId,
    pub(crate) method: Box<str>,
    pub(crate) params: Option<Box<RawValue>>,
    pub(crate) thread_id: Option<Arc<str>>,
    pub(crate) turn_id: Option<Arc<str>>,
    /// The threads above the request's thread, the nearest first.
    pub(crate) ancestors: Vec<Arc<str>>,
    pub(crate) signal: S,
}

/// How to treat a request that has arrived.
#[derive(Debug)]
pub(crate) enum Received<S> {
    /// It is new. It may replace a pending request with the same id, whose response is no longer wanted.
    New { request: Arc<ServerRequest<S>>, replaced: Option<Arc<ServerRequest<S>>> },
    /// Its handlers have it already.
    Pending,
    /// It was answered with this frame.
    Answered(Bytes),
}

/// What becomes of a response to a server request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The server waits for it.
    Wanted,
    /// The server gets it when it sends the request again, on its new transport.
    Kept,
    /// The server does not want it any more.
    Unwanted,
}

pub(crate) struct ServerRequests<S> {
    pending: Vec<Arc<ServerRequest<S>>>,
    /// Those of the pending ones that the server has not sent again since its transport was lost.
    unrepeated: Vec<Arc<ServerRequest<S>>>,
    answered: VecDeque<(Arc<ServerRequest<S>>, Bytes)>,
    /// Those of the answered ones whose responses can have been lost with the transport.
    unconfirmed: Vec<Arc<ServerRequest<S>>>,
    /// Those of the pending ones that are left to other clients of the server.
    left: Vec<Arc<ServerRequest<S>>>,
}

impl<S> Default for ServerRequests<S> {
    fn default() -> Self {
        Self {
            pending: Vec::new(),
            unrepeated: Vec::new(),
            answered: VecDeque::new(),
            unconfirmed: Vec::new(),
            left: Vec::new(),
        }
    }
}

/// Leaves out the responses, which can hold tokens.
impl<S> std::fmt::Debug for ServerRequests<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerRequests").field("pending", &self.pending.len()).finish_non_exhaustive()
    }
}

impl<S: Default> ServerRequests<S> {
    /// Receives a request. Calls `ancestors` only if the request is new.
    pub(crate) fn receive(
        &mut self,
        id: RequestId,
        method: &str,
        params: Option<&str>,
        (thread_id, turn_id): (Option<&str>, Option<&str>),
        ancestors: impl FnOnce() -> Vec<Arc<str>>,
    ) -> Received<S> {
        let pending = self.pending.iter().position(|request| request.id == id);
        if let Some(index) = pending.filter(|index| self.pending[*index].is(method, params)) {
            let request = self.pending[index].clone();
            self.forget_unrepeated(&request);
            return Received::Pending;
        }
        if let Some((request, frame)) =
            self.answered.iter().find(|(request, _)| request.id == id && request.is(method, params))
        {
            self.unconfirmed.retain(|unconfirmed| !Arc::ptr_eq(unconfirmed, request));
            return Received::Answered(frame.clone());
        }
        let request = Arc::new(ServerRequest {
            id,
            method: method.into(),
            // Handlers cannot decide about parameters that are not JSON.
            params: params.and_then(|params| RawValue::from_string(params.to_owned()).ok()),
            thread_id: thread_id.map(Arc::from),
            turn_id: turn_id.map(Arc::from),
            ancestors: ancestors(),
            signal: S::default(),
        });
        let replaced = pending.map(|index| self.pending.swap_remove(index));
        if let Some(replaced) = &replaced {
            self.take_back(replaced);
            self.forget_unrepeated(replaced);
        }
        self.pending.push(request.clone());
        Received::New { request, replaced }
    }

    /// Takes the response to a request.
    pub(crate) fn respond(&mut self, request: &Arc<ServerRequest<S>>, frame: &Bytes) -> Taken {
        let Some(index) = self.pending.iter().position(|pending| Arc::ptr_eq(pending, request)) else {
            return Taken::Unwanted;
        };
        self.pending.swap_remove(index);
        let taken = if self.forget_unrepeated(request) { Taken::Kept } else { Taken::Wanted };
        if self.answered.len() == MAX_KEPT_RESPONSES {
            self.answered.pop_front();
        }
        self.answered.push_back((request.clone(), frame.clone()));
        taken
    }

    /// Handles the loss of the transport. The server sends the requests again that it still waits for.
    pub(crate) fn handle_loss(&mut self) {
        self.unrepeated = self.pending.clone();
        self.unconfirmed = self.answered.iter().map(|(request, _)| request.clone()).collect();
    }

    /// Removes and returns the requests about a thread, or about none, that the server has not sent again: it does not wait for their
    /// responses any more.
    pub(crate) fn take_unrepeated(&mut self, thread_id: Option<&str>) -> Vec<Arc<ServerRequest<S>>> {
        let is_about = |request: &mut Arc<ServerRequest<S>>| request.thread_id.as_deref() == thread_id;
        let unrepeated: Vec<_> = self.unrepeated.extract_if(.., is_about).collect();
        for request in &unrepeated {
            self.pending.retain(|pending| !Arc::ptr_eq(pending, request));
            self.take_back(request);
        }
        self.unconfirmed.retain(|request| request.thread_id.as_deref() != thread_id);
        unrepeated
    }

    /// Notes that the server has sent a request again, or does not need to. Returns whether that was open.
    fn forget_unrepeated(&mut self, request: &Arc<ServerRequest<S>>) -> bool {
        let before = self.unrepeated.len();
        self.unrepeated.retain(|unrepeated| !Arc::ptr_eq(unrepeated, request));
        self.unrepeated.len() < before
    }

    /// Leaves a request to other clients. Returns whether it is pending.
    pub(crate) fn leave(&mut self, request: &Arc<ServerRequest<S>>) -> bool {
        let is_pending = self.pending.iter().any(|pending| Arc::ptr_eq(pending, request));
        if is_pending {
            self.left.push(request.clone());
        }
        is_pending
    }

    /// The pending requests that are left to other clients.
    pub(crate) fn left(&self) -> &[Arc<ServerRequest<S>>] {
        &self.left
    }

    /// Leaves a request to other clients no more. Returns whether it was.
    pub(crate) fn take_back(&mut self, request: &Arc<ServerRequest<S>>) -> bool {
        let before = self.left.len();
        self.left.retain(|left| !Arc::ptr_eq(left, request));
        self.left.len() < before
    }

    /// Removes a request whose response the server no longer waits for.
    pub(crate) fn resolve(&mut self, id: &RequestId) -> Option<Arc<ServerRequest<S>>> {
        self.answered.retain(|(request, _)| request.id != *id);
        self.unconfirmed.retain(|request| request.id != *id);
        let index = self.pending.iter().position(|request| request.id == *id)?;
        let request = self.pending.swap_remove(index);
        self.take_back(&request);
        self.forget_unrepeated(&request);
        Some(request)
    }

    /// The threads of the requests that are pending at the server, or may be: a response can have been lost.
    pub(crate) fn threads(&self) -> impl Iterator<Item = Arc<str>> {
        self.pending.iter().chain(&self.unconfirmed).filter_map(|request| request.thread_id.clone())
    }

    /// The unanswered requests.
    pub(crate) fn pending(&self) -> &[Arc<ServerRequest<S>>] {
        &self.pending
    }

    /// Whether a request of this turn is unanswered.
    pub(crate) fn is_waiting(&self, turn_id: &str) -> bool {
        self.pending.iter().any(|request| request.turn_id.as_deref() == Some(turn_id))
    }

    /// Removes and returns the unanswered requests of a turn that has ended, each with whether the client still owes a response.
    pub(crate) fn end_turn(&mut self, turn_id: &str) -> Vec<(Arc<ServerRequest<S>>, bool)> {
        let mut ended = Vec::new();
        while let Some(index) =
            self.pending.iter().position(|request| request.turn_id.as_deref() == Some(turn_id))
        {
            let request = self.pending.remove(index);
            let is_left = self.take_back(&request);
            // Its id can be that of another request now, if the server is another process.
            let is_repeated = !self.forget_unrepeated(&request);
            ended.push((request, !is_left && is_repeated));
        }
        ended
    }

    /// Removes everything, because the connection has ended. Returns the unanswered requests.
    pub(crate) fn end(&mut self) -> impl Iterator<Item = Arc<ServerRequest<S>>> {
        self.answered.clear();
        self.left.clear();
        self.unrepeated.clear();
        self.unconfirmed.clear();
        self.pending.drain(..)
    }
}

#[cfg(any(test, fuzzing))]
impl<S> ServerRequests<S> {
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.answered.is_empty()
    }
}

impl<S> ServerRequest<S> {
    /// Whether this is the same request.
    fn is(&self, method: &str, params: Option<&str>) -> bool {
        *self.method == *method && self.params.as_deref().map(RawValue::get) == params
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(requests: &mut ServerRequests<()>, id: i64, params: &str) -> Received<()> {
        requests.receive(id.into(), "m", Some(params), (Some("t"), Some("u")), Vec::new)
    }

    fn new(requests: &mut ServerRequests<()>, id: i64, params: &str) -> Arc<ServerRequest<()>> {
        match receive(requests, id, params) {
            Received::New { request, .. } => request,
            other => panic!("not new: {other:?}"),
        }
    }

    #[test]
    fn a_repeated_request_is_recognized_until_it_is_resolved() {
        let mut requests = ServerRequests::default();
        let request = new(&mut requests, 1, "{}");
        assert!(matches!(receive(&mut requests, 1, "{}"), Received::Pending));
        let frame = Bytes::from_static(b"response");
        assert_eq!(requests.respond(&request, &frame), Taken::Wanted);
        assert_eq!(requests.respond(&request, &frame), Taken::Unwanted, "once");
        assert!(matches!(receive(&mut requests, 1, "{}"), Received::Answered(again) if again == frame));
        requests.resolve(&1.into());
        new(&mut requests, 1, "{}");
    }

    #[test]
    fn a_request_whose_response_can_be_lost_waits_for_its_thread() {
        for repeats in [false, true] {
            let mut requests = ServerRequests::default();
            let request = new(&mut requests, 1, "{}");
            requests.respond(&request, &Bytes::new());
            assert_eq!(requests.threads().count(), 0);
            requests.handle_loss();
            assert_eq!(requests.threads().collect::<Vec<_>>(), ["t".into()]);
            if repeats {
                assert!(matches!(receive(&mut requests, 1, "{}"), Received::Answered(_)));
            } else {
                assert!(requests.take_unrepeated(Some("t")).is_empty());
            }
            assert_eq!(requests.threads().count(), 0);
        }
    }

    #[test]
    fn another_request_with_a_used_id_replaces_the_first() {
        let mut requests = ServerRequests::default();
        let first = new(&mut requests, 1, "[1]");
        let second = new(&mut requests, 1, "[2]");
        assert_eq!(requests.respond(&first, &Bytes::new()), Taken::Unwanted);
        assert_eq!(requests.respond(&second, &Bytes::new()), Taken::Wanted);
    }

    #[test]
    fn a_request_is_returned_when_its_id_is_reused() {
        let mut requests = ServerRequests::default();
        let first = new(&mut requests, 1, "[1]");
        let Received::New { request, replaced: Some(replaced) } = receive(&mut requests, 1, "[2]") else {
            panic!("nothing is replaced")
        };
        assert!(Arc::ptr_eq(&replaced, &first) && !Arc::ptr_eq(&request, &first));
    }

    #[test]
    fn the_latest_responses_are_kept() {
        let mut requests = ServerRequests::default();
        for id in 0..=i64::try_from(MAX_KEPT_RESPONSES).unwrap() {
            let request = new(&mut requests, id, "{}");
            requests.respond(&request, &Bytes::new());
        }
        assert!(matches!(receive(&mut requests, 0, "{}"), Received::New { .. }));
        assert!(matches!(receive(&mut requests, 1, "{}"), Received::Answered(_)));
        assert_eq!(requests.end_turn("u").len(), 1);
        assert_eq!(requests.end().count(), 0);
    }

    #[test]
    fn after_a_loss_a_response_waits_until_its_request_is_repeated() {
        let mut requests = ServerRequests::default();
        let (first, second) = (new(&mut requests, 1, "[1]"), new(&mut requests, 2, "[2]"));
        let third = new(&mut requests, 3, "[3]");
        requests.handle_loss();
        let frame = Bytes::from_static(b"response");
        assert_eq!(requests.respond(&first, &frame), Taken::Kept);
        assert!(matches!(receive(&mut requests, 1, "[1]"), Received::Answered(again) if again == frame));
        assert!(matches!(receive(&mut requests, 2, "[2]"), Received::Pending));
        assert_eq!(requests.respond(&second, &frame), Taken::Wanted);
        // A new server uses the id for another request.
        let Received::New { replaced: Some(replaced), .. } = receive(&mut requests, 3, "[4]") else {
            panic!("not new")
        };
        assert!(Arc::ptr_eq(&replaced, &third));
        requests.handle_loss();
        assert!(
            requests.take_unrepeated(None).is_empty() && requests.take_unrepeated(Some("other")).is_empty()
        );
        assert_eq!(requests.take_unrepeated(Some("t")).len(), 1);
        assert!(requests.take_unrepeated(Some("t")).is_empty() && !requests.is_waiting("u"));
    }
}

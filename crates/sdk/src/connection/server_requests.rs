//! The requests of the server that are not answered yet, and the last answers, in case a request comes again.
//!
//! After a resume the server repeats what is pending under the first ids. It is not asked twice: a request that is under
//! way is left to those who have it, and one that was answered gets the same answer.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use openai_codex_protocol::types::RequestId;
use serde_json::value::RawValue;

use crate::cancellation::{Signal, signal};
use crate::handler::incoming_request::IncomingRequest;

/// How many answers are kept. The server confirms each with `serverRequest/resolved`, which ends its keeping.
const MAX_KEPT_RESPONSES: usize = 256;

/// What is to be done about a request that has come.
#[derive(Debug)]
pub(crate) enum Received {
    /// It is new; with the signal of another one that was under way under its id, which nobody can answer any more.
    New(Arc<IncomingRequest>, Option<Signal>),
    /// It is under way already.
    Pending,
    /// It was answered, with this.
    Answered(Bytes),
}

#[derive(Default)]
pub(crate) struct ServerRequests {
    pending: Vec<(Arc<IncomingRequest>, Signal)>,
    answered: VecDeque<(Arc<IncomingRequest>, Bytes)>,
}

/// Without the answers, which can hold tokens.
impl std::fmt::Debug for ServerRequests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerRequests").field("pending", &self.pending.len()).finish_non_exhaustive()
    }
}

impl ServerRequests {
    /// A request has come; `ancestors` are looked for if it is new.
    pub(crate) fn receive(
        &mut self,
        id: RequestId,
        method: &str,
        params: Option<&str>,
        (thread_id, turn_id): (Option<&str>, Option<&str>),
        ancestors: impl FnOnce() -> Vec<Arc<str>>,
    ) -> Received {
        let known = self.pending.iter().position(|(ask, _)| ask.id == id);
        if known.is_some_and(|at| self.pending[at].0.is(method, params)) {
            return Received::Pending;
        }
        if let Some((_, frame)) = self.answered.iter().find(|(ask, _)| ask.id == id && ask.is(method, params))
        {
            return Received::Answered(frame.clone());
        }
        let (signal, cancellation) = signal();
        let ask = Arc::new(IncomingRequest {
            id,
            method: method.into(),
            // What is not JSON is nothing that anybody could decide about.
            params: params.and_then(|params| RawValue::from_string(params.to_owned()).ok()),
            thread_id: thread_id.map(Arc::from),
            turn_id: turn_id.map(Arc::from),
            ancestors: ancestors(),
            cancellation,
        });
        let replaced = known.map(|at| self.pending.swap_remove(at));
        self.pending.push((ask.clone(), signal));
        Received::New(ask, replaced.map(|(_, signal)| signal))
    }

    /// Takes the answer of a request, and gives the signal that it had; none if the answer is no longer wanted.
    pub(crate) fn answer(&mut self, ask: &Arc<IncomingRequest>, frame: &Bytes) -> Option<Signal> {
        let at = self.pending.iter().position(|(pending, _)| Arc::ptr_eq(pending, ask))?;
        let (_, signal) = self.pending.swap_remove(at);
        if self.answered.len() == MAX_KEPT_RESPONSES {
            self.answered.pop_front();
        }
        self.answered.push_back((ask.clone(), frame.clone()));
        Some(signal)
    }

    /// The server no longer waits for an answer.
    pub(crate) fn resolve(&mut self, id: &RequestId) -> Option<Signal> {
        self.answered.retain(|(ask, _)| ask.id != *id);
        let at = self.pending.iter().position(|(ask, _)| ask.id == *id)?;
        Some(self.pending.swap_remove(at).1)
    }

    /// Whether a request of this turn is unanswered.
    pub(crate) fn is_waiting(&self, turn_id: &str) -> bool {
        self.pending.iter().any(|(ask, _)| ask.turn_id.as_deref() == Some(turn_id))
    }

    /// A turn has ended: gives what it still waits for.
    pub(crate) fn end_turn(&mut self, turn_id: &str) -> Vec<(Arc<IncomingRequest>, Signal)> {
        let mut ended = Vec::new();
        while let Some(at) = self.pending.iter().position(|(ask, _)| ask.turn_id.as_deref() == Some(turn_id))
        {
            ended.push(self.pending.remove(at));
        }
        ended
    }

    /// The connection has ended: gives all that is still wanted.
    pub(crate) fn end(&mut self) -> impl Iterator<Item = Signal> {
        self.answered.clear();
        self.pending.drain(..).map(|(_, signal)| signal)
    }
}

#[cfg(any(test, fuzzing))]
impl ServerRequests {
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.answered.is_empty()
    }
}

impl IncomingRequest {
    /// Whether this is the same request.
    fn is(&self, method: &str, params: Option<&str>) -> bool {
        *self.method == *method && self.params.as_deref().map(RawValue::get) == params
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(asked: &mut ServerRequests, id: i64, params: &str) -> Received {
        asked.receive(id.into(), "m", Some(params), (Some("t"), Some("u")), Vec::new)
    }

    fn new(asked: &mut ServerRequests, id: i64, params: &str) -> Arc<IncomingRequest> {
        match receive(asked, id, params) {
            Received::New(ask, _) => ask,
            other => panic!("not new: {other:?}"),
        }
    }

    #[test]
    fn what_comes_again_is_known_until_it_is_resolved() {
        let mut asked = ServerRequests::default();
        let ask = new(&mut asked, 1, "{}");
        assert!(matches!(receive(&mut asked, 1, "{}"), Received::Pending));
        let frame = Bytes::from_static(b"answer");
        assert!(asked.answer(&ask, &frame).is_some());
        assert!(asked.answer(&ask, &frame).is_none(), "once");
        assert!(matches!(receive(&mut asked, 1, "{}"), Received::Answered(again) if again == frame));
        asked.resolve(&1.into());
        new(&mut asked, 1, "{}");
    }

    #[test]
    fn another_request_under_a_used_id_is_another_request() {
        let mut asked = ServerRequests::default();
        let first = new(&mut asked, 1, "[1]");
        let second = new(&mut asked, 1, "[2]");
        assert!(asked.answer(&first, &Bytes::new()).is_none());
        assert!(asked.answer(&second, &Bytes::new()).is_some());
    }

    #[test]
    fn whoever_has_a_request_whose_id_is_used_again_can_be_told() {
        let mut asked = ServerRequests::default();
        let first = new(&mut asked, 1, "[1]");
        let Received::New(second, Some(signal)) = receive(&mut asked, 1, "[2]") else { panic!("no signal") };
        signal.fire();
        assert!(first.cancellation.is_cancelled() && !second.cancellation.is_cancelled());
    }

    #[test]
    fn the_last_answers_are_kept() {
        let mut asked = ServerRequests::default();
        for id in 0..=i64::try_from(MAX_KEPT_RESPONSES).unwrap() {
            let ask = new(&mut asked, id, "{}");
            asked.answer(&ask, &Bytes::new());
        }
        assert!(matches!(receive(&mut asked, 0, "{}"), Received::New(..)));
        assert!(matches!(receive(&mut asked, 1, "{}"), Received::Answered(_)));
        assert_eq!(asked.end_turn("u").len(), 1);
        assert_eq!(asked.end().count(), 0);
    }
}

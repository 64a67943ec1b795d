//! The requests that a call has made awakeables for.

use std::collections::BTreeMap;
use std::pin::Pin;

use restate_sdk::context::{DurableFuture, DurableFuturesUnordered};
use restate_sdk::prelude::TerminalError;
use serde_json::Value;

use crate::ask::{Ask, Decision, OpenAsk, cancels};

/// What ends a wait for decisions.
pub(crate) enum Woken {
    Decided(Value),
    Look,
}

pub(crate) type Waiting<'ctx> =
    Pin<Box<dyn DurableFuture<Output = Result<Woken, TerminalError>> + Send + 'ctx>>;

/// A decision that no turn has had.
pub(crate) struct Kept {
    pub(crate) ask: Ask,
    pub(crate) response: Value,
}

/// The requests of a call, through all its turns: a turn that continues another one makes the same requests again.
#[derive(Default)]
pub(crate) struct Asked<'ctx> {
    pub(crate) waiting: DurableFuturesUnordered<Waiting<'ctx>>,
    /// The requests that wait, by the index of their awakeable in `waiting`.
    pub(crate) open: BTreeMap<usize, OpenAsk>,
    /// The requests that went away before there was a decision. Their awakeables count for the same requests.
    withdrawn: BTreeMap<usize, OpenAsk>,
    pub(crate) kept: Vec<Kept>,
}

impl Asked<'_> {
    /// The decision that was kept for this request.
    pub(crate) fn take_kept(&mut self, ask: &Ask) -> Option<Kept> {
        let at = self.kept.iter().position(|known| known.ask.is_same(ask))?;
        Some(self.kept.remove(at))
    }

    /// Gives a request the awakeable of one that was withdrawn, if there is the same. Returns whether there was.
    pub(crate) fn reopen(&mut self, ask: &Ask) -> bool {
        let Some(at) = self.withdrawn.iter().find(|(_, open)| open.ask.is_same(ask)).map(|(at, _)| *at)
        else {
            return false;
        };
        if let Some(open) = self.withdrawn.remove(&at) {
            self.open.insert(at, OpenAsk { ask: ask.clone(), ..open });
        }
        true
    }

    /// Withdraws the requests that are not wanted any more. Returns whether there were any.
    pub(crate) fn withdraw(&mut self, is_wanted: impl Fn(&Ask) -> bool) -> bool {
        let before = self.open.len();
        let (open, withdrawn) =
            std::mem::take(&mut self.open).into_iter().partition(|(_, open)| is_wanted(&open.ask));
        self.open = open;
        self.withdrawn.extend::<BTreeMap<_, _>>(withdrawn);
        self.open.len() != before
    }

    /// Keeps a decision that the turn has not had, unless it interrupts the turn. Returns whether it does.
    pub(crate) fn keep(&mut self, ask: Ask, response: Value) -> bool {
        let is_interrupted = cancels(&response);
        if !is_interrupted {
            self.kept.push(Kept { ask, response });
        }
        is_interrupted
    }

    /// The same for a decision about a request that was withdrawn. One that is unusable does not count.
    pub(crate) fn keep_late(&mut self, at: usize, decision: &Value) -> bool {
        let Some(OpenAsk { ask, .. }) = self.withdrawn.remove(&at) else { return false };
        match ask.read(decision) {
            Ok(Decision::Response(response)) => self.keep(ask, response),
            Ok(Decision::Interrupt) => true,
            Ok(Decision::Policy(_)) | Err(_) => false,
        }
    }

    /// Forgets a request that does not wait any more. Returns whether it is none of those that wait.
    pub(crate) fn forget_withdrawn(&mut self, at: usize) -> bool {
        self.withdrawn.remove(&at);
        !self.open.contains_key(&at)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ask::{AskKind, interrupt};

    fn command(turn: &str, command: &str) -> Ask {
        let request = json!({"turnId": turn, "itemId": turn, "command": command});
        Ask::new(format!("{turn}/0"), AskKind::Command, request)
    }

    /// A call with a request that was withdrawn.
    fn withdrawn(at: usize) -> Asked<'static> {
        let mut asked = Asked::default();
        let ask = command("first", "make");
        asked.open.insert(at, OpenAsk { awakeable: "sign_1".into(), problem: None, ask });
        assert!(asked.withdraw(|_| false));
        asked
    }

    #[test]
    fn a_late_decision_counts_once_for_the_same_request() {
        let mut asked = withdrawn(3);
        assert!(!asked.keep_late(3, &json!("accept")));
        assert!(asked.take_kept(&command("next", "make all")).is_none());
        assert_eq!(asked.take_kept(&command("next", "make")).unwrap().response, json!("accept"));
        assert!(asked.take_kept(&command("next", "make")).is_none());
        // Its awakeable has had its decision.
        assert!(!asked.reopen(&command("next", "make")));
    }

    #[test]
    fn a_request_that_was_withdrawn_gets_its_awakeable_back() {
        let mut asked = withdrawn(3);
        assert!(!asked.reopen(&command("next", "make all")));
        assert!(asked.reopen(&command("next", "make")));
        let open = &asked.open[&3];
        assert_eq!((open.awakeable.as_str(), open.ask.id.as_str()), ("sign_1", "next/0"));
        assert!(!asked.forget_withdrawn(3));
        // The request that goes on is not withdrawn.
        assert!(!asked.withdraw(|ask| ask.id == "next/0"));
    }

    #[test]
    fn a_decision_that_interrupts_is_never_kept() {
        assert!(Asked::default().keep(command("first", "make"), json!("cancel")));
        for decision in [json!("cancel"), interrupt()] {
            let mut asked = withdrawn(3);
            assert!(asked.keep_late(3, &decision));
            assert!(asked.kept.is_empty());
        }
    }

    #[test]
    fn a_late_decision_that_is_unusable_or_rejected_does_not_count() {
        let mut asked = withdrawn(3);
        assert!(!asked.keep_late(3, &json!("yes")));
        assert!(asked.kept.is_empty() && !asked.reopen(&command("next", "make")));
        let mut asked = withdrawn(3);
        assert!(asked.forget_withdrawn(3));
        assert!(!asked.reopen(&command("next", "make")));
    }
}

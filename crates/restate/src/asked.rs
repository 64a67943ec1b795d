//! The requests that a call has made awakeables for.

use std::collections::BTreeMap;
use std::pin::Pin;

use restate_sdk::context::{DurableFuture, DurableFuturesUnordered};
use restate_sdk::prelude::TerminalError;
use serde_json::Value;

use crate::ask::{Ask, Decision, OpenAsk};

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

    /// Keeps a decision about a request that was withdrawn, if it is usable.
    pub(crate) fn keep(&mut self, at: usize, decision: &Value) {
        if let Some(OpenAsk { ask, .. }) = self.withdrawn.remove(&at)
            && let Ok(Decision::Response(response)) = ask.read(decision)
        {
            self.kept.push(Kept { ask, response });
        }
    }
}

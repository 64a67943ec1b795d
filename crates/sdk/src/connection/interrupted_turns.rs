//! The latest turns that were interrupted. A sub-agent of such a turn can begin its own turn later, or be seen later.

use std::collections::VecDeque;
use std::sync::Arc;

/// How many interrupted turns are remembered.
const MAX_TURNS: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct InterruptedTurns(VecDeque<InterruptedTurn>);

#[derive(Debug)]
pub(crate) struct InterruptedTurn {
    pub(crate) thread_id: Arc<str>,
    pub(crate) turn_id: Arc<str>,
    /// Whether the interrupt ends commands too.
    pub(crate) end_commands: bool,
}

impl InterruptedTurns {
    /// Adds a turn, unless it is there. Returns the turn that is forgotten for it.
    pub(crate) fn add(&mut self, turn: InterruptedTurn) -> Option<InterruptedTurn> {
        if self.get(&turn.turn_id).is_some() {
            return None;
        }
        self.0.push_back(turn);
        if self.0.len() > MAX_TURNS { self.0.pop_front() } else { None }
    }

    pub(crate) fn remove(&mut self, turn_id: &str) {
        self.0.retain(|turn| *turn.turn_id != *turn_id);
    }

    pub(crate) fn get(&self, turn_id: &str) -> Option<&InterruptedTurn> {
        self.0.iter().find(|turn| *turn.turn_id == *turn_id)
    }

    /// The interrupted turns of a thread.
    pub(crate) fn on(&self, thread_id: &str) -> impl Iterator<Item = &InterruptedTurn> {
        self.0.iter().filter(move |turn| *turn.thread_id == *thread_id)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

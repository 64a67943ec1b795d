//! Which turns this client has started, on a server that other clients use too.

use std::sync::Arc;

/// The running turns of this client. `None` if the server is the client's own: then all turns are.
#[derive(Debug)]
pub(crate) struct OwnTurns(Option<Vec<Arc<str>>>);

impl OwnTurns {
    pub(crate) fn new(shares_server: bool) -> Self {
        Self(shares_server.then(Vec::new))
    }

    /// Whether the server is shared, so that there are turns of other clients too.
    pub(crate) fn are_some(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn contains(&self, turn_id: &str) -> bool {
        self.0.as_ref().is_none_or(|turns| turns.iter().any(|turn| **turn == *turn_id))
    }

    pub(crate) fn add(&mut self, turn_id: &str) {
        if let Some(turns) = &mut self.0
            && turns.iter().all(|turn| **turn != *turn_id)
        {
            turns.push(turn_id.into());
        }
    }

    pub(crate) fn remove(&mut self, turn_id: &str) {
        if let Some(turns) = &mut self.0 {
            turns.retain(|turn| **turn != *turn_id);
        }
    }
}

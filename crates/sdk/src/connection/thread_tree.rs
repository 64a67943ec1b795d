//! Which thread has spawned which, so that a sub-agent's request finds those who decide for it.

use std::sync::Arc;

use crate::id_map::IdMap;

/// The families of a connection's threads.
#[derive(Debug, Default)]
pub(crate) struct ThreadTree {
    /// The threads of sub-agents, each with the thread that has spawned it, or that of the turn it works for.
    parents: IdMap<Arc<str>>,
    /// Closed threads without a parent that others still descend from.
    closed_roots: Vec<Arc<str>>,
    /// The threads of sub-agents that a running turn has given work, each with that turn. A runtime before 0.163.0 does not
    /// say so when their turns start.
    employers: IdMap<Arc<str>>,
}

impl ThreadTree {
    /// The server says who has spawned a thread.
    pub(crate) fn spawned(&mut self, child: &str, parent: &str) {
        self.parents.insert(child.into(), parent.into());
    }

    /// A thread works for another one; that is its parent, if nothing else is known.
    pub(crate) fn set_parent(&mut self, child: &str, parent: &str) {
        if child != parent && self.parents.get(child).is_none() {
            self.spawned(child, parent);
        }
    }

    /// A turn has given a thread work.
    pub(crate) fn assign(&mut self, thread_id: &str, turn_id: Arc<str>) {
        self.employers.insert(thread_id.into(), turn_id);
    }

    /// The turn that has given a thread work.
    pub(crate) fn parent_turn(&self, thread_id: &str) -> Option<Arc<str>> {
        self.employers.get(thread_id).cloned()
    }

    /// A turn is over: it has no work to give any more.
    pub(crate) fn turn_ended(&mut self, turn_id: &str) {
        self.employers.entries().retain(|(_, parent_turn)| **parent_turn != *turn_id);
    }

    /// A thread has a turn: it is open, again if it was closed.
    pub(crate) fn is_open(&mut self, thread_id: &str) {
        self.closed_roots.retain(|root| **root != *thread_id);
    }

    /// A thread was closed. Those that it has spawned descend from its own parent now, and one without a parent stays
    /// known as long as there are any: who decides for a thread does not change because another one goes. Gives the
    /// threads that nobody descends from any more.
    pub(crate) fn closed(&mut self, thread_id: &str) -> Vec<Arc<str>> {
        let above = self.parents.remove(thread_id);
        if let Some(above) = &above {
            for (_, parent) in self.parents.entries() {
                if **parent == *thread_id {
                    *parent = above.clone();
                }
            }
        }
        let mut gone = Vec::new();
        match self.parents.entries().iter().find(|(_, parent)| **parent == *thread_id) {
            Some((_, root)) if !self.closed_roots.contains(root) => self.closed_roots.push(root.clone()),
            Some(_) => {}
            None => gone.push(Arc::from(thread_id)),
        }
        if let Some(above) = above
            && !self.parents.entries().iter().any(|(_, parent)| *parent == above)
            && let Some(at) = self.closed_roots.iter().position(|root| *root == above)
        {
            self.closed_roots.swap_remove(at);
            gone.push(above);
        }
        gone
    }

    /// The threads that have led to a thread, the nearest first.
    pub(crate) fn ancestors(&self, thread_id: &str) -> Vec<Arc<str>> {
        let mut found: Vec<Arc<str>> = Vec::new();
        let mut next = self.parents.get(thread_id);
        // A server that names a descendant as a parent must not make this go round in circles.
        while let Some(parent) = next.filter(|parent| ***parent != *thread_id && !found.contains(parent)) {
            found.push(parent.clone());
            next = self.parents.get(parent);
        }
        found
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn is_empty(&self) -> bool {
        let Self { parents, closed_roots, employers } = self;
        parents.is_empty() && closed_roots.is_empty() && employers.is_empty()
    }
}

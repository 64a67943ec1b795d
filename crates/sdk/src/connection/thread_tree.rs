//! Which thread has spawned which. A sub-agent's request goes to the handlers of the threads above it.

use std::sync::Arc;

use crate::thread_map::ThreadMap;

/// The parents of a connection's threads.
#[derive(Debug, Default)]
pub(crate) struct ThreadTree {
    /// The threads of sub-agents, each with the thread that has spawned it, or with the thread of the turn it works for.
    parents: ThreadMap<Arc<str>>,
    /// Closed threads without a parent that other threads still descend from.
    closed_roots: Vec<Arc<str>>,
    /// The threads of sub-agents that work for a running turn, each with that turn. A runtime before 0.163.0 does not
    /// report the turn when the sub-agent's turn starts.
    assigned_turns: ThreadMap<Assignment>,
}

/// The work that an item of a turn has given to a thread.
#[derive(Debug)]
struct Assignment {
    turn_id: Arc<str>,
    /// Whether a turn of the thread has begun since, or ran then.
    has_begun: bool,
}

impl ThreadTree {
    /// Adds a thread that another thread has spawned.
    pub(crate) fn add_child(&mut self, child: &str, parent: &str) {
        self.parents.insert(child.into(), parent.into());
    }

    /// Sets the parent of a thread that works for another thread, unless its parent is known.
    pub(crate) fn set_parent(&mut self, child: &str, parent: &str) {
        if child != parent && self.parents.get(child).is_none() {
            self.add_child(child, parent);
        }
    }

    /// Assigns a thread to the turn that it works for. `has_begun`: whether a turn of the thread runs.
    pub(crate) fn assign(&mut self, thread_id: &str, turn_id: Arc<str>, has_begun: bool) {
        self.assigned_turns.insert(thread_id.into(), Assignment { turn_id, has_begun });
    }

    /// Removes the assignment of a thread.
    pub(crate) fn unassign(&mut self, thread_id: &str) {
        self.assigned_turns.remove(thread_id);
    }

    /// The turn that a thread works for.
    pub(crate) fn assigned_turn(&self, thread_id: &str) -> Option<Arc<str>> {
        self.assigned_turns.get(thread_id).map(|assigned| assigned.turn_id.clone())
    }

    /// Whether a thread works for a turn, and no turn of the thread has begun since.
    pub(crate) fn awaits_turn(&self, thread_id: &str) -> bool {
        self.assigned_turns.get(thread_id).is_some_and(|assigned| !assigned.has_begun)
    }

    /// As [`assigned_turn`](Self::assigned_turn), of a thread whose turn begins.
    pub(crate) fn begin_assigned(&mut self, thread_id: &str) -> Option<Arc<str>> {
        let turn_id = self.assigned_turn(thread_id)?;
        self.assign(thread_id, turn_id.clone(), true);
        Some(turn_id)
    }

    /// Removes a turn that is over, with its assignments.
    pub(crate) fn remove_turn(&mut self, turn_id: &str) {
        self.assigned_turns.entries().retain(|(_, assigned)| *assigned.turn_id != *turn_id);
    }

    /// Removes an interrupted turn that is over, with the assignments of threads that have begun their work.
    pub(crate) fn remove_interrupted_turn(&mut self, turn_id: &str) {
        let is_left = |assigned: &Assignment| *assigned.turn_id != *turn_id || !assigned.has_begun;
        self.assigned_turns.entries().retain(|(_, assigned)| is_left(assigned));
    }

    /// Notes that a thread has a turn. A closed thread is open again.
    pub(crate) fn reopen(&mut self, thread_id: &str) {
        self.closed_roots.retain(|root| **root != *thread_id);
    }

    /// Closes a thread and returns the closed threads that have no descendants left.
    ///
    /// The children of the closed thread become children of its parent. Without a parent, it stays known as long as it has
    /// descendants. So the handlers of a thread do not change when another thread closes.
    pub(crate) fn close(&mut self, thread_id: &str) -> Vec<Arc<str>> {
        let above = self.parents.remove(thread_id);
        if let Some(above) = &above {
            for (_, parent) in self.parents.entries() {
                if **parent == *thread_id {
                    *parent = above.clone();
                }
            }
        }
        let mut released = Vec::new();
        match self.parents.entries().iter().find(|(_, parent)| **parent == *thread_id) {
            Some((_, root)) if !self.closed_roots.contains(root) => self.closed_roots.push(root.clone()),
            Some(_) => {}
            None => released.push(Arc::from(thread_id)),
        }
        if let Some(above) = above
            && !self.parents.entries().iter().any(|(_, parent)| *parent == above)
            && let Some(index) = self.closed_roots.iter().position(|root| *root == above)
        {
            self.closed_roots.swap_remove(index);
            released.push(above);
        }
        released
    }

    /// The threads above a thread, the nearest first.
    pub(crate) fn ancestors(&self, thread_id: &str) -> Vec<Arc<str>> {
        let mut found: Vec<Arc<str>> = Vec::new();
        let mut next = self.parents.get(thread_id);
        // A server can name a descendant as a parent. That must not loop forever.
        while let Some(parent) = next.filter(|parent| ***parent != *thread_id && !found.contains(parent)) {
            found.push(parent.clone());
            next = self.parents.get(parent);
        }
        found
    }

    /// Whether a thread is that of a sub-agent.
    pub(crate) fn is_child(&self, thread_id: &str) -> bool {
        self.parents.get(thread_id).is_some()
    }

    /// The threads of all sub-agents.
    pub(crate) fn children(&self) -> impl Iterator<Item = Arc<str>> {
        self.parents.iter().map(|(child, _)| child.clone())
    }

    /// The threads below a thread.
    pub(crate) fn descendants(&self, thread_id: &str) -> Vec<Arc<str>> {
        let threads = self.parents.iter().map(|(thread, _)| thread);
        let below = threads.filter(|thread| self.ancestors(thread).iter().any(|above| **above == *thread_id));
        below.cloned().collect()
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn is_empty(&self) -> bool {
        let Self { parents, closed_roots, assigned_turns } = self;
        parents.is_empty() && closed_roots.is_empty() && assigned_turns.is_empty()
    }
}

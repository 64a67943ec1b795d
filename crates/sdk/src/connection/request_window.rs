//! Bounds how many requests are without a response.
//!
//! A server takes in a bounded number of requests, and refuses the others as too many. So further ones wait here.

/// How many requests may be without a response. Runtime 0.163.0 queues 128.
const MAX_UNANSWERED: usize = 64;
/// How many more may be, if these are interrupts: a turn has to end also while the server is slow with other requests.
const FOR_INTERRUPTS: usize = 32;

/// The slot that a request takes in the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Nothing: it can wait for a person or a command, and would keep its slot.
    None,
    Usual,
    /// That of an interrupt, which does not wait for other requests.
    Interrupt,
}

/// The requests that the server has, or is getting.
#[derive(Debug, Default)]
pub(crate) struct RequestWindow {
    unanswered: Vec<i64>,
    /// Whether a request waits for a slot.
    is_awaited: bool,
}

impl RequestWindow {
    /// Takes a slot for a request. Without one, the request has to wait until [`release`](Self::release) returns true.
    pub(crate) fn enter(&mut self, id: i64, slot: Slot) -> bool {
        let limit = match slot {
            Slot::None => return true,
            Slot::Usual => MAX_UNANSWERED,
            Slot::Interrupt => MAX_UNANSWERED + FOR_INTERRUPTS,
        };
        let has_slot = self.unanswered.len() < limit;
        if has_slot {
            self.unanswered.push(id);
        }
        self.is_awaited |= !has_slot;
        has_slot
    }

    /// Whether a request has a slot.
    pub(crate) fn contains(&self, id: i64) -> bool {
        self.unanswered.contains(&id)
    }

    /// Releases the slot of a request, which has a response or whose timeout has passed. Returns whether a request waited for
    /// a slot.
    pub(crate) fn release(&mut self, id: i64) -> bool {
        let before = self.unanswered.len();
        self.unanswered.retain(|unanswered| *unanswered != id);
        self.unanswered.len() < before && std::mem::take(&mut self.is_awaited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_waits_until_another_one_has_its_response() {
        let mut window = RequestWindow::default();
        let count = i64::try_from(MAX_UNANSWERED).unwrap();
        assert!((0..count).all(|id| window.enter(id, Slot::Usual)));
        assert!(!window.release(count), "it has no slot");
        assert!(!window.enter(count, Slot::Usual) && !window.contains(count));
        assert!(window.release(7), "a request waits");
        assert!(window.enter(count, Slot::Usual) && window.contains(count));
        assert!(!window.release(8), "none waits any more");
    }

    #[test]
    fn interrupts_have_slots_of_their_own_and_a_bound() {
        let mut window = RequestWindow::default();
        let usual = i64::try_from(MAX_UNANSWERED).unwrap();
        let all = usual + i64::try_from(FOR_INTERRUPTS).unwrap();
        assert!((0..usual).all(|id| window.enter(id, Slot::Usual)));
        assert!((usual..all).all(|id| window.enter(id, Slot::Interrupt)));
        assert!(!window.enter(all, Slot::Interrupt) && window.enter(all, Slot::None));
        assert!(window.release(0));
        assert!(!window.enter(all, Slot::Usual) && window.enter(all, Slot::Interrupt));
    }
}

//! Bounds how many requests are without a response.
//!
//! A server takes in a bounded number of requests, and refuses the others as too many. So further ones wait here.

/// How many requests may be without a response. Runtime 0.163.0 queues 128.
const MAX_UNANSWERED: usize = 64;
/// How many more may be, if these are interrupts: a turn has to end also while the server is slow with other requests.
const FOR_INTERRUPTS: usize = 32;

/// What a request takes of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nothing: it can wait for a person or a command, and would keep its place.
    None,
    Usual,
    /// That of an interrupt, which does not wait for other requests.
    Interrupt,
}

/// The requests that the server has, or is getting.
#[derive(Debug, Default)]
pub(crate) struct RequestWindow {
    unanswered: Vec<i64>,
    /// Whether a request waits for a place.
    is_awaited: bool,
}

impl RequestWindow {
    /// Takes a place for a request. Without one, the request has to wait until [`release`](Self::release) returns true.
    pub(crate) fn enter(&mut self, id: i64, place: Place) -> bool {
        let limit = match place {
            Place::None => return true,
            Place::Usual => MAX_UNANSWERED,
            Place::Interrupt => MAX_UNANSWERED + FOR_INTERRUPTS,
        };
        let has_place = self.unanswered.len() < limit;
        if has_place {
            self.unanswered.push(id);
        }
        self.is_awaited |= !has_place;
        has_place
    }

    /// Whether a request has a place.
    pub(crate) fn contains(&self, id: i64) -> bool {
        self.unanswered.contains(&id)
    }

    /// Releases the place of a request, which has a response or whose timeout has passed. Returns whether a request waited for
    /// a place.
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
        assert!((0..count).all(|id| window.enter(id, Place::Usual)));
        assert!(!window.release(count), "it has no place");
        assert!(!window.enter(count, Place::Usual) && !window.contains(count));
        assert!(window.release(7), "a request waits");
        assert!(window.enter(count, Place::Usual) && window.contains(count));
        assert!(!window.release(8), "none waits any more");
    }

    #[test]
    fn interrupts_have_places_of_their_own_and_a_bound() {
        let mut window = RequestWindow::default();
        let usual = i64::try_from(MAX_UNANSWERED).unwrap();
        let all = usual + i64::try_from(FOR_INTERRUPTS).unwrap();
        assert!((0..usual).all(|id| window.enter(id, Place::Usual)));
        assert!((usual..all).all(|id| window.enter(id, Place::Interrupt)));
        assert!(!window.enter(all, Place::Interrupt) && window.enter(all, Place::None));
        assert!(window.release(0));
        assert!(!window.enter(all, Place::Usual) && window.enter(all, Place::Interrupt));
    }
}

//! Bounds how many requests are without a response.
//!
//! A server takes in a bounded number of requests, and refuses the others as too many. So further ones wait here.

/// How many requests may be without a response. Runtime 0.163.0 queues 128.
const MAX_UNANSWERED: usize = 64;

/// The requests that the server has, or is getting.
#[derive(Debug, Default)]
pub(crate) struct RequestWindow {
    unanswered: Vec<i64>,
    /// Whether a request waits for a place.
    is_awaited: bool,
}

impl RequestWindow {
    /// Takes a place for a request. Without one, the request has to wait until [`release`](Self::release) returns true.
    pub(crate) fn enter(&mut self, id: i64) -> bool {
        let has_place = self.unanswered.len() < MAX_UNANSWERED;
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
        assert!((0..count).all(|id| window.enter(id)));
        assert!(!window.release(count), "it has no place");
        assert!(!window.enter(count) && !window.contains(count));
        assert!(window.release(7), "a request waits");
        assert!(window.enter(count) && window.contains(count));
        assert!(!window.release(8), "none waits any more");
    }
}

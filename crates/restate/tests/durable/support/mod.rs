//! An engine, workers and a scripted model.

pub(crate) mod engine;
pub(crate) mod http;
pub(crate) mod workers;

use std::time::{Duration, Instant};

/// Looks until something is so. Engine and workers have no other way to say it.
pub(crate) fn wait_until(what: &str, within: Duration, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + within;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} takes longer than {within:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Looks until there is something.
pub(crate) fn wait_for<T>(what: &str, within: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    wait_until(what, within, || {
        found = look();
        found.is_some()
    });
    found.unwrap()
}

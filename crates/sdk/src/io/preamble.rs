//! The lines that a program writes before it is known to be a Codex runtime.

use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How much of a malformed line an event or an error shows.
const MAX_EXCERPT_BYTES: usize = 200;
/// How many lines that are not JSON are skipped, such as the banner of a wrapper.
const MAX_SKIPPED_LINES: usize = 64;
/// The largest total size of the skipped lines.
const MAX_SKIPPED_BYTES: usize = 64 * 1024;
/// How many skipped lines an error shows.
const MAX_QUOTED_LINES: usize = 3;

/// The lines that were skipped before the response to `initialize`.
#[derive(Debug, Default)]
pub(crate) struct Preamble(Mutex<Lines>);

#[derive(Debug, Default)]
struct Lines {
    count: usize,
    bytes: usize,
    first: Vec<String>,
}

impl Preamble {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Skips a line. Returns `false` if there are too many.
    pub(crate) fn skip(&self, line: &[u8]) -> bool {
        let mut lines = self.lock();
        if lines.count == MAX_SKIPPED_LINES || lines.bytes + line.len() > MAX_SKIPPED_BYTES {
            return false;
        }
        lines.count += 1;
        lines.bytes += line.len();
        if lines.first.len() < MAX_QUOTED_LINES {
            lines.first.push(excerpt(line));
        }
        true
    }

    /// The part of an error message that quotes these lines. Empty if there are none.
    pub(crate) fn quote(&self) -> String {
        let lines = self.lock();
        match (&*lines.first, lines.count - lines.first.len()) {
            ([], _) => String::new(),
            (first, 0) => format!(" (it wrote {})", quoted(first)),
            (first, more) => format!(" (it wrote {} and {more} more lines)", quoted(first)),
        }
    }
}

fn quoted(lines: &[String]) -> String {
    let mut quoted = String::new();
    for line in lines {
        let comma = if quoted.is_empty() { "" } else { ", " };
        let _ = write!(quoted, "{comma}{line:?}");
    }
    quoted
}

pub(crate) fn excerpt(frame: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&frame[..frame.len().min(MAX_EXCERPT_BYTES)]).into_owned();
    if frame.len() > MAX_EXCERPT_BYTES { format!("{shown}… ({} bytes)", frame.len()) } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limited_number_of_lines_is_skipped_and_the_first_are_quoted() {
        let preamble = Preamble::default();
        assert_eq!(preamble.quote(), "");
        assert!(preamble.skip(b"Welcome"));
        assert_eq!(preamble.quote(), " (it wrote \"Welcome\")");
        assert_eq!((1..100).filter(|_| preamble.skip(b"x")).count(), MAX_SKIPPED_LINES - 1);
        assert_eq!(preamble.quote(), " (it wrote \"Welcome\", \"x\", \"x\" and 61 more lines)");
        let preamble = Preamble::default();
        assert!(!preamble.skip(&[b'x'; MAX_SKIPPED_BYTES + 1]));
        assert!(preamble.skip(&[b'x'; MAX_SKIPPED_BYTES]));
        assert!(!preamble.skip(b"x"));
    }
}

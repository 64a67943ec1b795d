//! What a program writes before it is known to be a Codex runtime.

use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How much of a malformed line an event or error shows.
const EXCERPT: usize = 200;
/// How many lines that are no JSON are skipped, such as the banner of a wrapper, and how many bytes they may have in all.
const LINES: usize = 64;
const BYTES: usize = 64 * 1024;
/// How many of them an error shows.
const SHOWN: usize = 3;

/// The lines that were skipped before `initialize` was answered.
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

    /// Takes note of a line that is skipped. `false`: it is one too many.
    pub(crate) fn skip(&self, line: &[u8]) -> bool {
        let mut lines = self.lock();
        if lines.count == LINES || lines.bytes + line.len() > BYTES {
            return false;
        }
        lines.count += 1;
        lines.bytes += line.len();
        if lines.first.len() < SHOWN {
            lines.first.push(excerpt(line));
        }
        true
    }

    /// What an error says of these lines; empty if there were none.
    pub(crate) fn words(&self) -> String {
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
    let shown = String::from_utf8_lossy(&frame[..frame.len().min(EXCERPT)]).into_owned();
    if frame.len() > EXCERPT { format!("{shown}… ({} bytes)", frame.len()) } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_lines_and_bytes_are_skipped_and_the_first_are_told() {
        let preamble = Preamble::default();
        assert_eq!(preamble.words(), "");
        assert!(preamble.skip(b"Welcome"));
        assert_eq!(preamble.words(), " (it wrote \"Welcome\")");
        assert_eq!((1..100).filter(|_| preamble.skip(b"x")).count(), LINES - 1);
        assert_eq!(preamble.words(), " (it wrote \"Welcome\", \"x\", \"x\" and 61 more lines)");
        let preamble = Preamble::default();
        assert!(!preamble.skip(&[b'x'; BYTES + 1]));
        assert!(preamble.skip(&[b'x'; BYTES]));
        assert!(!preamble.skip(b"x"));
    }
}

//! The runtime's standard error. The client always drains it, and keeps its end for errors.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt};

/// How many lines are kept.
const MAX_KEPT_LINES: usize = 400;
/// How many lines an error quotes.
const MAX_QUOTED_LINES: usize = 40;
/// The largest size of the quote in an error.
const MAX_QUOTED_BYTES: usize = 2000;
/// The rest of a longer line is dropped.
const MAX_LINE_BYTES: usize = 4096;
/// The byte that begins the code of a color.
const ESCAPE: u8 = 0x1b;

/// The last lines of the runtime's standard error.
#[derive(Debug, Default)]
pub(crate) struct StderrTail {
    lines: Mutex<VecDeque<String>>,
}

impl StderrTail {
    /// Reads to the end of the stream. An error of the pipe also ends it.
    pub(crate) async fn drain(&self, mut stream: impl AsyncRead + Unpin) {
        let mut chunk = vec![0; 16 * 1024];
        let mut line = Vec::new();
        while let Ok(count @ 1..) = stream.read(&mut chunk).await {
            for piece in chunk[..count].split_inclusive(|byte| *byte == b'\n') {
                let text = piece.strip_suffix(b"\n").unwrap_or(piece);
                line.extend_from_slice(&text[..text.len().min(MAX_LINE_BYTES - line.len())]);
                if text.len() < piece.len() {
                    self.push(&line);
                    line.clear();
                }
            }
        }
        if !line.is_empty() {
            self.push(&line);
        }
    }

    fn push(&self, line: &[u8]) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == MAX_KEPT_LINES {
            lines.pop_front();
        }
        // The runtime colors its log, also if no terminal shows it. Tabs are kept in lines without colors only.
        let plain = line.contains(&ESCAPE).then(|| strip_ansi_escapes::strip(line));
        lines.push_back(String::from_utf8_lossy(plain.as_deref().unwrap_or(line)).into_owned());
    }

    /// Whether the runtime reports that it could not create its databases, as when another runtime creates them meanwhile.
    pub(crate) fn reports_contended_home(&self) -> bool {
        const MESSAGES: [&str; 2] =
            ["failed to initialize sqlite state", "failed to initialize state runtime"];
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().any(|line| MESSAGES.iter().any(|message| line.contains(message)))
    }

    /// The end of the output, for an error message. Empty if the runtime has written nothing.
    pub(crate) fn quote(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let mut quoted = Vec::new();
        let mut room = MAX_QUOTED_BYTES;
        for line in lines.iter().rev().take(MAX_QUOTED_LINES) {
            let Some(left) = room.checked_sub(line.len() + 1) else {
                if quoted.is_empty() {
                    let fits = |start: &usize| line.is_char_boundary(*start);
                    let start = (line.len() - room..=line.len()).find(fits).unwrap_or(line.len());
                    quoted.push(&line[start..]);
                }
                break;
            };
            room = left;
            quoted.push(line);
        }
        quoted.reverse();
        quoted.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn tail(text: &[u8]) -> String {
        let tail = StderrTail::default();
        tail.drain(text).await;
        tail.quote()
    }

    #[tokio::test]
    async fn the_quote_is_the_last_lines() {
        let log: String = (0..1000).map(|n| format!("line {n}\n")).collect();
        let quote = tail(log.as_bytes()).await;
        assert!(quote.starts_with("line 960\n") && quote.ends_with("line 999"), "{quote}");
        assert_eq!(tail(b"").await, "");
        assert_eq!(tail(b"last message").await, "last message");
    }

    #[tokio::test]
    async fn colors_are_left_out() {
        assert_eq!(tail(b"\x1b[2m12:00\x1b[0m \x1b[31mERROR\x1b[0m: \xc3\xa4\n").await, "12:00 ERROR: ä");
        assert_eq!(tail(b"no\tcolors\n").await, "no\tcolors");
    }

    #[tokio::test]
    async fn an_endless_line_is_cut() {
        let quote = tail("ä".repeat(1 << 20).as_bytes()).await;
        assert!(quote.len() <= MAX_QUOTED_BYTES && !quote.is_empty());
    }
}

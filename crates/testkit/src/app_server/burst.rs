//! Sends many notifications at full speed.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The approximate size of one write.
const BLOCK: usize = 256 * 1024;

/// Lines for [`burst`](super::Script::burst): `count` lines that repeat `lines` in order.
///
/// The lines are rendered once, into a block that is written repeatedly, so that a benchmark measures its reader and
/// not this.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Burst {
    /// The number of lines.
    pub count: u64,
    /// The lines, repeated in order.
    pub lines: Vec<String>,
}

impl Burst {
    /// Any messages.
    pub fn messages(count: u64, messages: impl IntoIterator<Item = Value>) -> Self {
        Self { count, lines: messages.into_iter().map(|message| message.to_string()).collect() }
    }

    /// Text deltas of the agent message `item` of a turn. Each line has `line_bytes` bytes with its end, or more if the
    /// message alone is longer. The members have the order in which the real server writes them, because a fast reader
    /// may depend on it.
    pub fn deltas(count: u64, thread: &str, turn: &str, item: &str, line_bytes: usize) -> Self {
        let [thread, turn, item] = [thread, turn, item].map(Value::from);
        let head = format!(
            r#"{{"method":"item/agentMessage/delta","params":{{"threadId":{thread},"turnId":{turn},"itemId":{item},"delta":""#
        );
        let tail = r#""},"emittedAtMs":1700000000000}"#;
        let room = line_bytes.saturating_sub(head.len() + tail.len() + 1);
        let text: String = "abcdefg ".chars().cycle().take(room).collect();
        Self { count, lines: vec![format!("{head}{text}{tail}")] }
    }

    /// Mixes several bursts: their lines alternate. The total number of lines stays the same.
    pub fn interleaved(bursts: impl IntoIterator<Item = Self>) -> Self {
        let mut mixed = Self { count: 0, lines: Vec::new() };
        for burst in bursts {
            mixed.count += burst.count;
            mixed.lines.extend(burst.lines);
        }
        mixed
    }

    /// The data to write: a block, its number of repetitions, and the rest.
    pub(crate) fn blocks(&self) -> (Bytes, u64, Bytes) {
        let lines: Vec<String> = self.lines.iter().map(|line| format!("{line}\n")).collect();
        let round: usize = lines.iter().map(String::len).sum();
        if round == 0 {
            return (Bytes::new(), 0, Bytes::new());
        }
        let rounds = (BLOCK / round).max(1);
        let per_block = (rounds * lines.len()) as u64;
        let times = self.count / per_block;
        let rest = (self.count % per_block) as usize;
        let write =
            |count: usize| -> Bytes { lines.iter().cycle().take(count).cloned().collect::<String>().into() };
        let block = if times == 0 { Bytes::new() } else { write(rounds * lines.len()) };
        (block, times, write(rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(burst: &Burst) -> String {
        let (block, times, rest) = burst.blocks();
        let mut text = String::from_utf8(block.to_vec()).unwrap().repeat(times as usize);
        text.push_str(std::str::from_utf8(&rest).unwrap());
        text
    }

    #[test]
    fn a_pour_has_all_lines_in_the_requested_length() {
        for count in [0, 1, 7, 5_000] {
            let text = text(&Burst::deltas(count, "thread", "turn", "item", 192));
            assert_eq!(text.lines().count() as u64, count);
            assert!(text.split_inclusive('\n').all(|line| line.len() == 192));
            let messages = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            assert!(messages.into_iter().all(|message| message["params"]["turnId"] == "turn"));
        }
    }

    #[test]
    fn mixed_pours_alternate() {
        let bursts = ["a", "b", "c"].map(|turn| Burst::deltas(3_000, "thread", turn, "item", 192));
        let text = text(&Burst::interleaved(bursts));
        let turns = text.lines().map(|line| {
            let message: Value = serde_json::from_str(line).unwrap();
            message["params"]["turnId"].as_str().unwrap().to_owned()
        });
        let expected = ["a", "b", "c"].into_iter().cycle().take(9_000);
        assert!(turns.eq(expected));
    }

    #[test]
    fn an_empty_pour_writes_nothing() {
        assert_eq!(text(&Burst::messages(5, [])), "");
    }
}

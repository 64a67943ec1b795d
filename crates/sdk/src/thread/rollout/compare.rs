//! Compares the history that a home has with one that is to be imported.

use serde_json::Value;

/// What the home's history is, beside the other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// The same turns.
    Same,
    /// A part of it, from its beginning.
    Older,
    /// All of it, and more.
    Newer,
    /// Both have what the other one does not have.
    Other,
}

/// Compares two rollouts. A runtime only adds lines to one. A file that was cut off while it was written is an older one.
pub(super) fn compare(stored: &[u8], import: &[u8]) -> Stored {
    if import.starts_with(stored) {
        return if stored.len() == import.len() { Stored::Same } else { Stored::Older };
    }
    let equal = stored.iter().zip(import).take_while(|(one, other)| one == other).count();
    let lines = stored[..equal].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    match (has_content(&stored[lines..]), has_content(&import[lines..])) {
        (false, false) => Stored::Same,
        (false, true) => Stored::Older,
        (true, false) => Stored::Newer,
        (true, true) => Stored::Other,
    }
}

/// Whether one of the lines is more than a note about settings. A runtime writes such a note whenever it loads a thread.
fn has_content(lines: &[u8]) -> bool {
    let is_note = |line: &[u8]| {
        serde_json::from_slice::<Value>(line).is_ok_and(|line| {
            line["type"] == "event_msg" && line["payload"]["type"] == "thread_settings_applied"
        })
    };
    lines.split(|byte| *byte == b'\n').any(|line| !line.is_empty() && !is_note(line))
}

/// The bytes of a Base64 text, if it is one.
pub(super) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for group in digits.as_bytes().chunks(4) {
        let mut bits = 0_u32;
        for digit in group {
            let value = match digit {
                b'A'..=b'Z' => digit - b'A',
                b'a'..=b'z' => digit - b'a' + 26,
                b'0'..=b'9' => digit - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        bits <<= 6 * (4 - group.len());
        bytes.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histories_are_compared_by_their_turns() {
        const NOTE: &str = r#"{"type":"event_msg","payload":{"type":"thread_settings_applied"}}"#;
        let file = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        let one = file(&["{}", "[1]"]);
        let two = file(&["{}", "[1]", "[2]"]);
        for (stored, import, found) in [
            (&*one, &*one, Stored::Same),
            (&one, &two, Stored::Older),
            (&two, &one, Stored::Newer),
            ("", &one, Stored::Older),
            // Cut off, before and behind its first line.
            (&one[..1], &two, Stored::Older),
            (&two[..two.len() - 2], &two, Stored::Older),
            (&file(&["{}", "[1]", "[3]"]), &two, Stored::Other),
            (&file(&["{}", "[1]", "[3]"])[..9], &two, Stored::Other),
            ("other", &two, Stored::Other),
            // The home, the other one or both were loaded later.
            (&file(&["{}", "[1]", NOTE]), &one, Stored::Same),
            (&file(&["{}", "[1]", NOTE]), &two, Stored::Older),
            (&file(&["{}", "[1]", NOTE, "[2]"]), &two, Stored::Other),
            (&two, &file(&["{}", "[1]", NOTE]), Stored::Newer),
        ] {
            assert_eq!(compare(stored.as_bytes(), import.as_bytes()), found, "{stored:?} and {import:?}");
        }
    }

    #[test]
    fn base64_is_read_and_nothing_else() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("Zg==", b"f"),
            ("Zm8=", b"fo"),
            ("Zm9v", b"foo"),
            ("Zm9vYg==", b"foob"),
            ("+/+/", b"\xfb\xff\xbf"),
        ] {
            assert_eq!(decode_base64(text).as_deref(), Some(bytes), "{text}");
        }
        for bad in ["Z", "Zg", "Zg=", "Z===", "====", "Zm9v\n", "Zm-v", "Z=9v"] {
            assert_eq!(decode_base64(bad), None, "{bad}");
        }
    }
}

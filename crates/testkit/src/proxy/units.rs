//! Splits one direction of a connection into the HTTP head and WebSocket frames.

/// A part of the stream that the relay passes on as a whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// The HTTP request or response.
    Head,
    /// A ping, a pong or a close.
    Control,
    /// One fragment of a message.
    Fragment {
        is_first: bool,
        is_last: bool,
        /// The method of the message, if the first fragment names one.
        method: Option<String>,
    },
}

/// Where in the stream the next unit begins.
#[derive(Debug, Default)]
pub(crate) struct Units {
    is_past_head: bool,
}

impl Units {
    /// The first unit of these bytes, and its length. `None` if it is not complete yet.
    pub(crate) fn next(&mut self, bytes: &[u8]) -> Option<(usize, Unit)> {
        const HEAD_END: &[u8] = b"\r\n\r\n";
        if !self.is_past_head {
            let end = bytes.windows(HEAD_END.len()).position(|window| window == HEAD_END)?;
            self.is_past_head = true;
            return Some((end + HEAD_END.len(), Unit::Head));
        }
        let [first, second] = *bytes.first_chunk()?;
        let (length, mut at) = match second & 0x7f {
            126 => (u64::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)), 4),
            127 => (u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?), 10),
            short => (u64::from(short), 2),
        };
        let mask: Option<[u8; 4]> = match second & 0x80 {
            0 => None,
            _ => {
                let mask = bytes.get(at..)?.first_chunk()?;
                at += mask.len();
                Some(*mask)
            }
        };
        let end = at.checked_add(usize::try_from(length).ok()?)?;
        let payload = bytes.get(at..end)?;
        let unit = match first & 0x0f {
            opcode @ 0..=2 => Unit::Fragment {
                is_first: opcode != 0,
                is_last: first & 0x80 != 0,
                method: if opcode == 0 { None } else { method(payload, mask) },
            },
            _ => Unit::Control,
        };
        Some((end, unit))
    }
}

/// The method that a message names near its beginning.
fn method(payload: &[u8], mask: Option<[u8; 4]>) -> Option<String> {
    const NEAR: usize = 4096;
    let mask = mask.unwrap_or_default();
    let masked = payload.iter().take(NEAR).zip(mask.iter().cycle());
    let text: Vec<u8> = masked.map(|(byte, mask)| byte ^ mask).collect();
    let text = String::from_utf8_lossy(&text);
    // The members before it are short, so a parameter of this name does not come first.
    let (_, rest) = text.split_once("\"method\":")?;
    let (method, _) = rest.trim_start().strip_prefix('"')?.split_once('"')?;
    Some(method.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(is_first: bool, is_last: bool, method: Option<&str>) -> Unit {
        Unit::Fragment { is_first, is_last, method: method.map(str::to_owned) }
    }

    #[test]
    fn a_stream_is_split_wherever_its_reads_end() {
        let mut stream = b"HTTP/1.1 101 x\r\na: b\r\n\r\n".to_vec();
        let head = stream.len();
        stream.extend([0x81, 14]);
        stream.extend(br#"{"method":"m"}"#);
        stream.extend([0x89, 0]); // a ping
        stream.extend([0x01, 126, 0, 200]); // two fragments, the first one long
        stream.extend([b' '; 200]);
        stream.extend([0x80, 0x82, 1, 2, 3, 4, b'{' ^ 1, b'}' ^ 2]); // masked
        let expected = [
            (head, Unit::Head),
            (16, fragment(true, true, Some("m"))),
            (2, Unit::Control),
            (204, fragment(true, false, None)),
            (8, fragment(false, true, None)),
        ];
        let (mut units, mut seen, mut begin) = (Units::default(), Vec::new(), 0);
        for end in 0..=stream.len() {
            while let Some((length, unit)) = units.next(&stream[begin..end]) {
                seen.push((length, unit));
                begin += length;
            }
        }
        assert_eq!(seen, expected);
        assert_eq!(begin, stream.len());
    }

    #[test]
    fn the_method_of_a_masked_message_is_read() {
        let text = br#"{"id":1,"method":"turn/start","params":{"method":"x"}}"#;
        let mask = [9, 8, 7, 6];
        let masked: Vec<u8> = text.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        assert_eq!(method(&masked, Some(mask)).as_deref(), Some("turn/start"));
        assert_eq!(method(br#"{"id":1,"result":{}}"#, None), None);
    }
}

//! Reads a JSON text from left to right.

use std::borrow::Cow;

use memchr::memchr2;

/// How deeply lists and objects may be nested. Python's own parser reads deeper texts.
const MAX_DEPTH: usize = 100;

/// The text is malformed, or unusual enough that Python's own parser must read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unusual;

type Read<T> = Result<T, Unusual>;

/// A position in a JSON text.
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

/// A number, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number<'a> {
    /// Without fraction and exponent.
    Int(&'a str),
    /// With one of them.
    Float(&'a str),
}

impl<'a> Reader<'a> {
    /// Starts at the beginning of `text`.
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Where it is.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// Goes back to a position.
    pub(crate) fn rewind(&mut self, position: usize) {
        self.at = position;
    }

    /// The text since a position.
    pub(crate) fn since(&self, position: usize) -> &'a str {
        &self.text[position..self.at]
    }

    /// The next byte that is not white space. It stays unread.
    #[inline]
    pub(crate) fn peek(&mut self) -> Read<u8> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                Some(byte) => return Ok(*byte),
                None => return Err(Unusual),
            }
        }
    }

    /// Whether only white space is left.
    pub(crate) fn is_at_end(&mut self) -> bool {
        self.peek().is_err()
    }

    /// Reads this byte.
    #[inline]
    pub(crate) fn expect(&mut self, byte: u8) -> Read<()> {
        if self.peek()? == byte {
            self.at += 1;
            Ok(())
        } else {
            Err(Unusual)
        }
    }

    /// Reads the start of an object or a list. Returns whether it is empty; then it is read.
    #[inline]
    pub(crate) fn open(&mut self, open: u8, close: u8) -> Read<bool> {
        self.expect(open)?;
        let is_empty = self.peek()? == close;
        self.at += usize::from(is_empty);
        Ok(is_empty)
    }

    /// Reads what follows an entry. Returns whether another one comes.
    #[inline]
    pub(crate) fn has_next(&mut self, close: u8) -> Read<bool> {
        let byte = self.peek()?;
        self.at += 1;
        match byte {
            b',' => Ok(true),
            _ if byte == close => Ok(false),
            _ => Err(Unusual),
        }
    }

    /// Reads a key and its colon.
    #[inline]
    pub(crate) fn key(&mut self) -> Read<Cow<'a, str>> {
        let key = self.string()?;
        self.expect(b':')?;
        Ok(key)
    }

    /// Reads `true`, `false` or `null`.
    pub(crate) fn word(&mut self, word: &str) -> Read<()> {
        self.peek()?;
        if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(())
        } else {
            Err(Unusual)
        }
    }

    /// Reads a string.
    #[inline]
    pub(crate) fn string(&mut self) -> Read<Cow<'a, str>> {
        self.expect(b'"')?;
        let start = self.at;
        let bytes = self.text.as_bytes();
        let length = memchr2(b'"', b'\\', &bytes[start..]).ok_or(Unusual)?;
        let end = start + length;
        let head = &self.text[start..end];
        if has_control(head) {
            return Err(Unusual);
        }
        if bytes[end] == b'"' {
            self.at = end + 1;
            return Ok(Cow::Borrowed(head));
        }
        self.at = end;
        self.escaped(head).map(Cow::Owned)
    }

    /// Reads the rest of a string from its first escape on.
    #[cold]
    fn escaped(&mut self, head: &str) -> Read<String> {
        let bytes = self.text.as_bytes();
        let mut out = String::with_capacity(2 * head.len() + 16);
        out.push_str(head);
        loop {
            match bytes.get(self.at).ok_or(Unusual)? {
                b'"' => {
                    self.at += 1;
                    return Ok(out);
                }
                b'\\' => {
                    let escape = *bytes.get(self.at + 1).ok_or(Unusual)?;
                    self.at += 2;
                    out.push(match escape {
                        b'"' | b'\\' | b'/' => char::from(escape),
                        b'n' => '\n',
                        b't' => '\t',
                        b'r' => '\r',
                        b'b' => '\u{8}',
                        b'f' => '\u{c}',
                        b'u' => self.unicode()?,
                        _ => return Err(Unusual),
                    });
                }
                _ => {
                    let start = self.at;
                    self.at += memchr2(b'"', b'\\', &bytes[start..]).ok_or(Unusual)?;
                    let part = self.since(start);
                    if has_control(part) {
                        return Err(Unusual);
                    }
                    out.push_str(part);
                }
            }
        }
    }

    /// Reads the digits of a `\u`, and the second half of a pair. Half a pair is unusual: only Python keeps it.
    fn unicode(&mut self) -> Read<char> {
        let first = self.unit()?;
        if !(0xD800..0xE000).contains(&first) {
            return char::from_u32(first).ok_or(Unusual);
        }
        if !self.text.as_bytes()[self.at..].starts_with(b"\\u") {
            return Err(Unusual);
        }
        self.at += 2;
        let second = self.unit()?;
        if first >= 0xDC00 || !(0xDC00..0xE000).contains(&second) {
            return Err(Unusual);
        }
        char::from_u32(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)).ok_or(Unusual)
    }

    fn unit(&mut self) -> Read<u32> {
        let digits = self.text.get(self.at..self.at + 4).ok_or(Unusual)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Unusual);
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).map_err(|_| Unusual)
    }

    /// Reads a number.
    pub(crate) fn number(&mut self) -> Read<Number<'a>> {
        self.peek()?;
        let bytes = self.text.as_bytes();
        let start = self.at;
        let digits = |mut at: usize| {
            let first = at;
            while bytes.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            if at > first { Ok(at) } else { Err(Unusual) }
        };
        let first = start + usize::from(bytes[start] == b'-');
        let mut at = digits(first)?;
        if bytes[first] == b'0' && at > first + 1 {
            return Err(Unusual);
        }
        let is_int = !matches!(bytes.get(at), Some(b'.' | b'e' | b'E'));
        if bytes.get(at) == Some(&b'.') {
            at = digits(at + 1)?;
        }
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            at += 1;
            at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
            at = digits(at)?;
        }
        self.at = at;
        let text = &self.text[start..at];
        Ok(if is_int { Number::Int(text) } else { Number::Float(text) })
    }

    /// Reads a value of any kind, and drops it.
    pub(crate) fn skip(&mut self) -> Read<()> {
        self.skip_nested(0)
    }

    fn skip_nested(&mut self, depth: usize) -> Read<()> {
        let close = match self.peek()? {
            b'"' => return self.string().map(drop),
            b't' => return self.word("true"),
            b'f' => return self.word("false"),
            b'n' => return self.word("null"),
            b'{' => b'}',
            b'[' => b']',
            _ => return self.number().map(drop),
        };
        deeper(depth)?;
        let open = if close == b'}' { b'{' } else { b'[' };
        let mut more = !self.open(open, close)?;
        while more {
            if close == b'}' {
                self.key()?;
            }
            self.skip_nested(depth + 1)?;
            more = self.has_next(close)?;
        }
        Ok(())
    }
}

/// Fails at the depth that is left to Python's own parser.
pub(crate) fn deeper(depth: usize) -> Read<()> {
    if depth < MAX_DEPTH { Ok(()) } else { Err(Unusual) }
}

/// Whether a part of a string has characters that must be escaped.
fn has_control(text: &str) -> bool {
    text.bytes().any(|byte| byte < 0x20)
}

//! Finds the parts of a JSON text without decoding it.
//!
//! Inlined, also into other modules: the routing of each event scans its frame (measured with `--bench throughput`).

use std::borrow::Cow;

use memchr::memchr2;

/// A position in a JSON text. Its methods return `None` if the text is malformed.
pub(crate) struct Scanner<'a> {
    pub(crate) text: &'a str,
    pub(crate) at: usize,
}

impl<'a> Scanner<'a> {
    /// The next byte that is not white space.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        loop {
            match *self.text.as_bytes().get(self.at)? {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    #[inline]
    pub(crate) fn is_at_end(&mut self) -> bool {
        self.peek().is_none()
    }

    #[inline]
    pub(crate) fn expect_byte(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Scans an object. Calls `member` with each key; `member` must skip the value.
    pub(crate) fn object(&mut self, mut member: impl FnMut(&str, &mut Self) -> Option<()>) -> Option<()> {
        self.expect_byte(b'{')?;
        if self.peek()? == b'}' {
            return self.expect_byte(b'}');
        }
        loop {
            let key = self.string()??;
            self.expect_byte(b':')?;
            member(&key, self)?;
            match self.peek()? {
                b',' => self.at += 1,
                _ => return self.expect_byte(b'}'),
            }
        }
    }

    /// Scans a string, borrowed if it has no escapes. Skips any other value.
    #[inline]
    pub(crate) fn string(&mut self) -> Option<Option<Cow<'a, str>>> {
        if self.peek()? != b'"' {
            return self.value().map(|_| None);
        }
        let start = self.at;
        if self.skip_string()? == Escapes::Some {
            let quoted = self.text.get(start..self.at)?;
            return serde_json::from_str(quoted).ok().map(|text| Some(Cow::Owned(text)));
        }
        self.text.get(start + 1..self.at - 1).map(|text| Some(Cow::Borrowed(text)))
    }

    /// Skips a value and returns its text.
    #[inline]
    pub(crate) fn value(&mut self) -> Option<&'a str> {
        let first = self.peek()?;
        let start = self.at;
        match first {
            b'"' => self.skip_string().map(|_| ())?,
            b'{' | b'[' => self.skip_brackets()?,
            _ => self.skip_scalar()?,
        }
        self.text.get(start..self.at)
    }

    #[inline]
    pub(crate) fn skip_string(&mut self) -> Option<Escapes> {
        let bytes = self.text.as_bytes();
        let mut escapes = Escapes::None;
        self.at += 1;
        loop {
            self.at += quote_or_backslash(bytes.get(self.at..)?)? + 1;
            if bytes.get(self.at - 1) == Some(&b'"') {
                return Some(escapes);
            }
            escapes = Escapes::Some;
            // Skips the escaped character.
            self.at += 1;
        }
    }

    pub(crate) fn skip_brackets(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match *self.text.as_bytes().get(self.at)? {
                b'"' => {
                    self.skip_string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// Skips a number, `true`, `false` or `null`.
    #[inline]
    pub(crate) fn skip_scalar(&mut self) -> Option<()> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let size = rest
            .iter()
            .take_while(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'+' | b'.'));
        let size = size.count();
        self.at += size;
        (size > 0).then_some(())
    }
}

/// Whether a string has escapes.
#[derive(PartialEq)]
pub(crate) enum Escapes {
    None,
    Some,
}

/// The position of the first quote or backslash.
#[inline]
pub(crate) fn quote_or_backslash(bytes: &[u8]) -> Option<usize> {
    // Names and ids are short, and checking a few words costs less than a call of `memchr`.
    const MAX_CHECKED_WORDS: usize = 6;
    let words = bytes.chunks_exact(8).take(MAX_CHECKED_WORDS);
    for (index, word) in words.enumerate() {
        let word = u64::from_le_bytes(word.try_into().ok()?);
        let found = zero_bytes(word ^ u64::from_ne_bytes([b'"'; 8]))
            | zero_bytes(word ^ u64::from_ne_bytes([b'\\'; 8]));
        if found != 0 {
            return Some(8 * index + found.trailing_zeros() as usize / 8);
        }
    }
    let searched = 8 * MAX_CHECKED_WORDS.min(bytes.len() / 8);
    memchr2(b'"', b'\\', &bytes[searched..]).map(|found| searched + found)
}

/// Sets the highest bit of the lowest zero byte, and possibly those of higher bytes.
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(u64::from_ne_bytes([1; 8])) & !word & u64::from_ne_bytes([0x80; 8])
}

/// Calls `visit` with each member of an object: its name, and its value as JSON text. `None` if the text is not an object.
fn members<'a>(object: &'a str, visit: &mut dyn FnMut(&str, &'a str)) -> Option<()> {
    Scanner { text: object, at: 0 }.object(|name, scanner| {
        visit(name, scanner.value()?);
        Some(())
    })
}

/// The value of an object's member, as JSON text.
pub(crate) fn member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let mut found = None;
    members(object, &mut |known, value| {
        if known == name {
            found = Some(value);
        }
    })?;
    found
}

/// The text of an object's member.
pub(crate) fn text_member<'a>(object: &'a str, name: &str) -> Option<Cow<'a, str>> {
    Scanner { text: member(object, name)?, at: 0 }.string()?
}

/// The names of an object's members that are not null.
pub(crate) fn set_members(object: &str) -> Vec<String> {
    let mut names = Vec::new();
    members(object, &mut |name, value| {
        if value != "null" {
            names.push(name.to_owned());
        }
    });
    names
}

//! Finds the parts of a JSON text without decoding it.

use std::borrow::Cow;

use memchr::memchr2;

/// A position in a JSON text. Its steps give `None` where the text is malformed.
pub(crate) struct Scanner<'a> {
    pub(crate) text: &'a str,
    pub(crate) at: usize,
}

impl<'a> Scanner<'a> {
    /// The next byte that is not white space.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        loop {
            match *self.text.as_bytes().get(self.at)? {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    pub(crate) fn is_at_end(&mut self) -> bool {
        self.peek().is_none()
    }

    pub(crate) fn eat(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Reads an object; `member` gets each key, and must step over the value.
    pub(crate) fn object(&mut self, mut member: impl FnMut(&str, &mut Self) -> Option<()>) -> Option<()> {
        self.eat(b'{')?;
        if self.peek()? == b'}' {
            return self.eat(b'}');
        }
        loop {
            let key = self.string()??;
            self.eat(b':')?;
            member(&key, self)?;
            match self.peek()? {
                b',' => self.at += 1,
                _ => return self.eat(b'}'),
            }
        }
    }

    /// A string, borrowed where it can be; any other value is stepped over.
    pub(crate) fn string(&mut self) -> Option<Option<Cow<'a, str>>> {
        if self.peek()? != b'"' {
            return self.value().map(|_| None);
        }
        let start = self.at;
        if self.step_over_string()? == Escapes::Some {
            let quoted = self.text.get(start..self.at)?;
            return serde_json::from_str(quoted).ok().map(|text| Some(Cow::Owned(text)));
        }
        self.text.get(start + 1..self.at - 1).map(|text| Some(Cow::Borrowed(text)))
    }

    /// Steps over a value and gives its text.
    pub(crate) fn value(&mut self) -> Option<&'a str> {
        let first = self.peek()?;
        let start = self.at;
        match first {
            b'"' => self.step_over_string().map(|_| ())?,
            b'{' | b'[' => self.step_over_brackets()?,
            _ => self.step_over_scalar()?,
        }
        self.text.get(start..self.at)
    }

    pub(crate) fn step_over_string(&mut self) -> Option<Escapes> {
        let bytes = self.text.as_bytes();
        let mut escapes = Escapes::None;
        self.at += 1;
        loop {
            self.at += quote_or_backslash(bytes.get(self.at..)?)? + 1;
            if bytes.get(self.at - 1) == Some(&b'"') {
                return Some(escapes);
            }
            escapes = Escapes::Some;
            // Whatever is escaped.
            self.at += 1;
        }
    }

    pub(crate) fn step_over_brackets(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match *self.text.as_bytes().get(self.at)? {
                b'"' => {
                    self.step_over_string()?;
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

    /// A number, `true`, `false` or `null`.
    pub(crate) fn step_over_scalar(&mut self) -> Option<()> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let size = rest
            .iter()
            .take_while(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'+' | b'.'));
        let size = size.count();
        self.at += size;
        (size > 0).then_some(())
    }
}

/// Whether a string has escapes in it.
#[derive(PartialEq)]
pub(crate) enum Escapes {
    None,
    Some,
}

/// Where the first quote or backslash is.
pub(crate) fn quote_or_backslash(bytes: &[u8]) -> Option<usize> {
    // Names and ids are short: a few words are looked through before a call of `memchr` would have begun.
    const WORDS: usize = 6;
    let words = bytes.chunks_exact(8).take(WORDS);
    for (index, word) in words.enumerate() {
        let word = u64::from_le_bytes(word.try_into().ok()?);
        let found = zero_bytes(word ^ u64::from_ne_bytes([b'"'; 8]))
            | zero_bytes(word ^ u64::from_ne_bytes([b'\\'; 8]));
        if found != 0 {
            return Some(8 * index + found.trailing_zeros() as usize / 8);
        }
    }
    let searched = 8 * WORDS.min(bytes.len() / 8);
    memchr2(b'"', b'\\', &bytes[searched..]).map(|found| searched + found)
}

/// The highest bit of the lowest byte that is zero is set, and perhaps those of others above it.
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(u64::from_ne_bytes([1; 8])) & !word & u64::from_ne_bytes([0x80; 8])
}

/// Reads the members of an object, in order: their names, and their values as JSON text. `None` if the text is no object.
fn members<'a>(object: &'a str, see: &mut dyn FnMut(&str, &'a str)) -> Option<()> {
    Scanner { text: object, at: 0 }.object(|name, scanner| {
        see(name, scanner.value()?);
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

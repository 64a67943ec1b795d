//! Converts the position of a `serde_json` error to a JSON path.
//!
//! Decoding takes one pass and keeps no path. Only after an error, this scans the text for the place of the error.
//! `serde_json` reports a position right after a bad scalar, at the first byte of a container of the wrong type, or
//! right after an object without a required field. In each case the path is that of the innermost value that touches
//! the position.

/// The maximum depth of the scan. `serde_json` stops at 128.
const MAX_DEPTH: usize = 200;

/// The path of the innermost value of `text` that touches a position. Empty for the whole text.
pub(crate) fn locate(text: &str, line: usize, column: usize) -> String {
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let mut scan = Scan { text: text.as_bytes(), at: 0, target: before + column, path: Vec::new() };
    scan.value(0);
    render(&scan.path)
}

enum Step {
    Field(String),
    Index(usize),
}

struct Scan<'a> {
    text: &'a [u8],
    at: usize,
    target: usize,
    path: Vec<Step>,
}

/// Whether the scan goes on. When it stops, the path is the result.
type Go = bool;

impl Scan<'_> {
    fn value(&mut self, depth: usize) -> Go {
        self.space();
        let start = self.at;
        let go = match self.peek() {
            _ if depth > MAX_DEPTH => false,
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().is_some(),
            Some(_) => self.scalar(),
            None => false,
        };
        go && !(start..=self.at).contains(&self.target)
    }

    fn object(&mut self, depth: usize) -> Go {
        self.at += 1;
        loop {
            self.space();
            match self.peek() {
                Some(b'}') => break,
                Some(b',') => self.at += 1,
                Some(b'"') => {
                    let Some(key) = self.string() else { return false };
                    // An error about the key itself belongs to the object.
                    if self.at >= self.target {
                        return false;
                    }
                    self.space();
                    if self.peek() != Some(b':') {
                        return false;
                    }
                    self.at += 1;
                    self.path.push(Step::Field(key));
                    if !self.value(depth + 1) {
                        return false;
                    }
                    self.path.pop();
                }
                _ => return false,
            }
        }
        self.at += 1;
        true
    }

    fn array(&mut self, depth: usize) -> Go {
        self.at += 1;
        let mut index = 0;
        loop {
            self.space();
            match self.peek() {
                Some(b']') => break,
                Some(b',') => self.at += 1,
                Some(_) => {
                    self.path.push(Step::Index(index));
                    if !self.value(depth + 1) {
                        return false;
                    }
                    self.path.pop();
                    index += 1;
                }
                None => return false,
            }
        }
        self.at += 1;
        true
    }

    fn string(&mut self) -> Option<String> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        serde_json::from_slice(&self.text[start..self.at]).ok()
    }

    fn scalar(&mut self) -> Go {
        let start = self.at;
        while self.peek().is_some_and(|byte| !b",]} \t\r\n".contains(&byte)) {
            self.at += 1;
        }
        self.at > start
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }
}

fn render(path: &[Step]) -> String {
    let mut out = String::new();
    for step in path {
        match step {
            Step::Index(index) => out.push_str(&format!("[{index}]")),
            Step::Field(name)
                if name.chars().all(|c| c.is_alphanumeric() || "_-$".contains(c)) && !name.is_empty() =>
            {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(name);
            }
            Step::Field(name) => out.push_str(&format!("[{name:?}]")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::locate;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only its errors matter")]
    struct Outer {
        list: Vec<Inner>,
        map: std::collections::BTreeMap<String, Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only its errors matter")]
    struct Inner {
        number: u8,
        text: String,
        flag: bool,
    }

    fn path_of(text: &str) -> String {
        let error = serde_json::from_str::<Outer>(text).expect_err("the text is bad");
        locate(text, error.line(), error.column())
    }

    #[test]
    fn the_path_of_a_bad_value_is_found() {
        const GOOD: &str = r#"{"number":1,"text":"a\"b","flag":true}"#;
        for (bad, path) in [
            (r#"{"number":"x","text":"","flag":true}"#, ".number"),
            (r#"{"number":300,"text":"","flag":true}"#, ".number"),
            (r#"{"number":-1,"text":"","flag":true}"#, ".number"),
            (r#"{"number":1.5,"text":"","flag":true}"#, ".number"),
            (r#"{"number":[],"text":"","flag":true}"#, ".number"),
            (r#"{"number":{},"text":"","flag":true}"#, ".number"),
            (r#"{"number":null,"text":"","flag":true}"#, ".number"),
            (r#"{"number":1,"text":7,"flag":true}"#, ".text"),
            (r#"{"number":1,"text":false,"flag":true}"#, ".text"),
            (r#"{"number":1,"text":{"a":1},"flag":true}"#, ".text"),
            (r#"{"number":1,"text":"","flag":"x"}"#, ".flag"),
            (r#"{"number":1,"text":"","flag":0}"#, ".flag"),
            (r#"{"number":1,"text":""}"#, ""),
            (r#"{}"#, ""),
            ("[]", ""),
            ("7", ""),
            (r#""x""#, ""),
            ("null", ""),
        ] {
            let list = format!(r#"{{"list":[{GOOD}, {bad},{GOOD}],"map":{{}}}}"#);
            // A sequence can also fill a missing field. Its error is at the sequence's end.
            assert_eq!(path_of(&list), format!("list[1]{path}"), "{list}");
            let map = format!(
                "{{\n  \"list\": [],\n  \"map\": {{\n    \"a b\": {GOOD},\n    \"c\": {bad}\n  }}\n}}"
            );
            assert_eq!(path_of(&map), format!("map.c{path}"), "{map}");
        }
        assert_eq!(path_of(r#"{"list":[]}"#), "");
        assert_eq!(path_of(r#"{"list":7}"#), "list");
        assert_eq!(path_of(r#"{"list":[],"map":{"a b":7}}"#), r#"map["a b"]"#);
    }
}

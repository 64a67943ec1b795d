//! Keys and tokens that were sent on a connection: no error and no event repeats them.
//!
//! A server may quote what it got when it refuses it, or when it is used and a remote service refuses it. Such messages
//! are cleaned as they come in, before anything is made of them. Only those that report trouble are: what an agent reads
//! and writes is the user's, and stays as it is.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use memchr::memmem;
use serde_json::Value;

/// What stands in the place of a secret.
const REPLACEMENT: &str = "<redacted>";
/// How many secrets are remembered, the latest ones: a login replaces the one before.
const MAX_SECRETS: usize = 16;
/// Anything shorter is no secret, and may well be a word of a message.
const MIN_SECRET_BYTES: usize = 8;
/// The members of a login's parameters that are secrets.
const SECRET_MEMBERS: [&str; 4] = ["apiKey", "accessToken", "secretAccessKey", "sessionToken"];
/// The notifications that report trouble; besides, there are error answers, and turns that end in failure.
const REPORTING_METHODS: [&str; 7] = [
    "error",
    "warning",
    "configWarning",
    "guardianWarning",
    "deprecationNotice",
    "account/login/completed",
    "thread/realtime/error",
];

#[derive(Default)]
pub(crate) struct Redactor {
    known: Mutex<VecDeque<Secret>>,
    /// Kept beside them so that the reader pays nothing as long as there are none.
    any: AtomicBool,
}

struct Secret {
    plain: String,
    /// As it stands in a JSON string.
    quoted: String,
}

/// Without the secrets.
impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").finish_non_exhaustive()
    }
}

impl Redactor {
    fn known(&self) -> MutexGuard<'_, VecDeque<Secret>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Remembers the secrets among the members of an object that is about to be sent.
    pub(crate) fn learn(&self, sent: &str) {
        let Ok(Value::Object(members)) = serde_json::from_str(sent) else { return };
        for name in SECRET_MEMBERS {
            let Some(Value::String(plain)) = members.get(name) else { continue };
            if plain.len() < MIN_SECRET_BYTES {
                continue;
            }
            let quoted = Value::from(plain.as_str()).to_string();
            let quoted = quoted.trim_matches('"').to_owned();
            let mut known = self.known();
            known.retain(|secret| secret.plain != *plain);
            if known.len() == MAX_SECRETS {
                known.pop_front();
            }
            known.push_back(Secret { plain: plain.clone(), quoted });
            self.any.store(true, Ordering::Release);
        }
    }

    /// Frames without secrets where they report trouble; `None` if all can stay as they are.
    pub(crate) fn clean(&self, frames: &[Bytes]) -> Option<Vec<Bytes>> {
        if !self.any() {
            return None;
        }
        let mut cleaned: Option<Vec<Bytes>> = None;
        let known = self.known();
        for (at, frame) in frames.iter().enumerate() {
            if let Some(frame) = clean_frame(&known, frame) {
                cleaned.get_or_insert_with(|| frames.to_vec())[at] = frame;
            }
        }
        cleaned
    }

    /// A text without secrets; `None` if it has none.
    pub(crate) fn clean_text(&self, text: &str) -> Option<String> {
        if !self.any() {
            return None;
        }
        clean_text(&self.known(), text)
    }
}

fn clean_frame(known: &VecDeque<Secret>, frame: &Bytes) -> Option<Bytes> {
    if !known.iter().any(|secret| memmem::find(frame, secret.quoted.as_bytes()).is_some()) {
        return None;
    }
    let message = std::str::from_utf8(frame).ok().and_then(|text| serde_json::from_str::<Value>(text).ok());
    match message {
        Some(mut message) => report(&mut message)
            .is_some_and(|report| clean_value(known, report))
            .then(|| message.to_string().into()),
        // A line that is no message ends in an error or an event as it is.
        None => {
            let mut line = frame.to_vec();
            for secret in longest_first(known) {
                line = replace(&line, secret.quoted.as_bytes());
                line = replace(&line, secret.plain.as_bytes());
            }
            Some(line.into())
        }
    }
}

/// The part of a message that reports trouble.
fn report(message: &mut Value) -> Option<&mut Value> {
    let method = message.get("method").and_then(Value::as_str);
    match method {
        None => message.get_mut("error"),
        Some("turn/completed") => message.pointer_mut("/params/turn/error"),
        Some(method) if REPORTING_METHODS.contains(&method) => message.get_mut("params"),
        Some(_) => None,
    }
}

/// Cleans all strings in a value; tells whether there was anything to clean.
fn clean_value(known: &VecDeque<Secret>, value: &mut Value) -> bool {
    match value {
        Value::String(text) => clean_text(known, text).map(|clean| *text = clean).is_some(),
        Value::Array(items) => items.iter_mut().fold(false, |any, item| clean_value(known, item) | any),
        Value::Object(members) => {
            members.values_mut().fold(false, |any, member| clean_value(known, member) | any)
        }
        _ => false,
    }
}

/// The longest first: one may be the beginning of another.
fn longest_first(known: &VecDeque<Secret>) -> Vec<&Secret> {
    let mut sorted: Vec<&Secret> = Vec::with_capacity(known.len());
    for secret in known {
        let at = sorted.partition_point(|other| other.plain.len() >= secret.plain.len());
        sorted.insert(at, secret);
    }
    sorted
}

fn clean_text(known: &VecDeque<Secret>, text: &str) -> Option<String> {
    let mut clean = None;
    for secret in longest_first(known) {
        // Quoted first: it may hold the plain one, and a text may quote a text.
        for form in [&secret.quoted, &secret.plain] {
            let current = clean.as_deref().unwrap_or(text);
            if current.contains(form.as_str()) {
                clean = Some(current.replace(form.as_str(), REPLACEMENT));
            }
        }
    }
    clean
}

fn replace(line: &[u8], secret: &[u8]) -> Vec<u8> {
    let mut clean = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = memmem::find(rest, secret) {
        clean.extend_from_slice(&rest[..at]);
        clean.extend_from_slice(REPLACEMENT.as_bytes());
        rest = &rest[at + secret.len()..];
    }
    clean.extend_from_slice(rest);
    clean
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const KEY: &str = "sk-\"odd\\key";

    fn secrets() -> Redactor {
        let secrets = Redactor::default();
        secrets.learn(&json!({"type": "apiKey", "apiKey": KEY}).to_string());
        secrets
    }

    #[test]
    fn a_secret_that_begins_like_another_leaves_nothing_of_it() {
        let secrets = Redactor::default();
        for key in ["sk-12345", "sk-123456789"] {
            secrets.learn(&json!({"type": "apiKey", "apiKey": key}).to_string());
        }
        assert_eq!(secrets.clean_text("no: sk-123456789").as_deref(), Some("no: <redacted>"));
    }

    fn cleaned(message: &Value) -> Option<Value> {
        let frame = Bytes::from(message.to_string());
        let clean = secrets().clean(&[Bytes::from_static(b"{}"), frame])?;
        assert_eq!(&*clean[0], b"{}");
        Some(serde_json::from_slice(&clean[1]).unwrap())
    }

    #[test]
    fn reports_of_trouble_lose_the_key_and_nothing_else() {
        let quotes = format!("bad key {KEY}, really {KEY:?}");
        let clean = "bad key <redacted>, really \"<redacted>\"";
        let error = json!({"id": 1, "error": {"code": -1, "message": quotes, "data": {"keys": [quotes, 7]}}});
        let expected =
            json!({"id": 1, "error": {"code": -1, "message": clean, "data": {"keys": [clean, 7]}}});
        assert_eq!(cleaned(&error), Some(expected));
        let event = json!({"method": "error", "params": {"error": {"message": quotes}, "turnId": "u"}});
        let expected = json!({"method": "error", "params": {"error": {"message": clean}, "turnId": "u"}});
        assert_eq!(cleaned(&event), Some(expected));
        let params = json!({"turn": {"items": [quotes], "error": {"message": quotes}}});
        let expected = json!({"turn": {"items": [quotes], "error": {"message": clean}}});
        let ended = |params: Value| json!({"method": "turn/completed", "params": params});
        assert_eq!(cleaned(&ended(params)), Some(ended(expected)));
    }

    #[test]
    fn what_an_agent_says_and_what_has_no_key_stays_as_it_is() {
        let delta = json!({"method": "item/agentMessage/delta", "params": {"delta": KEY}});
        for message in [delta, json!({"id": 1, "result": {"error": KEY}}), json!({"method": "error"})] {
            assert_eq!(cleaned(&message), None, "{message}");
        }
        assert!(Redactor::default().clean(&[Bytes::from(KEY)]).is_none());
    }

    #[test]
    fn lines_that_are_no_messages_lose_it_too() {
        let line = [b"\xff ", KEY.as_bytes(), b" {"].concat();
        assert!(secrets().clean(&[Bytes::from(line)]).is_none(), "not as JSON has it");
        let secrets = Redactor::default();
        secrets.learn(r#"{"accessToken":"a-token-of-mine"}"#);
        let clean = secrets.clean(&[Bytes::from_static(b"\xff a-token-of-mine {a-token-of-mine")]);
        assert_eq!(&*clean.unwrap()[0], b"\xff <redacted> {<redacted>");
    }

    #[test]
    fn a_word_is_no_secret_and_old_secrets_are_forgotten() {
        let secrets = Redactor::default();
        secrets.learn(r#"{"apiKey":"error"}"#);
        assert!(!secrets.any());
        (0..2 * MAX_SECRETS).for_each(|n| secrets.learn(&format!(r#"{{"apiKey":"a-long-key-{n}"}}"#)));
        assert_eq!(secrets.known().len(), MAX_SECRETS);
        assert!(!format!("{secrets:?}").contains("long"));
        secrets.learn("[]");
    }
}

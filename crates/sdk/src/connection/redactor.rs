//! Replaces the keys and tokens that were sent on a connection, so that no error and no event repeats them.
//!
//! A server can quote a secret when it, or a remote service, refuses the secret. The client redacts such messages before it
//! handles them. It redacts only messages that report trouble: what an agent reads and writes belongs to the user and stays
//! unchanged.

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;
use memchr::memmem;
use serde_json::Value;

/// Replaces a secret.
const REPLACEMENT: &str = "<redacted>";
/// How many secrets are remembered, the latest ones. A login replaces the one before.
const MAX_SECRETS: usize = 16;
/// A shorter text is not a secret. It may be a word of a message.
const MIN_SECRET_BYTES: usize = 8;
/// The members of a login's parameters that are secrets.
const SECRET_MEMBERS: [&str; 4] = ["apiKey", "accessToken", "secretAccessKey", "sessionToken"];
/// The notifications that report trouble. Error responses and failed turns report trouble too.
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
    secrets: VecDeque<Secret>,
}

struct Secret {
    plain: String,
    /// As it appears in a JSON string.
    quoted: String,
}

/// Leaves out the secrets.
impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").finish_non_exhaustive()
    }
}

impl Redactor {
    pub(crate) fn has_secrets(&self) -> bool {
        !self.secrets.is_empty()
    }

    /// Adds the secrets among the members of an object that is about to be sent.
    pub(crate) fn add(&mut self, sent: &str) {
        let Ok(Value::Object(members)) = serde_json::from_str(sent) else { return };
        for name in SECRET_MEMBERS {
            let Some(Value::String(plain)) = members.get(name) else { continue };
            if plain.len() < MIN_SECRET_BYTES {
                continue;
            }
            let quoted = Value::from(plain.as_str()).to_string();
            let quoted = quoted.trim_matches('"').to_owned();
            self.secrets.retain(|secret| secret.plain != *plain);
            if self.secrets.len() == MAX_SECRETS {
                self.secrets.pop_front();
            }
            self.secrets.push_back(Secret { plain: plain.clone(), quoted });
        }
    }

    /// The frames with the secrets replaced where they report trouble. `None` if nothing needs to be replaced.
    pub(crate) fn redact(&self, frames: &[Bytes]) -> Option<Vec<Bytes>> {
        let mut redacted: Option<Vec<Bytes>> = None;
        for (at, frame) in frames.iter().enumerate() {
            if let Some(frame) = redact_frame(&self.secrets, frame) {
                redacted.get_or_insert_with(|| frames.to_vec())[at] = frame;
            }
        }
        redacted
    }

    /// The text with the secrets replaced. `None` if it has none.
    pub(crate) fn redact_text(&self, text: &str) -> Option<String> {
        redact_text(&self.secrets, text)
    }
}

fn redact_frame(secrets: &VecDeque<Secret>, frame: &Bytes) -> Option<Bytes> {
    if !secrets.iter().any(|secret| memmem::find(frame, secret.quoted.as_bytes()).is_some()) {
        return None;
    }
    let message = std::str::from_utf8(frame).ok().and_then(|text| serde_json::from_str::<Value>(text).ok());
    match message {
        Some(mut message) => report(&mut message)
            .is_some_and(|report| redact_value(secrets, report))
            .then(|| message.to_string().into()),
        // An error or an event quotes a line that is not a message, so all of it is redacted.
        None => {
            let mut line = frame.to_vec();
            for secret in longest_first(secrets) {
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

/// Redacts all strings in a value. Returns whether it has replaced anything.
fn redact_value(secrets: &VecDeque<Secret>, value: &mut Value) -> bool {
    match value {
        Value::String(text) => redact_text(secrets, text).map(|redacted| *text = redacted).is_some(),
        Value::Array(items) => items.iter_mut().fold(false, |any, item| redact_value(secrets, item) | any),
        Value::Object(members) => {
            members.values_mut().fold(false, |any, member| redact_value(secrets, member) | any)
        }
        _ => false,
    }
}

/// The secrets, the longest first, because one can be the beginning of another.
fn longest_first(secrets: &VecDeque<Secret>) -> Vec<&Secret> {
    let mut sorted: Vec<&Secret> = secrets.iter().collect();
    sorted.sort_by_key(|secret| std::cmp::Reverse(secret.plain.len()));
    sorted
}

fn redact_text(secrets: &VecDeque<Secret>, text: &str) -> Option<String> {
    let mut redacted = None;
    for secret in longest_first(secrets) {
        // The quoted form first: it can contain the plain one, and a text can quote a text.
        for form in [&secret.quoted, &secret.plain] {
            let current = redacted.as_deref().unwrap_or(text);
            if current.contains(form.as_str()) {
                redacted = Some(current.replace(form.as_str(), REPLACEMENT));
            }
        }
    }
    redacted
}

fn replace(line: &[u8], secret: &[u8]) -> Vec<u8> {
    let mut redacted = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = memmem::find(rest, secret) {
        redacted.extend_from_slice(&rest[..at]);
        redacted.extend_from_slice(REPLACEMENT.as_bytes());
        rest = &rest[at + secret.len()..];
    }
    redacted.extend_from_slice(rest);
    redacted
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const KEY: &str = "sk-\"odd\\key";

    fn redactor() -> Redactor {
        let mut redactor = Redactor::default();
        redactor.add(&json!({"type": "apiKey", "apiKey": KEY}).to_string());
        redactor
    }

    #[test]
    fn a_secret_that_begins_with_another_is_replaced_whole() {
        let mut redactor = Redactor::default();
        for key in ["sk-12345", "sk-123456789"] {
            redactor.add(&json!({"type": "apiKey", "apiKey": key}).to_string());
        }
        assert_eq!(redactor.redact_text("no: sk-123456789").as_deref(), Some("no: <redacted>"));
    }

    fn redact(message: &Value) -> Option<Value> {
        let frame = Bytes::from(message.to_string());
        let redacted = redactor().redact(&[Bytes::from_static(b"{}"), frame])?;
        assert_eq!(&*redacted[0], b"{}");
        Some(serde_json::from_slice(&redacted[1]).unwrap())
    }

    #[test]
    fn reports_of_trouble_lose_only_the_key() {
        let quotes = format!("bad key {KEY}, really {KEY:?}");
        let redacted = "bad key <redacted>, really \"<redacted>\"";
        let error = json!({"id": 1, "error": {"code": -1, "message": quotes, "data": {"keys": [quotes, 7]}}});
        let expected =
            json!({"id": 1, "error": {"code": -1, "message": redacted, "data": {"keys": [redacted, 7]}}});
        assert_eq!(redact(&error), Some(expected));
        let event = json!({"method": "error", "params": {"error": {"message": quotes}, "turnId": "u"}});
        let expected = json!({"method": "error", "params": {"error": {"message": redacted}, "turnId": "u"}});
        assert_eq!(redact(&event), Some(expected));
        let params = json!({"turn": {"items": [quotes], "error": {"message": quotes}}});
        let expected = json!({"turn": {"items": [quotes], "error": {"message": redacted}}});
        let ended = |params: Value| json!({"method": "turn/completed", "params": params});
        assert_eq!(redact(&ended(params)), Some(ended(expected)));
    }

    #[test]
    fn agent_output_and_messages_without_a_key_stay_unchanged() {
        let delta = json!({"method": "item/agentMessage/delta", "params": {"delta": KEY}});
        for message in [delta, json!({"id": 1, "result": {"error": KEY}}), json!({"method": "error"})] {
            assert_eq!(redact(&message), None, "{message}");
        }
        assert!(Redactor::default().redact(&[Bytes::from(KEY)]).is_none());
    }

    #[test]
    fn lines_that_are_not_messages_lose_the_key() {
        let line = [b"\xff ", KEY.as_bytes(), b" {"].concat();
        assert!(redactor().redact(&[Bytes::from(line)]).is_none(), "the key is not quoted as in JSON");
        let mut redactor = Redactor::default();
        redactor.add(r#"{"accessToken":"a-token-of-mine"}"#);
        let redacted = redactor.redact(&[Bytes::from_static(b"\xff a-token-of-mine {a-token-of-mine")]);
        assert_eq!(&*redacted.unwrap()[0], b"\xff <redacted> {<redacted>");
    }

    #[test]
    fn short_words_are_not_secrets_and_old_secrets_are_dropped() {
        let mut redactor = Redactor::default();
        redactor.add(r#"{"apiKey":"error"}"#);
        assert!(!redactor.has_secrets());
        (0..2 * MAX_SECRETS).for_each(|n| redactor.add(&format!(r#"{{"apiKey":"a-long-key-{n}"}}"#)));
        assert_eq!(redactor.secrets.len(), MAX_SECRETS);
        assert!(!format!("{redactor:?}").contains("long"));
        redactor.add("[]");
    }
}

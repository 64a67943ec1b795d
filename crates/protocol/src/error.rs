//! Decode errors.

use std::fmt;

use crate::locate::locate;

/// A message with a known name whose content cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    subject: String,
    path: String,
    message: String,
}

impl DecodeError {
    /// `text` is the decoded text. `root` is its place in the message.
    #[cold]
    pub(crate) fn new(subject: &str, root: &str, text: &str, error: &serde_json::Error) -> Self {
        let inner = locate(text, error.line(), error.column());
        let path = match (root, inner.as_str()) {
            (root, "") => root.to_owned(),
            (root, inner) if inner.starts_with('[') => format!("{root}{inner}"),
            (root, inner) => format!("{root}.{inner}"),
        };
        Self { subject: subject.to_owned(), path, message: message(error) }
    }

    /// Like [`DecodeError::new`], without a text.
    #[cold]
    pub(crate) fn without_text(subject: &str, path: &str, message: &str) -> Self {
        Self { subject: subject.to_owned(), path: path.to_owned(), message: message.to_owned() }
    }

    /// The method of the message, or the type.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The path in the message, such as `params.turn.items[3].status` or `result.thread.id`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What was expected and what was found.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read `{}` at `{}`: {}", self.subject, self.path, self.message)
    }
}

impl std::error::Error for DecodeError {}

/// serde_json's message without line and column, which are useless in a one-line frame.
fn message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&position).unwrap_or(&text).to_owned()
}

/// The message for an error inside a value that is decoded twice.
#[cold]
pub(crate) fn buffered_message(text: &str, error: &serde_json::Error) -> String {
    let path = locate(text, error.line(), error.column());
    if path.is_empty() { message(error) } else { format!("{} (in `{path}`)", message(error)) }
}

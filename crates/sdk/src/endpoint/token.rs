//! The program's source of bearer tokens.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::background::thread;
use crate::error::{Error, ErrorKind, Result};

type Source = dyn Fn() -> io::Result<String> + Send + Sync;

#[derive(Clone)]
pub(crate) struct TokenSource(Arc<Source>);

/// A token that can be sent.
pub(crate) struct Token {
    text: String,
    pub(crate) header: HeaderValue,
}

impl Token {
    fn new(text: &str) -> Result<Self> {
        let text = text.trim().to_owned();
        let mut header =
            HeaderValue::from_str(&format!("Bearer {text}"))
                .ok()
                .filter(|_| !text.is_empty())
                .ok_or_else(|| failed("has returned an empty text, or one that no HTTP header can hold"))?;
        header.set_sensitive(true);
        Ok(Self { text, header })
    }

    /// Replaces the token in a text of the server.
    pub(crate) fn redact(&self, text: &str) -> String {
        text.replace(&self.text, "<redacted>")
    }
}

fn failed(what: &str) -> Error {
    Error::new(ErrorKind::ConnectFailed, format!("the closure for the endpoint's bearer token {what}"))
}

impl TokenSource {
    pub(crate) fn new(source: impl Fn() -> io::Result<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(source))
    }

    /// Calls the closure on a thread of its own, because it may block, and because a start can be cancelled meanwhile.
    pub(crate) async fn call(&self) -> Result<Token> {
        let (sender, receiver) = oneshot::channel();
        let source = self.0.clone();
        let spawned = thread(
            "codex-token",
            Box::new(move || {
                // The send fails if the start was cancelled.
                let _ = sender.send(catch_unwind(AssertUnwindSafe(|| source())));
            }),
        );
        spawned.map_err(|error| failed("cannot be called").with_source(error))?;
        match receiver.await {
            Ok(Ok(Ok(text))) => Token::new(&text),
            Ok(Ok(Err(error))) => Err(failed(&format!("has failed: {error}")).with_source(error)),
            Ok(Err(_)) | Err(_) => Err(failed("has panicked")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block_on;

    #[test]
    fn a_token_is_sent_without_the_line_end_of_its_file() {
        let token = block_on::wait(TokenSource::new(|| Ok("abc.def\n".into())).call()).unwrap();
        assert_eq!(token.header.to_str().unwrap(), "Bearer abc.def");
        assert_eq!(token.redact("not abc.def!"), "not <redacted>!");
        assert!(!format!("{:?}", token.header).contains("abc"));
    }

    #[test]
    fn a_source_that_gives_no_token_is_an_error() {
        fn error(source: impl Fn() -> io::Result<String> + Send + Sync + 'static) -> String {
            let error = block_on::wait(TokenSource::new(source).call()).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::ConnectFailed);
            error.to_string()
        }
        assert!(error(|| Err(io::Error::other("no vault"))).contains("has failed: no vault"));
        assert!(error(|| panic!("as the test wants it")).contains("has panicked"));
        assert!(error(|| Ok(" \n".into())).contains("empty"));
        let text = error(|| Ok("top\nsecret".into()));
        assert!(text.contains("no HTTP header") && !text.contains("secret"), "{text}");
    }
}

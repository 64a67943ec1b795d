//! What a handler answers, now or later.

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;

use tokio::sync::oneshot;

/// An answer, or the reason why there is none.
pub(crate) type Answer<R> = Result<R, String>;

/// What a [`RequestHandler`](crate::RequestHandler) answers: a value, a value to come, or nothing, so that the next one is
/// asked.
#[must_use = "it is the answer"]
pub struct Reply<R>(pub(crate) State<R>);

pub(crate) enum State<R> {
    Pass,
    Now(Answer<R>),
    Later(Pin<Box<dyn Future<Output = Answer<R>> + Send>>),
}

impl<R> fmt::Debug for Reply<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            State::Pass => "Reply::pass",
            State::Now(_) => "Reply::now",
            State::Later(_) => "Reply::future",
        })
    }
}

impl<R: Send + 'static> Reply<R> {
    /// Passes the request on.
    pub fn pass() -> Self {
        Self(State::Pass)
    }

    /// Answers.
    pub fn now(answer: R) -> Self {
        Self(State::Now(Ok(answer)))
    }

    /// Refuses to answer: the server gets an error with these words.
    pub fn error(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(State::Now(Err(error.into().to_string())))
    }

    /// Answers when the future is complete. It runs on an executor of the client, a Tokio runtime, and is dropped
    /// when the timeout has passed or the client is closed.
    pub fn future<M>(future: impl Future<Output: Outcome<R, M>> + Send + 'static) -> Self {
        Self(State::Later(Box::pin(async move { future.await.outcome() })))
    }

    /// Answers through a [`Responder`], from wherever that is taken.
    ///
    /// ```
    /// use std::sync::mpsc;
    ///
    /// use openai_codex::types::CommandExecutionApprovalDecision as Decision;
    /// use openai_codex::{CodexConfig, CommandApproval, Reply, Responder};
    ///
    /// let (to_the_user, questions) = mpsc::channel::<(CommandApproval, Responder<Decision>)>();
    /// let config = CodexConfig::new().on_command_approval(move |request| {
    ///     let (responder, reply) = Reply::later();
    ///     let _ = to_the_user.send((request, responder));
    ///     reply
    /// });
    /// # let _ = (config, questions);
    /// ```
    pub fn later() -> (Responder<R>, Self) {
        let (answer, wait) = oneshot::channel::<Answer<R>>();
        let dropped = || Err("the handler dropped the request without an answer".to_owned());
        let reply = Self(State::Later(Box::pin(async move { wait.await.unwrap_or_else(|_| dropped()) })));
        (Responder(answer), reply)
    }
}

/// Answers a request of the server, once. Dropped without an answer it answers with an error.
pub struct Responder<R>(oneshot::Sender<Answer<R>>);

impl<R> fmt::Debug for Responder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Responder")
    }
}

impl<R> Responder<R> {
    /// Answers. Goes nowhere where the answer is no longer wanted.
    pub fn respond(self, answer: R) {
        let _ = self.0.send(Ok(answer));
    }

    /// Refuses to answer: the server gets an error with these words.
    pub fn error(self, error: impl Into<Box<dyn StdError + Send + Sync>>) {
        let _ = self.0.send(Err(error.into().to_string()));
    }
}

/// What a closure can answer with: the answer, a [`Result`] of it, a future of either, or a [`Reply`].
///
/// `M` only tells these apart; it is always inferred.
#[diagnostic::on_unimplemented(
    message = "a handler cannot answer with `{Self}`",
    note = "it can answer with a `{R}`, a `Result` of it, a future of either that is `Send`, or a `Reply`",
    note = "a closure that uses `?` needs its type written: `|request| -> openai_codex::Result<_> {{ … }}`"
)]
pub trait IntoReply<R, M> {
    /// The answer as a reply.
    fn into_reply(self) -> Reply<R>;
}

/// What is known when a handler or its future has ended.
#[diagnostic::on_unimplemented(
    message = "a handler cannot answer with a future of `{Self}`",
    note = "it can answer with a future of a `{R}`, or of a `Result` of it"
)]
pub trait Outcome<R, M> {
    #[doc(hidden)]
    fn outcome(self) -> Result<R, String>;
}

#[doc(hidden)]
#[derive(Debug)]
pub struct Value;
#[doc(hidden)]
#[derive(Debug)]
pub struct Fallible;
#[doc(hidden)]
#[derive(Debug)]
pub struct Whole;
#[doc(hidden)]
#[derive(Debug)]
pub struct Eventual<M>(std::marker::PhantomData<M>);

impl<R> Outcome<R, Value> for R {
    fn outcome(self) -> Result<R, String> {
        Ok(self)
    }
}

impl<R, E: Into<Box<dyn StdError + Send + Sync>>> Outcome<R, Fallible> for Result<R, E> {
    fn outcome(self) -> Result<R, String> {
        self.map_err(|error| error.into().to_string())
    }
}

impl<R> IntoReply<R, Value> for R {
    fn into_reply(self) -> Reply<R> {
        Reply(State::Now(Ok(self)))
    }
}

impl<R, E: Into<Box<dyn StdError + Send + Sync>>> IntoReply<R, Fallible> for Result<R, E> {
    fn into_reply(self) -> Reply<R> {
        Reply(State::Now(self.outcome()))
    }
}

impl<R> IntoReply<R, Whole> for Reply<R> {
    fn into_reply(self) -> Self {
        self
    }
}

impl<R: Send + 'static, M, F> IntoReply<R, Eventual<M>> for F
where
    F: Future<Output: Outcome<R, M>> + Send + 'static,
{
    fn into_reply(self) -> Reply<R> {
        Reply::future(self)
    }
}

//! A handler's response, now or later.

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;

use tokio::sync::oneshot;

/// A response, or the message of an error.
pub(crate) type Response<R> = Result<R, String>;

/// The response of a [`RequestHandler`](crate::RequestHandler): a value, a future value, or a pass to the next handler.
#[must_use = "the server waits for this reply"]
pub struct Reply<R>(pub(crate) State<R>);

pub(crate) enum State<R> {
    Pass,
    Now(Response<R>),
    Later(Pin<Box<dyn Future<Output = Response<R>> + Send>>),
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
    /// Passes the request to the next handler.
    pub fn pass() -> Self {
        Self(State::Pass)
    }

    /// Responds with this value.
    pub fn now(response: R) -> Self {
        Self(State::Now(Ok(response)))
    }

    /// Refuses to respond. The server gets an error with this message.
    pub fn error(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(State::Now(Err(error.into().to_string())))
    }

    /// Responds with the value of a future. The future runs on the client's executor, a Tokio runtime. The client drops it when
    /// the timeout has passed, and when the client is closed.
    pub fn future<M>(future: impl Future<Output: Outcome<R, M>> + Send + 'static) -> Self {
        Self(State::Later(Box::pin(async move { future.await.outcome() })))
    }

    /// Responds through a [`Responder`], which can move to any thread.
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
        let (response, wait) = oneshot::channel::<Response<R>>();
        let dropped = || Err("the handler dropped its responder without a response".to_owned());
        let reply = Self(State::Later(Box::pin(async move { wait.await.unwrap_or_else(|_| dropped()) })));
        (Responder(response), reply)
    }
}

/// Responds to a server request, once. If it is dropped before, the server gets an error.
pub struct Responder<R>(oneshot::Sender<Response<R>>);

impl<R> fmt::Debug for Responder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Responder")
    }
}

impl<R> Responder<R> {
    /// Responds. Does nothing if the response is no longer wanted.
    pub fn respond(self, response: R) {
        let _ = self.0.send(Ok(response));
    }

    /// Whether the server still waits for the response.
    #[cfg(feature = "raw")]
    pub(crate) fn is_wanted(&self) -> bool {
        !self.0.is_closed()
    }

    /// Refuses to respond. The server gets an error with this message.
    pub fn error(self, error: impl Into<Box<dyn StdError + Send + Sync>>) {
        let _ = self.0.send(Err(error.into().to_string()));
    }
}

/// A type that a closure can return: the response, a [`Result`] of it, a future of either, or a [`Reply`].
///
/// `M` tells these types apart. The compiler infers it.
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    note = "it can return a `{R}`, a `Result` of it, a future of either that is `Send`, or a `Reply`",
    note = "a closure that uses `?` needs its type written: `|request| -> openai_codex::Result<_> {{ … }}`"
)]
pub trait IntoReply<R, M> {
    /// Converts the value into a reply.
    fn into_reply(self) -> Reply<R>;
}

/// A type that a handler's future can have: the response, or a [`Result`] of it.
#[diagnostic::on_unimplemented(
    message = "a handler cannot return a future of `{Self}`",
    note = "it can return a future of a `{R}`, or of a `Result` of it"
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

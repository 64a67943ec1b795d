//! Threads, turns and logins that a program starts by the JSON of the parameters, without handles.

use std::fmt;
use std::sync::Arc;

use openai_codex_protocol::types::ThreadStartParams;
use openai_codex_protocol::{ClientRequest, methods};
use serde_json::value::RawValue;

use crate::account::login::Login;
use crate::codec::encode;
use crate::connection::effect::Response;
use crate::connection::envelope;
use crate::connection::event::OwnedEvent;
use crate::connection::intent::Joins;
use crate::error::{Error, Result};
use crate::io::tokens::ResponseObserver;
use crate::io::turn_subscription::TurnSubscription;
use crate::raw::RawStream;
use crate::session::clients::AsyncCodex;
use crate::thread::trust;
use crate::turn::guard::TurnGuard;
use crate::turn::stream::AsyncTurnStream;

/// Sends a notification.
///
/// # Errors
/// As [`AsyncCodex::request`].
pub async fn notify(codex: &AsyncCodex, method: &str, params: Option<&RawValue>) -> Result<()> {
    codex.core.session().await?.connection.notify(method, params);
    Ok(())
}

/// Makes a `thread/start` request, and returns its response as JSON text. The folder stays untrusted, unless the parameters or the
/// user's configuration trust it.
///
/// # Errors
/// As [`AsyncCodex::request`].
pub async fn start_thread(codex: &AsyncCodex, params: &RawValue) -> Result<String> {
    const METHOD: &str = methods::ThreadStart::METHOD;
    let mut params: ThreadStartParams = serde_json::from_str(params.get())
        .map_err(|error| Error::invalid_input(error.to_string()).with_method(METHOD))?;
    let session = codex.core.session().await?;
    trust::leave_undecided(&session, &mut params).await?;
    session.call_raw(METHOD, encode(METHOD, &params)?.as_deref()).await
}

/// A turn of a thread that may have no handle.
#[derive(Debug)]
pub struct RawTurn {
    guard: Arc<TurnGuard>,
    response: String,
}

/// A start without a handle of the thread changes nothing that the client knows of it.
#[derive(Debug)]
struct Unobserved;

impl ResponseObserver for Unobserved {
    fn observe(self: Box<Self>, _: &Response) {}
}

/// Makes a `turn/start` request. The turn continues when the returned value is dropped.
///
/// # Errors
/// As [`AsyncCodex::request`].
pub async fn start_turn(codex: &AsyncCodex, params: &RawValue) -> Result<RawTurn> {
    const METHOD: &str = methods::TurnStart::METHOD;
    let thread_id: Arc<str> = match envelope::thread_of(params.get()) {
        Some(thread_id) => thread_id.into(),
        None => return Err(Error::invalid_input("the parameters name no thread").with_method(METHOD)),
    };
    let session = codex.core.session().await?;
    let transport = session.connection.transport();
    session.check_runtime(METHOD, Some(params), Some(&thread_id)).await?;
    let subscription = Arc::new(TurnSubscription::new(thread_id, true, &session.connection.budget));
    // Dropping this future interrupts the turn.
    let guard = TurnGuard::new(session.clone(), subscription.clone());
    let response =
        session.start_turn(params, &subscription, Box::new(Unobserved), Joins::Any, transport).await?;
    guard.set_interrupt_on_drop(false);
    Ok(RawTurn { guard: Arc::new(guard), response })
}

impl RawTurn {
    /// The response to `turn/start` as JSON text.
    pub fn response(&self) -> &str {
        &self.response
    }

    /// Opens a stream of the turn's events. The first one begins with the turn.
    pub fn stream(&self) -> RawStream {
        RawStream { events: AsyncTurnStream::open(self.guard.clone()) }
    }
}

/// A login that may wait for a user.
pub struct RawLogin {
    login: Login,
    response: String,
}

impl fmt::Debug for RawLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RawLogin")
    }
}

/// Makes an `account/login/start` request.
///
/// # Errors
/// As [`AsyncCodex::request`].
pub async fn start_login(codex: &AsyncCodex, params: &RawValue) -> Result<RawLogin> {
    let session = codex.core.session().await?;
    let (response, ended) = session.start_login(params).await?;
    let response = response.await?;
    // Only a cancellation needs the login's id.
    Ok(RawLogin { login: Login { session, id: String::new(), ended }, response })
}

impl RawLogin {
    /// The response to `account/login/start` as JSON text.
    pub fn response(&self) -> &str {
        &self.response
    }

    /// Waits for the end of the login. Returns the parameters of `account/login/completed`.
    ///
    /// # Errors
    /// The connection's error, if it is lost before.
    pub async fn wait(&self) -> Result<Box<str>> {
        self.login.end().await.map(OwnedEvent::into_text)
    }
}

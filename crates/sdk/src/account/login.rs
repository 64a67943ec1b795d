//! The requests of logging in and out, and a login that waits for a person.

use std::sync::Arc;
use std::time::Duration;

use openai_codex_protocol::types::{
    AccountLoginCompletedNotification, ApiKeyLoginAccountParams, CancelLoginAccountParams,
    CancelLoginAccountResponse, ChatgptDeviceCodeLoginAccountParams, ChatgptLoginAccountParams,
    GetAccountRateLimitsResponse, LoginAccountParams, LoginAccountResponse,
};
use openai_codex_protocol::{ClientRequest, Notification, methods};
use tokio::sync::watch;

use super::{AsyncChatgptLoginHandle, AsyncDeviceCodeLoginHandle};
use crate::background::until;
use crate::client::{Core, Session, decode, encode};
use crate::connection::logins::LoginEnd;
use crate::{Error, ErrorKind, Result};

/// What a wait for a login's end waits for, as errors name it.
const COMPLETED: &str = "account/login/completed";

/// A login that a person completes elsewhere, shared by all clones of its handle.
pub(super) struct Login {
    session: Arc<Session>,
    pub(super) id: String,
    ended: watch::Receiver<Option<LoginEnd>>,
}

impl Login {
    /// Waits for the end of the login.
    pub(super) async fn wait(&self) -> Result<AccountLoginCompletedNotification> {
        self.session.connection.check_process().map_err(|error| error.with_method(COMPLETED))?;
        let mut ended = self.ended.clone();
        until(&mut ended, Option::is_some).await;
        let end = ended.borrow().clone();
        let unknown = || Error::new(ErrorKind::TransportClosed, "the connection ended without a word");
        let end = end.unwrap_or_else(|| Err(unknown()));
        end.and_then(|event| match event.decode() {
            Notification::AccountLoginCompleted(end) => Ok(end),
            Notification::Undecodable(event) => Err(Error::from_decode(event.error)),
            _ => Err(Error::new(ErrorKind::Decode, "the end of the login is told by another notification")),
        })
        .map_err(|error| self.session.connection.redact(error).with_method(COMPLETED))
    }

    /// Waits for the end of the login, for a while.
    pub(super) async fn wait_timeout(&self, timeout: Duration) -> Result<AccountLoginCompletedNotification> {
        tokio::select! {
            biased;
            end = self.wait() => end,
            () = self.session.connection.sleep(timeout) => Err(Error::new(
                ErrorKind::DeadlineExceeded,
                format!("the login was not completed within {timeout:?}; it goes on: wait again, or cancel it"),
            )
            .with_method(COMPLETED)),
        }
    }

    pub(super) async fn cancel(&self) -> Result<CancelLoginAccountResponse> {
        let params = CancelLoginAccountParams::new(&*self.id);
        self.session.call::<methods::AccountLoginCancel>(&params, None).await
    }
}

pub(crate) async fn api_key(core: &Arc<Core>, key: String) -> Result<()> {
    if key.trim().is_empty() {
        return Err(
            Error::invalid_input("the API key is empty").with_method(methods::AccountLoginStart::METHOD)
        );
    }
    let params = LoginAccountParams::from(ApiKeyLoginAccountParams::new(key));
    let session = core.session().await?;
    match session.call::<methods::AccountLoginStart>(&params, None).await? {
        LoginAccountResponse::ApiKey(_) => Ok(()),
        _ => Err(other_login()),
    }
}

pub(crate) async fn chatgpt(core: &Arc<Core>) -> Result<AsyncChatgptLoginHandle> {
    let (started, login) = start(core, ChatgptLoginAccountParams::new().into()).await?;
    match started {
        LoginAccountResponse::Chatgpt(started) => {
            Ok(AsyncChatgptLoginHandle::new(login(started.login_id), started.auth_url))
        }
        _ => Err(other_login()),
    }
}

pub(crate) async fn device_code(core: &Arc<Core>) -> Result<AsyncDeviceCodeLoginHandle> {
    let (started, login) = start(core, ChatgptDeviceCodeLoginAccountParams::new().into()).await?;
    match started {
        LoginAccountResponse::ChatgptDeviceCode(started) => Ok(AsyncDeviceCodeLoginHandle::new(
            login(started.login_id),
            started.verification_url,
            started.user_code,
        )),
        _ => Err(other_login()),
    }
}

/// Starts a login; with the server's answer, what makes the login of its id.
async fn start(
    core: &Arc<Core>,
    params: LoginAccountParams,
) -> Result<(LoginAccountResponse, impl FnOnce(String) -> Login)> {
    let session = core.session().await?;
    let params = encode(methods::AccountLoginStart::METHOD, &params)?.unwrap_or_default();
    let (answer, ended) = session.start_login(&params).await?;
    let answer = decode::<methods::AccountLoginStart>(&answer.await?, None)
        .map_err(|error| session.connection.redact(error))?;
    Ok((answer, move |id| Login { session, id, ended }))
}

fn other_login() -> Error {
    Error::new(ErrorKind::Decode, "the answer is about another kind of login than was asked for")
        .with_method(methods::AccountLoginStart::METHOD)
}

pub(crate) async fn logout(core: &Arc<Core>) -> Result<()> {
    core.session().await?.call::<methods::AccountLogout>(&(), None).await.map(drop)
}

pub(crate) async fn rate_limits(core: &Arc<Core>) -> Result<GetAccountRateLimitsResponse> {
    core.session().await?.call::<methods::AccountRateLimitsRead>(&None, None).await
}

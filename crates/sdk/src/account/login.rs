//! A login that waits for a user.

use std::sync::Arc;
use std::time::Duration;

use openai_codex_protocol::types::{
    AccountLoginCompletedNotification, CancelLoginAccountParams, CancelLoginAccountResponse,
};
use openai_codex_protocol::{Notification, methods};
use tokio::sync::watch;

use crate::background::until;
use crate::connection::effect::LoginEnd;
use crate::error::{Error, ErrorKind, Result};
use crate::select::select;
use crate::session::runtime::Session;

/// The notification of a login's end, for errors.
const COMPLETED: &str = "account/login/completed";

/// A login that a user completes elsewhere. All clones of its handle share it.
pub(crate) struct Login {
    pub(crate) session: Arc<Session>,
    pub(crate) id: String,
    pub(crate) ended: watch::Receiver<Option<LoginEnd>>,
}

impl Login {
    /// Waits for the end of the login.
    pub(crate) async fn wait(&self) -> Result<AccountLoginCompletedNotification> {
        let ended = self.end().await.and_then(|event| match event.decode() {
            Notification::AccountLoginCompleted(end) => Ok(end),
            Notification::Undecodable(event) => Err(Error::from_decode(event.error)),
            _ => Err(Error::new(ErrorKind::Decode, "the login ended with an unexpected notification")),
        });
        ended.map_err(|error| self.session.connection.redact(error).with_method(COMPLETED))
    }

    /// Waits for the notification of the login's end.
    pub(crate) async fn end(&self) -> LoginEnd {
        self.session.connection.check_process().map_err(|error| error.with_method(COMPLETED))?;
        let mut ended = self.ended.clone();
        until(&mut ended, Option::is_some).await;
        let end = ended.borrow().clone();
        let unknown = || Error::new(ErrorKind::TransportClosed, "the connection ended before the login did");
        end.unwrap_or_else(|| Err(unknown().with_method(COMPLETED)))
    }

    /// Waits for the end of the login, at most for `timeout`.
    pub(crate) async fn wait_timeout(&self, timeout: Duration) -> Result<AccountLoginCompletedNotification> {
        select! {
            end = self.wait() => end,
            () = self.session.connection.sleep(timeout) => Err(Error::new(
                ErrorKind::Timeout,
                format!("the login was not completed within {timeout:?} and continues; wait again, or cancel it"),
            )
            .with_method(COMPLETED)),
        }
    }

    pub(crate) async fn cancel(&self) -> Result<CancelLoginAccountResponse> {
        let params = CancelLoginAccountParams::new(&*self.id);
        self.session.call::<methods::AccountLoginCancel>(&params, None).await
    }
}

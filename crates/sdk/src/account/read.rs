//! Reading the account.

use std::marker::PhantomData;
use std::sync::Arc;

use openai_codex_protocol::methods;
use openai_codex_protocol::types::{GetAccountParams, GetAccountResponse};

use crate::error::Result;
use crate::into_future::awaits_send;
use crate::session::clients::AsyncCodex;
use crate::session::supervisor::ClientCore;

/// A builder for `account/read`. `send` reads the account. With the async client, the builder can be awaited, which does the same.
#[must_use = "nothing is read until `send`"]
#[derive(Clone, Debug)]
pub struct AccountRead<C> {
    core: Arc<ClientCore>,
    refresh_token: bool,
    client: PhantomData<C>,
}

impl<C> AccountRead<C> {
    pub(crate) fn new(core: Arc<ClientCore>) -> Self {
        Self { core, refresh_token: false, client: PhantomData }
    }

    /// Sets whether the server first gets a new token over the network. `false` unless set. On the wire: `refreshToken`.
    pub fn refresh_token(mut self, refresh_token: bool) -> Self {
        self.refresh_token = refresh_token;
        self
    }

    async fn perform(self) -> Result<GetAccountResponse> {
        let params = GetAccountParams::new().refresh_token(self.refresh_token);
        self.core.session().await?.call::<methods::AccountRead>(&params, None).await
    }
}

impl AccountRead<AsyncCodex> {
    /// Reads the account. The response's `account` is `None` without a login.
    ///
    /// # Errors
    /// As [`AsyncCodex::request`].
    pub async fn send(self) -> Result<GetAccountResponse> {
        self.perform().await
    }
}

awaits_send!(AccountRead, GetAccountResponse);

#[cfg(feature = "blocking")]
impl AccountRead<crate::session::clients::Codex> {
    /// Reads the account. The response's `account` is `None` without a login.
    ///
    /// # Errors
    /// As [`Codex::request`](crate::Codex::request).
    #[inline]
    pub fn send(self) -> Result<GetAccountResponse> {
        crate::block_on::wait(self.perform())
    }
}

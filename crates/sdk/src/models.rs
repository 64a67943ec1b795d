//! Listing the models.

use std::marker::PhantomData;
use std::sync::Arc;

use openai_codex_protocol::methods;
use openai_codex_protocol::types::{ModelListParams, ModelListResponse};

use crate::client::Core;
use crate::{AsyncCodex, Result};

/// A builder for `model/list`; ends in `send`.
#[must_use = "nothing is asked until `send`"]
#[derive(Clone, Debug)]
pub struct Models<C> {
    pub(crate) core: Arc<Core>,
    pub(crate) include_hidden: bool,
    pub(crate) client: PhantomData<C>,
}

impl<C> Models<C> {
    /// Whether models that are hidden from the default picker are listed too.
    pub fn include_hidden(mut self, include_hidden: bool) -> Self {
        self.include_hidden = include_hidden;
        self
    }

    async fn perform(self) -> Result<ModelListResponse> {
        let params = ModelListParams::new().include_hidden(self.include_hidden);
        self.core.session().await?.call::<methods::ModelList>(&params, None).await
    }
}

impl Models<AsyncCodex> {
    /// Asks the server.
    ///
    /// # Errors
    /// As [`AsyncCodex::request`].
    pub async fn send(self) -> Result<ModelListResponse> {
        self.perform().await
    }
}

#[cfg(feature = "blocking")]
impl Models<crate::Codex> {
    /// Asks the server.
    ///
    /// # Errors
    /// As [`Codex::request`](crate::Codex::request).
    pub fn send(self) -> Result<ModelListResponse> {
        crate::park::wait(self.perform())
    }
}

//! Listing the models.

use std::marker::PhantomData;
use std::sync::Arc;

use openai_codex_protocol::types::ModelListParams;

use crate::error::Result;
use crate::paging::lists;
use crate::session::supervisor::ClientCore;
use crate::session::thread_state::ThreadState;

/// A builder for `model/list`. `send` returns one page; `pages` and `all` return the whole list.
///
/// The request contains `includeHidden` and the options that were set. The server chooses the others.
#[must_use = "nothing is requested until `send`, or a stream is read"]
#[derive(Clone, Debug)]
pub struct Models<C> {
    core: Arc<ClientCore>,
    params: ModelListParams,
    client: PhantomData<C>,
}

lists!(Models, ModelList);

impl<C> Models<C> {
    pub(crate) fn new(core: Arc<ClientCore>) -> Self {
        Self { core, params: ModelListParams::new().include_hidden(false), client: PhantomData }
    }

    /// Sets whether the list includes models that the default picker hides. `false` unless set.
    pub fn include_hidden(mut self, include_hidden: bool) -> Self {
        self.params = self.params.include_hidden(include_hidden);
        self
    }

    /// Sets where the page begins: the `next_cursor` of another page.
    pub fn cursor(mut self, cursor: impl Into<String>) -> Self {
        self.params = self.params.cursor(cursor);
        self
    }

    /// Sets the maximum number of models in a page.
    pub fn limit(mut self, limit: u32) -> Self {
        self.params = self.params.limit(limit);
        self
    }

    fn params(self) -> Result<ModelListParams> {
        Ok(self.params)
    }

    fn thread(&self) -> Option<Arc<ThreadState>> {
        None
    }
}

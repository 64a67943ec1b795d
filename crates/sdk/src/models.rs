//! Listing the models.

use std::marker::PhantomData;
use std::sync::Arc;

use openai_codex_protocol::types::ModelListParams;

use crate::error::Result;
use crate::paging::lists;
use crate::session::supervisor::ClientCore;
use crate::session::thread_state::ThreadState;

/// A builder for `model/list`; ends in `send` for one page, or in `pages` or `all` for the whole list. Whether hidden
/// models are meant is always sent; what else is not set is the server's to choose.
#[must_use = "nothing is asked until `send`, or a stream is read"]
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

    /// Whether models that are hidden from the default picker are listed too; `false` unless set.
    pub fn include_hidden(mut self, include_hidden: bool) -> Self {
        self.params = self.params.include_hidden(include_hidden);
        self
    }

    /// Where to go on: the `next_cursor` of another page.
    pub fn cursor(mut self, cursor: impl Into<String>) -> Self {
        self.params = self.params.cursor(cursor);
        self
    }

    /// How many models a page has at most.
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

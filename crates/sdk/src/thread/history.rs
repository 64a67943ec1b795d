//! Listing a thread's turns and items.

use std::marker::PhantomData;
use std::sync::Arc;

use openai_codex_protocol::types::{
    SortDirection, ThreadItemsListParams, ThreadTurnsListParams, TurnItemsView,
};

use crate::error::Result;
use crate::paging::lists;
use crate::session::supervisor::ClientCore;
use crate::session::thread_state::ThreadState;

/// A builder for `thread/turns/list`. `send` returns one page; `pages` and `all` return the whole list.
///
/// The request contains only the options that were set. The server chooses the others.
#[must_use = "nothing is requested until `send`, or a stream is read"]
#[derive(Clone, Debug)]
pub struct ThreadTurns<C> {
    core: Arc<ClientCore>,
    thread: Arc<ThreadState>,
    params: ThreadTurnsListParams,
    client: PhantomData<C>,
}

/// A builder for `thread/items/list`. `send` returns one page; `pages` and `all` return the whole list.
///
/// The request contains only the options that were set. The server chooses the others.
#[must_use = "nothing is requested until `send`, or a stream is read"]
#[derive(Clone, Debug)]
pub struct ThreadItems<C> {
    core: Arc<ClientCore>,
    thread: Arc<ThreadState>,
    params: ThreadItemsListParams,
    client: PhantomData<C>,
}

lists!(ThreadTurns, ThreadTurnsList);
lists!(ThreadItems, ThreadItemsList);

macro_rules! history {
    ($builder:ident, $params:ident, $entries:literal) => {
        impl<C> $builder<C> {
            pub(crate) fn new(core: Arc<ClientCore>, thread: Arc<ThreadState>) -> Self {
                let params = $params::new(&*thread.id);
                Self { core, thread, params, client: PhantomData }
            }

            /// Sets where the page begins: the `next_cursor` or `backwards_cursor` of another page.
            pub fn cursor(mut self, cursor: impl Into<String>) -> Self {
                self.params.cursor = Some(cursor.into().into());
                self
            }

            #[doc = concat!("Sets the maximum number of ", $entries, " in a page.")]
            pub fn limit(mut self, limit: u32) -> Self {
                self.params = self.params.limit(limit);
                self
            }

            /// Sets the order.
            pub fn sort_direction(mut self, direction: impl Into<SortDirection>) -> Self {
                self.params = self.params.sort_direction(direction);
                self
            }

            fn params(self) -> Result<$params> {
                Ok(self.params)
            }

            fn thread(&self) -> Option<Arc<ThreadState>> {
                Some(self.thread.clone())
            }
        }
    };
}

history!(ThreadTurns, ThreadTurnsListParams, "turns");
history!(ThreadItems, ThreadItemsListParams, "items");

impl<C> ThreadTurns<C> {
    /// Sets how much of each turn's items the response contains.
    pub fn items_view(mut self, view: impl Into<TurnItemsView>) -> Self {
        self.params = self.params.items_view(view);
        self
    }
}

impl<C> ThreadItems<C> {
    /// Lists only the items of this turn.
    pub fn turn_id(mut self, turn_id: impl Into<String>) -> Self {
        self.params = self.params.turn_id(turn_id);
        self
    }
}

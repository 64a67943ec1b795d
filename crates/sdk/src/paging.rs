//! Listings: one page, all pages, or all entries.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use openai_codex_protocol::types::{
    InitializeResponse, Model, ModelListParams, ModelListResponse, Thread, ThreadItemEntry,
    ThreadItemsListParams, ThreadItemsListResponse, ThreadListParams, ThreadListResponse,
    ThreadTurnsListParams, ThreadTurnsListResponse, Turn,
};
use openai_codex_protocol::{ClientRequest, methods};
use serde_json::value::RawValue;

use crate::codec::encode;
use crate::error::{Error, ErrorKind, Result};
use crate::session::history_requests::read_history_text;
use crate::session::runtime::Session;
use crate::session::supervisor::ClientCore;
use crate::session::thread_state::ThreadState;

/// A request whose response is a page of a list: [`methods::ThreadList`], [`methods::ThreadTurnsList`],
/// [`methods::ThreadItemsList`], [`methods::ModelList`].
pub trait Paged:
    ClientRequest<Params: Send + Sync + 'static, Response: Send + 'static> + sealed::Sealed + 'static
{
    /// One entry of the list.
    type Entry: Send + 'static;

    /// Puts the cursor of the next page into the parameters.
    #[doc(hidden)]
    fn set_cursor(params: &mut Self::Params, cursor: String);
    /// The cursor of the next page; `None` after the last.
    #[doc(hidden)]
    fn next_cursor(page: &Self::Response) -> Option<&str>;
    /// The entries of a page, in order.
    #[doc(hidden)]
    fn entries(page: Self::Response) -> Vec<Self::Entry>;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! paged {
    ($($method:ident($params:ident, $response:ident): $entry:ident;)*) => {$(
        impl sealed::Sealed for methods::$method {}

        impl Paged for methods::$method {
            type Entry = $entry;

            fn set_cursor(params: &mut $params, cursor: String) {
                params.cursor = Some(cursor.into());
            }

            fn next_cursor(page: &$response) -> Option<&str> {
                page.next_cursor.as_deref()
            }

            fn entries(page: $response) -> Vec<$entry> {
                page.data
            }
        }
    )*};
}

paged! {
    ThreadList(ThreadListParams, ThreadListResponse): Thread;
    ThreadTurnsList(ThreadTurnsListParams, ThreadTurnsListResponse): Turn;
    ThreadItemsList(ThreadItemsListParams, ThreadItemsListResponse): ThreadItemEntry;
    ModelList(ModelListParams, ModelListResponse): Model;
}

/// A step of a listing. Not generic over the method, so that it is compiled once.
type Step<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// The next step of a listing.
enum State<R: Paged> {
    Ready(R::Params),
    /// Waits for the runtime.
    Opening(R::Params, Step<Arc<Session>>),
    /// Waits for the JSON text of a page.
    Waiting(R::Params, Step<(Arc<Session>, String)>),
    /// The options were unusable, or the server repeated a cursor.
    Failed(Error),
    Done,
}

/// Streams the pages of a listing, with one request for each page.
///
/// The client requests a page when the program calls `next`, and not before. An error is the last item.
#[must_use = "nothing is requested until `next`"]
pub struct AsyncPages<R: Paged> {
    core: Arc<ClientCore>,
    thread: Option<Arc<ThreadState>>,
    /// The cursor of the requested page.
    cursor: Option<String>,
    cursors: SeenCursors,
    /// Sets parameters that the caller left open and that depend on the runtime.
    prepare: Prepare<R>,
    state: State<R>,
}

/// The only page of an empty list.
const NO_ENTRIES: &str = r#"{"data":[]}"#;

type Prepare<R> = fn(&mut <R as ClientRequest>::Params, &InitializeResponse);

impl<R: Paged> AsyncPages<R> {
    pub(crate) fn new(
        core: Arc<ClientCore>,
        params: Result<R::Params>,
        thread: Option<Arc<ThreadState>>,
    ) -> Self {
        let state = params.map_or_else(State::Failed, State::Ready);
        Self { core, thread, cursor: None, cursors: SeenCursors::default(), prepare: |_, _| (), state }
    }

    pub(crate) fn prepared(mut self, prepare: Prepare<R>) -> Self {
        self.prepare = prepare;
        self
    }

    /// Returns the first page only.
    pub(crate) async fn one(mut self) -> Result<R::Response> {
        match self.next().await {
            Some(page) => page,
            None => unreachable!("a listing begins with a page or an error"),
        }
    }

    /// Waits for the next page. `None` after the last. Cancel-safe: the next call continues a pending request.
    pub async fn next(&mut self) -> Option<Result<R::Response>> {
        std::future::poll_fn(|context| self.poll_page(context)).await
    }

    fn poll_page(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<R::Response>>> {
        loop {
            match std::mem::replace(&mut self.state, State::Done) {
                State::Done => return Poll::Ready(None),
                State::Failed(error) => return Poll::Ready(Some(Err(error))),
                State::Ready(params) => {
                    let opening = open(self.core.clone(), self.thread.clone());
                    self.state = State::Opening(params, Box::pin(opening));
                }
                State::Opening(mut params, mut opening) => {
                    let Poll::Ready(session) = opening.as_mut().poll(context) else {
                        self.state = State::Opening(params, opening);
                        return Poll::Pending;
                    };
                    let fetch = session.and_then(|session| {
                        (self.prepare)(&mut params, &session.metadata);
                        Ok(fetch(session, self.thread.clone(), R::METHOD, encode(R::METHOD, &params)?))
                    });
                    match fetch {
                        Ok(fetch) => self.state = State::Waiting(params, Box::pin(fetch)),
                        Err(error) => return Poll::Ready(Some(Err(error))),
                    }
                }
                State::Waiting(params, mut fetch) => {
                    let Poll::Ready(fetched) = fetch.as_mut().poll(context) else {
                        self.state = State::Waiting(params, fetch);
                        return Poll::Pending;
                    };
                    let thread_id = self.thread.as_ref().map(|thread| &*thread.id);
                    let page = fetched.and_then(|(session, page)| session.decode::<R>(&page, thread_id));
                    if let Ok(page) = &page {
                        self.turn_over(params, page);
                    }
                    return Poll::Ready(Some(page));
                }
            }
        }
    }

    /// Prepares the request for the page after this one.
    fn turn_over(&mut self, mut params: R::Params, page: &R::Response) {
        let Some(cursor) = R::next_cursor(page) else { return };
        if !self.cursors.insert(cursor) {
            let message =
                format!("the listing does not end: the server returned the cursor {cursor:?} a second time");
            let error = Error::new(ErrorKind::Decode, message).with_method(R::METHOD);
            self.state = State::Failed(error.with_thread(self.thread.as_ref().map(|thread| &*thread.id)));
            return;
        }
        self.cursor = Some(cursor.to_owned());
        R::set_cursor(&mut params, cursor.to_owned());
        self.state = State::Ready(params);
    }
}

async fn open(core: Arc<ClientCore>, thread: Option<Arc<ThreadState>>) -> Result<Arc<Session>> {
    match thread {
        Some(thread) => thread.session_for_stored(&core).await,
        None => core.session().await,
    }
}

async fn fetch(
    session: Arc<Session>,
    thread: Option<Arc<ThreadState>>,
    method: &'static str,
    params: Option<Box<RawValue>>,
) -> Result<(Arc<Session>, String)> {
    let page = match thread {
        Some(thread) => {
            let page = read_history_text(&session, method, params, &thread.id).await;
            page.map_err(|error| thread.explain(error))?.unwrap_or_else(|| NO_ENTRIES.to_owned())
        }
        None => session.call_text(method, params, None).await?,
    };
    Ok((session, page))
}

/// The cursors of a listing so far. They are hashes, so each page costs 8 bytes. The hasher has random keys, so a server cannot
/// make two cursors collide.
#[derive(Default)]
struct SeenCursors {
    hasher: RandomState,
    /// In order.
    hashes: Vec<u64>,
}

impl SeenCursors {
    /// Whether the cursor is new.
    fn insert(&mut self, cursor: &str) -> bool {
        let hash = self.hasher.hash_one(cursor);
        let place = self.hashes.binary_search(&hash);
        place.map_err(|place| self.hashes.insert(place, hash)).is_err()
    }
}

impl<R: Paged> fmt::Debug for AsyncPages<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncPages").field("method", &R::METHOD).field("cursor", &self.cursor).finish()
    }
}

// No field is pinned in place.
impl<R: Paged> Unpin for AsyncPages<R> {}

impl<R: Paged> Stream for AsyncPages<R> {
    type Item = Result<R::Response>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_page(context)
    }
}

/// Streams the entries of a listing. The client requests a page when the program has taken all earlier entries.
///
/// An error is the last item.
#[must_use = "nothing is requested until `next`"]
pub struct AsyncEntries<R: Paged> {
    pages: AsyncPages<R>,
    page: std::vec::IntoIter<R::Entry>,
}

impl<R: Paged> AsyncEntries<R> {
    pub(crate) fn new(pages: AsyncPages<R>) -> Self {
        Self { pages, page: Vec::new().into_iter() }
    }

    /// Waits for the next entry. `None` after the last. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<R::Entry>> {
        std::future::poll_fn(|context| self.poll_entry(context)).await
    }

    fn poll_entry(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<R::Entry>>> {
        loop {
            if let Some(entry) = self.page.next() {
                return Poll::Ready(Some(Ok(entry)));
            }
            match ready!(self.pages.poll_page(context)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(page)) => self.page = R::entries(page).into_iter(),
            }
        }
    }
}

impl<R: Paged> fmt::Debug for AsyncEntries<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = self.page.len();
        f.debug_struct("AsyncEntries").field("pages", &self.pages).field("left_of_page", &left).finish()
    }
}

impl<R: Paged> Unpin for AsyncEntries<R> {}

impl<R: Paged> Stream for AsyncEntries<R> {
    type Item = Result<R::Entry>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_entry(context)
    }
}

/// Blocking faces of the two streams.
macro_rules! blocking {
    ($($(#[$doc:meta])* $name:ident($inner:ident): $item:ident;)*) => {$(
        $(#[$doc])*
        #[cfg(feature = "blocking")]
        #[must_use = "nothing is requested until `next`"]
        #[derive(Debug)]
        pub struct $name<R: Paged> {
            inner: $inner<R>,
        }

        #[cfg(feature = "blocking")]
        impl<R: Paged> $name<R> {
            pub(crate) fn from_async(inner: $inner<R>) -> Self {
                Self { inner }
            }

            /// Waits for the next item, at most for `timeout`. `Ok(None)` after the last.
            ///
            /// # Errors
            /// [`ErrorKind::Timeout`] after `timeout`: the listing and its pending request continue. Any other error is the last
            /// item.
            #[inline]
            pub fn next_timeout(&mut self, timeout: std::time::Duration) -> Result<Option<R::$item>> {
                crate::block_on::next_within(timeout, self.inner.next(), |error| error.with_method(R::METHOD))
            }
        }

        #[cfg(feature = "blocking")]
        impl<R: Paged> Iterator for $name<R> {
            type Item = Result<R::$item>;

            #[inline]
            fn next(&mut self) -> Option<Self::Item> {
                crate::block_on::wait(self.inner.next())
            }
        }
    )*};
}

blocking! {
    /// Iterates over the pages of a listing, with one request for each page; see [`AsyncPages`].
    Pages(AsyncPages): Response;
    /// Iterates over the entries of a listing, page by page; see [`AsyncEntries`].
    Entries(AsyncEntries): Entry;
}

/// The response of a listing, which is one page.
pub(crate) type Page<R> = <R as ClientRequest>::Response;

/// Ends a builder in `send`, `pages` and `all`, blocking and async. It needs the fields `core`, and the methods
/// `params` (checked, and translated to the protocol's) and `thread` (that of the listing, if it is one of a thread).
macro_rules! lists {
    ($builder:ident, $method:ident) => {
        lists!($builder, $method, |_, _| ());
    };
    // `$prepare`: what is made of the parameters when more than one page is wanted.
    ($builder:ident, $method:ident, $prepare:expr) => {
        impl<C> $builder<C> {
            fn start(self) -> crate::paging::AsyncPages<openai_codex_protocol::methods::$method> {
                let (core, thread) = (self.core.clone(), self.thread());
                crate::paging::AsyncPages::new(core, self.params(), thread)
            }
        }

        impl $builder<crate::session::clients::AsyncCodex> {
            /// Requests one page.
            ///
            /// # Errors
            /// Unusable options, before anything is sent; otherwise as
            /// [`AsyncCodex::request`](crate::AsyncCodex::request).
            pub async fn send(
                self,
            ) -> crate::error::Result<crate::paging::Page<openai_codex_protocol::methods::$method>> {
                self.start().one().await
            }

            /// Streams this page and all that follow. If an option is unusable, the first item is an error.
            pub fn pages(self) -> crate::paging::AsyncPages<openai_codex_protocol::methods::$method> {
                self.start().prepared($prepare)
            }

            /// Streams the entries of this page and all that follow. If an option is unusable, the first item is an error.
            pub fn all(self) -> crate::paging::AsyncEntries<openai_codex_protocol::methods::$method> {
                crate::paging::AsyncEntries::new(self.start().prepared($prepare))
            }
        }

        crate::into_future::awaits_send!(
            $builder,
            crate::paging::Page<openai_codex_protocol::methods::$method>
        );

        #[cfg(feature = "blocking")]
        impl $builder<crate::session::clients::Codex> {
            /// Requests one page.
            ///
            /// # Errors
            /// Unusable options, before anything is sent; otherwise as [`Codex::request`](crate::Codex::request).
            #[inline]
            pub fn send(
                self,
            ) -> crate::error::Result<crate::paging::Page<openai_codex_protocol::methods::$method>> {
                crate::block_on::wait(self.start().one())
            }

            /// Iterates over this page and all that follow. If an option is unusable, the first item is an error.
            pub fn pages(self) -> crate::paging::Pages<openai_codex_protocol::methods::$method> {
                crate::paging::Pages::from_async(self.start().prepared($prepare))
            }

            /// Iterates over the entries of this page and all that follow. If an option is unusable, the first item is an error.
            pub fn all(self) -> crate::paging::Entries<openai_codex_protocol::methods::$method> {
                crate::paging::Entries::from_async(crate::paging::AsyncEntries::new(
                    self.start().prepared($prepare),
                ))
            }
        }
    };
}

pub(crate) use lists;

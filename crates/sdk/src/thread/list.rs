//! Listing stored threads.

use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;

use openai_codex_protocol::types::{
    InitializeResponse, SortDirection, ThreadListCwdFilter, ThreadListParams, ThreadSortKey, ThreadSourceKind,
};

use crate::error::Result;
use crate::options::input::utf8_path;
use crate::paging::lists;
use crate::session::supervisor::ClientCore;
use crate::session::thread_state::ThreadState;
use crate::session::version;

/// A builder for `thread/list`. `send` returns one page; `pages` and `all` return the whole list.
///
/// The request contains only the options that were set. The server chooses the others.
///
/// `pages` and `all` sort by [`ThreadSortKey::RecencyAt`] unless a key is set, or by [`ThreadSortKey::UpdatedAt`] with a runtime
/// before 0.142.0. `send` keeps the server's default, which is the time of creation. In that order, runtime 0.163.0 skips threads:
/// the next page begins after the second in which the last thread of a page was created.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use openai_codex_testkit::Script;
/// # let (transport, _playing) = Script::standard().expect("thread/list").respond(serde_json::json!({"data": [], "nextCursor": null})).connect()?;
/// # let codex = openai_codex::Codex::with_transport(Default::default(), transport)?;
/// for thread in codex.thread_list().search_term("parser").limit(50).all() {
///     let thread = thread?;
///     println!("{} {}", thread.id, thread.preview);
/// }
/// # codex.close()?;
/// # Ok(()) }
/// ```
#[must_use = "nothing is requested until `send`, or a stream is read"]
#[derive(Clone, Debug)]
pub struct ThreadList<C> {
    core: Arc<ClientCore>,
    params: ThreadListParams,
    cwd: Vec<PathBuf>,
    client: PhantomData<C>,
}

lists!(ThreadList, ThreadList, in_an_order_that_pages_keep);

/// Sets a sort key. In the server's default order, threads are missing between pages.
pub(crate) fn in_an_order_that_pages_keep(params: &mut ThreadListParams, runtime: &InitializeResponse) {
    let old = version::is_older(runtime, version::RECENCY);
    params.sort_key.get_or_insert(if old { ThreadSortKey::UpdatedAt } else { ThreadSortKey::RecencyAt });
}

fn filter(folders: &[PathBuf]) -> Result<Option<ThreadListCwdFilter>> {
    let mut names = Vec::with_capacity(folders.len());
    for folder in folders {
        names.push(utf8_path(folder, "cwd")?);
    }
    Ok(match <[String; 1]>::try_from(names) {
        Ok([one]) => Some(ThreadListCwdFilter::Text(one)),
        Err(none) if none.is_empty() => None,
        Err(several) => Some(ThreadListCwdFilter::List(several)),
    })
}

impl<C> ThreadList<C> {
    pub(crate) fn new(core: Arc<ClientCore>) -> Self {
        Self { core, params: ThreadListParams::new(), cwd: Vec::new(), client: PhantomData }
    }

    fn with(mut self, change: impl FnOnce(ThreadListParams) -> ThreadListParams) -> Self {
        self.params = change(self.params);
        self
    }

    /// Lists the archived threads instead of the others.
    pub fn archived(self, archived: bool) -> Self {
        self.with(|params| params.archived(archived))
    }

    /// Sets where the page begins: the `next_cursor` of another page.
    pub fn cursor(self, cursor: impl Into<String>) -> Self {
        self.with(|params| params.cursor(cursor))
    }

    /// Lists only threads that work in this folder. Further calls add folders. A relative path starts at this process's working
    /// directory.
    pub fn cwd(mut self, path: impl Into<PathBuf>) -> Self {
        self.cwd.push(path.into());
        self
    }

    /// Sets the maximum number of threads in a page.
    pub fn limit(self, limit: u32) -> Self {
        self.with(|params| params.limit(limit))
    }

    /// Lists only threads with one of these providers.
    pub fn model_providers(self, providers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.with(|params| params.model_providers(providers))
    }

    /// Lists only threads whose title contains this text.
    pub fn search_term(self, term: impl Into<String>) -> Self {
        self.with(|params| params.search_term(term))
    }

    /// Lists only threads of the section with this id.
    pub fn section_id(self, section_id: impl Into<String>) -> Self {
        self.with(|params| params.section_id(section_id))
    }

    /// Sets the order.
    pub fn sort_direction(self, direction: impl Into<SortDirection>) -> Self {
        self.with(|params| params.sort_direction(direction))
    }

    /// Sets the sort key.
    pub fn sort_key(self, key: impl Into<ThreadSortKey>) -> Self {
        self.with(|params| params.sort_key(key))
    }

    /// Lists only threads of these sources.
    pub fn source_kinds(self, kinds: impl IntoIterator<Item = impl Into<ThreadSourceKind>>) -> Self {
        self.with(|params| params.source_kinds(kinds))
    }

    /// Sets whether the server reads only its database and not the stored files.
    pub fn use_state_db_only(self, only: bool) -> Self {
        self.with(|params| params.use_state_db_only(only))
    }

    fn params(self) -> Result<ThreadListParams> {
        let mut params = self.params;
        params.cwd = filter(&self.cwd)?;
        Ok(params)
    }

    fn thread(&self) -> Option<Arc<ThreadState>> {
        None
    }
}

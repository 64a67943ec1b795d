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

/// A builder for `thread/list`; ends in `send` for one page, or in `pages` or `all` for the whole list. What is not
/// set is the server's to choose and is not sent.
///
/// `pages` and `all` sort by [`ThreadSortKey::RecencyAt`] unless told otherwise, or by [`ThreadSortKey::UpdatedAt`] with a
/// runtime before 0.142.0, which does not know that one: sorted by creation, which is the server's
/// own choice and what `send` gets, runtime 0.163.0 goes on after the second in which the last thread of a page was
/// created, and leaves out the others of that second.
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
#[must_use = "nothing is asked until `send`, or a stream is read"]
#[derive(Clone, Debug)]
pub struct ThreadList<C> {
    core: Arc<ClientCore>,
    params: ThreadListParams,
    cwd: Vec<PathBuf>,
    client: PhantomData<C>,
}

lists!(ThreadList, ThreadList, in_an_order_that_pages_keep);

/// The server's own order loses threads between pages.
fn in_an_order_that_pages_keep(params: &mut ThreadListParams, runtime: &InitializeResponse) {
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

    /// Where to go on: the `next_cursor` of another page.
    pub fn cursor(self, cursor: impl Into<String>) -> Self {
        self.with(|params| params.cursor(cursor))
    }

    /// Only threads that work in this folder; given again, also those of the other. A relative path is taken from
    /// this process's working directory.
    pub fn cwd(mut self, path: impl Into<PathBuf>) -> Self {
        self.cwd.push(path.into());
        self
    }

    /// How many threads a page has at most.
    pub fn limit(self, limit: u32) -> Self {
        self.with(|params| params.limit(limit))
    }

    /// Only threads with one of these providers.
    pub fn model_providers(self, providers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.with(|params| params.model_providers(providers))
    }

    /// Only threads in whose title this occurs.
    pub fn search_term(self, term: impl Into<String>) -> Self {
        self.with(|params| params.search_term(term))
    }

    /// Only threads of the section with this id.
    pub fn section_id(self, section_id: impl Into<String>) -> Self {
        self.with(|params| params.section_id(section_id))
    }

    /// In which order.
    pub fn sort_direction(self, direction: impl Into<SortDirection>) -> Self {
        self.with(|params| params.sort_direction(direction))
    }

    /// By what the list is sorted.
    pub fn sort_key(self, key: impl Into<ThreadSortKey>) -> Self {
        self.with(|params| params.sort_key(key))
    }

    /// Only threads that came about in one of these ways.
    pub fn source_kinds(self, kinds: impl IntoIterator<Item = impl Into<ThreadSourceKind>>) -> Self {
        self.with(|params| params.source_kinds(kinds))
    }

    /// Whether the server answers from its database alone, without a look at the stored files.
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

//! Resumes threads after a reconnect, and restores what the client holds of them.
//!
//! The connection goes live when the threads are restored that something waits for, or soon. A thread that takes longer is restored
//! behind it: until then the events of its turns wait, and its turns are not lost.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openai_codex_protocol::{ClientRequest, methods};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::connection::intent::Intent;
use crate::connection::loss::{HeldThread, Need};
use crate::connection::snapshot::{Snapshot, Trust};
use crate::error::{Error, ErrorKind, Result};
use crate::io::request::ClientCall;
use crate::io::shared::{ResumeForm, Shared};
use crate::io::tokens::IoHost;
use crate::json_scan::{member, text_member};
use crate::options::connection_policy::ConnectionPolicy;

/// How many threads are resumed at once, and how many in which nothing is known to run.
const RESUMES_AT_ONCE: usize = 8;
const IDLE_RESUMES_AT_ONCE: usize = 4;
/// How long the other requests of the client wait for the resumes.
const HOLD_LIMIT: Duration = Duration::from_secs(5);
/// How often a request is made about a thread that the server does not know.
const ATTEMPTS: u32 = 20;
/// The same, if the server has the thread loaded: its first turn runs, and the server has not stored it yet.
const ATTEMPTS_IF_LOADED: u32 = 100;
/// The pause before the second attempt, and the longest one. Later, the pauses grow to a tenth of the time that has passed.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_LATE_PAUSE: Duration = Duration::from_secs(60);
/// How long another process may have a thread loaded: a server that was restarted finishes its turns first.
pub(crate) const WRITER_LIMIT: Duration = Duration::from_secs(30);
/// How often the server is asked about a turn that it calls interrupted.
const INTERRUPTED_CHECKS: u32 = 10;
/// How often the history is read for a turn whose events arrive, and which the server does not show.
const HIDDEN_CHECKS: u32 = 10;
/// How many pages of loaded threads are read.
const MAX_PAGES: usize = 100;

/// The resumes after one reconnect.
pub(crate) struct Resumes {
    shared: Arc<Shared>,
    /// The response to `initialize`.
    initialized: String,
    /// The threads that the server had loaded before the resumes. A new process has none.
    loaded: Vec<String>,
    transport: u32,
    /// How long the server may take to show what was lost with the connection.
    grace: Duration,
    /// How long the client tries to restore a thread although all attempts fail.
    patience: Duration,
    slots: Arc<Semaphore>,
    idle_slots: Arc<Semaphore>,
}

/// What a task has done.
enum Done {
    /// It has restored a thread, or given it up.
    Restored(Resume),
    /// It has waited, because the list of loaded threads could not be read.
    Paused,
    /// Nothing is left to do.
    All,
}

impl Resumes {
    /// Asks the server which threads it has loaded. `limit`: how long that may take.
    pub(crate) async fn new(
        shared: &Arc<Shared>,
        initialized: String,
        policy: ConnectionPolicy,
        limit: Duration,
    ) -> Result<Self> {
        let holds_none = shared.router().held_threads().is_empty();
        let loaded = if holds_none { None } else { loaded_threads(shared, limit).await? };
        if let Some(loaded) = &loaded {
            shared.threads.loaded_after_reconnect(loaded);
        }
        Ok(Self {
            shared: shared.clone(),
            initialized,
            loaded: loaded.unwrap_or_default(),
            transport: shared.transport.load(Ordering::Acquire),
            grace: policy.grace(),
            patience: policy.window_length().max(WRITER_LIMIT),
            slots: Arc::new(Semaphore::new(RESUMES_AT_ONCE)),
            idle_slots: Arc::new(Semaphore::new(IDLE_RESUMES_AT_ONCE)),
        })
    }

    /// Begins to resume the threads that the client holds. Returns when those are restored that something waits for, or soon. The
    /// others are restored by the returned task, which ends when the set is dropped.
    pub(crate) async fn begin(self) -> JoinSet<()> {
        let (hold, mut held) = mpsc::channel(1);
        let mut restoring = JoinSet::new();
        restoring.spawn(Arc::new(self).run(hold));
        // Nothing is sent: the channel ends when the last resume has dropped its end.
        let _ = timeout(HOLD_LIMIT, held.recv()).await;
        restoring
    }

    async fn run(self: Arc<Self>, hold: mpsc::Sender<()>) {
        let is_watched = self.shared.hub.is_watched();
        let mut known = HashSet::new();
        let mut running = JoinSet::new();
        let (begin, mut pauses) = (Instant::now(), false);
        let held = self.shared.router().held_threads();
        for thread in held.into_iter().filter(|thread| self.is_wanted(thread, is_watched)) {
            // An idle thread is only subscribed to. If it turns out to work for a running turn, it is resumed again and described.
            if thread.need != Need::Idle {
                known.insert(thread.id.clone());
            }
            let hold = (thread.need == Need::Waits).then(|| hold.clone());
            let is_loaded = self.is_loaded(&thread.id);
            running.spawn(Resume::of(&self, thread, is_loaded, hold).run());
        }
        drop(hold);
        running.spawn(self.clone().end_requests_without_thread());
        while let Some(done) = running.join_next().await {
            match done {
                Ok(Done::Restored(resume)) => drop(running.spawn(resume.end_unseen())),
                Ok(Done::Paused) => pauses = false,
                Ok(Done::All) | Err(_) => {}
            }
            match self.new_subagents(&mut known).await {
                Ok(new) => new.into_iter().for_each(|thread| {
                    running.spawn(Resume::of(&self, thread, true, None).run());
                }),
                Err(_) if !pauses && begin.elapsed() < self.patience => {
                    pauses = true;
                    running.spawn(async {
                        sleep(LONGEST_PAUSE).await;
                        Done::Paused
                    });
                }
                Err(_) => {}
            }
        }
    }

    fn is_wanted(&self, thread: &HeldThread, is_watched: bool) -> bool {
        match thread.need {
            Need::Waits => true,
            // The agent may have closed it meanwhile. A resume would load it again.
            Need::Subagent => self.is_loaded(&thread.id),
            // A handle resumes its thread at the next use. Until then the server must not unload it, and an observer receives its events.
            Need::Idle => {
                let is_loaded = self.is_loaded(&thread.id);
                let is_kept = is_loaded && self.shared.threads.has_handle(&thread.id);
                (is_kept || is_watched) && self.may_resume(&thread.id, is_loaded)
            }
        }
    }

    /// Whether the client may send the `thread/resume` of a thread. A resume can load the thread, with the settings of the user's
    /// configuration. Then something has to restore its settings before a turn can run in it: a handle of the program does, at the next
    /// use. But the agent of another thread can give work to a sub-agent at any time. And the client does not subscribe again to a
    /// thread that the program has unsubscribed from.
    fn may_resume(&self, thread_id: &str, is_loaded: bool) -> bool {
        let has_handle = self.shared.threads.has_handle(thread_id);
        let router = self.shared.router();
        !router.is_unsubscribed(thread_id) && (is_loaded || (has_handle && !router.is_subagent(thread_id)))
    }

    fn is_loaded(&self, thread_id: &str) -> bool {
        self.loaded.iter().any(|loaded| **loaded == *thread_id)
    }

    /// The threads of sub-agents that the client has learned of from restored items: they began while the connection was lost.
    async fn new_subagents(&self, known: &mut HashSet<Arc<str>>) -> Result<Vec<HeldThread>> {
        let mut new = self.shared.router().held_threads();
        new.retain(|thread| thread.need == Need::Subagent && !known.contains(&thread.id));
        if !new.is_empty() {
            let limit = self.shared.timeouts.of_method(LOADED_LIST).unwrap_or(HOLD_LIMIT);
            let loaded = loaded_threads(&self.shared, limit).await?.unwrap_or_default();
            known.extend(new.iter().map(|thread| thread.id.clone()));
            new.retain(|thread| loaded.iter().any(|loaded| **loaded == *thread.id));
        }
        Ok(new)
    }

    /// Cancels the server requests that belong to no thread, and that the server has not sent again in time.
    async fn end_requests_without_thread(self: Arc<Self>) -> Done {
        sleep(self.grace).await;
        self.shared.route(|router| router.end_unrepeated_requests(None, self.transport));
        Done::All
    }
}

const LOADED_LIST: &str = methods::ThreadLoadedList::METHOD;

/// The threads that the server has loaded. `None`: the server does not have the request.
async fn loaded_threads(shared: &Arc<Shared>, limit: Duration) -> Result<Option<Vec<String>>> {
    let (mut loaded, mut cursor) = (Vec::new(), None);
    for _ in 0..MAX_PAGES {
        let params = to_raw_value(&json!({ "cursor": cursor })).unwrap_or_default();
        let page = match call(shared, LOADED_LIST, &params, None, Some(limit), Intent::Plain).await {
            Err(error) if error.kind() == ErrorKind::MethodNotFound => return Ok(None),
            page => page?,
        };
        let ids = member(&page, "data").and_then(|ids| serde_json::from_str::<Vec<String>>(ids).ok());
        loaded.extend(ids.unwrap_or_default());
        match text_member(&page, "nextCursor") {
            Some(next) => cursor = Some(next.into_owned()),
            None => break,
        }
    }
    Ok(Some(loaded))
}

/// The resume of one thread.
struct Resume {
    resumes: Arc<Resumes>,
    thread: HeldThread,
    /// Whether the server had loaded the thread before. A new process has not.
    is_loaded: bool,
    /// Whether a resume has succeeded.
    is_subscribed: bool,
    begin: Instant,
    /// When the server has first said that another process has the thread loaded.
    in_use_since: Option<Instant>,
    /// Its place among the threads that are resumed at once. It has none during a pause, and while the server does not respond.
    slot: Option<OwnedSemaphorePermit>,
    /// Keeps the connection from going live.
    hold: Option<mpsc::Sender<()>>,
}

/// A request about a thread.
#[derive(Clone, Copy)]
enum Query {
    /// `thread/resume`: from its response on, the server sends the events of the thread.
    Subscribe,
    /// `thread/resume`: the response describes the latest turns, and restores them.
    Describe(Trust),
    /// `thread/read`: the response has all turns. With a trust, it restores them.
    Read(Option<Trust>),
}

impl Resume {
    fn of(
        resumes: &Arc<Resumes>,
        thread: HeldThread,
        is_loaded: bool,
        hold: Option<mpsc::Sender<()>>,
    ) -> Self {
        Self {
            resumes: resumes.clone(),
            thread,
            is_loaded,
            is_subscribed: false,
            begin: Instant::now(),
            in_use_since: None,
            slot: None,
            hold,
        }
    }

    /// Restores the thread, or gives it up.
    async fn run(mut self) -> Done {
        self.take_slot().await;
        if let Err(error) = self.restore().await {
            let Resumes { shared, transport, .. } = &*self.resumes;
            shared.route(|router| router.give_up_thread(&self.thread.id, *transport, &error));
        }
        (self.slot, self.hold) = (None, None);
        Done::Restored(self)
    }

    async fn restore(&mut self) -> Result<()> {
        let (resumes, id) = (self.resumes.clone(), self.thread.id.clone());
        let shared = &resumes.shared;
        if self.thread.need == Need::Idle {
            return self.subscribe_to_idle().await;
        }
        // An item that completes between the server's description of the turn and the subscription is in neither. So the first resume
        // subscribes, and the second one describes. What comes twice is dropped.
        let held = shared.router().held_turns(&id);
        self.request(Query::Subscribe).await?;
        self.is_subscribed = true;
        let believing = self.trust();
        let same_server = believing == Trust::SameServer;
        if !same_server {
            shared.route(|router| router.note_other_server(Some(&id)));
        }
        let (mut trust, mut checks) = (Trust::ExceptInterrupted, 1);
        loop {
            let response = self.request(Query::Describe(trust)).await?;
            let says_so = || Snapshot::all(&response).iter().any(Snapshot::is_interrupted);
            // A server that runs a turn may not show it yet.
            let hides_turn = same_server && !shared.router().held_turns(&id).is_empty();
            let is_doubtful = trust == Trust::ExceptInterrupted
                && (hides_turn || (says_so() && shared.router().waits_for_thread(&id)));
            if !is_doubtful {
                break;
            }
            self.pause(FIRST_PAUSE).await;
            checks += 1;
            if checks == INTERRUPTED_CHECKS {
                trust = believing;
            }
        }
        let mut checks = 1;
        while !shared.router().held_turns(&id).is_empty() {
            self.request(Query::Read(Some(believing))).await?;
            // A turn whose events arrive lives. The server has not written it down yet.
            if checks == HIDDEN_CHECKS || !shared.router().has_waiting_events(&id) {
                shared.route(|router| router.end_unknown_turns(&id, resumes.transport, believing));
                break;
            }
            checks += 1;
            self.pause(LONGEST_PAUSE).await;
        }
        if !same_server && !self.may_resume() {
            shared.route(|router| router.lose_turns(&held, resumes.transport));
        }
        Ok(())
    }

    /// Subscribes to a thread in which nothing is known to run. Without a subscription the server unloads it after a while. That ends its
    /// background commands, and a thread that has not run a turn is gone then.
    async fn subscribe_to_idle(&mut self) -> Result<()> {
        let mut pause = FIRST_PAUSE;
        loop {
            let attempt = timeout(HOLD_LIMIT, self.try_to_subscribe());
            let error = match attempt.await {
                Ok(Err(error)) => error,
                Ok(Ok(())) => return Ok(()),
                Err(_) => Error::new(ErrorKind::Timeout, "the server does not respond"),
            };
            if !self.is_current() || !self.may_pass(&error) {
                return Err(error);
            }
            self.pause(pause).await;
            pause = (2 * pause).min((self.begin.elapsed() / 10).clamp(LONGEST_PAUSE, LONGEST_LATE_PAUSE));
        }
    }

    /// Subscribes to an idle thread, unless a call of the program is about to do that, or the server would begin to work.
    async fn try_to_subscribe(&self) -> Result<()> {
        let threads = &self.resumes.shared.threads;
        // Calls of the program wait for the attempt: a server that is just storing the thread refuses theirs.
        let order = threads.keep_settings(&self.thread.id);
        let is_used = order.is_none() && threads.has_handle(&self.thread.id);
        if is_used || !self.may_resume() || self.would_continue_goal().await? {
            return Ok(());
        }
        match self.send(Query::Subscribe, ResumeForm::Bare).await {
            // The server cannot resume a thread that it has not stored.
            Err(error) if self.is_loaded && error.kind() == ErrorKind::ThreadNotFound => {
                self.store().await?;
                self.send(Query::Subscribe, ResumeForm::Bare).await.map(drop)
            }
            response => response.map(drop),
        }
    }

    /// Makes the server store the thread, which has not run a turn.
    async fn store(&self) -> Result<String> {
        let (method, params) = storing_request(&self.thread.id);
        self.call(method, &to_raw_value(&params).unwrap_or_default(), Intent::Plain).await
    }

    /// Whether a resume would make the server go on with the thread's goal. Its last turn can have been interrupted on purpose.
    async fn would_continue_goal(&self) -> Result<bool> {
        use ErrorKind::{InvalidRequest, MethodNotFound, ThreadNotFound};
        let params = |value| to_raw_value(&value).unwrap_or_default();
        let get = params(json!({"threadId": &*self.thread.id}));
        let goal = match self.call("thread/goal/get", &get, Intent::Plain).await {
            // The server has no goals, or none of this thread.
            Err(error) if matches!(error.kind(), InvalidRequest | MethodNotFound | ThreadNotFound) => {
                return Ok(false);
            }
            response => response?,
        };
        let is_active = member(&goal, "goal")
            .and_then(|goal| text_member(goal, "status"))
            .is_some_and(|status| status == "active");
        if !is_active {
            return Ok(false);
        }
        let read = params(json!({"threadId": &*self.thread.id, "includeTurns": false}));
        let read = self.call(methods::ThreadRead::METHOD, &read, Intent::Plain).await?;
        let status = member(&read, "thread").and_then(|thread| member(thread, "status"));
        Ok(status.and_then(|status| text_member(status, "type")).is_none_or(|status| status != "active"))
    }

    fn may_resume(&self) -> bool {
        self.resumes.may_resume(&self.thread.id, self.is_loaded)
    }

    /// Makes a request. Repeats it as long as the failure says nothing about the thread: the server lives, and so may the turn. The
    /// repetitions end with the transport.
    async fn request(&mut self, query: Query) -> Result<String> {
        let mut form = match query {
            Query::Subscribe => ResumeForm::Bare,
            Query::Describe(_) | Query::Read(_) => ResumeForm::Latest,
        };
        let limit = if self.is_loaded { ATTEMPTS_IF_LOADED } else { ATTEMPTS };
        let (mut attempts, mut pause) = (1, FIRST_PAUSE);
        loop {
            let query = match query {
                Query::Subscribe if !self.may_resume() => return Ok(String::new()),
                Query::Describe(trust) if !self.may_resume() => Query::Read(Some(trust)),
                query => query,
            };
            let error = match self.send_in_slot(query, form).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            match error.kind() {
                _ if !self.is_current() => return Err(error),
                // Runtimes 0.163.0 and 0.171.0 cannot page through the turns of a young thread.
                ErrorKind::MethodNotFound if form != ResumeForm::Whole => form = ResumeForm::Whole,
                // The server stores a new thread some time after the first turn has begun.
                ErrorKind::ThreadNotFound | ErrorKind::MethodNotFound
                    if attempts < limit && self.is_awaited() =>
                {
                    attempts += 1;
                    if attempts > ATTEMPTS {
                        self.hold = None;
                    }
                    if self.is_loaded && attempts == ATTEMPTS {
                        self.slot = None;
                        // The start may not have reached the server. An error shows at the next attempt.
                        drop(self.store().await);
                    }
                    self.pause(FIRST_PAUSE).await;
                }
                _ if self.may_pass(&error) => {
                    self.pause(pause).await;
                    let longest = match error.kind() {
                        ErrorKind::ThreadInUse => LONGEST_PAUSE,
                        _ => (self.begin.elapsed() / 10).clamp(LONGEST_PAUSE, LONGEST_LATE_PAUSE),
                    };
                    pause = (2 * pause).min(longest);
                }
                _ => return Err(error),
            }
        }
    }

    /// Whether a later attempt may succeed: unless the server has said that it does not have the thread for this connection.
    fn may_pass(&mut self, error: &Error) -> bool {
        match error.kind() {
            ErrorKind::ThreadInUse => {
                // Nothing else needs to wait for the other process.
                self.hold = None;
                self.in_use_since.get_or_insert_with(Instant::now).elapsed() < WRITER_LIMIT
            }
            ErrorKind::ThreadNotFound | ErrorKind::MethodNotFound | ErrorKind::ThreadArchived => false,
            ErrorKind::InvalidRequest if error.to_string().contains("ephemeral") => false,
            _ => self.begin.elapsed() < self.resumes.patience,
        }
    }

    /// Makes a request. If the server takes long to respond, another thread can be resumed meanwhile.
    async fn send_in_slot(&mut self, query: Query, form: ResumeForm) -> Result<String> {
        let slot = self.slot.take();
        let (response, slot) = {
            let mut sending = pin!(self.send(query, form));
            match timeout(HOLD_LIMIT, &mut sending).await {
                Ok(response) => (response, slot),
                Err(_) => {
                    drop(slot);
                    (sending.await, None)
                }
            }
        };
        self.slot = slot;
        if self.slot.is_none() {
            self.take_slot().await;
        }
        response
    }

    async fn send(&self, query: Query, form: ResumeForm) -> Result<String> {
        const RESUME: &str = methods::ThreadResume::METHOD;
        const READ: &str = methods::ThreadRead::METHOD;
        let Resumes { shared, initialized, .. } = &*self.resumes;
        let id = &self.thread.id;
        // A runtime loads a loaded thread again for the options, without its settings. So only the first resume has them, and no call
        // of the program compares the settings meanwhile.
        let loads = !self.is_loaded && !self.is_subscribed && !matches!(query, Query::Read(_));
        let order = if loads { shared.threads.keep_settings(id) } else { None };
        let loads_over = order.as_ref().map(|_| self.resumes.transport);
        let resume = || shared.threads.resume_params(id, form, initialized, loads_over);
        let read = || json!({"threadId": &**id, "includeTurns": true});
        let (method, params, intent) = match query {
            Query::Subscribe => (RESUME, resume(), Intent::Plain),
            Query::Describe(trust) => (RESUME, resume(), Intent::Restore { thread_id: id.clone(), trust }),
            Query::Read(trust) => {
                let restores = |trust| Intent::Restore { thread_id: id.clone(), trust };
                (READ, to_raw_value(&read()).unwrap_or_default(), trust.map_or(Intent::Plain, restores))
            }
        };
        let response = self.call(method, &params, intent).await?;
        if loads {
            shared.threads.loaded(id, order.is_some());
        }
        Ok(response)
    }

    /// Makes a request about the thread, once.
    async fn call(&self, method: &str, params: &RawValue, intent: Intent<IoHost>) -> Result<String> {
        let shared = &self.resumes.shared;
        call(shared, method, params, Some(&self.thread.id), shared.timeouts.of_method(method), intent).await
    }

    /// What the server's descriptions are worth when a turn cannot be just ending any more.
    fn trust(&self) -> Trust {
        if self.is_loaded { Trust::SameServer } else { Trust::OtherServer }
    }

    /// Waits. Meanwhile another thread can be resumed.
    async fn pause(&mut self, pause: Duration) {
        self.slot = None;
        sleep(pause).await;
        self.take_slot().await;
    }

    async fn take_slot(&mut self) {
        let slots = match self.thread.need {
            Need::Idle => &self.resumes.idle_slots,
            Need::Waits | Need::Subagent => &self.resumes.slots,
        };
        // The semaphores are never closed.
        self.slot = slots.clone().acquire_owned().await.ok();
    }

    /// Whether a turn of the thread is not restored yet, or a start on it is uncertain.
    fn is_awaited(&self) -> bool {
        self.resumes.shared.router().waits_for_thread(&self.thread.id)
    }

    /// Whether no other transport has been lost since.
    fn is_current(&self) -> bool {
        let shared = &self.resumes.shared;
        shared.transport.load(Ordering::Acquire) == self.resumes.transport
            && shared.router().failure().is_none()
    }

    /// Ends what the server has not shown of the thread in time: starts whose responses were lost, and requests of the server.
    async fn end_unseen(self) -> Done {
        let Resumes { shared, transport, grace, .. } = &*self.resumes;
        let id = &*self.thread.id;
        sleep(*grace).await;
        let looks = shared.router().has_uncertain_starts(id);
        // The response to the resume has the latest turns only.
        if looks && let Ok(history) = self.send(Query::Read(None), ResumeForm::Whole).await {
            shared.route(|router| router.find_starts(id, *transport, &history, self.trust()));
        }
        let why = format!("the server has not shown its message within {grace:?} after the reconnect");
        shared.route(|router| {
            router.end_starts(id, *transport, &why);
            router.end_unrepeated_requests(Some(id), *transport);
        });
        Done::All
    }
}

/// A request that makes a server store a thread that has not run a turn. It changes nothing: the thread is in no section, because the
/// server would have stored it before it put it into one. Runtimes before 0.154.0 have no sections.
pub(crate) fn storing_request(thread_id: &str) -> (&'static str, Value) {
    ("thread/section/move", json!({"threadId": thread_id, "sectionId": null}))
}

/// Makes a request that the writer writes before the connection is restored.
pub(crate) async fn call(
    shared: &Arc<Shared>,
    method: &str,
    params: &RawValue,
    thread_id: Option<&str>,
    timeout: Option<Duration>,
    intent: Intent<IoHost>,
) -> Result<String> {
    let call = ClientCall::new(method, Some(params));
    shared.send_request(ClientCall { thread_id, timeout, intent, restores: true, ..call })?.await
}

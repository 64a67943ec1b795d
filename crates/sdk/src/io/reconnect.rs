//! Replaces a lost transport, and restores what the client holds on the server.
//!
//! `connection/lifecycle.rs` decides when. The driver carries it out here. The router stays, and with it the handles, the streams and
//! the calls that wait.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openai_codex_protocol::{ClientRequest, client_notifications, methods};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::background::until;
use crate::codec::frame;
use crate::connection::lifecycle::{Lifecycle, Step};
use crate::connection::loss::{HeldThread, Repeated};
use crate::connection::router::Intent;
use crate::connection::snapshot::{Snapshot, Trust};
use crate::error::{Error, ErrorKind, Result};
use crate::io::connector::Reconnect;
use crate::io::diagnosis::CloseReason;
use crate::io::link::{Link, LinkContext};
use crate::io::observers::Observed;
use crate::io::request::{ClientCall, ClientNotification};
use crate::io::shared::{OutgoingRequest, ResumeForm, Shared};
use crate::io::tokens::IoHost;
use crate::json_scan::{member, text_member};
use crate::options::attempts::Attempt;

/// How many threads are resumed at once.
const RESUMES_AT_ONCE: usize = 8;
/// How often a resume is tried, and the pause between two attempts.
const RESUME_ATTEMPTS: u32 = 20;
const RESUME_PAUSE: Duration = Duration::from_millis(100);
/// How often the server is asked about a turn that it calls interrupted, and after which pause.
const INTERRUPTED_CHECKS: u32 = 10;
const INTERRUPTED_PAUSE: Duration = Duration::from_millis(100);
/// How many pages of loaded threads are read.
const MAX_PAGES: usize = 100;

/// Replaces a lost transport. Returns the new one, with which everything is restored that something waits for. The error ends the
/// connection; without one, the client closes it.
pub(crate) async fn replace(
    context: &LinkContext,
    reconnect: &Reconnect,
    lifecycle: &mut Lifecycle,
) -> Result<Link, Option<Error>> {
    let shared = &context.shared;
    let mut closing = context.closing.clone();
    loop {
        let now = Instant::now();
        let Attempt { number, pause, reason } = match lifecycle.proceed(now.into_std(), fastrand::f64) {
            Step::Attempt(attempt) => attempt,
            Step::End(error) => return Err(Some(error)),
            Step::Nothing => return Err(None),
        };
        shared.hub.announce(&Observed::Reconnecting { attempt: number, pause, reason });
        let due = now.checked_add(pause);
        let waiting = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = waiting => {}
            () = closed(&mut closing) => break,
        }
        lifecycle.handle_time(due.map_or(now, |due| due.max(Instant::now())).into_std());
        let opening = timeout(reconnect.attempt_timeout, reconnect.connector.open());
        let opened = tokio::select! {
            opened = opening => opened.unwrap_or_else(|_| Err(too_slow(shared, reconnect.attempt_timeout))),
            () = closed(&mut closing) => break,
        };
        let (transport, process) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                let refused = matches!(error.kind(), ErrorKind::AccessDenied | ErrorKind::InvalidConfig);
                lifecycle.handle_loss(&error, refused, Instant::now().into_std());
                continue;
            }
        };
        let mut link = Link::start(context, transport, process, false);
        let (reason, error) = tokio::select! {
            restored = restore(shared, reconnect, lifecycle) => match restored {
                Ok(rest) => {
                    link.open();
                    shared.is_live.store(true, Ordering::Release);
                    let attempt = lifecycle.handle_restored().unwrap_or(number);
                    shared.hub.announce(&Observed::Reconnected { attempt });
                    shared.begin(Box::pin(rest.finish(shared.clone(), reconnect.policy.grace())));
                    return Ok(link);
                }
                Err(error) => (None, Some(error)),
            },
            ended = link.ended(&mut closing) => (ended, None),
        };
        link.stop_writing().await;
        link.stop_reading().await;
        let error = match (&reason, error) {
            (_, Some(error)) => error,
            (Some(reason), None) => link.explain(shared, reason).await,
            (None, None) => {
                context.end_process(link.process);
                break;
            }
        };
        context.end_process(link.process);
        let refused = matches!(reason, Some(CloseReason::NotCodex(_)));
        lifecycle.handle_loss(&error, refused, Instant::now().into_std());
        lose(context, &error).await;
    }
    lifecycle.close();
    Err(None)
}

async fn closed(closing: &mut watch::Receiver<bool>) {
    until(closing, |closing| *closing).await;
}

fn too_slow(shared: &Shared, limit: Duration) -> Error {
    let name = shared.shared_server.as_deref().unwrap_or("the server");
    let message = format!("the client could not connect to {name} within {limit:?}");
    Error::new(ErrorKind::ConnectFailed, message)
}

/// Handles the loss of a transport whose reader and writer have ended.
pub(crate) async fn lose(context: &LinkContext, error: &Error) {
    let shared = &context.shared;
    shared.is_live.store(false, Ordering::Release);
    shared.greeted.store(false, Ordering::Release);
    shared.threads.connection_lost();
    let repeated = shared.route(|router| {
        let repeated = router.handle_loss(error);
        shared.transport.store(router.transport(), Ordering::Release);
        repeated
    });
    let mut queue = context.queue.lock().await;
    for Repeated { id, slot, frame } in repeated.into_iter().rev() {
        queue.held.push_front((OutgoingRequest { id, slot, restores: false }, frame));
    }
}

/// Does the handshake, and restores what something waits for. Returns what can be restored later.
async fn restore(shared: &Arc<Shared>, reconnect: &Reconnect, lifecycle: &mut Lifecycle) -> Result<Rest> {
    let limit = Some(reconnect.attempt_timeout);
    let initialized =
        call(shared, methods::Initialize::METHOD, &reconnect.initialize, None, limit, Intent::Plain).await?;
    let method = <client_notifications::Initialized as openai_codex_protocol::ClientNotification>::METHOD;
    shared.send(None, frame(&ClientNotification { method, params: None }));
    lifecycle.handle_greeting();
    let held = shared.router().held_threads();
    let (urgent, others): (Vec<_>, Vec<_>) = held.into_iter().partition(|thread| thread.is_urgent);
    let loaded =
        if urgent.is_empty() && others.is_empty() { Vec::new() } else { loaded_threads(shared).await? };
    let resumes = Resumes {
        shared: shared.clone(),
        initialized: initialized.into(),
        loaded: loaded.into(),
        transport: shared.transport.load(Ordering::Acquire),
    };
    resumes.run(urgent).await;
    // A handle resumes its thread at the next use. Only an observer receives the events of a thread that is not used.
    let threads = if shared.hub.is_watched() { others } else { Vec::new() };
    Ok(Rest { resumes, threads })
}

/// The threads that the server has loaded. A new process has none.
async fn loaded_threads(shared: &Arc<Shared>) -> Result<Vec<String>> {
    const METHOD: &str = "thread/loaded/list";
    let (mut loaded, mut cursor) = (Vec::new(), None);
    for _ in 0..MAX_PAGES {
        let params = to_raw_value(&json!({ "cursor": cursor })).unwrap_or_default();
        let limit = shared.timeouts.of_method(METHOD);
        let page = match call(shared, METHOD, &params, None, limit, Intent::Plain).await {
            Err(error) if error.kind() == ErrorKind::MethodNotFound => break,
            page => page?,
        };
        let ids = member(&page, "data").and_then(|ids| serde_json::from_str::<Vec<String>>(ids).ok());
        loaded.extend(ids.unwrap_or_default());
        match text_member(&page, "nextCursor") {
            Some(next) => cursor = Some(next.into_owned()),
            None => break,
        }
    }
    Ok(loaded)
}

/// What can be restored when the connection is live again.
struct Rest {
    resumes: Resumes,
    threads: Vec<HeldThread>,
}

impl Rest {
    /// Resumes the other threads, and gives up what the server has not shown in time.
    async fn finish(self, shared: Arc<Shared>, grace: Duration) {
        let Self { resumes, threads } = self;
        let transport = resumes.transport;
        let later = async {
            sleep(grace).await;
            let why = format!("the server has not shown its message within {grace:?} after the reconnect");
            shared.route(|router| {
                router.end_starts(None, transport, &why);
                router.end_unrepeated_requests(transport);
            });
        };
        tokio::join!(resumes.run(threads), later);
    }
}

/// Resumes threads after a reconnect.
#[derive(Clone)]
struct Resumes {
    shared: Arc<Shared>,
    /// The response to `initialize`.
    initialized: Arc<str>,
    /// The threads that the server had loaded before the resumes.
    loaded: Arc<[String]>,
    transport: u32,
}

impl Resumes {
    /// Resumes these threads, some at once.
    async fn run(&self, threads: Vec<HeldThread>) {
        let mut running = JoinSet::new();
        for thread in threads {
            if running.len() == RESUMES_AT_ONCE {
                running.join_next().await;
            }
            let resumes = self.clone();
            running.spawn(async move { resumes.resume(&thread).await });
        }
        while running.join_next().await.is_some() {}
    }

    async fn resume(&self, HeldThread { id, is_urgent }: &HeldThread) {
        const READ: &str = methods::ThreadRead::METHOD;
        let shared = &self.shared;
        let same_server = self.loaded.iter().any(|loaded| **loaded == **id);
        // An item that completes between the server's description of the turn and the subscription is in neither. So the first resume
        // subscribes, and the second one describes. What comes twice is dropped.
        let mut outcome = self.request(id, ResumeForm::Bare, || Intent::Plain).await;
        if *is_urgent && outcome.is_ok() {
            let believing = if same_server { Trust::SameServer } else { Trust::OtherServer };
            let mut trust = Trust::ExceptInterrupted;
            if !same_server {
                shared.route(|router| router.note_other_server(id));
            }
            let mut checks = 1;
            loop {
                let restores = || Intent::Restore { thread_id: id.clone(), trust };
                outcome = self.request(id, ResumeForm::Latest, restores).await;
                let says_so = |response: &str| Snapshot::all(response).iter().any(Snapshot::is_interrupted);
                // A server that runs a turn may not show it yet.
                let hides_turn = same_server && !shared.router().held_turns(id).is_empty();
                let is_doubtful = trust == Trust::ExceptInterrupted
                    && outcome.is_ok()
                    && (hides_turn
                        || (outcome.as_deref().is_ok_and(says_so) && shared.router().waits_for_thread(id)));
                if !is_doubtful || !self.is_current() {
                    break;
                }
                sleep(INTERRUPTED_PAUSE).await;
                checks += 1;
                if checks == INTERRUPTED_CHECKS {
                    trust = believing;
                }
            }
            if outcome.is_ok() && !shared.router().held_turns(id).is_empty() {
                let params =
                    to_raw_value(&json!({"threadId": &**id, "includeTurns": true})).unwrap_or_default();
                let limit = shared.timeouts.of_method(READ);
                outcome = call(shared, READ, &params, Some(id), limit, Intent::Plain).await;
                if let Ok(history) = &outcome
                    && self.is_current()
                {
                    shared.route(|router| router.restore_older_turns(id, history, believing));
                }
            }
        }
        if let Err(error) = outcome {
            shared.route(|router| router.give_up_thread(id, self.transport, &error));
        }
    }

    /// Resumes a thread. Tries again while the server is overloaded, or does not know the thread: it stores a new one some time after the
    /// first turn has begun.
    async fn request(
        &self,
        thread_id: &Arc<str>,
        mut form: ResumeForm,
        intent: impl Fn() -> Intent<IoHost>,
    ) -> Result<String> {
        for _ in 1..RESUME_ATTEMPTS {
            let outcome = self.send(thread_id, form, intent()).await;
            match &outcome {
                Err(error) if error.kind() == ErrorKind::MethodNotFound && form != ResumeForm::Whole => {
                    // Runtimes 0.163.0 and 0.171.0 cannot page through the turns of a young thread.
                    form = ResumeForm::Whole;
                }
                Err(error)
                    if error.is_retryable()
                        || matches!(error.kind(), ErrorKind::ThreadNotFound | ErrorKind::MethodNotFound) =>
                {
                    sleep(RESUME_PAUSE).await;
                }
                _ => return outcome,
            }
            if !self.is_current() {
                return outcome;
            }
        }
        self.send(thread_id, form, intent()).await
    }

    /// Whether no other transport has been lost since.
    fn is_current(&self) -> bool {
        self.shared.transport.load(Ordering::Acquire) == self.transport
    }

    async fn send(&self, thread_id: &Arc<str>, form: ResumeForm, intent: Intent<IoHost>) -> Result<String> {
        const METHOD: &str = methods::ThreadResume::METHOD;
        let loads = self.loaded.iter().all(|loaded| **loaded != **thread_id);
        let params = self.shared.threads.resume_params(thread_id, form, &self.initialized, loads);
        let limit = self.shared.timeouts.of_method(METHOD);
        call(&self.shared, METHOD, &params, Some(thread_id), limit, intent).await
    }
}

/// Makes a request that the writer writes before everything is restored.
async fn call(
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

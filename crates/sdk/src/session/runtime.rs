//! One runtime after its start and handshake. `startup.rs` makes it.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use openai_codex_protocol::types::{
    InitializeResponse, Thread, ThreadReadParams, ThreadResumeParams, ThreadResumeResponse,
};
use openai_codex_protocol::{ClientRequest, methods};
use serde_json::value::RawValue;
use tokio::sync::{Semaphore, watch};

use crate::background::Boxed;
use crate::codec::{decode, encode};
use crate::config::CodexConfig;
use crate::connection::effect::LoginEnd;
use crate::connection::envelope;
use crate::connection::intent::{Intent, Joins};
use crate::dispatch::registry::HandlerSet;
use crate::error::{Error, ErrorKind, Result};
use crate::io::request::{ClientCall, Pending};
use crate::io::shared::{ClientThreads, Connection};
use crate::io::tokens::ResponseObserver;
use crate::io::turn_subscription::TurnSubscription;
use crate::options::method_class::ClassTimeouts;
use crate::session::moved_files::{self, FileSearch};
use crate::session::schema_probe::SchemaProbe;
use crate::session::version;

/// The maximum number of `turn/start` requests without a response. Of 200 at once, runtime 0.163.0 refuses some and never
/// responds to others.
const MAX_UNANSWERED_STARTS: usize = 16;

/// How long a start, or a change of the bounds, waits for the end of a turn that is being interrupted. Also how long a start
/// with settings waits for the response to another one on its thread.
pub(crate) const INTERRUPT_LIMIT: Duration = Duration::from_secs(10);

/// How long the client repeats a request that the server refuses because it is unloading the thread.
const UNLOAD_LIMIT: Duration = Duration::from_secs(15);
const FIRST_UNLOAD_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_UNLOAD_PAUSE: Duration = Duration::from_millis(250);

/// The number of the next session.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);

/// A connection after its handshake. It owns the ids, the routing and the metadata, so a client can replace it as a whole.
pub(crate) struct Session {
    pub(crate) connection: Connection,
    pub(crate) metadata: Arc<InitializeResponse>,
    timeouts: ClassTimeouts,
    probe: SchemaProbe,
    threads: Arc<dyn ClientThreads>,
    /// The id of the runtime's process, if this crate started it.
    pid: Option<u32>,
    /// One permit for each `turn/start` that may be without a response.
    turn_start_slots: Semaphore,
    /// Its number in this process. A thread notes the session that loaded it.
    pub(crate) number: u64,
    /// Whether other clients use the server too.
    pub(crate) shares_server: bool,
}

/// Short, because the `Debug` of handles includes it, and free of user data.
impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("user_agent", &self.metadata.user_agent).finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn new(
        connection: Connection,
        metadata: Arc<InitializeResponse>,
        config: &CodexConfig,
        probe: SchemaProbe,
        threads: Arc<dyn ClientThreads>,
        pid: Option<u32>,
    ) -> Self {
        let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
        Self {
            connection,
            metadata,
            timeouts: config.request_timeouts,
            probe,
            threads,
            pid,
            turn_start_slots: Semaphore::new(MAX_UNANSWERED_STARTS),
            number,
            #[cfg(feature = "endpoints")]
            shares_server: config.endpoint.is_some(),
            #[cfg(not(feature = "endpoints"))]
            shares_server: false,
        }
    }

    /// The id of the runtime's process while it may be alive. After that, the system may reuse the id.
    pub(crate) fn runtime_pid(&self) -> Option<u32> {
        self.pid.filter(|_| self.connection.failure().is_none())
    }

    /// Refuses a request or a parameter that the runtime does not have. Every request of the program passes this check before
    /// it is sent.
    pub(crate) fn check_runtime<'a>(
        &'a self,
        method: &'a str,
        params: Option<&'a RawValue>,
        thread_id: Option<&'a str>,
    ) -> Boxed<'a, Result<()>> {
        Box::pin(async move {
            let params = params.map(RawValue::get);
            let checked = version::check(method, params, &self.metadata, &self.probe).await;
            checked.map_err(|error| error.with_method(method).with_thread(thread_id))
        })
    }

    /// Whether the runtime accepts this parameter.
    pub(crate) async fn supports(&self, method: &str, field: &str) -> bool {
        version::supports(method, field, &self.metadata, &self.probe).await
    }

    /// Makes a request and decodes its response. `thread_id` is for errors.
    pub(crate) fn call<'a, R: ClientRequest + 'a>(
        &'a self,
        params: &R::Params,
        thread_id: Option<&'a str>,
    ) -> Boxed<'a, Result<R::Response>> {
        let params = encode(R::METHOD, params);
        Box::pin(async move {
            let response = self.call_text(R::METHOD, params?, thread_id).await?;
            self.decode::<R>(&response, thread_id)
        })
    }

    /// Makes a request and returns its result as JSON text. `thread_id` is for errors.
    pub(crate) fn call_text<'a>(
        &'a self,
        method: &'static str,
        params: Option<Box<RawValue>>,
        thread_id: Option<&'a str>,
    ) -> Boxed<'a, Result<String>> {
        Box::pin(async move {
            let response = self.send(method, params, thread_id, None, None).await;
            Ok(response.map_err(|error| self.connection.redact(error))?.0)
        })
    }

    /// Makes a request to load a thread. `transport`: the number of the transport over which the caller has looked whether the server
    /// has the thread loaded. If that transport is lost, the request fails, and the caller looks again: see
    /// [`has_replaced_transport`](Self::has_replaced_transport).
    pub(crate) fn resume<'a>(
        &'a self,
        params: &'a ThreadResumeParams,
        transport: u32,
    ) -> Boxed<'a, Result<ThreadResumeResponse>> {
        Box::pin(async move {
            const METHOD: &str = methods::ThreadResume::METHOD;
            let (thread_id, encoded) = (Some(&*params.thread_id), encode(METHOD, params)?);
            let response = self.send(METHOD, encoded, thread_id, None, Some(transport)).await;
            let (response, _) = response.map_err(|error| self.connection.redact(error))?;
            self.decode::<methods::ThreadResume>(&response, thread_id)
        })
    }

    /// Whether a request failed because its transport was lost, and the connection has another one: the request was not sent, or was to
    /// load a thread. The caller can prepare it again.
    pub(crate) fn has_replaced_transport(&self, error: &Error) -> bool {
        error.kind() == ErrorKind::TransportClosed && self.connection.failure().is_none()
    }

    /// Decodes a response. `thread_id` is for errors.
    pub(crate) fn decode<R: ClientRequest>(
        &self,
        response: &str,
        thread_id: Option<&str>,
    ) -> Result<R::Response> {
        decode::<R>(response, thread_id).map_err(|error| self.connection.redact(error))
    }

    /// Makes a request that opens a thread. The thread has the handlers from the response on. Also returns the number of the transport
    /// over which the response came.
    pub(crate) async fn open<R: ClientRequest>(
        &self,
        params: &R::Params,
        thread_id: Option<&str>,
        handlers: HandlerSet,
    ) -> Result<(R::Response, u32)> {
        let response =
            self.send(R::METHOD, encode(R::METHOD, params)?, thread_id, Some(handlers), None).await;
        let (response, transport) = response.map_err(|error| self.connection.redact(error))?;
        Ok((self.decode::<R>(&response, thread_id)?, transport))
    }

    /// Makes a request that says where a thread is, or whether it has a turn, and decodes its response. Does not repeat the request while
    /// the server moves the thread's file.
    pub(super) fn call_once<'a, R: ClientRequest + 'a>(
        &'a self,
        params: &R::Params,
        thread_id: Option<&'a str>,
    ) -> Boxed<'a, Result<R::Response>> {
        let params = encode(R::METHOD, params);
        Box::pin(async move {
            let sent = self.send_once(R::METHOD, params?.as_deref(), thread_id, None, None).await;
            let (response, _) = sent.map_err(|error| self.connection.redact(error))?;
            self.decode::<R>(&response, thread_id)
        })
    }

    /// Reads a thread without its turns. `None`: the server does not know it.
    async fn read_once(&self, thread_id: Option<&str>) -> Option<Thread> {
        let params = ThreadReadParams::new(thread_id?).include_turns(false);
        let read = self.call_once::<methods::ThreadRead>(&params, thread_id).await;
        read.ok().map(|read| read.thread)
    }

    /// Makes a request and returns its result as JSON text. With `handlers`, the request opens a thread. With `transport`, it loads a
    /// thread, as [`resume`](Self::resume) does. Not generic over the method, so that it is compiled once.
    fn send<'a>(
        &'a self,
        method: &'static str,
        params: Option<Box<RawValue>>,
        thread_id: Option<&'a str>,
        handlers: Option<HandlerSet>,
        transport: Option<u32>,
    ) -> Boxed<'a, Result<(String, u32)>> {
        Box::pin(async move {
            let mut search = FileSearch::default();
            loop {
                match self.send_once(method, params.as_deref(), thread_id, handlers.clone(), transport).await
                {
                    // The request had no effect.
                    Err(error) if search.repeat(&error, self.read_once(thread_id)).await => {
                        self.connection.sleep(moved_files::PAUSE).await;
                    }
                    sent => return sent,
                }
            }
        })
    }

    /// Does the same, but does not repeat the request while the server moves the thread's file.
    fn send_once<'a>(
        &'a self,
        method: &'static str,
        params: Option<&'a RawValue>,
        thread_id: Option<&'a str>,
        handlers: Option<HandlerSet>,
        transport: Option<u32>,
    ) -> Boxed<'a, Result<(String, u32)>> {
        Box::pin(async move {
            self.check_runtime(method, params, thread_id).await?;
            let timeout = self.timeout_of(method);
            let began = Instant::now();
            let mut pause = FIRST_UNLOAD_PAUSE;
            let response = loop {
                let call = ClientCall::new(method, params);
                let intent = transport.map_or(Intent::Plain, |transport| Intent::Load { transport });
                let call = ClientCall { thread_id, timeout, handlers: handlers.clone(), intent, ..call };
                match self.connection.send(call)?.with_transport().await {
                    // The request had no effect.
                    Err(error) if error.is_unloading() && began.elapsed() < UNLOAD_LIMIT => {
                        self.connection.sleep(pause).await;
                        pause = (2 * pause).min(LONGEST_UNLOAD_PAUSE);
                    }
                    response => break response?,
                }
            };
            self.note_unsubscribe(method, params);
            Ok(response)
        })
    }

    /// Makes a request by its method's name, and returns its result as JSON text.
    pub(crate) fn call_raw<'a>(
        &'a self,
        method: &'a str,
        params: Option<&'a RawValue>,
    ) -> Boxed<'a, Result<String>> {
        Box::pin(async move {
            self.check_runtime(method, params, None).await?;
            let timeout = self.timeout_of(method);
            let response =
                self.connection.send(ClientCall { timeout, ..ClientCall::new(method, params) })?.await?;
            self.note_unsubscribe(method, params);
            Ok(response)
        })
    }

    /// Makes the thread's handles subscribe again before their next use. A program can unsubscribe with a plain request, and
    /// the handles would then wait for the events of their turns.
    fn note_unsubscribe(&self, method: &str, params: Option<&RawValue>) {
        if method == methods::ThreadUnsubscribe::METHOD
            && let Some(thread_id) = params.and_then(|params| envelope::thread_of(params.get()))
        {
            self.threads.unloaded(&thread_id);
            self.connection.note_unsubscribed(&thread_id);
        }
    }

    /// Starts a turn and waits for the response. `subscription` receives the turn's events, and `observer` the response. The
    /// caller has checked the parameters. `joins`: whether the turn may join one that runs. Otherwise the error is
    /// [`ErrorKind::TurnNotSteerable`] if the client knows of one. `transport`: that over which the caller has compared the thread's
    /// settings. After its loss the request is not sent. At most [`MAX_UNANSWERED_STARTS`] such requests are without a response; others
    /// wait, as long as their timeouts allow.
    pub(crate) fn start_turn<'a>(
        &'a self,
        params: &'a RawValue,
        subscription: &'a Arc<TurnSubscription>,
        observer: Box<dyn ResponseObserver>,
        joins: Joins,
        transport: u32,
    ) -> Boxed<'a, Result<String>> {
        Box::pin(async move {
            const METHOD: &str = methods::TurnStart::METHOD;
            self.connection.check_process()?;
            let mut acquiring = pin!(self.turn_start_slots.acquire());
            let mut timer = subscription.limits().time_left().map(|left| self.connection.sleep(left));
            let _slot = poll_fn(|context| match (acquiring.as_mut().poll(context), &mut timer) {
            (Poll::Ready(slot), _) => Poll::Ready(Ok(slot)),
            (Poll::Pending, Some(timer)) => Pin::new(timer).poll(context).map(Err),
            (Poll::Pending, None) => Poll::Pending,
        })
        .await
        .map_err(|()| {
            let why = format!(
                "{MAX_UNANSWERED_STARTS} other turn starts have no response yet; start fewer turns at once, or set a longer \
                 timeout"
            );
            subscription.limits().over_before_start(&subscription.thread_id, &why)
        })?;
            let left = subscription.limits().time_left();
            if left.is_some_and(|left| left.is_zero()) {
                let why =
                    "it waited for other calls and for earlier turns of the thread; set a longer timeout";
                return Err(subscription.limits().over_before_start(&subscription.thread_id, why));
            }
            let timeout = self.timeout_of(METHOD);
            let takes_running = if self.joins_turns() { joins } else { Joins::None };
            let intent =
                Intent::StartTurn { subscription: subscription.clone(), joins: takes_running, transport };
            let call = ClientCall { timeout, intent, ..ClientCall::new(METHOD, Some(params)) };
            let (thread_id, observer) = (Some(&*subscription.thread_id), Some(observer));
            let sent = self.connection.send(ClientCall { thread_id, observer, ..call });
            let sent = sent.map_err(|error| match error.kind() {
                // The router has found another turn.
                ErrorKind::UnsupportedByRuntime if joins == Joins::None => {
                    Error::new(ErrorKind::TurnNotSteerable, error.to_string())
                }
                _ => error,
            })?;
            let mut sent = pin!(sent);
            let mut timer = left.map(|left| self.connection.sleep(left));
            let response = poll_fn(|context| match (sent.as_mut().poll(context), &mut timer) {
                (Poll::Ready(response), _) => Poll::Ready(Some(response)),
                (Poll::Pending, Some(timer)) => Pin::new(timer).poll(context).map(|()| None),
                (Poll::Pending, None) => Poll::Pending,
            });
            // The caller gives the start up, as if it had dropped the future. The request keeps its own timeout.
            let Some(response) = response.await else {
                let of_turn = subscription.limits().timeout.unwrap_or_default();
                let message = format!(
                    "the turn's timeout of {of_turn:?} passed before the server responded to its start; if the server still starts \
                 the turn, the client interrupts it"
                );
                let error = Error::new(ErrorKind::Timeout, message).with_method(METHOD);
                return Err(error.with_thread(Some(&subscription.thread_id)));
            };
            response
        })
    }

    /// Whether the runtime returns the running turn for a `turn/start` on a busy thread.
    pub(crate) fn joins_turns(&self) -> bool {
        !version::is_older(&self.metadata, version::JOINS)
    }

    /// An id by which the client recognizes a user message. `None` if the runtime does not report such ids.
    pub(crate) fn new_client_id(&self) -> Option<String> {
        self.reports_client_ids().then(|| format!("{:032x}", fastrand::u128(..)))
    }

    /// Whether the runtime stores and reports the client's ids of user messages.
    pub(crate) fn reports_client_ids(&self) -> bool {
        !version::is_older(&self.metadata, version::CLIENT_IDS)
    }

    /// Starts a compaction, which is a turn. `subscription` receives its events. The response does not name the turn's id.
    pub(crate) fn start_compaction(
        &self,
        params: &RawValue,
        subscription: &Arc<TurnSubscription>,
    ) -> Result<Pending> {
        const METHOD: &str = methods::ThreadCompactStart::METHOD;
        let intent = Intent::Compact(subscription.clone());
        let (thread_id, timeout) = (Some(&*subscription.thread_id), self.timeout_of(METHOD));
        let call = ClientCall::new(METHOD, Some(params));
        self.connection.send(ClientCall { thread_id, timeout, intent, ..call })
    }

    /// Starts a login. Returns its response to come, and the receiver of the login's end.
    pub(crate) async fn start_login(
        &self,
        params: &RawValue,
    ) -> Result<(Pending, watch::Receiver<Option<LoginEnd>>)> {
        const METHOD: &str = methods::AccountLoginStart::METHOD;
        self.check_runtime(METHOD, Some(params), None).await?;
        let (ending, ended) = watch::channel(None);
        let (timeout, intent) = (self.timeout_of(METHOD), Intent::Login(ending));
        let call = ClientCall::new(METHOD, Some(params));
        let response = self.connection.send(ClientCall { timeout, intent, ..call })?;
        Ok((response, ended))
    }

    pub(crate) fn timeout_of(&self, method: &str) -> Option<Duration> {
        self.timeouts.of_method(method)
    }
}

pub(super) async fn call<R: ClientRequest>(
    connection: &Connection,
    params: Option<&RawValue>,
    thread_id: Option<&str>,
    timeout: Option<Duration>,
) -> Result<R::Response> {
    let call = ClientCall { thread_id, timeout, ..ClientCall::new(R::METHOD, params) };
    let response = connection.send(call)?.await?;
    decode::<R>(&response, thread_id)
}

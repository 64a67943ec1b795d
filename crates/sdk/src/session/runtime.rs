//! One runtime after its start and handshake.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use backon::{FuturesTimerSleeper, Sleeper};

use openai_codex_protocol::types::{
    ClientInfo, InitializeCapabilities, InitializeParams, InitializeResponse,
};
use openai_codex_protocol::{ClientNotification, ClientRequest, client_notifications, methods};
use serde_json::value::RawValue;
use tokio::sync::{Semaphore, watch};

use crate::background::Boxed;
use crate::codec::{decode, encode};
use crate::config::CodexConfig;
use crate::connection::effect::LoginEnd;
use crate::connection::envelope;
use crate::connection::intent::{Intent, Joins};
use crate::connection::on_loss::OnLoss;
use crate::dispatch::registry::HandlerSet;
#[cfg(feature = "endpoints")]
use crate::endpoint::address::Endpoint;
#[cfg(all(unix, feature = "endpoints"))]
use crate::endpoint::server_start::ServerStart;
use crate::error::{Error, ErrorKind, Result};
#[cfg(feature = "endpoints")]
use crate::io::connector::{Connector, Reconnect};
#[cfg(feature = "endpoints")]
use crate::io::io_thread::EndpointConnector;
use crate::io::request::{ClientCall, Pending};
use crate::io::shared::{ClientThreads, Connection, ConnectionContext};
use crate::io::tokens::ResponseObserver;
use crate::io::turn_subscription::TurnSubscription;
use crate::options::method_class::ClassTimeouts;
use crate::process::home::Home;
use crate::process::launch::Launch;
use crate::select::select;
use crate::session::schema_probe::SchemaProbe;
use crate::session::version;
use crate::transport::frames::Transport;

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
    /// Starts the runtime, connects to the endpoint, or takes the program's transport, and does the handshake. `cancelled` ends the start.
    pub(crate) async fn start(
        config: &CodexConfig,
        transport: Option<Transport>,
        context: ConnectionContext,
        cancelled: impl Future<Output = Error>,
    ) -> Result<Self> {
        let deadline = StartDeadline::new(config.start_timeout);
        let Some(transport) = transport else {
            #[cfg(feature = "endpoints")]
            if let Some(endpoint) = &config.endpoint {
                return Self::connect(config, endpoint, context, &deadline, pin!(cancelled)).await;
            }
            return Self::start_process(config, context, &deadline, pin!(cancelled)).await;
        };
        let threads = context.threads.clone();
        let connection = Connection::attach(transport, context)?;
        let metadata = greet(&connection, config, &deadline, cancelled).await?;
        Ok(Self::new(connection, metadata, config, SchemaProbe::default(), threads, None))
    }

    /// Connects to a server that runs by itself. Starts one if none runs and the endpoint says so.
    #[cfg(feature = "endpoints")]
    async fn connect(
        config: &CodexConfig,
        endpoint: &Endpoint,
        mut context: ConnectionContext,
        deadline: &StartDeadline,
        mut cancelled: Pin<&mut impl Future<Output = Error>>,
    ) -> Result<Self> {
        config.validate()?;
        let target = endpoint.target(&config.env)?;
        #[cfg(unix)]
        let start = match endpoint.starts_server() {
            true => Some(ServerStart {
                launch: Launch::prepare(config.launch_options())?,
                before_spawn: config.before_spawn.clone(),
                // Its error, which quotes the server's log, comes before that of the whole start.
                limit: deadline.left().mul_f64(0.9),
            }),
            false => None,
        };
        let name = target.place.to_string();
        context.shared_server = Some(name.as_str().into());
        let connector: Arc<dyn Connector> = Arc::new(EndpointConnector {
            target,
            env: config.env.clone(),
            #[cfg(unix)]
            start,
            close_timeout: config.close_timeout,
            listener: std::sync::atomic::AtomicI32::new(0),
        });
        if config.connection_policy.attempts().is_some() {
            context.reconnect = Some(Arc::new(Reconnect {
                policy: config.connection_policy,
                attempt_timeout: config.start_timeout,
                initialize: initialize_params(config)?,
                connector: connector.clone(),
            }));
        }
        let threads = context.threads.clone();
        let connecting = Connection::connect(connector, context);
        let connection = select! {
            connection = connecting => connection?,
            () = FuturesTimerSleeper.sleep(deadline.left()) => {
                return Err(Error::new(
                    ErrorKind::ConnectFailed,
                    format!(
                        "the client could not connect to {name} within {:?}; check that the server runs and is reachable, or \
                         set a longer start_timeout",
                        deadline.whole
                    ),
                ));
            },
            error = cancelled.as_mut() => return Err(error),
        };
        let metadata = greet(&connection, config, deadline, cancelled).await?;
        Ok(Self::new(connection, metadata, config, SchemaProbe::default(), threads, None))
    }

    /// Starts a runtime. Tries again if the start failed because of another start on the same home.
    async fn start_process(
        config: &CodexConfig,
        context: ConnectionContext,
        deadline: &StartDeadline,
        mut cancelled: Pin<&mut impl Future<Output = Error>>,
    ) -> Result<Self> {
        /// These take some seconds. A home that cannot be written fails with the same message, and should not take longer.
        const ATTEMPTS: u32 = 6;
        const PAUSE: Duration = Duration::from_millis(100);

        config.validate()?;
        let launch = Launch::prepare(config.launch_options())?;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let started =
                Self::start_once(config, &launch, context.clone(), deadline, cancelled.as_mut()).await;
            let Err(error) = started else { return started };
            if !error.is_home_contended() {
                return Err(error);
            }
            // The random part keeps processes that failed together from trying again together.
            let pause = PAUSE * attempt + PAUSE.mul_f64(fastrand::f64());
            if attempt == ATTEMPTS || pause >= deadline.left() {
                // The connection has not reported the failure to observers, because another attempt could follow.
                if context.on_loss != OnLoss::RestartAgain {
                    context.hub.end(Some(&error));
                }
                return Err(error);
            }
            select! {
                () = FuturesTimerSleeper.sleep(pause) => {},
                error = cancelled.as_mut() => return Err(error),
            }
        }
    }

    async fn start_once(
        config: &CodexConfig,
        launch: &Launch,
        context: ConnectionContext,
        deadline: &StartDeadline,
        mut cancelled: Pin<&mut impl Future<Output = Error>>,
    ) -> Result<Self> {
        let command = match &config.before_spawn {
            None => launch.command(),
            Some(hook) => select! {
                called = hook.call(launch.command()) => called?,
                () = FuturesTimerSleeper.sleep(deadline.left()) => {
                    return Err(deadline.exceeded("before_spawn did not return"));
                },
                error = cancelled.as_mut() => return Err(error),
            },
        };
        let first_start = match Home::of(launch, &command) {
            None => None,
            Some(home) => select! {
                turn = home.wait_for_first_start(deadline.left()) => turn,
                error = cancelled.as_mut() => return Err(error),
            },
        };
        let threads = context.threads.clone();
        let (connection, pid) = Connection::launch(launch.clone(), command, context).await?;
        let greeted = greet(&connection, config, deadline, cancelled).await;
        drop(first_start);
        Ok(Self::new(connection, greeted?, config, SchemaProbe::new(launch.clone()), threads, pid))
    }

    fn new(
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
            let response = self.send(method, params, thread_id, None).await;
            response.map_err(|error| self.connection.redact(error))
        })
    }

    /// Decodes a response. `thread_id` is for errors.
    pub(crate) fn decode<R: ClientRequest>(
        &self,
        response: &str,
        thread_id: Option<&str>,
    ) -> Result<R::Response> {
        decode::<R>(response, thread_id).map_err(|error| self.connection.redact(error))
    }

    /// Makes a request that opens a thread. The thread has the handlers from the response on.
    pub(crate) async fn open<R: ClientRequest>(
        &self,
        params: &R::Params,
        thread_id: Option<&str>,
        handlers: HandlerSet,
    ) -> Result<R::Response> {
        let response = self.send(R::METHOD, encode(R::METHOD, params)?, thread_id, Some(handlers)).await;
        let response = response.map_err(|error| self.connection.redact(error))?;
        self.decode::<R>(&response, thread_id)
    }

    /// Makes a request and returns its result as JSON text. With `handlers`, the request opens a thread. Not generic over the
    /// method, so that it is compiled once.
    fn send<'a>(
        &'a self,
        method: &'static str,
        params: Option<Box<RawValue>>,
        thread_id: Option<&'a str>,
        handlers: Option<HandlerSet>,
    ) -> Boxed<'a, Result<String>> {
        Box::pin(async move {
            self.check_runtime(method, params.as_deref(), thread_id).await?;
            let timeout = self.timeout_of(method);
            let began = Instant::now();
            let mut pause = FIRST_UNLOAD_PAUSE;
            let response = loop {
                let call = ClientCall::new(method, params.as_deref());
                let call = ClientCall { thread_id, timeout, handlers: handlers.clone(), ..call };
                match self.connection.send(call)?.await {
                    // The request had no effect.
                    Err(error) if error.is_unloading() && began.elapsed() < UNLOAD_LIMIT => {
                        self.connection.sleep(pause).await;
                        pause = (2 * pause).min(LONGEST_UNLOAD_PAUSE);
                    }
                    response => break response?,
                }
            };
            self.note_unsubscribe(method, params.as_deref());
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

async fn call<R: ClientRequest>(
    connection: &Connection,
    params: Option<&RawValue>,
    thread_id: Option<&str>,
    timeout: Option<Duration>,
) -> Result<R::Response> {
    let call = ClientCall { thread_id, timeout, ..ClientCall::new(R::METHOD, params) };
    let response = connection.send(call)?.await?;
    decode::<R>(&response, thread_id)
}

/// The time that a start has.
struct StartDeadline {
    began: Instant,
    whole: Duration,
}

impl StartDeadline {
    fn new(whole: Duration) -> Self {
        Self { began: Instant::now(), whole }
    }

    fn left(&self) -> Duration {
        self.whole.saturating_sub(self.began.elapsed())
    }

    /// The error of a start that has taken too long. `what`: what did not happen in time.
    fn exceeded(&self, what: &str) -> Error {
        let whole = self.whole;
        let message = format!(
            "{what} within {whole:?}, so the client ended the start; check that the program is a Codex runtime, or set a \
             longer start_timeout"
        );
        Error::new(ErrorKind::Timeout, message).with_method(methods::Initialize::METHOD)
    }
}

/// Does the handshake: `initialize`, its response, `initialized`. On failure it closes the connection, and returns the error
/// when the connection has ended.
async fn greet(
    connection: &Connection,
    config: &CodexConfig,
    deadline: &StartDeadline,
    cancelled: impl Future<Output = Error>,
) -> Result<Arc<InitializeResponse>> {
    let greeted = select! {
        greeted = handshake(connection, config, deadline) => greeted,
        error = cancelled => Err(error),
    };
    match greeted {
        Ok(metadata) => {
            connection.notify(client_notifications::Initialized::METHOD, None);
            Ok(Arc::new(metadata))
        }
        Err(error) => {
            connection.close();
            connection.ended().await;
            Err(error)
        }
    }
}

fn initialize_params(config: &CodexConfig) -> Result<Box<RawValue>> {
    let client = ClientInfo::new(&config.client_name, &config.client_version).title(&config.client_title);
    let capabilities = InitializeCapabilities::new().experimental_api(config.experimental_api);
    let params = InitializeParams::new(client).capabilities(capabilities);
    encode(methods::Initialize::METHOD, &params).map(Option::unwrap_or_default)
}

async fn handshake(
    connection: &Connection,
    config: &CodexConfig,
    deadline: &StartDeadline,
) -> Result<InitializeResponse> {
    let params = initialize_params(config)?;
    let left = deadline.left();
    let response = call::<methods::Initialize>(connection, Some(&params), None, Some(left)).await;
    let metadata = response.map_err(|error| match error.kind() {
        ErrorKind::Decode => Error::new(
            ErrorKind::Handshake,
            format!("missing required metadata in the runtime's response to `initialize`: {error}"),
        )
        .with_source(error),
        ErrorKind::Timeout => {
            deadline.exceeded(&format!("the program did not respond{}", connection.preamble_quote()))
        }
        _ => error,
    })?;
    if version::reported(&metadata).is_none() {
        return Err(Error::new(
            ErrorKind::Handshake,
            format!(
                "missing required metadata: the runtime's user agent {:?} has no server name and version",
                metadata.user_agent
            ),
        ));
    }
    Ok(metadata)
}

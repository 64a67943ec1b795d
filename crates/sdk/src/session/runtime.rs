//! One started and greeted runtime.

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

use crate::codec::{decode, encode};
use crate::config::CodexConfig;
use crate::connection::effect::LoginEnd;
use crate::connection::intent::Intent;
use crate::connection::on_loss::OnLoss;
use crate::connection::turn_subscription::TurnSubscription;
use crate::dispatch::handler_set::HandlerSet;
use crate::error::{Error, ErrorKind, Result};
use crate::io::connection::Connection;
use crate::io::request::{ClientCall, Pending};
use crate::io::shared::ConnectionContext;
use crate::options::method_class::ClassTimeouts;
use crate::process::home::Home;
use crate::process::launch::Launch;
use crate::session::schema_probe::SchemaProbe;
use crate::session::version;
use crate::transport::frames::Transport;

/// How many `turn/start`s may wait for their answers at once. Runtime 0.163.0 refuses some of 200, and leaves others without
/// an answer.
const MAX_UNANSWERED_STARTS: usize = 16;

/// How many sessions there were.
static STARTED: AtomicU64 = AtomicU64::new(0);

/// A connection whose handshake is done. Ids, routing and metadata belong to it, so a client can replace it whole.
pub(crate) struct Session {
    pub(crate) connection: Connection,
    pub(crate) metadata: Arc<InitializeResponse>,
    timeouts: ClassTimeouts,
    checkout: SchemaProbe,
    /// The id of the runtime's process, where this crate has started it.
    pid: Option<u32>,
    /// The places of requests to start a turn that are not answered yet.
    start_places: Semaphore,
    /// Which one it is of all in this process: threads are opened in one.
    pub(crate) number: u64,
}

/// Short: handles hold it, and what is inside is nobody's business.
impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("user_agent", &self.metadata.user_agent).finish_non_exhaustive()
    }
}

impl Session {
    /// PendingTurns the runtime, or takes the transport that is already there, and greets it, unless it is given up.
    pub(crate) async fn start(
        config: &CodexConfig,
        transport: Option<Transport>,
        context: ConnectionContext,
        cancelled: impl Future<Output = Error>,
    ) -> Result<Self> {
        let deadline = StartDeadline::new(config.start_timeout);
        let Some(transport) = transport else {
            return Self::start_process(config, context, &deadline, pin!(cancelled)).await;
        };
        let connection = Connection::attach(transport, context)?;
        let metadata = greet(&connection, config, &deadline, cancelled).await?;
        Ok(Self::new(connection, metadata, config, SchemaProbe::default(), None))
    }

    /// PendingTurns a runtime, again if it has failed because of another start on the same home.
    async fn start_process(
        config: &CodexConfig,
        context: ConnectionContext,
        deadline: &StartDeadline,
        mut cancelled: Pin<&mut impl Future<Output = Error>>,
    ) -> Result<Self> {
        /// Enough for some seconds. A home that cannot be written fails in the same words, and should not take longer.
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
            // Others that have failed so try again too, and better not all at the same moment.
            let pause = PAUSE * attempt + PAUSE.mul_f64(fastrand::f64());
            if attempt == ATTEMPTS || pause >= deadline.left() {
                // The connection has kept it from them, since another could have followed.
                if context.on_loss != OnLoss::RestartAgain {
                    context.hub.end(Some(&error));
                }
                return Err(error);
            }
            tokio::select! {
                () = FuturesTimerSleeper.sleep(pause) => {}
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
            Some(hook) => tokio::select! {
                called = hook.call(launch.command()) => called?,
                () = FuturesTimerSleeper.sleep(deadline.left()) => {
                    return Err(deadline.exceeded("before_spawn did not return"));
                }
                error = cancelled.as_mut() => return Err(error),
            },
        };
        let first_start = match Home::of(launch, &command) {
            None => None,
            Some(home) => tokio::select! {
                turn = home.wait_for_first_start(deadline.left()) => turn,
                error = cancelled.as_mut() => return Err(error),
            },
        };
        let (connection, pid) = Connection::launch(launch.clone(), command, context).await?;
        let greeted = greet(&connection, config, deadline, cancelled).await;
        drop(first_start);
        Ok(Self::new(connection, greeted?, config, SchemaProbe::new(launch.clone()), pid))
    }

    fn new(
        connection: Connection,
        metadata: Arc<InitializeResponse>,
        config: &CodexConfig,
        checkout: SchemaProbe,
        pid: Option<u32>,
    ) -> Self {
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        Self {
            connection,
            metadata,
            timeouts: config.request_timeouts,
            checkout,
            pid,
            start_places: Semaphore::new(MAX_UNANSWERED_STARTS),
            number,
        }
    }

    /// The id of the runtime's process, as long as it may be alive: it can be given to another process afterwards.
    pub(crate) fn runtime_pid(&self) -> Option<u32> {
        self.pid.filter(|_| self.connection.failure().is_none())
    }

    /// Refuses a request, or parameters of it, that the runtime does not have. Everything that a program asks for passes
    /// here before it is sent.
    pub(crate) async fn check_runtime(
        &self,
        method: &str,
        params: Option<&RawValue>,
        thread_id: Option<&str>,
    ) -> Result<()> {
        let params = params.map(RawValue::get);
        let checked = version::check(method, params, &self.metadata, &self.checkout).await;
        checked.map_err(|error| error.with_method(method).with_thread(thread_id))
    }

    /// Whether the runtime has this parameter.
    pub(crate) async fn knows(&self, method: &str, field: &str) -> bool {
        version::knows(method, field, &self.metadata, &self.checkout).await
    }

    /// Makes a request and decodes its answer. The thread is for errors.
    pub(crate) async fn call<R: ClientRequest>(
        &self,
        params: &R::Params,
        thread_id: Option<&str>,
    ) -> Result<R::Response> {
        let answer = self.ask(R::METHOD, encode(R::METHOD, params)?, thread_id, None).await;
        answer
            .and_then(|answer| decode::<R>(&answer, thread_id))
            .map_err(|error| self.connection.redact(error))
    }

    /// Makes a request; the answer is its result as JSON text.
    pub(crate) async fn answer<R: ClientRequest>(
        &self,
        params: &R::Params,
        thread_id: Option<&str>,
    ) -> Result<String> {
        let answer = self.ask(R::METHOD, encode(R::METHOD, params)?, thread_id, None).await;
        answer.map_err(|error| self.connection.redact(error))
    }

    /// Makes a request that opens a thread, which has these handlers from the answer on.
    pub(crate) async fn open<R: ClientRequest>(
        &self,
        params: &R::Params,
        thread_id: Option<&str>,
        layer: HandlerSet,
    ) -> Result<R::Response> {
        let answer = self.ask(R::METHOD, encode(R::METHOD, params)?, thread_id, Some(layer)).await;
        answer
            .and_then(|answer| decode::<R>(&answer, thread_id))
            .map_err(|error| self.connection.redact(error))
    }

    /// Makes a request; the answer is its result as JSON text. With a layer the request opens a thread. No type of a method
    /// is in here, so that the code for it is made once.
    async fn ask(
        &self,
        method: &'static str,
        params: Option<Box<RawValue>>,
        thread_id: Option<&str>,
        handlers: Option<HandlerSet>,
    ) -> Result<String> {
        self.check_runtime(method, params.as_deref(), thread_id).await?;
        let timeout = self.timeout_of(method);
        let call = ClientCall::new(method, params.as_deref());
        self.connection.send(ClientCall { thread_id, timeout, handlers, ..call })?.await
    }

    /// Makes a request of which only the name is known; the answer is its result as JSON text.
    pub(crate) async fn call_raw(&self, method: &str, params: Option<&RawValue>) -> Result<String> {
        self.check_runtime(method, params, None).await?;
        let timeout = self.timeout_of(method);
        self.connection.send(ClientCall { timeout, ..ClientCall::new(method, params) })?.await
    }

    /// PendingTurns a turn whose events go to `log`, and waits for the answer. What is asked for is checked already. At most
    /// [`MAX_UNANSWERED_STARTS`] are under way at once; the others wait for their place, as long as their timeouts allow.
    pub(crate) async fn start_turn(&self, params: &RawValue, log: &Arc<TurnSubscription>) -> Result<String> {
        const METHOD: &str = methods::TurnStart::METHOD;
        self.connection.check_process()?;
        let mut place = pin!(self.start_places.acquire());
        let mut time = log.limits().time_left().map(|left| self.connection.sleep(left));
        let _place = poll_fn(|context| match (place.as_mut().poll(context), &mut time) {
            (Poll::Ready(place), _) => Poll::Ready(Ok(place)),
            (Poll::Pending, Some(time)) => Pin::new(time).poll(context).map(Err),
            (Poll::Pending, None) => Poll::Pending,
        })
        .await
        .map_err(|()| {
            let message = format!(
                "the time of the turn was over before it was asked for: {MAX_UNANSWERED_STARTS} other starts are not \
                 answered yet"
            );
            Error::new(ErrorKind::Timeout, message).with_method(METHOD).with_thread(Some(&log.thread_id))
        })?;
        let (left, of_class) = (log.limits().time_left(), self.timeout_of(METHOD));
        let timeout = left.into_iter().chain(of_class).min();
        let intent = Intent::StartTurn { subscription: log.clone(), joins: self.joins_turns() };
        let answer = self.send_for(METHOD, params, log, timeout, intent)?.await;
        match (answer, log.limits().timeout) {
            (Err(error), Some(of_turn)) if error.kind() == ErrorKind::Timeout && timeout == left => {
                let message = format!(
                    "the server did not answer within the {of_turn:?} of the turn; if it starts the turn after all, the client \
                     interrupts it"
                );
                let error = Error::new(ErrorKind::Timeout, message).with_method(METHOD);
                Err(error.with_thread(Some(&log.thread_id)))
            }
            (answer, _) => answer,
        }
    }

    /// Whether the runtime answers a `turn/start` on a busy thread with the turn that runs.
    pub(crate) fn joins_turns(&self) -> bool {
        !version::is_older(&self.metadata, version::JOINS)
    }

    /// PendingTurns a compaction: a turn whose events go to `log`, and whose id the answer does not tell.
    pub(crate) fn start_compaction(&self, params: &RawValue, log: &Arc<TurnSubscription>) -> Result<Pending> {
        const METHOD: &str = methods::ThreadCompactStart::METHOD;
        self.send_for(METHOD, params, log, self.timeout_of(METHOD), Intent::Compact(log.clone()))
    }

    /// Sends a request that starts a turn.
    fn send_for(
        &self,
        method: &str,
        params: &RawValue,
        log: &TurnSubscription,
        timeout: Option<Duration>,
        intent: Intent,
    ) -> Result<Pending> {
        let thread_id = Some(&*log.thread_id);
        let call = ClientCall::new(method, Some(params));
        self.connection.send(ClientCall { thread_id, timeout, intent, ..call })
    }

    /// PendingTurns a login. The second half tells how it ends.
    pub(crate) async fn start_login(
        &self,
        params: &RawValue,
    ) -> Result<(Pending, watch::Receiver<Option<LoginEnd>>)> {
        const METHOD: &str = methods::AccountLoginStart::METHOD;
        self.check_runtime(METHOD, Some(params), None).await?;
        let (ending, ended) = watch::channel(None);
        let (timeout, intent) = (self.timeout_of(METHOD), Intent::Login(ending));
        let call = ClientCall::new(METHOD, Some(params));
        let answer = self.connection.send(ClientCall { timeout, intent, ..call })?;
        Ok((answer, ended))
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
    let answer = connection.send(call)?.await?;
    decode::<R>(&answer, thread_id)
}

/// Until when a start may take.
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

    /// The error of a start that has taken too long, with what it has waited for.
    fn exceeded(&self, what: &str) -> Error {
        let whole = self.whole;
        let message = format!(
            "{what} within {whole:?}, and the start was given up; check that the program is a Codex runtime, or set a \
             longer start_timeout"
        );
        Error::new(ErrorKind::Timeout, message).with_method(methods::Initialize::METHOD)
    }
}

/// Does the handshake: `initialize`, its answer, `initialized`. On failure the connection is closed, and the error comes
/// when nothing of it is left.
async fn greet(
    connection: &Connection,
    config: &CodexConfig,
    deadline: &StartDeadline,
    cancelled: impl Future<Output = Error>,
) -> Result<Arc<InitializeResponse>> {
    let greeted = tokio::select! {
        greeted = handshake(connection, config, deadline) => greeted,
        error = cancelled => Err(error),
    };
    match greeted {
        Ok(metadata) => {
            connection.notify(client_notifications::Initialized::METHOD);
            Ok(Arc::new(metadata))
        }
        Err(error) => {
            connection.close();
            connection.ended().await;
            Err(error)
        }
    }
}

async fn handshake(
    connection: &Connection,
    config: &CodexConfig,
    deadline: &StartDeadline,
) -> Result<InitializeResponse> {
    let client = ClientInfo::new(&config.client_name, &config.client_version).title(&config.client_title);
    let capabilities = InitializeCapabilities::new().experimental_api(config.experimental_api);
    let params = InitializeParams::new(client).capabilities(capabilities);
    let params = encode(methods::Initialize::METHOD, &params)?;
    let left = deadline.left();
    let answer = call::<methods::Initialize>(connection, params.as_deref(), None, Some(left)).await;
    let metadata = answer.map_err(|error| match error.kind() {
        ErrorKind::Decode => Error::new(
            ErrorKind::Handshake,
            format!("missing required metadata in the runtime's answer to `initialize`: {error}"),
        )
        .with_source(error),
        ErrorKind::Timeout => {
            deadline.exceeded(&format!("the program did not answer{}", connection.preamble_quote()))
        }
        _ => error,
    })?;
    if version::reported(&metadata).is_none() {
        return Err(Error::new(
            ErrorKind::Handshake,
            format!(
                "missing required metadata: no server name and version in the user agent {:?} of the runtime",
                metadata.user_agent
            ),
        ));
    }
    Ok(metadata)
}

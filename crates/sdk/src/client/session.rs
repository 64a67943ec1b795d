//! One started and greeted runtime.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openai_codex_protocol::types::{
    ClientInfo, InitializeCapabilities, InitializeParams, InitializeResponse,
};
use openai_codex_protocol::{ClientNotification, ClientRequest, Params, client_notifications, methods};
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::checkout::Checkout;
use crate::connection::logins::LoginEnd;
use crate::connection::turn_log::TurnLog;
use crate::connection::{Connection, Owner, Pending};
use crate::handler::Layer;
use crate::method_class::ClassDeadlines;
use crate::process::Launch;
use crate::transport::Transport;
use crate::{CodexConfig, Error, ErrorKind, Result, version};

/// How many sessions there were.
static STARTED: AtomicU64 = AtomicU64::new(0);

/// A connection whose handshake is done. Ids, routing and metadata belong to it, so a client can replace it whole.
pub(crate) struct Session {
    pub(crate) connection: Connection,
    pub(crate) metadata: Arc<InitializeResponse>,
    deadlines: ClassDeadlines,
    checkout: Checkout,
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
    /// Starts the runtime, or takes the transport that is already there, and greets it, unless it is given up.
    pub(crate) async fn start(
        config: &CodexConfig,
        transport: Option<Transport>,
        owner: Owner,
        given_up: impl Future<Output = Error>,
    ) -> Result<Self> {
        let (connection, checkout) = match transport {
            Some(transport) => (Connection::attach(transport, owner)?, Checkout::default()),
            None => {
                let launch = Launch::prepare(config)?;
                (Connection::launch(launch.clone(), owner).await?, Checkout::new(launch))
            }
        };
        let metadata = greet(&connection, config, given_up).await?;
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        Ok(Self { connection, metadata, deadlines: config.request_deadlines, checkout, number })
    }

    /// Refuses a field of some parameters if the runtime does not know it, or if nobody can tell whether it does.
    pub(crate) async fn require(&self, params: &str, field: &str) -> Result<()> {
        version::require(params, field, &self.metadata, &self.checkout).await
    }

    /// Makes a request and decodes its answer. The thread is for errors.
    pub(crate) async fn call<R: ClientRequest>(
        &self,
        params: &R::Params,
        thread_id: Option<&str>,
    ) -> Result<R::Response> {
        let deadline = self.deadline_of(R::METHOD);
        let answer = call::<R>(&self.connection, params, thread_id, deadline).await;
        answer.map_err(|error| self.connection.redact(error))
    }

    /// Makes a request that opens a thread, which has these handlers from the answer on.
    pub(crate) async fn open<R: ClientRequest>(
        &self,
        params: &R::Params,
        thread_id: Option<&str>,
        layer: Layer,
    ) -> Result<R::Response> {
        let params = encode(R::METHOD, params)?;
        let deadline = self.deadline_of(R::METHOD);
        let answer = self.connection.open_thread(R::METHOD, params.as_deref(), thread_id, deadline, layer)?;
        decode::<R>(&answer.await?, thread_id).map_err(|error| self.connection.redact(error))
    }

    /// Makes a request of which only the name is known; the answer is its result as JSON text.
    pub(crate) fn call_raw(&self, method: &str, params: Option<&RawValue>) -> Result<Pending> {
        self.connection.request(method, params, None, self.deadline_of(method))
    }

    /// Starts a turn whose events go to `log`.
    pub(crate) fn start_turn(
        &self,
        params: &RawValue,
        log: &Arc<TurnLog>,
        deadline: Option<Duration>,
    ) -> Result<Pending> {
        let deadline = deadline.or_else(|| self.deadline_of(methods::TurnStart::METHOD));
        let joins = !version::is_older(&self.metadata, version::JOINS);
        self.connection.start_turn(params, log, deadline, joins)
    }

    /// Starts a compaction: a turn whose events go to `log`, and whose id the answer does not tell.
    pub(crate) fn start_compaction(&self, params: &RawValue, log: &Arc<TurnLog>) -> Result<Pending> {
        let deadline = self.deadline_of(methods::ThreadCompactStart::METHOD);
        self.connection.start_compaction(params, log, deadline)
    }

    /// Starts a login. The second half tells how it ends.
    pub(crate) fn start_login(
        &self,
        params: &RawValue,
    ) -> Result<(Pending, watch::Receiver<Option<LoginEnd>>)> {
        self.connection.start_login(params, self.deadline_of(methods::AccountLoginStart::METHOD))
    }

    pub(crate) fn deadline_of(&self, method: &str) -> Option<Duration> {
        self.deadlines.of_method(method)
    }
}

async fn call<R: ClientRequest>(
    connection: &Connection,
    params: &R::Params,
    thread_id: Option<&str>,
    deadline: Option<Duration>,
) -> Result<R::Response> {
    let params = encode(R::METHOD, params)?;
    let answer = connection.request(R::METHOD, params.as_deref(), thread_id, deadline)?.await?;
    decode::<R>(&answer, thread_id)
}

/// The parameters as JSON text; `None` where the method takes none, or none were given.
pub(crate) fn encode(method: &str, params: &impl Params) -> Result<Option<Box<RawValue>>> {
    if params.is_omitted() {
        return Ok(None);
    }
    serde_json::value::to_raw_value(params).map(Some).map_err(|error| {
        Error::invalid_input(format!("the parameters cannot be written as JSON: {error}"))
            .with_method(method)
            .with_source(error)
    })
}

/// The answer of a request, from the JSON text of its result.
pub(crate) fn decode<R: ClientRequest>(answer: &str, thread_id: Option<&str>) -> Result<R::Response> {
    openai_codex_protocol::decode_response::<R>(answer)
        .map_err(|error| Error::from_decode(error).with_method(R::METHOD).with_thread(thread_id))
}

/// Does the handshake: `initialize`, its answer, `initialized`. On failure the connection is closed, and the error comes
/// when nothing of it is left.
async fn greet(
    connection: &Connection,
    config: &CodexConfig,
    given_up: impl Future<Output = Error>,
) -> Result<Arc<InitializeResponse>> {
    let greeted = tokio::select! {
        greeted = handshake(connection, config) => greeted,
        error = given_up => Err(error),
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

async fn handshake(connection: &Connection, config: &CodexConfig) -> Result<InitializeResponse> {
    let client = ClientInfo::new(&config.client_name, &config.client_version).title(&config.client_title);
    let capabilities = InitializeCapabilities::new().experimental_api(config.experimental_api);
    let params = InitializeParams::new(client).capabilities(capabilities);
    let answer = call::<methods::Initialize>(connection, &params, None, Some(config.start_deadline)).await;
    let metadata = answer.map_err(|error| match error.kind() {
        ErrorKind::Decode => Error::new(
            ErrorKind::Handshake,
            format!("missing required metadata in the runtime's answer to `initialize`: {error}"),
        )
        .with_source(error),
        ErrorKind::DeadlineExceeded => Error::new(
            ErrorKind::DeadlineExceeded,
            format!(
                "the program did not answer within {:?} and was ended; check that it is a Codex runtime, or set a \
                 longer start_deadline",
                config.start_deadline
            ),
        )
        .with_method(methods::Initialize::METHOD),
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

//! Starts a runtime, or connects to a server, and does the handshake.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{FuturesTimerSleeper, Sleeper};
use openai_codex_protocol::types::{
    ClientInfo, InitializeCapabilities, InitializeParams, InitializeResponse,
};
use openai_codex_protocol::{ClientNotification, ClientRequest, client_notifications, methods};
use serde_json::value::RawValue;

use crate::codec::encode;
use crate::config::CodexConfig;
use crate::connection::on_loss::OnLoss;
#[cfg(feature = "endpoints")]
use crate::endpoint::address::Endpoint;
#[cfg(all(unix, feature = "endpoints"))]
use crate::endpoint::server_start::ServerStart;
use crate::error::{Error, ErrorKind, Result};
#[cfg(feature = "endpoints")]
use crate::io::connector::{Connector, Reconnect};
#[cfg(feature = "endpoints")]
use crate::io::io_thread::EndpointConnector;
use crate::io::shared::{Connection, ConnectionContext};
use crate::process::home::Home;
use crate::process::launch::Launch;
use crate::select::select;
use crate::session::runtime::{Session, call};
use crate::session::schema_probe::SchemaProbe;
use crate::session::version;
use crate::transport::frames::Transport;

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

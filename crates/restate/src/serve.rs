//! A worker's configuration, and its life.

use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use openai_codex::{AsyncCodex, CodexConfig, RestartPolicy};
use restate_sdk::endpoint::{Endpoint, ServiceOptions};
use restate_sdk::service::IntoServiceDefinition;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;

use crate::accept;
use crate::control;
use crate::engine::Engine;
use crate::interrupts::Interrupts;
use crate::length;
use crate::naming::Named;
use crate::notes::Notes;
use crate::object::CodexThread;
use crate::openings::{self, Openings};
use crate::siblings;
use crate::turn::is_set;
use crate::worker::{Limits, Worker};

/// How long the client waits for a decision. The engine holds the wait; this is only a bound.
const DECISION_TIME: Duration = Duration::from_secs(365 * 24 * 3600);
/// How long a worker looks for its engine at the start.
const REGISTER_TIME: Duration = Duration::from_secs(120);
/// How long connections may take to end after the last turn.
const CLOSING_TIME: Duration = Duration::from_secs(5);

/// A worker could not start, or had to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerError(pub(crate) String);

impl fmt::Display for WorkerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WorkerError {}

/// The configuration of a worker.
///
/// All workers of one home have the same [`listen`](Self::listen) address: the system gives each connection of the engine to one of
/// them.
#[derive(Clone, Debug)]
#[must_use = "no worker runs until `serve`"]
pub struct WorkerConfig {
    codex: CodexConfig,
    name: Option<String>,
    service: String,
    listen: SocketAddr,
    advertise: Option<String>,
    control: SocketAddr,
    advertise_control: Option<String>,
    admin: Option<String>,
    force: bool,
    step: Duration,
    settle: Duration,
    drain: Duration,
    frozen_after: Option<Duration>,
    inactivity: Duration,
    abort: Duration,
    retry: (Duration, Duration),
    streams: u32,
    message_limit: usize,
    #[cfg(feature = "identity")]
    identity_keys: Vec<String>,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl WorkerConfig {
    /// Creates the default configuration: the runtime and the home as [`CodexConfig::new`] finds them, on port 9080 of this machine.
    pub fn new() -> Self {
        Self {
            codex: CodexConfig::new(),
            name: None,
            service: "CodexThread".to_owned(),
            listen: (Ipv4Addr::LOCALHOST, 9080).into(),
            advertise: None,
            control: (Ipv4Addr::LOCALHOST, 0).into(),
            advertise_control: None,
            admin: None,
            force: false,
            step: Duration::from_secs(30),
            settle: Duration::from_secs(30),
            drain: Duration::from_secs(60),
            frozen_after: Some(Duration::from_secs(40)),
            inactivity: Duration::from_secs(3600),
            abort: Duration::from_secs(120),
            retry: (Duration::from_millis(100), Duration::from_secs(2)),
            streams: 32,
            message_limit: length::LONGEST,
            #[cfg(feature = "identity")]
            identity_keys: Vec::new(),
        }
    }

    /// Sets the client's configuration: the runtime, its home and its environment. The worker adds to it that the runtime unloads
    /// unused threads after a second, that a lost runtime is replaced, and that decisions may take long.
    pub fn codex(mut self, config: CodexConfig) -> Self {
        self.codex = config;
        self
    }

    /// Sets the name of the worker in reports. The process id is a part of it unless set.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the name of the virtual object, `CodexThread` unless set. All workers of a name share one home. Workers of another home
    /// have another name, and so their threads stay with them.
    pub fn service(mut self, name: impl Into<String>) -> Self {
        self.service = name.into();
        self
    }

    /// Sets the address at which the engine reaches the workers of this home. Several workers can listen on it.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// Sets the URL of that address for the engine, if the engine is on another machine.
    pub fn advertise(mut self, url: impl Into<String>) -> Self {
        self.advertise = Some(url.into());
        self
    }

    /// Sets the address of the worker's own port, with `/readyz` and `/status`. A free port of this machine unless set. With an
    /// unspecified address, such as `0.0.0.0:9081`, it needs [`advertise_control`](Self::advertise_control).
    pub fn control(mut self, address: SocketAddr) -> Self {
        self.control = address;
        self
    }

    /// Sets the URL of the worker's own port for other machines, such as `http://worker-1:9081`. The addresses of a turn's events begin
    /// with it.
    pub fn advertise_control(mut self, url: impl Into<String>) -> Self {
        self.advertise_control = Some(url.into());
        self
    }

    /// Sets the address of the engine's admin API, such as `http://127.0.0.1:9070`. The worker registers there. Unless set, register
    /// it by hand.
    pub fn admin(mut self, url: impl Into<String>) -> Self {
        self.admin = Some(url.into());
        self
    }

    /// Makes the registration replace what the engine knows of the address. Needed once after an update that changes handlers.
    pub fn force_registration(mut self, force: bool) -> Self {
        self.force = force;
        self
    }

    /// Sets the longest durable step, 30 seconds unless set. It bounds how long a cancel takes to be heard, and must be shorter than
    /// [`inactivity_timeout`](Self::inactivity_timeout).
    pub fn step(mut self, step: Duration) -> Self {
        self.step = step;
        self
    }

    /// Sets how long a turn goes on after the engine has lost this worker, 30 seconds unless set. A turn that ends in this time is
    /// found done later. The worker interrupts any other, and another worker continues it.
    pub fn settle(mut self, settle: Duration) -> Self {
        self.settle = settle;
        self
    }

    /// Sets how long a worker that is told to end waits for its turns, a minute unless set. After that it interrupts them, and other
    /// workers continue them.
    pub fn drain(mut self, drain: Duration) -> Self {
        self.drain = drain;
        self
    }

    /// Sets after how long this worker kills another one of its home that does not respond, 40 seconds unless set. `None`: never. A
    /// frozen worker keeps its threads, and the engine would try it again. On Linux only.
    pub fn frozen_after(mut self, silence: Option<Duration>) -> Self {
        self.frozen_after = silence;
        self
    }

    /// Sets how long a turn stays with its worker while it waits for a decision, an hour unless set. After that the worker gives the
    /// turn up, and a decision continues it, whatever the request says about turns that are cut off. The engine suspends an invocation
    /// in which nothing happens for the same time.
    pub fn inactivity_timeout(mut self, timeout: Duration) -> Self {
        self.inactivity = timeout;
        self
    }

    /// Sets how long an invocation may take to end after [`inactivity_timeout`](Self::inactivity_timeout), two minutes unless set. It
    /// must be longer than a step: the engine begins a step again that it has cut off.
    pub fn abort_timeout(mut self, timeout: Duration) -> Self {
        self.abort = timeout;
        self
    }

    /// Sets the pauses between the engine's attempts to reach a worker: the first and the longest. 100 milliseconds and 2 seconds
    /// unless set.
    pub fn retry(mut self, first: Duration, longest: Duration) -> Self {
        self.retry = (first, longest);
        self
    }

    /// Sets how many invocations one connection of the engine carries, 32 unless set. Of a smaller number the engine opens more
    /// connections, which spreads turns over the workers.
    pub fn streams_per_connection(mut self, streams: u32) -> Self {
        self.streams = streams;
        self
    }

    /// Sets how many bytes a result may have as JSON, 32 MiB unless set. It must be below the engine's limit for a message: a longer
    /// result is an error with code 413 then, and otherwise the engine repeats its step for ever.
    pub fn message_limit(mut self, bytes: usize) -> Self {
        self.message_limit = bytes;
        self
    }

    /// Accepts requests only from engines with one of these keys.
    #[cfg(feature = "identity")]
    pub fn identity_key(mut self, key: impl Into<String>) -> Self {
        self.identity_keys.push(key.into());
        self
    }

    /// The URL of the worker's own port, which is bound to this address.
    fn control_url(&self, bound: SocketAddr) -> Result<String, WorkerError> {
        match &self.advertise_control {
            Some(url) => Ok(url.trim_end_matches('/').to_owned()),
            None if bound.ip().is_unspecified() => Err(WorkerError(format!(
                "the worker's own port at {bound} has no address that a program can use; name one, or set the URL with \
                 `advertise_control` (`--advertise-control`)"
            ))),
            None => Ok(format!("http://{bound}")),
        }
    }

    fn endpoint(&self, worker: Arc<Worker>) -> Result<Endpoint, WorkerError> {
        let options = ServiceOptions::new()
            .inactivity_timeout(self.inactivity)
            .abort_timeout(self.abort)
            .retry_policy_initial_interval(self.retry.0)
            .retry_policy_max_interval(self.retry.1)
            .retry_policy_exponentiation_factor(2.0)
            // A home whose workers are all gone for a day must not need a hand to go on.
            .retry_policy_max_attempts(u64::from(u32::MAX))
            .retry_policy_pause_on_max_attempts();
        let builder = Endpoint::builder();
        #[cfg(feature = "identity")]
        let builder = self.identity_keys.iter().try_fold(builder, |builder, key| {
            builder
                .identity_key(key)
                .map_err(|error| WorkerError(format!("the identity key is unusable: {error}")))
        })?;
        Ok(builder.bind(CodexThread { worker }.into_service_definition().options(options)).build())
    }
}

/// 128 bits that nobody guesses: the keys of the standard library's hasher are random.
fn secret() -> String {
    let part = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", part(), part())
}

/// Serves turns until `shutdown` completes, and then ends in an orderly way: it takes no more turns, waits for those that run, and
/// leaves the rest to other workers.
///
/// # Errors
/// An address is taken, the engine refuses the worker, the runtime does not start, or it cannot be replaced after it was lost.
pub async fn serve(
    config: WorkerConfig,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), WorkerError> {
    let name = config.name.clone().unwrap_or_else(|| format!("worker-{}", std::process::id()));
    let codex = config
        .codex
        .clone()
        .config_override("thread_unload_delay_secs", 1)
        .handler_timeout(DECISION_TIME)
        .restart(RestartPolicy::new());
    let codex = AsyncCodex::with_config(codex);
    let limits = Limits {
        step: config.step,
        hold: config.inactivity,
        settle: config.settle,
        message: config.message_limit,
    };
    let worker = Worker::new(name, secret(), codex, limits);
    let (ready, is_ready) = watch::channel(false);

    let own = TcpListener::bind(config.control).await.map_err(|error| taken(config.control, &error))?;
    let own_address = own.local_addr().map_err(|error| taken(config.control, &error))?;
    let _ = worker.control.set(format!("{}/{}", config.control_url(own_address)?, worker.process));
    let own = Aborting(tokio::spawn(control::serve(own, worker.clone(), is_ready)));

    worker.codex.start().await.map_err(|error| WorkerError(error.to_string()))?;
    let home = worker.codex.metadata().map(|metadata| PathBuf::from(metadata.codex_home.to_string()));
    if let Some(home) = &home {
        let unusable = |error| WorkerError(format!("the home cannot be used: {error}"));
        let _ = worker.openings.set(Openings::new(home).map_err(unusable)?);
        let _ = worker.notes.set(Notes::new(home).map_err(unusable)?);
        let _ = worker.interrupts.set(Interrupts::new(home).map_err(unusable)?);
    }
    let cleaning = Aborting(tokio::spawn(clean(worker.clone())));
    let interrupting = Aborting(tokio::spawn(worker.clone().watch_interrupts()));
    let watching = config.frozen_after.zip(home).map(|(frozen_after, home)| {
        let url = format!("http://{}", here(own_address));
        Aborting(tokio::spawn(siblings::watch(worker.clone(), url, home, frozen_after)))
    });
    let listener = listen(config.listen).map_err(|error| taken(config.listen, &error))?;
    let address = listener.local_addr().map_err(|error| taken(config.listen, &error))?;
    let endpoint = Named { endpoint: config.endpoint(worker.clone())?, name: config.service.clone() };
    let (stop, stopped) = watch::channel(false);
    let connections = tokio::spawn(accept(listener, endpoint, config.streams, stopped));

    let served = async {
        if let Some(admin) = &config.admin {
            let uri = config.advertise.clone().unwrap_or_else(|| format!("http://{address}"));
            Engine::new(admin).register(&uri, config.force, REGISTER_TIME).await.map_err(WorkerError)?;
        }
        ready.send_replace(true);
        let mut broken = worker.broken.subscribe();
        match broken.wait_for(Option::is_some).await {
            Ok(why) => Err(WorkerError(why.clone().unwrap_or_default())),
            Err(_) => Ok(()),
        }
    };
    let ended = tokio::select! {
        ended = served => ended,
        () = shutdown => Ok(()),
    };
    ready.send_replace(false);
    worker.draining.send_replace(true);
    stop.send_replace(true);
    if ended.is_ok() {
        finish(&worker, config.drain).await;
    }
    worker.leave();
    // The runtime ends first: its threads are then free for the worker that the engine asks next.
    let closed = worker.codex.close().await;
    let _ = tokio::time::timeout(CLOSING_TIME, connections).await;
    drop((own, watching, cleaning, interrupting));
    ended.and(closed.map_err(|error| WorkerError(error.to_string())))
}

/// Waits for the turns that run and wait for no decision.
async fn finish(worker: &Worker, drain: Duration) {
    const POLL: Duration = Duration::from_millis(50);
    let waiting = async {
        while worker.busy() > 0 {
            tokio::time::sleep(POLL).await;
        }
    };
    let _ = tokio::time::timeout(drain, waiting).await;
}

/// Removes the files of invocations that have long ended, at once and once a day.
async fn clean(worker: Arc<Worker>) {
    loop {
        let before = SystemTime::now().checked_sub(openings::KEPT);
        let _ = worker.openings().map(|openings| before.map(|before| openings.clean(before)));
        let _ = worker.notes.get().zip(before).map(|(notes, before)| notes.clean(before));
        let _ = worker.interrupts.get().zip(before).map(|(interrupts, before)| interrupts.clean(before));
        tokio::time::sleep(openings::KEPT).await;
    }
}

fn taken(address: SocketAddr, error: &std::io::Error) -> WorkerError {
    WorkerError(format!("the worker cannot listen on {address}: {error}"))
}

/// The address at which a program of this machine reaches a port.
fn here(mut bound: SocketAddr) -> SocketAddr {
    if bound.ip().is_unspecified() {
        bound.set_ip(if bound.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    bound
}

/// A listener beside those of other workers on the same address.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    #[cfg(unix)]
    socket.set_reuseport(true)?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1024)
}

/// Serves connections of the engine until `stopped`, and then waits for their requests.
async fn accept(listener: TcpListener, endpoint: Named, streams: u32, mut stopped: watch::Receiver<bool>) {
    let graceful = GracefulShutdown::new();
    loop {
        let stream = tokio::select! {
            stream = accept::accept(&listener) => stream,
            () = is_set(&mut stopped) => break,
        };
        let _ = stream.set_nodelay(true);
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(streams)
            .serve_connection(TokioIo::new(stream), endpoint.clone());
        tokio::spawn(graceful.watch(connection));
    }
    drop(listener);
    graceful.shutdown().await;
}

/// A task that ends with its handle.
struct Aborting<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for Aborting<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_own_port_without_an_address_needs_a_url() {
        let config = WorkerConfig::new();
        let url = |config: &WorkerConfig, bound: &str| config.control_url(bound.parse().unwrap());
        assert_eq!(url(&config, "10.0.0.7:81").unwrap(), "http://10.0.0.7:81");
        for bound in ["0.0.0.0:81", "[::]:81"] {
            let error = url(&config, bound).unwrap_err().to_string();
            assert!(error.contains("--advertise-control"), "{error}");
        }
        let config = config.advertise_control("http://worker-1:81/");
        assert_eq!(url(&config, "0.0.0.0:81").unwrap(), "http://worker-1:81");
        // Other workers of the machine.
        assert_eq!(here("0.0.0.0:81".parse().unwrap()).to_string(), "127.0.0.1:81");
        assert_eq!(here("[::]:81".parse().unwrap()).to_string(), "[::1]:81");
        assert_eq!(here("10.0.0.7:81".parse().unwrap()).to_string(), "10.0.0.7:81");
    }
}

//! How a client finds, starts and greets the runtime.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::connection::backlog::Limits;
use crate::dispatch::registry::HandlerSet;
#[cfg(feature = "endpoints")]
use crate::endpoint::address::Endpoint;
use crate::error::{Error, Result};
use crate::handler::closures::closure_setters;
#[cfg(feature = "endpoints")]
use crate::options::connection_policy::ConnectionPolicy;
use crate::options::method_class::{ClassTimeouts, MethodClass};
use crate::options::restart_policy::RestartPolicy;
use crate::options::trace_context::{TraceContext, TraceSource};
use crate::process::before_spawn::BeforeSpawn;
use crate::process::environment::ChildEnvironment;
use crate::process::launch::LaunchOptions;
use crate::wire_log::WireLog;

/// The configuration of a client: how it finds, starts and uses the runtime.
///
/// Every option has a default. `CodexConfig::default()` starts the runtime that
/// [`runtime::locate`](crate::runtime::locate) finds, in this process's folder and environment.
///
/// ```
/// use openai_codex::CodexConfig;
///
/// let config = CodexConfig::new()
///     .config_override("model_reasoning_effort", "high")
///     .env("RUST_LOG", "warn")
///     .client_name("my_tool");
/// # let _ = config;
/// ```
#[doc(alias = "AppServerConfig")]
#[derive(Clone)]
pub struct CodexConfig {
    pub(crate) codex_bin: Option<PathBuf>,
    pub(crate) launch_args: Option<Vec<OsString>>,
    pub(crate) config_overrides: Vec<String>,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) env: ChildEnvironment,
    pub(crate) before_spawn: Option<BeforeSpawn>,
    pub(crate) client_name: String,
    pub(crate) client_title: String,
    pub(crate) client_version: String,
    pub(crate) experimental_api: bool,
    pub(crate) start_timeout: Duration,
    pub(crate) request_timeouts: ClassTimeouts,
    pub(crate) handler_timeout: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) turn_idle_timeout: Duration,
    pub(crate) restart: Option<RestartPolicy>,
    #[cfg(feature = "endpoints")]
    pub(crate) endpoint: Option<Endpoint>,
    #[cfg(feature = "endpoints")]
    pub(crate) connection_policy: ConnectionPolicy,
    pub(crate) handlers: HandlerSet,
    pub(crate) limits: Limits,
    pub(crate) wire_log: Option<WireLog>,
    pub(crate) trace_context: Option<TraceSource>,
}

impl CodexConfig {
    /// Creates the default configuration.
    pub fn new() -> Self {
        Self {
            codex_bin: None,
            launch_args: None,
            config_overrides: Vec::new(),
            cwd: None,
            env: ChildEnvironment::default(),
            before_spawn: None,
            client_name: "codex_rust_sdk".into(),
            client_title: "Codex Rust SDK".into(),
            client_version: env!("CARGO_PKG_VERSION").into(),
            experimental_api: true,
            start_timeout: Duration::from_secs(30),
            request_timeouts: ClassTimeouts::default(),
            handler_timeout: Duration::from_secs(600),
            close_timeout: Duration::from_secs(6),
            turn_idle_timeout: Duration::from_secs(120),
            restart: None,
            #[cfg(feature = "endpoints")]
            endpoint: None,
            #[cfg(feature = "endpoints")]
            connection_policy: ConnectionPolicy::new(),
            handlers: HandlerSet::default(),
            limits: Limits { coalesce_above: 48 << 20, stream: 256 << 20 },
            wire_log: None,
            trace_context: None,
        }
    }

    /// Sets the runtime program. Unless set, [`runtime::locate`](crate::runtime::locate) finds one.
    pub fn codex_bin(mut self, path: impl Into<PathBuf>) -> Self {
        self.codex_bin = Some(path.into());
        self
    }

    /// Sets the whole command line, with the program first. The client adds nothing to it, and ignores
    /// [`codex_bin`](Self::codex_bin) and [`config_overrides`](Self::config_overrides).
    pub fn launch_args_override<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.launch_args = Some(args.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the runtime's `--config KEY=VALUE` arguments, in this order. The runtime reads a value as TOML, or as a plain string if
    /// it is not TOML. Replaces all earlier overrides.
    pub fn config_overrides<S: Into<String>>(mut self, overrides: impl IntoIterator<Item = S>) -> Self {
        self.config_overrides = overrides.into_iter().map(Into::into).collect();
        self
    }

    /// Adds one `--config KEY=VALUE` argument.
    pub fn config_override(mut self, key: impl fmt::Display, value: impl fmt::Display) -> Self {
        self.config_overrides.push(format!("{key}={value}"));
        self
    }

    /// Sets the folder in which the runtime starts. [`ThreadStart::cwd`](crate::ThreadStart::cwd) sets a thread's folder.
    pub fn cwd(mut self, path: impl Into<PathBuf>) -> Self {
        self.cwd = Some(path.into());
        self
    }

    /// Sets one environment variable of the runtime. It replaces the value that the runtime would inherit from this process. If `env`
    /// and [`env_remove`](Self::env_remove) have the same name, the later call counts.
    ///
    /// The runtime's variables also decide which runtime the client starts (`CODEX_BIN`, `PATH`) and where its home is (`CODEX_HOME`,
    /// `HOME`).
    ///
    /// The runtime also uses `HTTP_PROXY`, `HTTPS_PROXY` and `ALL_PROXY` for a model on this machine. The client does not change
    /// them. If your model provider listens on loopback, add the address to `NO_PROXY`.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.set(name.into(), value.into());
        self
    }

    /// Removes one environment variable from the runtime's environment, and an earlier [`env`](Self::env) with this name.
    pub fn env_remove(mut self, name: impl Into<OsString>) -> Self {
        self.env.remove(name.into());
        self
    }

    /// Makes the runtime inherit only those environment variables of this process that [`env_inherit`](Self::env_inherit) names. The
    /// variables of [`env`](Self::env) stay. The order of these calls does not matter.
    ///
    /// The runtime needs `HOME` or `CODEX_HOME`, and its commands need `PATH`. On Linux the client always adds
    /// `OPENAI_CODEX_RUNTIME_ID`, which [marks the runtime's commands](crate::guide::cancellation#orphaned-commands).
    ///
    /// ```
    /// use openai_codex::CodexConfig;
    ///
    /// let config = CodexConfig::new().env_clear().env_inherit(["PATH", "HOME", "LANG"]).env("RUST_LOG", "warn");
    /// # let _ = config;
    /// ```
    pub fn env_clear(mut self) -> Self {
        self.env.clear();
        self
    }

    /// Adds environment variables that the runtime inherits in spite of [`env_clear`](Self::env_clear). No effect without it.
    pub fn env_inherit<N: Into<OsString>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.env.inherit(names.into_iter().map(Into::into));
        self
    }

    /// Sets a hook that receives the runtime's command before each start. It can add the runtime to a control group or a container,
    /// limit it, or replace the command by one that runs it.
    ///
    /// The client sets the program, the arguments, the folder and the environment before the hook, and keeps the hook's changes. After
    /// the hook, it sets standard input, output and error to its pipes, and makes the child the leader of its own process group. The
    /// command must connect its standard input and output to the runtime's, must stay alive as long as the runtime, and must end
    /// when its standard input is closed.
    ///
    /// The hook runs on its own thread. If it fails or panics, the start fails with [`ErrorKind::Spawn`](crate::ErrorKind::Spawn). Its
    /// time counts against [`start_timeout`](Self::start_timeout). With a hook, the client does not read the schema of a runtime
    /// without a version (your own build), and refuses options that depend on the version.
    ///
    /// ```no_run
    /// use openai_codex::CodexConfig;
    ///
    /// // Runs the runtime with a lower priority.
    /// let config = CodexConfig::new().before_spawn(|command| {
    ///     let mut nice = std::process::Command::new("nice");
    ///     nice.arg(command.get_program()).args(command.get_args());
    ///     nice.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    ///     *command = nice;
    ///     Ok(())
    /// });
    /// # let _ = config;
    /// ```
    pub fn before_spawn(
        mut self,
        hook: impl Fn(&mut Command) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.before_spawn = Some(BeforeSpawn::new(hook));
        self
    }

    /// Sets `clientInfo.name` of `initialize`. `codex_rust_sdk` unless set.
    pub fn client_name(mut self, name: impl Into<String>) -> Self {
        self.client_name = name.into();
        self
    }

    /// Sets `clientInfo.title` of `initialize`. `Codex Rust SDK` unless set.
    pub fn client_title(mut self, title: impl Into<String>) -> Self {
        self.client_title = title.into();
        self
    }

    /// Sets `clientInfo.version` of `initialize`. This crate's version unless set.
    pub fn client_version(mut self, version: impl Into<String>) -> Self {
        self.client_version = version.into();
        self
    }

    /// Sets whether `initialize` requests the experimental methods and fields. `true` unless set.
    pub fn experimental_api(mut self, enabled: bool) -> Self {
        self.experimental_api = enabled;
        self
    }

    /// Sets how long the runtime may take to start and to respond to `initialize`. 30 seconds unless set. After that the client ends
    /// the runtime, which can take the [`close_timeout`](Self::close_timeout), and then returns the error.
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = timeout;
        self
    }

    /// Sets how long each request may wait for its response. It replaces the timeouts of all classes that were set before. Unless
    /// set, each method has the timeout of its [class](Self::class_timeout).
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeouts = ClassTimeouts::all(timeout);
        self
    }

    /// Sets how long the requests of one class of methods may wait for their responses. `Duration::MAX` means no timeout.
    ///
    /// The defaults are 30 seconds for [`Quick`](MethodClass::Quick), 5 minutes for [`Slow`](MethodClass::Slow) and no timeout for
    /// [`Lasting`](MethodClass::Lasting); see [`guide::timeouts`](crate::guide::timeouts). The timeout ends the wait only: the server
    /// may still execute the request. A later [`request_timeout`](Self::request_timeout) replaces this.
    ///
    /// ```
    /// use std::time::Duration;
    /// use openai_codex::{CodexConfig, MethodClass};
    ///
    /// // Waits an hour for a command of `command/exec`, and no longer.
    /// let config = CodexConfig::new().class_timeout(MethodClass::Lasting, Duration::from_secs(3600));
    /// # let _ = config;
    /// ```
    pub fn class_timeout(mut self, class: MethodClass, timeout: Duration) -> Self {
        self.request_timeouts.set(class, timeout);
        self
    }

    /// Sets how long the runtime's process may take to end. 6 seconds unless set. It applies when the client is closed or dropped, when
    /// a start fails, and before a restart.
    ///
    /// The client first writes queued messages for at most half a second. It then escalates in thirds of the time: it closes the
    /// runtime's input, sends the process group a termination signal, and kills it. The last third is for the kill to take effect. The
    /// runtime usually ends in a tenth of a second. No effect with a transport or on the server of an
    /// endpoint. It applies to the command of a proxy.
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self
    }

    /// Sets how long a handler may take to respond to a server request, from its arrival. 10 minutes unless set. After that the client
    /// sends the server an error, and signals the handler's [`Cancellation`](crate::Cancellation).
    pub fn handler_timeout(mut self, timeout: Duration) -> Self {
        self.handler_timeout = timeout;
        self
    }

    /// Sets how long a turn may be silent before the client asks the server about it. 2 minutes unless set. Zero turns this off; any
    /// other value is at least a second. The time stops while the server waits for a response of this client.
    ///
    /// If the server reports that the turn is over, or does not respond, the turn ends with
    /// [`ErrorKind::TurnLost`](crate::ErrorKind::TurnLost). The client never starts it again. On the wire: `thread/read`, and
    /// `thread/turns/list` if the thread is active.
    pub fn turn_idle_timeout(mut self, silence: Duration) -> Self {
        self.turn_idle_timeout = silence;
        self
    }

    /// Sets how many bytes of events may wait for slow consumers, on all turns together, before the client coalesces deltas. 48 MiB
    /// unless set. A coalesced event has the text of all its deltas, and [`coalesced_count`](crate::coalesced_count) returns their
    /// number. Deltas of different items may then change places between two other events.
    pub fn coalesce_above(mut self, bytes: usize) -> Self {
        self.limits.coalesce_above = bytes;
        self
    }

    /// Sets how many bytes of unread events, as JSON and after coalescing, a turn's stream may hold. 256 MiB unless set. A stream that
    /// exceeds it drops them and ends with [`ErrorKind::StreamOverflow`](crate::ErrorKind::StreamOverflow). Its turn continues, and
    /// `run` returns the whole result.
    pub fn stream_limit(mut self, bytes: usize) -> Self {
        self.limits.stream = bytes;
        self
    }

    /// Writes all messages on the wire to a file. It leaves out the values of fields whose names mark them as secret; see
    /// [`guide::observing`](crate::guide::observing).
    pub fn wire_log(mut self, log: WireLog) -> Self {
        self.wire_log = Some(log);
        self
    }

    /// Sends a trace context with each request, so that the server's work becomes part of the caller's trace. For each request, the
    /// client calls the closure on the caller's thread. The closure returns the current context, or `None`.
    ///
    /// On the wire: `trace`, beside `method` and `params`.
    ///
    /// ```
    /// use openai_codex::{CodexConfig, TraceContext};
    ///
    /// // With OpenTelemetry, the propagator injects these values.
    /// fn current() -> Option<TraceContext> {
    ///     Some(TraceContext::new("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))
    /// }
    ///
    /// let config = CodexConfig::new().trace_context(current);
    /// # let _ = config;
    /// ```
    pub fn trace_context(
        mut self,
        current: impl Fn() -> Option<TraceContext> + Send + Sync + 'static,
    ) -> Self {
        self.trace_context = Some(TraceSource(Arc::new(current)));
        self
    }

    /// Makes the client replace a lost runtime by a new one at its next use. A runtime is lost if its process exits or its connection
    /// breaks. Off unless set. It does not apply to a first start that fails, or to a client with a transport.
    ///
    /// Pending calls fail, and the client never repeats them; see [`guide::restart`](crate::guide::restart).
    pub fn restart(mut self, policy: RestartPolicy) -> Self {
        self.restart = Some(policy);
        self
    }

    /// Makes the client connect to a server that runs by itself, instead of starting a runtime of its own. Other clients can use
    /// the server at the same time; see [`guide::endpoints`](crate::guide::endpoints).
    ///
    /// The end of the client ends the connection, and not the server. Running turns go on. The client leaves a server request that
    /// no handler takes unanswered if it is about a turn of another client.
    ///
    /// The options for a process apply only to a server that [`or_start`](Endpoint::or_start) starts. Without it, a start fails with
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) if one of these is set: [`codex_bin`](Self::codex_bin),
    /// [`launch_args_override`](Self::launch_args_override), [`config_overrides`](Self::config_overrides), [`cwd`](Self::cwd),
    /// [`before_spawn`](Self::before_spawn). In any case [`restart`](Self::restart) does not apply and is refused.
    #[cfg(feature = "endpoints")]
    pub fn connect(mut self, endpoint: Endpoint) -> Self {
        self.endpoint = Some(endpoint);
        self
    }

    /// Sets how often a client with an [endpoint](Self::connect) connects again after it has lost the connection. Unless set, it does so
    /// for about 13 minutes. [`ConnectionPolicy::never`] turns it off.
    ///
    /// Handles and streams stay. The client restores the running turns, and sends no request twice that may have had effects; see
    /// [`guide::lost_connections`](crate::guide::lost_connections). It does not apply to a first start that fails.
    #[cfg(feature = "endpoints")]
    pub fn connection_policy(mut self, policy: ConnectionPolicy) -> Self {
        self.connection_policy = policy;
        self
    }

    closure_setters!(handlers);

    /// The parts of the runtime's command line.
    pub(crate) fn launch_options(&self) -> LaunchOptions<'_> {
        LaunchOptions {
            codex_bin: self.codex_bin.as_deref(),
            launch_args: self.launch_args.as_deref(),
            config_overrides: &self.config_overrides,
            cwd: self.cwd.as_deref(),
            env: &self.env,
            close_timeout: self.close_timeout,
            is_hooked: self.before_spawn.is_some(),
        }
    }

    /// Checks the options before the client starts a process.
    pub(crate) fn validate(&self) -> Result<()> {
        for entry in &self.config_overrides {
            match entry.split_once('=') {
                Some((key, _)) if !key.trim().is_empty() => {}
                _ => {
                    return Err(Error::invalid_config(format!(
                        "config override {entry:?} does not have the form KEY=VALUE; write for example \
                         `model_reasoning_effort=high`"
                    )));
                }
            }
        }
        if self.launch_args.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::invalid_config(
                "launch_args_override is empty; pass the program as its first entry",
            ));
        }
        if self.config_overrides.iter().any(|entry| entry.contains('\0')) {
            return Err(Error::invalid_config("a config override contains a NUL byte; remove it"));
        }
        self.env.validate()?;
        if let Some(path) = &self.codex_bin {
            require_text(
                "codex_bin",
                path.as_os_str().as_encoded_bytes(),
                "leave it out, or pass the program's path",
            )?;
        }
        require_text(
            "client_name",
            self.client_name.as_bytes(),
            "leave it out, or pass your program's name",
        )?;
        if let Some(policy) = &self.restart {
            policy.validate()?;
        }
        if let Some(cwd) = &self.cwd {
            require_folder(cwd)?;
        }
        #[cfg(feature = "endpoints")]
        self.connection_policy.validate()?;
        #[cfg(feature = "endpoints")]
        if let Some(endpoint) = &self.endpoint {
            self.check_options_for_processes(endpoint.starts_server())?;
        }
        Ok(())
    }

    /// Refuses options that a server of somebody else cannot apply.
    #[cfg(feature = "endpoints")]
    fn check_options_for_processes(&self, may_start: bool) -> Result<()> {
        if self.restart.is_some() {
            return Err(Error::invalid_config(
                "`restart` does not apply to a client that connects to a server; leave it out, and connect again with a new \
                 client",
            ));
        }
        let set = [
            ("codex_bin", self.codex_bin.is_some()),
            ("launch_args_override", self.launch_args.is_some()),
            ("config_overrides", !self.config_overrides.is_empty()),
            ("cwd", self.cwd.is_some()),
            ("before_spawn", self.before_spawn.is_some()),
        ];
        match set.iter().find(|(_, is_set)| *is_set && !may_start) {
            Some((option, _)) => Err(Error::invalid_config(format!(
                "`{option}` cannot apply to a server that runs already; leave it out, set it where the server is started, or let \
                 the client start the server with `Endpoint::or_start`"
            ))),
            None => Ok(()),
        }
    }
}

/// Refuses a value that is blank or contains a NUL byte. The error names the setter.
fn require_text(setter: &str, text: &[u8], advice: &str) -> Result<()> {
    if text.trim_ascii().is_empty() {
        return Err(Error::invalid_config(format!("{setter} is blank; {advice}")));
    }
    if text.contains(&0) {
        return Err(Error::invalid_config(format!("{setter} contains a NUL byte; {advice}")));
    }
    Ok(())
}

fn require_folder(cwd: &Path) -> Result<()> {
    match std::fs::metadata(cwd) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(Error::invalid_config(format!("cwd {} is not a folder; set a folder", cwd.display()))),
        Err(error) => Err(Error::invalid_config(format!(
            "cwd {} cannot be used: {error}; create it or set another",
            cwd.display()
        ))
        .with_source(error)),
    }
}

impl Default for CodexConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// Shows only the names of environment variables and overrides, because the values can be secrets.
impl fmt::Debug for CodexConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let overrides: Vec<&str> =
            self.config_overrides.iter().map(|entry| entry.split('=').next().unwrap_or_default()).collect();
        f.debug_struct("CodexConfig")
            .field("codex_bin", &self.codex_bin)
            .field("launch_args_override", &self.launch_args.as_ref().map(|args| args.len()))
            .field("config_overrides", &overrides)
            .field("cwd", &self.cwd)
            .field("env", &self.env)
            .field("client_name", &self.client_name)
            .field("client_version", &self.client_version)
            .field("experimental_api", &self.experimental_api)
            .field("handlers", &self.handlers)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn an_override_without_key_or_value_is_refused() {
        for bad in ["model", "=high", "  =high", ""] {
            let error = CodexConfig::new().config_overrides([bad]).validate().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            assert!(error.to_string().contains("KEY=VALUE"), "{error}");
        }
        CodexConfig::new().config_override("a.b", true).validate().unwrap();
    }

    #[test]
    fn the_error_of_a_missing_cwd_names_it() {
        let error = CodexConfig::new().cwd("/no/such/folder").validate().unwrap_err();
        assert!(error.to_string().contains("/no/such/folder"), "{error}");
    }

    #[test]
    fn debug_shows_no_values() {
        let config =
            CodexConfig::new().env("OPENAI_API_KEY", "sk-secret").config_override("token", "sk-secret");
        assert!(!format!("{config:?}").contains("sk-secret"));
    }
}

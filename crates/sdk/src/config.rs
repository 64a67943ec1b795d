/// How a client finds, starts and greets the runtime.
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::connection::backlog::Limits;
use crate::dispatch::handler_set::HandlerSet;
use crate::error::{Error, Result};
use crate::handler::closures::closure_setters;
use crate::options::method_class::{ClassTimeouts, MethodClass};
use crate::options::restart_policy::RestartPolicy;
use crate::options::trace_context::{TraceContext, TraceSource};
use crate::process::before_spawn::BeforeSpawn;
use crate::process::environment::ChildEnvironment;
use crate::process::launch::LaunchOptions;
use crate::wire_log::WireLog;

/// How a client finds, starts and greets the runtime.
///
/// Everything is optional; `CodexConfig::default()` starts the runtime that
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
    pub(crate) layer: HandlerSet,
    pub(crate) limits: Limits,
    pub(crate) wire_log: Option<WireLog>,
    pub(crate) trace_context: Option<TraceSource>,
}

impl CodexConfig {
    /// The default configuration.
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
            layer: HandlerSet::default(),
            limits: Limits { coalesce_above: 48 << 20, stream: 256 << 20 },
            wire_log: None,
            trace_context: None,
        }
    }

    /// The runtime program to start. Without it [`runtime::locate`](crate::runtime::locate) looks for one.
    pub fn codex_bin(mut self, path: impl Into<PathBuf>) -> Self {
        self.codex_bin = Some(path.into());
        self
    }

    /// The whole command line, program first, used as it is: nothing is added, and
    /// [`codex_bin`](Self::codex_bin) and [`config_overrides`](Self::config_overrides) are ignored.
    pub fn launch_args_override<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.launch_args = Some(args.into_iter().map(Into::into).collect());
        self
    }

    /// Settings passed as `--config KEY=VALUE`, in order, before `app-server`. A value is read as TOML, and taken
    /// as a plain string where it is not TOML.
    pub fn config_overrides<S: Into<String>>(mut self, overrides: impl IntoIterator<Item = S>) -> Self {
        self.config_overrides = overrides.into_iter().map(Into::into).collect();
        self
    }

    /// Adds one `--config KEY=VALUE`.
    pub fn config_override(mut self, key: impl fmt::Display, value: impl fmt::Display) -> Self {
        self.config_overrides.push(format!("{key}={value}"));
        self
    }

    /// The folder that the runtime starts in. A thread's own folder is
    /// [`ThreadStart::cwd`](crate::ThreadStart::cwd).
    pub fn cwd(mut self, path: impl Into<PathBuf>) -> Self {
        self.cwd = Some(path.into());
        self
    }

    /// Sets one environment variable of the runtime, in place of what it inherits from this process. Of `env` and
    /// [`env_remove`](Self::env_remove) with the same name, the later call counts.
    ///
    /// The variables of the runtime are also those that decide which runtime is started (`CODEX_BIN`, `PATH`) and where its
    /// home is (`CODEX_HOME`, `HOME`).
    ///
    /// The runtime uses `HTTP_PROXY`, `HTTPS_PROXY` and `ALL_PROXY` for a model on this machine too. The client leaves
    /// these as they are: name the machine in `NO_PROXY` where a model provider of your own listens on loopback.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.set(name.into(), value.into());
        self
    }

    /// Keeps one environment variable of this process from the runtime, and takes back an [`env`](Self::env).
    pub fn env_remove(mut self, name: impl Into<OsString>) -> Self {
        self.env.remove(name.into());
        self
    }

    /// Has the runtime inherit no environment variable of this process, but those that
    /// [`env_inherit`](Self::env_inherit) names. What [`env`](Self::env) sets is kept. The order of these calls does not
    /// matter.
    ///
    /// The runtime needs `HOME` or `CODEX_HOME`, and its commands need `PATH`.
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

    /// Names environment variables that the runtime inherits from this process although [`env_clear`](Self::env_clear) is
    /// set. No effect without that. Names of several calls add up.
    pub fn env_inherit<N: Into<OsString>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.env.inherit(names.into_iter().map(Into::into));
        self
    }

    /// Calls `hook` with the command of the runtime, before each start of it: to put it into a control group or a
    /// container, to limit it, or to replace the whole command by one that ends in it.
    ///
    /// The program and its arguments, the folder and the environment are set by then. Whatever the hook does with them
    /// counts. After the hook the client sets standard input, output and error, which are its pipes, and makes the child the
    /// leader of a process group of its own. The command must connect its standard input and output to the runtime's, must
    /// stay alive as long as the runtime, and must end when its standard input is closed.
    ///
    /// The hook runs on a thread of its own. Its error or panic fails the start with
    /// [`ErrorKind::Spawn`](crate::ErrorKind::Spawn), and its time counts against [`start_timeout`](Self::start_timeout).
    /// A runtime of unknown version (a build of one's own) is not asked for its schema if there is a hook, so options that
    /// depend on the version are refused.
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

    /// The name in `initialize`'s `clientInfo`; `codex_rust_sdk` unless set.
    pub fn client_name(mut self, name: impl Into<String>) -> Self {
        self.client_name = name.into();
        self
    }

    /// The title in `clientInfo`; `Codex Rust SDK` unless set.
    pub fn client_title(mut self, title: impl Into<String>) -> Self {
        self.client_title = title.into();
        self
    }

    /// The version in `clientInfo`; the version of this crate unless set.
    pub fn client_version(mut self, version: impl Into<String>) -> Self {
        self.client_version = version.into();
        self
    }

    /// Whether `initialize` asks for the experimental methods and fields. On unless turned off.
    pub fn experimental_api(mut self, enabled: bool) -> Self {
        self.experimental_api = enabled;
        self
    }

    /// How long the runtime may take to start and to answer `initialize`; 30 seconds unless set. One that does not is
    /// ended before the error comes, which can take the [`close_timeout`](Self::close_timeout) more.
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = timeout;
        self
    }

    /// How long any request may wait for its answer, whatever its class, in place of what was set for classes before.
    /// Unless set, each method has the timeout of its [class](Self::class_timeout).
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeouts = ClassTimeouts::all(timeout);
        self
    }

    /// How long the requests of one class of methods may wait for their answers: unless set, 30 seconds for quick ones, 5
    /// minutes for those that load or contact something, and no timeout for those that last as long as the work they
    /// start; see [`guide::timeouts`](crate::guide::timeouts). `Duration::MAX` is none. What is bounded is the wait:
    /// the server may carry a request out that nobody waits for any more. A
    /// [`request_timeout`](Self::request_timeout) that is set later replaces this.
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

    /// How long the process of the runtime may take to end, when the client is closed or dropped, when a start fails, and
    /// before another is started; 6 seconds unless set. Its input is closed; after a third of the time its process group gets
    /// a termination signal, after another it is killed, and the rest is for the kill to show. The runtime itself needs a
    /// tenth of a second. Before that, what was queued has half a second to be written. No effect with a transport of
    /// one's own, which has no process.
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self
    }

    /// How long a handler may take to answer a request of the server, from its arrival; 10 minutes unless set. Then the
    /// server gets an error, and the handler's [`Cancellation`](crate::Cancellation) happens.
    pub fn handler_timeout(mut self, timeout: Duration) -> Self {
        self.handler_timeout = timeout;
        self
    }

    /// How long a turn may be silent, while the server waits for no answer of this client, before the server is asked
    /// about it: `thread/read`, and where that says that the thread is at work `thread/turns/list`. 2 minutes unless
    /// set. Only if the server says that the turn is over, or does not answer, the turn ends here too, with
    /// [`ErrorKind::TurnLost`](crate::ErrorKind::TurnLost). It is never started again. Zero turns this off; anything else is
    /// at least a second.
    pub fn turn_idle_timeout(mut self, silence: Duration) -> Self {
        self.turn_idle_timeout = silence;
        self
    }

    /// How many bytes of events may wait for slow consumers, on all turns together, before deltas are merged; 48 MiB
    /// unless set. A merged event has the text of all its deltas, unchanged; [`coalesced_count`](crate::coalesced_count) tells
    /// how many they were. Deltas of different items may then change places between two other events.
    pub fn coalesce_above(mut self, bytes: usize) -> Self {
        self.limits.coalesce_above = bytes;
        self
    }

    /// How many bytes of events, as JSON, one stream of a turn may leave lying, merged as they are; 256 MiB unless set. A
    /// stream that leaves more ends with [`ErrorKind::StreamOverflow`](crate::ErrorKind::StreamOverflow), and what it had
    /// queued is dropped. Its turn goes on, and `run` has its whole result.
    pub fn stream_limit(mut self, bytes: usize) -> Self {
        self.limits.stream = bytes;
        self
    }

    /// Writes everything that crosses the wire to a file, without what is secret by its name; see
    /// [`guide::observing`](crate::guide::observing).
    pub fn wire_log(mut self, log: WireLog) -> Self {
        self.wire_log = Some(log);
        self
    }

    /// Hands a trace context to the server with each request, so that what it does for the request becomes part of the
    /// caller's trace. The closure is called where the request is made, on the caller's thread; it gives the context of
    /// the moment, or `None`.
    ///
    /// On the wire: `trace`, beside `method` and `params`.
    ///
    /// ```
    /// use openai_codex::{CodexConfig, TraceContext};
    ///
    /// // With OpenTelemetry: what its propagator injects for the current context.
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

    /// Has the client start a new runtime, when it is next used, after the one that it had was lost: its process has
    /// exited, or the connection to it has broken. Off unless set; a lost runtime then stays lost. Not for a first start
    /// that fails, and without effect on a client that was made with a transport.
    ///
    /// What was under way fails and is never made again: see [`guide::restart`](crate::guide::restart).
    pub fn restart(mut self, policy: RestartPolicy) -> Self {
        self.restart = Some(policy);
        self
    }

    closure_setters!(layer);

    /// What the command line of the runtime is made of.
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

    /// Checks what can be checked before anything is started.
    pub(crate) fn validate(&self) -> Result<()> {
        for entry in &self.config_overrides {
            match entry.split_once('=') {
                Some((key, _)) if !key.trim().is_empty() => {}
                _ => {
                    return Err(Error::invalid_config(format!(
                        "config override {entry:?} is not of the form KEY=VALUE; write for example \
                         `model_reasoning_effort=high`"
                    )));
                }
            }
        }
        if self.launch_args.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::invalid_config(
                "launch_args_override is empty; its first entry is the program",
            ));
        }
        if self.config_overrides.iter().any(|entry| entry.contains('\0')) {
            return Err(Error::invalid_config("a config override holds a NUL byte"));
        }
        self.env.validate()?;
        if let Some(path) = &self.codex_bin {
            require_text(
                "codex_bin",
                path.as_os_str().as_encoded_bytes(),
                "leave it out, or name the program",
            )?;
        }
        require_text("client_name", self.client_name.as_bytes(), "leave it out, or name your program")?;
        if let Some(policy) = &self.restart {
            policy.validate()?;
        }
        if let Some(cwd) = &self.cwd {
            require_folder(cwd)?;
        }
        Ok(())
    }
}

/// Refuses what is blank or holds a NUL byte, naming the method that it was set with.
fn require_text(setter: &str, text: &[u8], advice: &str) -> Result<()> {
    if text.trim_ascii().is_empty() {
        return Err(Error::invalid_config(format!("{setter} is blank; {advice}")));
    }
    if text.contains(&0) {
        return Err(Error::invalid_config(format!("{setter} holds a NUL byte; {advice}")));
    }
    Ok(())
}

fn require_folder(cwd: &Path) -> Result<()> {
    match std::fs::metadata(cwd) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(Error::invalid_config(format!("cwd {} is not a folder", cwd.display()))),
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

/// Values of environment variables and overrides can be secrets, so only names are shown.
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
            .field("handlers", &self.layer)
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
    fn a_missing_cwd_is_named() {
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

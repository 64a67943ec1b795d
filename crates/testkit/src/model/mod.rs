//! A scripted model for the real runtime.
//!
//! [`ScriptedModel`] is an HTTP server on loopback that implements the part of the Responses API that the runtime uses.
//! A test queues a [`ModelReply`] for each expected request, runs turns, and then checks the
//! [requests](ScriptedModel::requests).

mod gate;
mod home;
mod message;
mod reasoning;
mod reply;
mod request;
mod review;
mod script;
mod server;
mod sse;
mod tool;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use openai_codex::CodexConfig;

pub use gate::Gate;
pub use message::{Phase, Usage};
pub use reasoning::Reasoning;
pub use reply::ModelReply;
pub use request::RecordedRequest;
pub use review::Verdict;
pub use tool::{ModelToolCall, Question};

use crate::wait::{DEFAULT_DEADLINE, Wait, WaitError};
use home::Home;
use script::Script;
use server::Server;

/// The name of the model in the configuration.
pub const MODEL: &str = "mock-model";

/// A model whose replies the test writes.
///
/// It runs on its own thread, so it serves blocking and async tests. It ends when it is dropped. It creates a new
/// `CODEX_HOME` whose configuration points to it. Dropping the model removes that directory, so close the client first.
///
/// A request without a queued reply fails with a message that says so. It ends the turn, and
/// [`unanswered`](Self::unanswered) lists it.
pub struct ScriptedModel {
    // The first field, so that it has ended before the directory is removed.
    server: Server,
    script: Arc<Script>,
    home: Home,
}

impl ScriptedModel {
    /// Starts a model on a free loopback port.
    pub fn start() -> io::Result<Self> {
        let script = Arc::new(Script::default());
        let server = Server::start(script.clone())?;
        let home = Home::new(&server.base_url())?;
        Ok(Self { server, script, home })
    }

    /// Queues the reply to one request. The model uses replies in order.
    pub fn reply(&self, reply: impl Into<ModelReply>) {
        self.script.push(None, reply.into());
    }

    /// Queues the reply to one request that meets the condition. A request takes the first reply in the queue that
    /// accepts it. Use it for turns of several threads, whose requests arrive in any order.
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// use openai_codex_testkit::ScriptedModel;
    ///
    /// let model = ScriptedModel::start()?;
    /// model.reply_when(|request| request.last_user_text() == Some("left"), "port");
    /// model.reply_when(|request| request.last_user_text() == Some("right"), "starboard");
    /// # Ok(())
    /// # }
    /// ```
    pub fn reply_when(
        &self,
        condition: impl Fn(&RecordedRequest) -> bool + Send + 'static,
        reply: impl Into<ModelReply>,
    ) {
        self.script.push(Some(Box::new(condition)), reply.into());
    }

    /// Sets the reply to every request without a queued one, instead of an error.
    pub fn fallback(&self, reply: impl Into<ModelReply>) {
        self.script.set_fallback(reply.into());
    }

    /// Sets the reviewer's verdict, from now on, about each action that the runtime sends to a model instead of the
    /// user. Such a request takes nothing from the queue, except a reply that [`reply_when`](Self::reply_when) has
    /// queued for it ([`is_review`](RecordedRequest::is_review)). Without a verdict it fails, and the runtime denies
    /// the action.
    pub fn review_with(&self, verdict: impl Into<ModelReply>) {
        self.script.set_review(verdict.into());
    }

    /// The requests for a review, in order of arrival. [`requests`](Self::requests) contains them too.
    pub fn reviews(&self) -> Vec<RecordedRequest> {
        self.requests().into_iter().filter(RecordedRequest::is_review).collect()
    }

    /// The number of unused replies.
    pub fn queued(&self) -> usize {
        self.script.queued()
    }

    /// Creates a gate for one [pause](ModelReply::pause).
    pub fn gate(&self) -> Gate {
        Gate::new(self.server.handle())
    }

    /// The requests for a reply, in order of arrival.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.script.requests()
    }

    /// The last request for a reply.
    pub fn last_request(&self) -> Option<RecordedRequest> {
        self.requests().pop()
    }

    /// The requests without a queued reply.
    pub fn unanswered(&self) -> Vec<RecordedRequest> {
        self.requests().into_iter().filter(|request| !request.answered).collect()
    }

    /// The requests for other paths, which the model refused with 404.
    pub fn other_requests(&self) -> Vec<RecordedRequest> {
        self.script.other_requests()
    }

    /// Waits, at most 30 seconds, until this many requests have arrived in total. Works on any executor.
    pub fn requested(&self, count: usize) -> impl Future<Output = Result<(), WaitError>> + Send + use<> {
        self.wait(count, DEFAULT_DEADLINE).wait()
    }

    /// Like [`requested`](Self::requested), with another timeout.
    pub fn requested_within(
        &self,
        count: usize,
        deadline: Duration,
    ) -> impl Future<Output = Result<(), WaitError>> + Send + use<> {
        self.wait(count, deadline).wait()
    }

    /// Like [`requested`](Self::requested), for tests without an executor. Blocks the thread.
    pub fn wait_requested(&self, count: usize) -> Result<(), WaitError> {
        self.wait_requested_within(count, DEFAULT_DEADLINE)
    }

    /// Like [`wait_requested`](Self::wait_requested), with another timeout.
    pub fn wait_requested_within(&self, count: usize, deadline: Duration) -> Result<(), WaitError> {
        self.wait(count, deadline).block()
    }

    fn wait(&self, count: usize, deadline: Duration) -> Wait {
        let what = format!("request number {count} to the model");
        Wait::new(&self.server.handle(), what, deadline, self.script.count(), move |now| *now >= count)
    }

    /// The value for `base_url` of a `model_provider`.
    pub fn base_url(&self) -> String {
        self.server.base_url()
    }

    /// This model's `CODEX_HOME`.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Environment variables for programs that start a runtime themselves. They make the runtime use
    /// [`home`](Self::home) and reach this model without a proxy. `NO_PROXY` and `no_proxy` keep their current
    /// contents.
    ///
    /// The host's other variables still reach such a program, unlike with [`config`](Self::config).
    pub fn env(&self) -> Vec<(String, String)> {
        self.home.env()
    }

    /// A configuration with which a client starts a runtime that uses this model and [`home`](Self::home). The client
    /// chooses the runtime; `codex_bin` overrides it.
    ///
    /// The model's settings are on the command line too, so that a runtime that outlives its home still contacts no
    /// other model.
    ///
    /// The host's settings do not affect a test. The runtime and its commands inherit only `PATH`, `TMPDIR` and
    /// `CODEX_BIN` of this process's environment: no proxy, no key, no `RUST_LOG`, no Git variable. `HOME` is an empty
    /// folder below [`home`](Self::home), without a login shell's profile. Add what a test needs with
    /// [`env`](CodexConfig::env) or [`env_inherit`](CodexConfig::env_inherit). For example, rustup's `cargo` needs the
    /// variables `RUSTUP_HOME` and `CARGO_HOME`, or the user's `HOME`.
    ///
    /// The system's files in `/etc`, such as `/etc/profile`, still apply.
    pub fn config(&self) -> CodexConfig {
        let config = CodexConfig::new().config_overrides(home::settings(&self.base_url()));
        let config = config.env_clear().env_inherit(home::INHERITED).env("HOME", self.home.user());
        self.env().into_iter().fold(config, |config, (name, value)| config.env(name, value))
    }

    /// Adds to `config.toml` in [`home`](Self::home). Lines before the first table of `toml` go to the top, the rest to
    /// the end. A runtime reads the file when it starts.
    ///
    /// The initial settings are on the command line too, and the command line wins. To change one of them, as in
    /// `model_providers.scripted.request_max_retries = 2`, use `config_override` of [`config`](Self::config).
    ///
    /// Write features as keys such as `features.NAME = true`. The file turns off two features this way, which would use
    /// the network and the user's shell.
    pub fn add_config(&self, toml: &str) -> io::Result<()> {
        self.home.add(toml)
    }
}

impl fmt::Debug for ScriptedModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedModel")
            .field("base_url", &self.base_url())
            .field("home", &self.home())
            .field("queued", &self.queued())
            .finish_non_exhaustive()
    }
}

//! A scripted model for the real runtime.
//!
//! [`ScriptedModel`] is an HTTP server on the loopback interface that speaks as much of the Responses API as the
//! runtime asks for. A test queues one [`ModelReply`] for each request that it expects, runs turns, and looks at the
//! [requests](ScriptedModel::requests) afterwards.

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

/// A model whose answers the test writes.
///
/// It runs on a thread of its own, so it serves blocking and async tests alike, and ends when it is dropped. It
/// comes with a fresh `CODEX_HOME` whose configuration points at it; the directory goes when the model goes, so
/// close the client first.
///
/// A request for which no reply is queued fails with a message that says so, which ends the turn, and stands in
/// [`unanswered`](Self::unanswered).
pub struct ScriptedModel {
    // First, so that it has ended before the directory is removed.
    server: Server,
    script: Arc<Script>,
    home: Home,
}

impl ScriptedModel {
    /// Starts a model on a free port of the loopback interface.
    pub fn start() -> io::Result<Self> {
        let script = Arc::new(Script::default());
        let server = Server::start(script.clone())?;
        let home = Home::new(&server.base_url())?;
        Ok(Self { server, script, home })
    }

    /// Queues the reply to one request. Replies are used in the order in which they were queued.
    pub fn reply(&self, reply: impl Into<ModelReply>) {
        self.script.push(None, reply.into());
    }

    /// Queues the reply to one request for which the condition holds; a request takes the first reply in the queue
    /// that accepts it. That is how turns of several threads, whose requests come in any order, get theirs.
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

    /// What every request gets for which nothing is queued, instead of an error.
    pub fn fallback(&self, reply: impl Into<ModelReply>) {
        self.script.set_fallback(reply.into());
    }

    /// What the reviewer says, from now on, about each action that the runtime asks a model to review instead of the user.
    /// Such requests take nothing from the queue, except what [`reply_when`](Self::reply_when) has queued for them
    /// ([`is_review`](RecordedRequest::is_review)); without a verdict they fail, and the action is denied.
    pub fn review_with(&self, verdict: impl Into<ModelReply>) {
        self.script.set_review(verdict.into());
    }

    /// The requests for a review, in the order of arrival; [`requests`](Self::requests) holds them as well.
    pub fn reviews(&self) -> Vec<RecordedRequest> {
        self.requests().into_iter().filter(RecordedRequest::is_review).collect()
    }

    /// How many replies nobody has asked for yet.
    pub fn queued(&self) -> usize {
        self.script.queued()
    }

    /// A gate for one [pause](ModelReply::pause).
    pub fn gate(&self) -> Gate {
        Gate::new(self.server.handle())
    }

    /// The requests for a reply, in the order of arrival.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.script.requests()
    }

    /// The last request for a reply.
    pub fn last_request(&self) -> Option<RecordedRequest> {
        self.requests().pop()
    }

    /// The requests for which no reply was queued.
    pub fn unanswered(&self) -> Vec<RecordedRequest> {
        self.requests().into_iter().filter(|request| !request.answered).collect()
    }

    /// What was asked of other paths, and refused with 404.
    pub fn other_requests(&self) -> Vec<RecordedRequest> {
        self.script.other_requests()
    }

    /// Waits, at most 30 seconds, until so many requests have come in all. Needs no particular executor.
    pub fn requested(&self, count: usize) -> impl Future<Output = Result<(), WaitError>> + Send + use<> {
        self.wait(count, DEFAULT_DEADLINE).wait()
    }

    /// [`requested`](Self::requested) with another deadline.
    pub fn requested_within(
        &self,
        count: usize,
        deadline: Duration,
    ) -> impl Future<Output = Result<(), WaitError>> + Send + use<> {
        self.wait(count, deadline).wait()
    }

    /// [`requested`](Self::requested) for tests without an executor: blocks the thread.
    pub fn wait_requested(&self, count: usize) -> Result<(), WaitError> {
        self.wait_requested_within(count, DEFAULT_DEADLINE)
    }

    /// [`wait_requested`](Self::wait_requested) with another deadline.
    pub fn wait_requested_within(&self, count: usize, deadline: Duration) -> Result<(), WaitError> {
        self.wait(count, deadline).block()
    }

    fn wait(&self, count: usize, deadline: Duration) -> Wait {
        let what = format!("request number {count} to the model");
        Wait::new(&self.server.handle(), what, deadline, self.script.count(), move |now| *now >= count)
    }

    /// The address for `base_url` of a `model_provider`.
    pub fn base_url(&self) -> String {
        self.server.base_url()
    }

    /// The `CODEX_HOME` that belongs to this model.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The environment variables that make a runtime use [`home`](Self::home), and reach this model without a proxy, for
    /// programs that start one themselves. `NO_PROXY` and `no_proxy` keep what they hold here.
    ///
    /// Other variables of the host still reach such a program; those of [`config`](Self::config) do not.
    pub fn env(&self) -> Vec<(String, String)> {
        self.home.env()
    }

    /// A configuration with which a client starts a runtime that uses this model and [`home`](Self::home). Which
    /// runtime is the client's choice, or set with `codex_bin`.
    ///
    /// The model stands on the command line too: a runtime that outlives its home still asks nobody else.
    ///
    /// What is set on the host does not change a test. Of this process's environment the runtime and its commands inherit
    /// `PATH`, `TMPDIR` and `CODEX_BIN` alone: no proxy, no key, no `RUST_LOG`, nothing of Git's. `HOME` is an empty folder
    /// below [`home`](Self::home), without the profile of a login shell. A test that needs more adds it with
    /// [`env`](CodexConfig::env) or [`env_inherit`](CodexConfig::env_inherit): for instance `cargo` as rustup installs it
    /// needs the variables `RUSTUP_HOME` and `CARGO_HOME`, or the user's `HOME`.
    ///
    /// Not kept out: what the system has in `/etc`, such as `/etc/profile`.
    pub fn config(&self) -> CodexConfig {
        let config = CodexConfig::new().config_overrides(home::settings(&self.base_url()));
        let config = config.env_clear().env_inherit(home::INHERITED).env("HOME", self.home.user());
        self.env().into_iter().fold(config, |config, (name, value)| config.env(name, value))
    }

    /// Adds to `config.toml` in [`home`](Self::home): what stands before the first table of `toml` goes to the top,
    /// the rest to the end. A runtime reads the file when it starts.
    ///
    /// What the file holds is on the command line as well, and that counts: to change one of those settings, as in
    /// `model_providers.scripted.request_max_retries = 2`, use `config_override` of [`config`](Self::config).
    ///
    /// Features go in as keys like `features.NAME = true`: the file turns two off like that, those that would use
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

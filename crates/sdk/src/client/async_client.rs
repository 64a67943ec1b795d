//! The async client.

use std::sync::Arc;

use openai_codex_protocol::ClientRequest;
use openai_codex_protocol::types::{GetAccountRateLimitsResponse, InitializeResponse, ThreadArchiveResponse};
use serde_json::Value;

use crate::account::handles::{AsyncChatgptLoginHandle, AsyncDeviceCodeLoginHandle};
use crate::account::read::AccountRead;
use crate::account::requests;
use crate::config::CodexConfig;
use crate::error::{Error, Result};
use crate::models::Models;
use crate::session::clients::AsyncCodex;
use crate::session::events::AsyncEvents;
use crate::session::runtime::Session;
use crate::session::supervisor::ClientCore;
use crate::thread::archive;
use crate::thread::fork::ThreadFork;
use crate::thread::handles::AsyncThread;
use crate::thread::list::ThreadList;
use crate::thread::resume::ThreadResume;
use crate::thread::start::ThreadStart;
use crate::transport::frames::Transport;

impl AsyncCodex {
    /// A client with the default configuration. PendingTurns nothing.
    #[expect(clippy::new_without_default, reason = "a client is made on purpose, as with `Codex::new`")]
    pub fn new() -> Self {
        Self::with_config(CodexConfig::new())
    }

    /// A client with a configuration, which is checked at the start. PendingTurns nothing.
    pub fn with_config(config: CodexConfig) -> Self {
        Self { core: ClientCore::new(config, None) }
    }

    /// A client of a server that is already reachable over `transport`. What the configuration says about processes
    /// is not used.
    pub fn with_transport(config: CodexConfig, transport: Transport) -> Self {
        Self { core: ClientCore::new(config, Some(transport)) }
    }

    /// PendingTurns the runtime, or a [new one](CodexConfig::restart) for one that was lost, and does the handshake. Idempotent,
    /// and implied by the first call of anything else.
    ///
    /// Never downloads a runtime: see [`runtime`](crate::runtime).
    ///
    /// # Errors
    /// No usable runtime or configuration; a program that is not a Codex runtime; no answer to `initialize` within
    /// [`CodexConfig::start_timeout`]. The client can then be started again, unless it was made with a transport,
    /// which is used up.
    pub async fn start(&self) -> Result<()> {
        self.session().await.map(drop)
    }

    /// The server's answer to `initialize`, that of the latest runtime; `None` before the start.
    pub fn metadata(&self) -> Option<Arc<InitializeResponse>> {
        self.core.metadata()
    }

    /// The id of the runtime's process, as the system numbers it. `None` when no runtime runs: before the start, once it is
    /// lost or closed, and for a client that was made with a transport. With
    /// [`before_spawn`](CodexConfig::before_spawn) it is the process of the command that the hook made.
    pub fn runtime_pid(&self) -> Option<u32> {
        self.core.runtime_pid()
    }

    /// PendingTurns a thread: a builder for `thread/start`.
    pub fn thread_start(&self) -> ThreadStart<Self> {
        ThreadStart::new(self.core.clone())
    }

    /// Lists stored threads: a builder for `thread/list`.
    pub fn thread_list(&self) -> ThreadList<Self> {
        ThreadList::new(self.core.clone())
    }

    /// Opens a stored thread again: a builder for `thread/resume`.
    pub fn thread_resume(&self, thread_id: impl Into<String>) -> ThreadResume<Self> {
        ThreadResume::new(self.core.clone(), thread_id.into())
    }

    /// Makes a new thread out of the history of another: a builder for `thread/fork`.
    pub fn thread_fork(&self, thread_id: impl Into<String>) -> ThreadFork<Self> {
        ThreadFork::new(self.core.clone(), thread_id.into())
    }

    /// Archives a thread: `thread/archive`. It needs to have been used; [`thread_list`](Self::thread_list) then shows
    /// it only with `archived(true)`.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn thread_archive(&self, thread_id: &str) -> Result<ThreadArchiveResponse> {
        archive::archive(&self.core, thread_id).await
    }

    /// Takes a thread out of the archive: `thread/unarchive`. The handle has the same id.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn thread_unarchive(&self, thread_id: &str) -> Result<AsyncThread> {
        archive::unarchive(self.core.clone(), thread_id).await
    }

    /// Lists the models: a builder for `model/list`.
    pub fn models(&self) -> Models<Self> {
        Models::new(self.core.clone())
    }

    /// Logs in with an API key: `account/login/start`. The server stores the key, and uses it from the next turn on; it
    /// does not check it.
    ///
    /// No error and no event repeats the key.
    ///
    /// # Errors
    /// A blank key, before anything is sent; otherwise as [`request`](Self::request).
    pub async fn login_api_key(&self, api_key: impl Into<String>) -> Result<()> {
        requests::api_key(&self.core, api_key.into()).await
    }

    /// Begins a login with a ChatGPT account in a browser on this machine: `account/login/start`. A login that still
    /// waits for its person is replaced by it, and fails.
    ///
    /// # Errors
    /// As [`request`](Self::request); the runtime cannot listen for the browser.
    pub async fn login_chatgpt(&self) -> Result<AsyncChatgptLoginHandle> {
        requests::chatgpt(&self.core).await
    }

    /// Begins a login with a ChatGPT account on whatever device, by a code: `account/login/start`. A login that still
    /// waits for its person is replaced by it, and fails.
    ///
    /// # Errors
    /// As [`request`](Self::request); the runtime cannot get itself a code, for which it needs the network.
    pub async fn login_chatgpt_device_code(&self) -> Result<AsyncDeviceCodeLoginHandle> {
        requests::device_code(&self.core).await
    }

    /// Reads who is logged in: a builder for `account/read`.
    pub fn account(&self) -> AccountRead<Self> {
        AccountRead::new(self.core.clone())
    }

    /// Logs out: `account/logout`. The server forgets what it has stored.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn logout(&self) -> Result<()> {
        requests::logout(&self.core).await
    }

    /// How much of the account's allowance is used: `account/rateLimits/read`, which needs a ChatGPT account.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn rate_limits(&self) -> Result<GetAccountRateLimitsResponse> {
        requests::rate_limits(&self.core).await
    }

    /// Observes everything that happens on the connection from now on, also what belongs to no turn.
    pub fn events(&self) -> AsyncEvents {
        AsyncEvents::new(self.core.clone(), None)
    }

    /// Makes any request of the protocol, typed; see [`methods`](crate::methods).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use openai_codex_testkit::Script;
    /// # let (transport, _playing) = Script::standard().expect("thread/loaded/list").respond(serde_json::json!({"data": ["t"]})).connect()?;
    /// # let codex = openai_codex::AsyncCodex::with_transport(Default::default(), transport);
    /// use openai_codex::{methods, types::ThreadLoadedListParams};
    ///
    /// let loaded = codex.request::<methods::ThreadLoadedList>(ThreadLoadedListParams::new()).await?;
    /// println!("{:?}", loaded.data);
    /// # codex.close().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The server's error answer; an answer that cannot be decoded; none within the timeout; a lost connection.
    pub async fn request<R: ClientRequest>(&self, params: R::Params) -> Result<R::Response> {
        self.session().await?.call::<R>(&params, None).await
    }

    /// Makes a request that this version of the crate does not know; `Value::Null` as parameters sends none.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn request_raw(&self, method: &str, params: Value) -> Result<Value> {
        request_raw(&*self.session().await?, method, params).await
    }

    /// Ends the runtime and waits until it is gone. Idempotent; whatever still waits ends with
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed).
    ///
    /// # Errors
    /// A runtime that could not be reaped within [`CodexConfig::close_timeout`], six seconds unless set.
    pub async fn close(&self) -> Result<()> {
        self.core.close().await
    }

    async fn session(&self) -> Result<Arc<Session>> {
        self.core.session().await
    }
}

pub(crate) async fn request_raw(session: &Session, method: &str, params: Value) -> Result<Value> {
    let params = match params {
        Value::Null => None,
        params => serde_json::value::to_raw_value(&params).ok(),
    };
    let answer = session.call_raw(method, params.as_deref()).await?;
    serde_json::from_str(&answer).map_err(|error| {
        Error::new(crate::error::ErrorKind::Decode, format!("unreadable answer from the server: {error}"))
            .with_method(method)
            .with_source(error)
    })
}

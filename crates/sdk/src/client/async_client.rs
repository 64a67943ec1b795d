//! The async client.

use std::sync::Arc;

use openai_codex_protocol::ClientRequest;
use openai_codex_protocol::types::{GetAccountRateLimitsResponse, InitializeResponse, ThreadArchiveResponse};
use serde_json::Value;

use crate::account::handles::{AsyncChatgptLoginHandle, AsyncDeviceCodeLoginHandle};
use crate::account::read::AccountRead;
use crate::account::requests;
use crate::config::CodexConfig;
use crate::error::{Error, ErrorKind, Result};
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
use crate::thread::rollout::{self, Rollout};
use crate::thread::start::ThreadStart;
use crate::transport::frames::Transport;

impl AsyncCodex {
    /// Creates a client with the default configuration. It starts nothing yet.
    #[expect(
        clippy::new_without_default,
        reason = "programs create clients explicitly, as with `Codex::new`"
    )]
    pub fn new() -> Self {
        Self::with_config(CodexConfig::new())
    }

    /// Creates a client with a configuration. It starts nothing yet, and checks the configuration at the start.
    pub fn with_config(config: CodexConfig) -> Self {
        Self { core: ClientCore::new(config, None) }
    }

    /// Creates a client for a server that is reachable over `transport`. It ignores the configuration's options for processes.
    pub fn with_transport(config: CodexConfig, transport: Transport) -> Self {
        Self { core: ClientCore::new(config, Some(transport)) }
    }

    /// Starts the runtime and does the handshake. If the runtime was lost, it starts a [new one](CodexConfig::restart). Idempotent.
    /// The first call of any other method does it too.
    ///
    /// It never downloads a runtime; see [`runtime`](crate::runtime).
    ///
    /// # Errors
    /// The client found no usable runtime, the configuration is invalid, the program is not a Codex runtime, or it did not respond
    /// to `initialize` within [`CodexConfig::start_timeout`]. The program can call `start` again, unless the client has a transport:
    /// the first start uses it up.
    pub async fn start(&self) -> Result<()> {
        self.session().await.map(drop)
    }

    /// Returns the latest runtime's response to `initialize`. `None` before the start.
    pub fn metadata(&self) -> Option<Arc<InitializeResponse>> {
        self.core.metadata()
    }

    /// Returns the process id of the runtime. `None` before the start, after the runtime was lost or closed, and for a client with
    /// a transport or an endpoint. With [`before_spawn`](CodexConfig::before_spawn), it is the process of the hook's command.
    pub fn runtime_pid(&self) -> Option<u32> {
        self.core.runtime_pid()
    }

    /// Starts a thread. Returns a builder for `thread/start`.
    pub fn thread_start(&self) -> ThreadStart<Self> {
        ThreadStart::new(self.core.clone())
    }

    /// Lists stored threads. Returns a builder for `thread/list`.
    pub fn thread_list(&self) -> ThreadList<Self> {
        ThreadList::new(self.core.clone())
    }

    /// Resumes a stored thread. Returns a builder for `thread/resume`.
    pub fn thread_resume(&self, thread_id: impl Into<String>) -> ThreadResume<Self> {
        ThreadResume::new(self.core.clone(), thread_id.into())
    }

    /// Creates a new thread with the history of another. Returns a builder for `thread/fork`.
    pub fn thread_fork(&self, thread_id: impl Into<String>) -> ThreadFork<Self> {
        ThreadFork::new(self.core.clone(), thread_id.into())
    }

    /// Archives a thread. [`thread_list`](Self::thread_list) then lists it only with `archived(true)`, if it has run a turn. A running
    /// turn is interrupted. On the wire: `thread/archive`.
    ///
    /// # Errors
    /// [`ErrorKind::ThreadArchived`](crate::ErrorKind::ThreadArchived) if the thread is archived already. Otherwise as
    /// [`request`](Self::request).
    pub async fn thread_archive(&self, thread_id: &str) -> Result<ThreadArchiveResponse> {
        archive::archive(&self.core, thread_id).await
    }

    /// Takes a thread out of the archive. The handle has the same id. On the wire: `thread/unarchive`.
    ///
    /// The runtime does not load the thread yet: the handle's first use does. Unless this client has another handle of the thread, the
    /// runtime then takes what it has not stored from the user's configuration. Runtime 0.163.0 does not store a sandbox that writes to
    /// the workspace, so such a thread can get a wider one. To set the sandbox first, resume the thread with
    /// [`thread_resume`](Self::thread_resume), and use the handle that it returns.
    ///
    /// A runtime that was killed while it archived the thread can leave the file in the archive without having recorded that. The call
    /// then finishes the archiving first. On the wire: `thread/read`, `fs/getMetadata`, `fs/copy` and `thread/archive`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the thread is not archived. Otherwise as
    /// [`request`](Self::request).
    pub async fn thread_unarchive(&self, thread_id: &str) -> Result<AsyncThread> {
        archive::unarchive(self.core.clone(), thread_id).await
    }

    /// Stores a thread that [`export`](AsyncThread::export) has read in another home. The handle has the same id, and its first use
    /// resumes the thread with all of its turns. If the home has a part of the history, from its beginning, this adds the rest. If it has
    /// the whole history, this changes nothing, so it can be repeated. On the wire: `thread/read`, `fs/readFile`, `thread/archive`,
    /// `fs/createDirectory`, `fs/writeFile` and `thread/unarchive`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the home has turns of the thread that the history does not have,
    /// if it does not have the source of a fork, or if the rollout is not a runtime's.
    /// [`ErrorKind::ThreadInUse`](crate::ErrorKind::ThreadInUse) if another runtime has the thread loaded whose history is to be
    /// replaced. Otherwise as [`request`](Self::request).
    pub async fn thread_import(&self, rollout: &Rollout) -> Result<AsyncThread> {
        let state = rollout::import(&self.core, rollout).await?;
        Ok(AsyncThread::new(self.core.clone(), state))
    }

    /// Lists the models. Returns a builder for `model/list`.
    pub fn models(&self) -> Models<Self> {
        Models::new(self.core.clone())
    }

    /// Logs in with an API key. The server stores the key without a check, and uses it from the next turn on. On the wire:
    /// `account/login/start`.
    ///
    /// Errors and events do not contain the key.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a blank key, before anything is sent. Otherwise as
    /// [`request`](Self::request).
    pub async fn login_api_key(&self, api_key: impl Into<String>) -> Result<()> {
        requests::api_key(&self.core, api_key.into()).await
    }

    /// Begins a login with a ChatGPT account in a browser on this machine. It replaces a pending login, which then fails. On the
    /// wire: `account/login/start`.
    ///
    /// # Errors
    /// As [`request`](Self::request); also if the runtime cannot open a port for the browser.
    pub async fn login_chatgpt(&self) -> Result<AsyncChatgptLoginHandle> {
        requests::chatgpt(&self.core).await
    }

    /// Begins a login with a ChatGPT account on any device, with a code. It replaces a pending login, which then fails. On the wire:
    /// `account/login/start`.
    ///
    /// # Errors
    /// As [`request`](Self::request); also if the runtime cannot get a code over the network.
    pub async fn login_chatgpt_device_code(&self) -> Result<AsyncDeviceCodeLoginHandle> {
        requests::device_code(&self.core).await
    }

    /// Reads the account that is logged in. Returns a builder for `account/read`.
    pub fn account(&self) -> AccountRead<Self> {
        AccountRead::new(self.core.clone())
    }

    /// Logs out. The server deletes its stored credentials. On the wire: `account/logout`.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn logout(&self) -> Result<()> {
        requests::logout(&self.core).await
    }

    /// Reads the account's rate limits and their usage. Needs a ChatGPT account. On the wire: `account/rateLimits/read`.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn rate_limits(&self) -> Result<GetAccountRateLimitsResponse> {
        requests::rate_limits(&self.core).await
    }

    /// Observes all events of the connection from now on, including those without a turn.
    pub fn events(&self) -> AsyncEvents {
        AsyncEvents::new(self.core.clone(), None)
    }

    /// Makes any request of the protocol, with typed parameters and response; see [`methods`](crate::methods).
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
    /// - The server's error response: its code and message decide the [`ErrorKind`].
    /// - [`ErrorKind::UnsupportedByRuntime`] if the runtime does not have the method or a
    ///   parameter, before anything is sent.
    /// - [`ErrorKind::Timeout`] without a response within the method's
    ///   [timeout](CodexConfig::class_timeout).
    /// - [`ErrorKind::Decode`] if the response does not follow the protocol.
    /// - [`ErrorKind::TransportClosed`] if the connection ended, and
    ///   [`ErrorKind::Closed`] if the program closed the client.
    pub async fn request<R: ClientRequest>(&self, params: R::Params) -> Result<R::Response> {
        self.session().await?.call::<R>(&params, None).await
    }

    /// Makes a request by its method's name, for methods that this version of the crate does not know. `Value::Null` sends no
    /// parameters.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn request_raw(&self, method: &str, params: Value) -> Result<Value> {
        request_raw(&*self.session().await?, method, params).await
    }

    /// Closes the client: ends the runtime and waits for its end. On the server of an [endpoint](CodexConfig::connect), it ends the
    /// connection only. Idempotent. Each pending call fails with
    /// [`ErrorKind::Closed`].
    ///
    /// # Errors
    /// - The runtime did not end within [`CodexConfig::close_timeout`], which is six seconds unless set.
    /// - [`ErrorKind::Timeout`] with the method `turn/interrupt`: the server of an endpoint did not confirm
    ///   within five seconds that it has interrupted turns, which may still run. The message names them. The client is closed.
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
    let response = session.call_raw(method, params.as_deref()).await?;
    serde_json::from_str(&response).map_err(|error| {
        let message = format!("the client cannot decode the server's response: {error}");
        Error::new(ErrorKind::Decode, message).with_method(method).with_source(error)
    })
}

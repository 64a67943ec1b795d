//! The blocking client.

use std::sync::Arc;

use openai_codex_protocol::ClientRequest;
use openai_codex_protocol::types::{GetAccountRateLimitsResponse, InitializeResponse, ThreadArchiveResponse};
use serde_json::Value;

use crate::account::handles::{ChatgptLoginHandle, DeviceCodeLoginHandle};
use crate::account::read::AccountRead;
use crate::account::requests;
use crate::block_on::wait;
use crate::client::async_client::request_raw;
use crate::config::CodexConfig;
use crate::error::Result;
use crate::models::Models;
use crate::session::clients::Codex;
use crate::session::events::Events;
use crate::session::supervisor::ClientCore;
use crate::thread::archive;
use crate::thread::fork::ThreadFork;
use crate::thread::handles::Thread;
use crate::thread::list::ThreadList;
use crate::thread::resume::ThreadResume;
use crate::thread::start::ThreadStart;
use crate::transport::frames::Transport;

impl Codex {
    /// PendingTurns a runtime with the default configuration and does the handshake.
    ///
    /// Never downloads a runtime: see [`runtime`](crate::runtime).
    ///
    /// # Errors
    /// As [`with_config`](Self::with_config).
    pub fn new() -> Result<Self> {
        Self::with_config(CodexConfig::new())
    }

    /// PendingTurns a runtime and does the handshake.
    ///
    /// # Errors
    /// No usable runtime or configuration; a program that is not a Codex runtime; no answer to `initialize` within
    /// [`CodexConfig::start_timeout`].
    pub fn with_config(config: CodexConfig) -> Result<Self> {
        Self::from_core(ClientCore::new(config, None))
    }

    /// Connects to a server that is already reachable over `transport`, and does the handshake. What the
    /// configuration says about processes is not used.
    ///
    /// # Errors
    /// As [`with_config`](Self::with_config).
    pub fn with_transport(config: CodexConfig, transport: Transport) -> Result<Self> {
        Self::from_core(ClientCore::new(config, Some(transport)))
    }

    /// The server's answer to `initialize`; that of the latest runtime, where there was more than one.
    pub fn metadata(&self) -> Arc<InitializeResponse> {
        self.core.metadata().unwrap_or_else(|| self.metadata.clone())
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
    #[inline]
    pub fn thread_archive(&self, thread_id: &str) -> Result<ThreadArchiveResponse> {
        wait(archive::archive(&self.core, thread_id))
    }

    /// Takes a thread out of the archive: `thread/unarchive`. The handle has the same id.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    #[inline]
    pub fn thread_unarchive(&self, thread_id: &str) -> Result<Thread> {
        wait(archive::unarchive(self.core.clone(), thread_id)).map(Thread::from_async)
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
    #[inline]
    pub fn login_api_key(&self, api_key: impl Into<String>) -> Result<()> {
        wait(requests::api_key(&self.core, api_key.into()))
    }

    /// Begins a login with a ChatGPT account in a browser on this machine: `account/login/start`. A login that still
    /// waits for its person is replaced by it, and fails.
    ///
    /// # Errors
    /// As [`request`](Self::request); the runtime cannot listen for the browser.
    #[inline]
    pub fn login_chatgpt(&self) -> Result<ChatgptLoginHandle> {
        wait(requests::chatgpt(&self.core)).map(ChatgptLoginHandle::from_async)
    }

    /// Begins a login with a ChatGPT account on whatever device, by a code: `account/login/start`. A login that still
    /// waits for its person is replaced by it, and fails.
    ///
    /// # Errors
    /// As [`request`](Self::request); the runtime cannot get itself a code, for which it needs the network.
    #[inline]
    pub fn login_chatgpt_device_code(&self) -> Result<DeviceCodeLoginHandle> {
        wait(requests::device_code(&self.core)).map(DeviceCodeLoginHandle::from_async)
    }

    /// Reads who is logged in: a builder for `account/read`.
    pub fn account(&self) -> AccountRead<Self> {
        AccountRead::new(self.core.clone())
    }

    /// Logs out: `account/logout`. The server forgets what it has stored.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    #[inline]
    pub fn logout(&self) -> Result<()> {
        wait(requests::logout(&self.core))
    }

    /// How much of the account's allowance is used: `account/rateLimits/read`, which needs a ChatGPT account.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    #[inline]
    pub fn rate_limits(&self) -> Result<GetAccountRateLimitsResponse> {
        wait(requests::rate_limits(&self.core))
    }

    /// Observes everything that happens on the connection from now on, also what belongs to no turn.
    pub fn events(&self) -> Events {
        Events::new(self.core.clone(), None)
    }

    /// Makes any request of the protocol, typed; see [`methods`](crate::methods).
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use openai_codex_testkit::Script;
    /// # let (transport, _playing) = Script::standard().expect("thread/loaded/list").respond(serde_json::json!({"data": ["t"]})).connect()?;
    /// # let codex = openai_codex::Codex::with_transport(Default::default(), transport)?;
    /// use openai_codex::{methods, types::ThreadLoadedListParams};
    ///
    /// let loaded = codex.request::<methods::ThreadLoadedList>(ThreadLoadedListParams::new())?;
    /// println!("{:?}", loaded.data);
    /// # codex.close()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The server's error answer; an answer that cannot be decoded; none within the timeout; a lost connection.
    #[inline]
    pub fn request<R: ClientRequest>(&self, params: R::Params) -> Result<R::Response> {
        wait(async { self.core.session().await?.call::<R>(&params, None).await })
    }

    /// Makes a request that this version of the crate does not know; `Value::Null` as parameters sends none.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    #[inline]
    pub fn request_raw(&self, method: &str, params: Value) -> Result<Value> {
        wait(async { request_raw(&*self.core.session().await?, method, params).await })
    }

    /// Ends the runtime and waits until it is gone. Idempotent; whatever still waits ends with
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed).
    ///
    /// # Errors
    /// A runtime that could not be reaped within [`CodexConfig::close_timeout`], six seconds unless set.
    pub fn close(&self) -> Result<()> {
        wait(self.core.close())
    }
}

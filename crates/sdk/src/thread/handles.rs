//! The handles of a thread.

use std::marker::PhantomData;
use std::sync::Arc;

use openai_codex_protocol::types::{ThreadSetNameResponse, ThreadUnsubscribeResponse};

use crate::error::Result;
use crate::options::input::TurnInput;
use crate::result::RunResult;
use crate::session::clients::AsyncCodex;
use crate::session::events::AsyncEvents;
use crate::session::supervisor::ClientCore;
use crate::session::thread_state::ThreadState;
use crate::thread::ensure::Ensure;
use crate::thread::history::{ThreadItems, ThreadTurns};
use crate::thread::read::ThreadRead;
use crate::thread::rollout::{self, Rollout};
use crate::thread::{find_turn, set_name, unsubscribe};
use crate::turn::compact::compact;
use crate::turn::follow::follow_running;
use crate::turn::handles::AsyncTurnHandle;
use crate::turn::recover::recover;
use crate::turn::start::TurnStart;

/// A thread of an [`AsyncCodex`]. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AsyncThread {
    core: Arc<ClientCore>,
    pub(crate) state: Arc<ThreadState>,
}

impl AsyncThread {
    pub(crate) fn new(core: Arc<ClientCore>, state: Arc<ThreadState>) -> Self {
        Self { core, state }
    }

    /// Returns the thread's id. `thread_resume` takes it.
    pub fn id(&self) -> &str {
        &self.state.id
    }

    /// Runs one turn to its end and returns its result.
    ///
    /// Dropping the future interrupts the turn, if this call created it and no other handle holds it.
    ///
    /// # Errors
    /// As [`TurnStart::run`].
    pub async fn run(&self, input: impl Into<TurnInput>) -> Result<RunResult> {
        self.turn(input).run().await
    }

    /// Starts a turn. Returns a builder for `turn/start`: its `send` returns a handle, and its `run` the result. On a busy thread,
    /// the input joins the running turn.
    pub fn turn(&self, input: impl Into<TurnInput>) -> TurnStart<AsyncCodex> {
        TurnStart::new(self.core.clone(), self.state.clone(), input.into())
    }

    /// Runs a turn once, however many callers ask for it, and however often. Returns a builder: its `run` returns the result and
    /// says what the call has done.
    ///
    /// The key becomes the [id](TurnStart::client_message_id) of the turn's message, which the runtime stores. The call loads the
    /// thread, so that no other runtime writes to it, and looks for the key in the history:
    ///
    /// - No turn has it: the call runs the turn.
    /// - A turn with it has completed: the call returns its result. One with it has failed: the call fails. Both run nothing.
    /// - A turn with it is running: the call waits for its end.
    /// - A turn with it was interrupted, usually because its runtime was killed:
    ///   [`on_half_done`](crate::Ensure::on_half_done) decides.
    ///
    /// The turn does not join another one: on a busy thread the call waits until the running turn has ended. It fails at once if that turn
    /// may do more than this call allows. Only on a shared server, two clients that start turns within the same milliseconds can get one
    /// turn of both. A fork of the thread has its messages, with their keys. [`guide::durable`](crate::guide::durable) says what is
    /// guaranteed.
    ///
    /// Options of the turn are set on its own builder: `thread.turn("…").model("…").ensure("key")`.
    pub fn ensure(&self, key: impl Into<String>, input: impl Into<TurnInput>) -> Ensure<AsyncCodex> {
        Ensure::new(self.core.clone(), self.state.clone(), key.into(), input.into())
    }

    /// Reads the stored thread. Returns a builder for `thread/read`.
    pub fn read(&self) -> ThreadRead<AsyncCodex> {
        let (core, thread) = (self.core.clone(), self.state.clone());
        ThreadRead { core, thread, include_turns: false, client: PhantomData }
    }

    /// Lists the thread's turns. Returns a builder for `thread/turns/list`.
    pub fn turns(&self) -> ThreadTurns<AsyncCodex> {
        ThreadTurns::new(self.core.clone(), self.state.clone())
    }

    /// Lists the thread's items, of all turns or of one. Returns a builder for `thread/items/list`.
    pub fn items(&self) -> ThreadItems<AsyncCodex> {
        ThreadItems::new(self.core.clone(), self.state.clone())
    }

    /// Sets the thread's name. On the wire: `thread/name/set`.
    ///
    /// # Errors
    /// As [`AsyncCodex::request`].
    pub async fn set_name(&self, name: impl Into<String>) -> Result<ThreadSetNameResponse> {
        set_name::set_name(&self.core, &self.state, name.into()).await
    }

    /// Reads the thread's stored history, for [`AsyncCodex::thread_import`](AsyncCodex::thread_import) of a client whose
    /// runtime has another home. Both homes have the thread after that, and know nothing of each other's turns: use one of
    /// them. On the wire: `thread/read` and `fs/readFile`.
    ///
    /// The history has all turns. It has neither the thread's name nor its archive status, its queue, its memories, or the threads of its
    /// sub-agents. The history of a fork refers to the stored file of its source, which
    /// [`Rollout::base_thread_id`](crate::Rollout::base_thread_id) names: import that first. With a source that differs it can lack turns.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) while a turn runs in the thread, and
    /// [`ErrorKind::ThreadNotFound`](crate::ErrorKind::ThreadNotFound) for an ephemeral thread. Otherwise as
    /// [`AsyncCodex::request`](AsyncCodex::request).
    pub async fn export(&self) -> Result<Rollout> {
        rollout::export(&self.core, &self.state).await
    }

    /// Compacts the thread's history into a summary. On the wire: `thread/compact/start`.
    ///
    /// A compaction is a turn, and the returned handle is for it. Its items contain a `contextCompaction`. It has no final
    /// response.
    ///
    /// **It interrupts the running turn** of the thread. While it runs, the server refuses other turns with
    /// [`ErrorKind::TurnNotSteerable`](crate::ErrorKind::TurnNotSteerable). Dropping the handle or the future does not interrupt it.
    /// If this client is interrupting a turn, the call first waits for the end of that turn, ten seconds at most. An interrupted
    /// compaction may have compacted the history all the same.
    ///
    /// # Errors
    /// As [`AsyncCodex::request`], and [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) if its turn does not start.
    pub async fn compact(&self) -> Result<AsyncTurnHandle> {
        compact(&self.core, &self.state).await
    }

    /// Reads the result of one of the thread's turns from the runtime's records. Use it for a turn whose end was lost. On the wire:
    /// `thread/read`. See [`AsyncTurnHandle::recover`](crate::AsyncTurnHandle::recover).
    ///
    /// # Errors
    /// As [`AsyncTurnHandle::recover`](crate::AsyncTurnHandle::recover).
    pub async fn recover(&self, turn_id: &str) -> Result<RunResult> {
        recover(&self.core, self.id(), turn_id).await
    }

    /// Finds the latest turn that has a user message with this [id](TurnStart::client_message_id), started by whichever client. `None`
    /// if the thread has no such turn. On the wire: `thread/turns/list`, page by page from the end, until the turn is found.
    ///
    /// The result has the turn's items so far, and its status, which can be `inProgress` or `failed`. It has no token usage.
    ///
    /// The thread is loaded here first, so that no other runtime runs its turns: the records of a turn that another runtime runs are
    /// those of an interrupted one. A turn that this client has started is found from the response to its start on, although the runtime
    /// stores the message some time later. Until then, `None` about a turn of another client proves nothing. On a server that other
    /// clients use too, the same holds just after the connection was lost: the server may still read the start from the former
    /// connection. A second later it does. If the process of the server was killed since, `None` proves that the model has never been
    /// asked. After a loss of power it does not: the disk may lack the last records.
    ///
    /// # Errors
    /// - [`ErrorKind::UnsupportedByRuntime`](crate::ErrorKind::UnsupportedByRuntime) with a runtime before 0.144.4.
    /// - [`ErrorKind::ThreadInUse`](crate::ErrorKind::ThreadInUse) if another runtime has the thread loaded. The call does not wait for it.
    /// - [`ErrorKind::ThreadArchived`](crate::ErrorKind::ThreadArchived) if the thread is archived, and so cannot be loaded.
    /// - [`ErrorKind::ThreadLost`](crate::ErrorKind::ThreadLost) if the thread was never stored and its runtime has ended.
    /// - [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) if the thread is ephemeral. The runtime stores no turns of it.
    /// - Otherwise as [`AsyncCodex::request`].
    pub async fn find_turn(&self, client_message_id: &str) -> Result<Option<RunResult>> {
        find_turn::find_turn(&self.core, &self.state, client_message_id).await
    }

    /// Follows the running turn of the thread, whichever client or handle has started it. `None` if the thread is idle,
    /// or if the server has no record of its turn for ten seconds.
    ///
    /// The handle streams the turn's events from now on, and can steer and interrupt it. Its `run` waits for the end, and the result
    /// also has the items from before. The turn continues when the handle is dropped. On a server that other clients use too, its
    /// approvals go to the handlers of all clients that have the thread open; see
    /// [`guide::endpoints`](crate::guide::endpoints#several-programs-on-one-thread).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) while a turn runs in an ephemeral thread. Otherwise as
    /// [`AsyncCodex::request`].
    pub async fn follow(&self) -> Result<Option<AsyncTurnHandle>> {
        follow_running(&self.core, &self.state).await
    }

    /// Observes the thread's events from now on, including those without a turn. They include the turns of other clients, on a server
    /// that they use too.
    pub fn events(&self) -> AsyncEvents {
        AsyncEvents::new(self.core.clone(), Some(self.state.id.clone()))
    }

    /// Unsubscribes from the thread. The server stops sending its events, and the client drops its handlers and tools. Use it in
    /// long-lived clients that open many threads.
    ///
    /// This handle and its clones can still read the thread, and can no longer start a turn. That applies from the start of the
    /// call, even if the future is dropped, unless the server refuses or the runtime is lost.
    /// [`thread_resume`](crate::AsyncCodex::thread_resume) subscribes again, with its own handlers, and returns a new handle.
    ///
    /// **A running turn continues** without the thread's handlers and tools. Its handles and streams receive no more events, also
    /// after a resume of the thread. They end with [`ErrorKind::TurnLost`](crate::ErrorKind::TurnLost) when the turn is over. If the
    /// program does not resume the thread, [`turn_idle_timeout`](crate::CodexConfig::turn_idle_timeout) must pass, too. Interrupt the
    /// turn first, or wait for its end. Otherwise [`recover`](crate::AsyncTurnHandle::recover) reads the result of a turn that is over, and
    /// [`follow`](crate::AsyncThread::follow) of the resumed thread returns a handle of a turn that runs.
    ///
    /// On the wire: `thread/unsubscribe`. The response contains whether the client was subscribed. Runtime 0.163.0 keeps the thread
    /// loaded for a time, and still sends its status changes.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) while a turn with
    /// [`max_tokens`](crate::TurnStart::max_tokens) or [`max_model_requests`](crate::TurnStart::max_model_requests) of this client runs in
    /// the thread: the client counts with the turn's events. Otherwise as [`AsyncCodex::request`].
    pub async fn unsubscribe(&self) -> Result<ThreadUnsubscribeResponse> {
        unsubscribe::unsubscribe(&self.core, &self.state).await
    }
}

/// A thread of a [`Codex`](crate::Codex). Cheap to clone.
#[cfg(feature = "blocking")]
#[derive(Clone, Debug)]
pub struct Thread {
    inner: AsyncThread,
}

#[cfg(feature = "blocking")]
impl Thread {
    pub(crate) fn from_async(inner: AsyncThread) -> Self {
        Self { inner }
    }

    /// Returns the thread's id. `thread_resume` takes it.
    pub fn id(&self) -> &str {
        self.inner.id()
    }

    /// Runs one turn to its end and returns its result.
    ///
    /// # Errors
    /// As [`TurnStart::run`].
    pub fn run(&self, input: impl Into<TurnInput>) -> Result<RunResult> {
        self.turn(input).run()
    }

    /// Starts a turn. Returns a builder for `turn/start`: its `send` returns a handle, and its `run` the result. On a busy thread,
    /// the input joins the running turn.
    pub fn turn(&self, input: impl Into<TurnInput>) -> TurnStart<crate::session::clients::Codex> {
        TurnStart::new(self.inner.core.clone(), self.inner.state.clone(), input.into())
    }

    /// Runs a turn once, however many callers ask for it, and however often. Returns a builder: its `run` returns the result and
    /// says what the call has done.
    ///
    /// The key becomes the [id](TurnStart::client_message_id) of the turn's message, which the runtime stores. The call loads the
    /// thread, so that no other runtime writes to it, and looks for the key in the history:
    ///
    /// - No turn has it: the call runs the turn.
    /// - A turn with it has completed: the call returns its result. One with it has failed: the call fails. Both run nothing.
    /// - A turn with it is running: the call waits for its end.
    /// - A turn with it was interrupted, usually because its runtime was killed:
    ///   [`on_half_done`](crate::Ensure::on_half_done) decides.
    ///
    /// The turn does not join another one: on a busy thread the call waits until the running turn has ended. It fails at once if that turn
    /// may do more than this call allows. Only on a shared server, two clients that start turns within the same milliseconds can get one
    /// turn of both. A fork of the thread has its messages, with their keys. [`guide::durable`](crate::guide::durable) says what is
    /// guaranteed.
    ///
    /// Options of the turn are set on its own builder: `thread.turn("…").model("…").ensure("key")`.
    pub fn ensure(
        &self,
        key: impl Into<String>,
        input: impl Into<TurnInput>,
    ) -> Ensure<crate::session::clients::Codex> {
        Ensure::new(self.inner.core.clone(), self.inner.state.clone(), key.into(), input.into())
    }

    /// Reads the stored thread. Returns a builder for `thread/read`.
    pub fn read(&self) -> ThreadRead<crate::session::clients::Codex> {
        let (core, thread) = (self.inner.core.clone(), self.inner.state.clone());
        ThreadRead { core, thread, include_turns: false, client: PhantomData }
    }

    /// Lists the thread's turns. Returns a builder for `thread/turns/list`.
    pub fn turns(&self) -> ThreadTurns<crate::session::clients::Codex> {
        ThreadTurns::new(self.inner.core.clone(), self.inner.state.clone())
    }

    /// Lists the thread's items, of all turns or of one. Returns a builder for `thread/items/list`.
    pub fn items(&self) -> ThreadItems<crate::session::clients::Codex> {
        ThreadItems::new(self.inner.core.clone(), self.inner.state.clone())
    }

    /// Sets the thread's name. On the wire: `thread/name/set`.
    ///
    /// # Errors
    /// As [`Codex::request`](crate::Codex::request).
    #[inline]
    pub fn set_name(&self, name: impl Into<String>) -> Result<ThreadSetNameResponse> {
        crate::block_on::wait(self.inner.set_name(name))
    }

    /// Reads the thread's stored history, for [`Codex::thread_import`](crate::Codex::thread_import) of a client whose runtime
    /// has another home. Both homes have the thread after that, and know nothing of each other's turns: use one of them. On the
    /// wire: `thread/read` and `fs/readFile`.
    ///
    /// The history has all turns. It has neither the thread's name nor its archive status, its queue, its memories, or the threads of its
    /// sub-agents. The history of a fork refers to the stored file of its source, which
    /// [`Rollout::base_thread_id`](crate::Rollout::base_thread_id) names: import that first. With a source that differs it can lack turns.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) while a turn runs in the thread, and
    /// [`ErrorKind::ThreadNotFound`](crate::ErrorKind::ThreadNotFound) for an ephemeral thread. Otherwise as
    /// [`Codex::request`](crate::Codex::request).
    #[inline]
    pub fn export(&self) -> Result<Rollout> {
        crate::block_on::wait(self.inner.export())
    }

    /// Compacts the thread's history into a summary. On the wire: `thread/compact/start`.
    ///
    /// A compaction is a turn, and the returned handle is for it. Its items contain a `contextCompaction`. It has no final
    /// response.
    ///
    /// **It interrupts the running turn** of the thread. While it runs, the server refuses other turns with
    /// [`ErrorKind::TurnNotSteerable`](crate::ErrorKind::TurnNotSteerable). Dropping the handle does not interrupt it.
    /// If this client is interrupting a turn, the call first waits for the end of that turn, ten seconds at most. An interrupted
    /// compaction may have compacted the history all the same.
    ///
    /// # Errors
    /// As [`Codex::request`](crate::Codex::request), and [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) if its turn does not
    /// start.
    #[inline]
    pub fn compact(&self) -> Result<crate::turn::handles::TurnHandle> {
        crate::block_on::wait(self.inner.compact()).map(crate::turn::handles::TurnHandle::from_async)
    }

    /// Reads the result of one of the thread's turns from the runtime's records. Use it for a turn whose end was lost. On the wire:
    /// `thread/read`. See [`TurnHandle::recover`](crate::TurnHandle::recover).
    ///
    /// # Errors
    /// As [`TurnHandle::recover`](crate::TurnHandle::recover).
    pub fn recover(&self, turn_id: &str) -> Result<RunResult> {
        crate::block_on::wait(self.inner.recover(turn_id))
    }

    /// Finds the latest turn that has a user message with this [id](TurnStart::client_message_id), started by whichever client. `None`
    /// if the thread has no such turn. On the wire: `thread/turns/list`, page by page from the end, until the turn is found.
    ///
    /// The result has the turn's items so far, and its status, which can be `inProgress` or `failed`. It has no token usage.
    ///
    /// The thread is loaded here first, so that no other runtime runs its turns: the records of a turn that another runtime runs are
    /// those of an interrupted one. A turn that this client has started is found from the response to its start on, although the runtime
    /// stores the message some time later. Until then, `None` about a turn of another client proves nothing. On a server that other
    /// clients use too, the same holds just after the connection was lost: the server may still read the start from the former
    /// connection. A second later it does. If the process of the server was killed since, `None` proves that the model has never been
    /// asked. After a loss of power it does not: the disk may lack the last records.
    ///
    /// # Errors
    /// - [`ErrorKind::UnsupportedByRuntime`](crate::ErrorKind::UnsupportedByRuntime) with a runtime before 0.144.4.
    /// - [`ErrorKind::ThreadInUse`](crate::ErrorKind::ThreadInUse) if another runtime has the thread loaded. The call does not wait for it.
    /// - [`ErrorKind::ThreadArchived`](crate::ErrorKind::ThreadArchived) if the thread is archived, and so cannot be loaded.
    /// - [`ErrorKind::ThreadLost`](crate::ErrorKind::ThreadLost) if the thread was never stored and its runtime has ended.
    /// - [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) if the thread is ephemeral. The runtime stores no turns of it.
    /// - Otherwise as [`Codex::request`](crate::Codex::request).
    #[inline]
    pub fn find_turn(&self, client_message_id: &str) -> Result<Option<RunResult>> {
        crate::block_on::wait(self.inner.find_turn(client_message_id))
    }

    /// Follows the running turn of the thread, whichever client or handle has started it. `None` if the thread is idle,
    /// or if the server has no record of its turn for ten seconds.
    ///
    /// The handle streams the turn's events from now on, and can steer and interrupt it. Its `run` waits for the end, and the result
    /// also has the items from before. The turn continues when the handle is dropped. On a server that other clients use too, its
    /// approvals go to the handlers of all clients that have the thread open; see
    /// [`guide::endpoints`](crate::guide::endpoints#several-programs-on-one-thread).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) while a turn runs in an ephemeral thread. Otherwise as
    /// [`Codex::request`](crate::Codex::request).
    #[inline]
    pub fn follow(&self) -> Result<Option<crate::turn::handles::TurnHandle>> {
        let turn = crate::block_on::wait(self.inner.follow())?;
        Ok(turn.map(crate::turn::handles::TurnHandle::from_async))
    }

    /// Observes the thread's events from now on, including those without a turn. They include the turns of other clients, on a server
    /// that they use too.
    pub fn events(&self) -> crate::session::events::Events {
        crate::session::events::Events::new(self.inner.core.clone(), Some(self.inner.state.id.clone()))
    }

    /// Unsubscribes from the thread. The server stops sending its events, and the client drops its handlers and tools. Use it in
    /// long-lived clients that open many threads.
    ///
    /// This handle and its clones can still read the thread, and can no longer start a turn. That applies from the start of the
    /// call, unless the server refuses or the runtime is lost. [`thread_resume`](crate::Codex::thread_resume) subscribes again,
    /// with its own handlers, and returns a new handle.
    ///
    /// **A running turn continues** without the thread's handlers and tools. Its handles and streams receive no more events, also
    /// after a resume of the thread. They end with [`ErrorKind::TurnLost`](crate::ErrorKind::TurnLost) when the turn is over. If the
    /// program does not resume the thread, [`turn_idle_timeout`](crate::CodexConfig::turn_idle_timeout) must pass, too. Interrupt the
    /// turn first, or wait for its end. Otherwise [`recover`](crate::TurnHandle::recover) reads the result of a turn that is over, and
    /// [`follow`](crate::Thread::follow) of the resumed thread returns a handle of a turn that runs.
    ///
    /// On the wire: `thread/unsubscribe`. The response contains whether the client was subscribed. Runtime 0.163.0 keeps the thread
    /// loaded for a time, and still sends its status changes.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) while a turn with
    /// [`max_tokens`](crate::TurnStart::max_tokens) or [`max_model_requests`](crate::TurnStart::max_model_requests) of this client runs in
    /// the thread: the client counts with the turn's events. Otherwise as [`Codex::request`](crate::Codex::request).
    #[inline]
    pub fn unsubscribe(&self) -> Result<ThreadUnsubscribeResponse> {
        crate::block_on::wait(self.inner.unsubscribe())
    }
}

//! The handles of a thread.

use std::marker::PhantomData;
use std::sync::Arc;

use openai_codex_protocol::types::{ThreadSetNameResponse, ThreadUnsubscribeResponse};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::error::Result;
use crate::options::turn_input::TurnInput;
use crate::result::RunResult;
use crate::session::clients::AsyncCodex;
use crate::session::events::AsyncEvents;
use crate::session::supervisor::ClientCore;
use crate::session::thread_state::ThreadState;
use crate::thread::history::{ThreadItems, ThreadTurns};
use crate::thread::read::ThreadRead;
use crate::thread::{set_name, unsubscribe};
use crate::turn::compact::compact;
use crate::turn::handles::AsyncTurnHandle;
use crate::turn::recover::recover;
use crate::turn::start::TurnStart;
use crate::turn::typed::TypedResult;

/// A thread of an [`AsyncCodex`]. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AsyncThread {
    core: Arc<ClientCore>,
    opened: Arc<ThreadState>,
}

impl AsyncThread {
    pub(crate) fn new(core: Arc<ClientCore>, opened: Arc<ThreadState>) -> Self {
        Self { core, opened }
    }

    /// The thread's id, by which it can be resumed.
    pub fn id(&self) -> &str {
        &self.opened.id
    }

    /// Runs one turn to its end.
    ///
    /// Dropping the future interrupts the turn, if this call created it and nothing else holds it.
    ///
    /// # Errors
    /// As [`TurnStart::run`].
    pub async fn run(&self, input: impl Into<TurnInput>) -> Result<RunResult> {
        self.turn(input).run().await
    }

    /// Runs one turn to its end, and reads its final response as a `T`: `thread.run_as::<Report>("…")`. The model has to
    /// follow the type's schema.
    ///
    /// Dropping the future interrupts the turn, if this call created it and nothing else holds it.
    ///
    /// # Errors
    /// As [`TurnStart::run_as`].
    pub async fn run_as<T: DeserializeOwned + JsonSchema>(
        &self,
        input: impl Into<TurnInput>,
    ) -> Result<TypedResult<T>> {
        self.turn(input).run_as().await
    }

    /// PendingTurns a turn: a builder for `turn/start` that ends in `send` (a handle) or `run` (the result). On a thread
    /// whose turn is running, it joins that turn.
    pub fn turn(&self, input: impl Into<TurnInput>) -> TurnStart<AsyncCodex> {
        TurnStart::new(self.core.clone(), self.opened.clone(), input.into())
    }

    /// Reads what the server has of the thread: a builder for `thread/read`.
    pub fn read(&self) -> ThreadRead<AsyncCodex> {
        let (core, thread) = (self.core.clone(), self.opened.clone());
        ThreadRead { core, thread, include_turns: false, client: PhantomData }
    }

    /// Pages through the thread's turns: a builder for `thread/turns/list`.
    pub fn turns(&self) -> ThreadTurns<AsyncCodex> {
        ThreadTurns::new(self.core.clone(), self.opened.clone())
    }

    /// Pages through the thread's items, of all turns or of one: a builder for `thread/items/list`.
    pub fn items(&self) -> ThreadItems<AsyncCodex> {
        ThreadItems::new(self.core.clone(), self.opened.clone())
    }

    /// Names the thread: `thread/name/set`.
    ///
    /// # Errors
    /// As [`AsyncCodex::request`].
    pub async fn set_name(&self, name: impl Into<String>) -> Result<ThreadSetNameResponse> {
        set_name::set_name(&self.core, &self.opened, name.into()).await
    }

    /// Compacts the thread's history into a summary: `thread/compact/start`, which is answered at once, and then a
    /// turn of its own, which the handle follows. Its items hold a `contextCompaction`; it has no final response.
    ///
    /// **It interrupts a turn that is running** on the thread, and as long as it runs the server refuses other turns
    /// there. Dropping the handle lets it go on, and so does dropping the future.
    ///
    /// # Errors
    /// As [`AsyncCodex::request`], and [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) if
    /// its turn does not start.
    pub async fn compact(&self) -> Result<AsyncTurnHandle> {
        compact(&self.core, &self.opened).await
    }

    /// Reads from the runtime what it has recorded of a turn of this thread, and makes a result of it: for a turn whose end was
    /// lost. On the wire: `thread/read`. See [`AsyncTurnHandle::recover`](crate::AsyncTurnHandle::recover), which does the same.
    ///
    /// # Errors
    /// As [`AsyncTurnHandle::recover`](crate::AsyncTurnHandle::recover).
    pub async fn recover(&self, turn_id: &str) -> Result<RunResult> {
        recover(&self.core, self.id(), turn_id).await
    }

    /// Observes everything that concerns this thread from now on, also what belongs to no turn.
    pub fn events(&self) -> AsyncEvents {
        AsyncEvents::new(self.core.clone(), Some(self.opened.id.clone()))
    }

    /// Is done with the thread: the server sends nothing of its turns any more, and this client lets go of the thread's
    /// handlers and tools. For a client that lives long and starts many threads, whose closures it would keep.
    ///
    /// On the wire: `thread/unsubscribe`; its answer says whether the thread was subscribed. It closes nothing at
    /// once: runtime 0.163.0 keeps the thread loaded, and still tells of changes of its status. It is stored as before, and
    /// [`thread_resume`](crate::AsyncCodex::thread_resume) subscribes again, with the handlers that are given there, and
    /// gives a handle for it. Through this one and its clones the thread can still be read, and no turn be started. That
    /// holds from the moment of asking, also if the wait for the answer is given up, unless the server refuses or is lost.
    ///
    /// **A turn that is running goes on** unobserved, without the thread's handlers and tools. Its handles and streams get
    /// nothing more of it, and end with [`ErrorKind::TurnLost`](crate::ErrorKind::TurnLost) once it is over and
    /// [`turn_idle_timeout`](crate::CodexConfig::turn_idle_timeout) has passed: interrupt it first, or wait for its end.
    ///
    /// # Errors
    /// As [`AsyncCodex::request`].
    pub async fn unsubscribe(&self) -> Result<ThreadUnsubscribeResponse> {
        unsubscribe::unsubscribe(&self.core, &self.opened).await
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

    /// The thread's id, by which it can be resumed.
    pub fn id(&self) -> &str {
        self.inner.id()
    }

    /// Runs one turn to its end.
    ///
    /// # Errors
    /// As [`TurnStart::run`].
    pub fn run(&self, input: impl Into<TurnInput>) -> Result<RunResult> {
        self.turn(input).run()
    }

    /// Runs one turn to its end, and reads its final response as a `T`: `thread.run_as::<Report>("…")`. The model has to
    /// follow the type's schema.
    ///
    /// # Errors
    /// As [`TurnStart::run_as`].
    pub fn run_as<T: DeserializeOwned + JsonSchema>(
        &self,
        input: impl Into<TurnInput>,
    ) -> Result<TypedResult<T>> {
        self.turn(input).run_as()
    }

    /// PendingTurns a turn: a builder for `turn/start` that ends in `send` (a handle) or `run` (the result). On a thread
    /// whose turn is running, it joins that turn.
    pub fn turn(&self, input: impl Into<TurnInput>) -> TurnStart<crate::session::clients::Codex> {
        TurnStart::new(self.inner.core.clone(), self.inner.opened.clone(), input.into())
    }

    /// Reads what the server has of the thread: a builder for `thread/read`.
    pub fn read(&self) -> ThreadRead<crate::session::clients::Codex> {
        let (core, thread) = (self.inner.core.clone(), self.inner.opened.clone());
        ThreadRead { core, thread, include_turns: false, client: PhantomData }
    }

    /// Pages through the thread's turns: a builder for `thread/turns/list`.
    pub fn turns(&self) -> ThreadTurns<crate::session::clients::Codex> {
        ThreadTurns::new(self.inner.core.clone(), self.inner.opened.clone())
    }

    /// Pages through the thread's items, of all turns or of one: a builder for `thread/items/list`.
    pub fn items(&self) -> ThreadItems<crate::session::clients::Codex> {
        ThreadItems::new(self.inner.core.clone(), self.inner.opened.clone())
    }

    /// Names the thread: `thread/name/set`.
    ///
    /// # Errors
    /// As [`Codex::request`](crate::Codex::request).
    #[inline]
    pub fn set_name(&self, name: impl Into<String>) -> Result<ThreadSetNameResponse> {
        crate::block_on::wait(self.inner.set_name(name))
    }

    /// Compacts the thread's history into a summary: `thread/compact/start`, which is answered at once, and then a
    /// turn of its own, which the handle follows. Its items hold a `contextCompaction`; it has no final response.
    ///
    /// **It interrupts a turn that is running** on the thread, and as long as it runs the server refuses other turns
    /// there. Dropping the handle lets it go on.
    ///
    /// # Errors
    /// As [`Codex::request`](crate::Codex::request), and [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) if
    /// its turn does not start.
    #[inline]
    pub fn compact(&self) -> Result<crate::turn::handles::TurnHandle> {
        crate::block_on::wait(self.inner.compact()).map(crate::turn::handles::TurnHandle::from_async)
    }

    /// Reads from the runtime what it has recorded of a turn of this thread, and makes a result of it: for a turn whose end was
    /// lost. On the wire: `thread/read`. See [`TurnHandle::recover`](crate::TurnHandle::recover), which does the same.
    ///
    /// # Errors
    /// As [`TurnHandle::recover`](crate::TurnHandle::recover).
    pub fn recover(&self, turn_id: &str) -> Result<RunResult> {
        crate::block_on::wait(self.inner.recover(turn_id))
    }

    /// Observes everything that concerns this thread from now on, also what belongs to no turn.
    pub fn events(&self) -> crate::session::events::Events {
        crate::session::events::Events::new(self.inner.core.clone(), Some(self.inner.opened.id.clone()))
    }

    /// Is done with the thread: the server sends nothing of its turns any more, and this client lets go of the thread's
    /// handlers and tools. For a client that lives long and starts many threads, whose closures it would keep.
    ///
    /// On the wire: `thread/unsubscribe`; its answer says whether the thread was subscribed. It closes nothing at
    /// once: runtime 0.163.0 keeps the thread loaded, and still tells of changes of its status. It is stored as before, and
    /// [`thread_resume`](crate::Codex::thread_resume) subscribes again, with the handlers that are given there, and
    /// gives a handle for it. Through this one and its clones the thread can still be read, and no turn be started. That
    /// holds from the moment of asking, also if the wait for the answer is given up, unless the server refuses or is lost.
    ///
    /// **A turn that is running goes on** unobserved, without the thread's handlers and tools. Its handles and streams get
    /// nothing more of it, and end with [`ErrorKind::TurnLost`](crate::ErrorKind::TurnLost) once it is over and
    /// [`turn_idle_timeout`](crate::CodexConfig::turn_idle_timeout) has passed: interrupt it first, or wait for its end.
    ///
    /// # Errors
    /// As [`Codex::request`](crate::Codex::request).
    #[inline]
    pub fn unsubscribe(&self) -> Result<ThreadUnsubscribeResponse> {
        crate::block_on::wait(self.inner.unsubscribe())
    }
}

//! What keeps a turn's events coming: shared by a handle, its clones and its streams.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use openai_codex_protocol::types::{TurnSteerParams, TurnSteerResponse};
use openai_codex_protocol::{ClientRequest, methods};

use crate::connection::turn_subscription::TurnSubscription;
use crate::error::{Error, ErrorKind, Result};
use crate::result::RunResult;
use crate::session::runtime::Session;
use crate::trace;

/// A hold on a turn. While it lives, the turn's events are kept; when it goes, they no longer are.
#[derive(Debug)]
pub(crate) struct TurnGuard {
    pub(crate) session: Arc<Session>,
    pub(crate) log: Arc<TurnSubscription>,
    /// Whether the turn is interrupted with the last hold on it, if it exists because of this one.
    interrupt_on_drop: AtomicBool,
    span: trace::Span,
}

impl TurnGuard {
    pub(crate) fn new(session: Arc<Session>, log: Arc<TurnSubscription>) -> Self {
        let span = trace::turn(&log.thread_id);
        Self { session, log, interrupt_on_drop: AtomicBool::new(true), span }
    }

    pub(crate) fn set_interrupt_on_drop(&self, interrupt: bool) {
        self.interrupt_on_drop.store(interrupt, Ordering::Relaxed);
    }

    /// Makes a request about the turn, which only the runtime that runs it can answer.
    pub(crate) async fn call<R: ClientRequest>(&self, params: &R::Params) -> Result<R::Response> {
        self.session.call::<R>(params, Some(&self.log.thread_id)).await.map_err(with_loss)
    }

    /// Whether the runtime lets a `turn/start` join a turn that runs.
    pub(crate) fn joins(&self) -> bool {
        self.session.joins_turns()
    }

    /// Waits for the turn's end and puts its result together.
    pub(crate) async fn outcome(&self) -> Result<RunResult> {
        self.end_in_a_fork();
        let mut wait = self.log.wait();
        let (digest, end) = poll_fn(|context| wait.poll_end(context)).await;
        RunResult::assemble(&self.log.thread_id, digest, end)
    }

    /// Ends the turn in a fork of the process that has started its runtime: nothing of it will come here.
    pub(crate) fn end_in_a_fork(&self) {
        if let Err(error) = self.session.connection.check_process() {
            let mut waiting = Vec::new();
            self.log.fail(&error.with_thread(Some(&self.log.thread_id)), &mut waiting);
        }
    }

    /// Interrupts the turn; nothing, if it is over.
    pub(crate) async fn interrupt(&self, turn_id: &Arc<str>) -> Result<()> {
        // One whose end was lost may still run.
        if self.log.has_ended() && !self.log.is_lost() {
            return Ok(());
        }
        self.failure_of_connection()?;
        let interrupted = self.session.connection.interrupt(&self.log, turn_id.clone()).await;
        interrupted.map_err(|error| with_loss(error.with_thread(Some(&self.log.thread_id))))
    }

    /// The error of a turn that has ended because its connection has.
    fn failure_of_connection(&self) -> Result<()> {
        match (self.log.is_lost(), self.session.connection.failure()) {
            (true, Some(error)) => {
                let error = error.with_method(methods::TurnInterrupt::METHOD);
                Err(with_loss(error.with_thread(Some(&self.log.thread_id))))
            }
            _ => Ok(()),
        }
    }

    /// Adds input to the turn, as soon as it runs. The server refuses that before, so nothing is added twice.
    pub(crate) async fn steer(&self, params: &TurnSteerParams) -> Result<TurnSteerResponse> {
        /// How long the server may refuse it although it has said that the turn runs.
        const LIMIT: Duration = Duration::from_secs(30);
        /// How long it is held for a turn that has not begun, before each attempt.
        const HOLD: Duration = Duration::from_millis(500);
        const PAUSE: Duration = Duration::from_millis(20);
        let connection = &self.session.connection;
        connection.check_process()?;
        let limit = self.session.timeout_of(methods::TurnSteer::METHOD).unwrap_or(LIMIT).min(LIMIT);
        let mut time = connection.sleep(limit);
        loop {
            let mut held = connection.sleep(HOLD);
            let mut runs = pin!(connection.wait_until_running(&params.expected_turn_id));
            poll_fn(|context| match runs.as_mut().poll(context) {
                Poll::Ready(_) => Poll::Ready(()),
                Poll::Pending => Pin::new(&mut held).poll(context),
            })
            .await;
            match self.call::<methods::TurnSteer>(params).await {
                Err(error) if error.kind() == ErrorKind::TurnNotActive && !self.log.has_ended() => {
                    let mut pause = connection.sleep(PAUSE);
                    let time_up = poll_fn(|context| match Pin::new(&mut time).poll(context) {
                        Poll::Ready(()) => Poll::Ready(true),
                        Poll::Pending => Pin::new(&mut pause).poll(context).map(|()| false),
                    });
                    if time_up.await {
                        return Err(error);
                    }
                }
                answer => return answer,
            }
        }
    }

    /// Why the turn has failed, if it has ended and did.
    pub(crate) fn failure(&self) -> Option<Error> {
        let (digest, end) = self.log.ended()?;
        RunResult::assemble(&self.log.thread_id, digest, end).err()
    }
}

/// An error of a request about a turn, which says so if the turn is lost.
fn with_loss(error: Error) -> Error {
    match error.kind() {
        ErrorKind::TransportClosed => {
            error.with_note("; the runtime of the turn has gone, and the turn with it")
        }
        _ => error,
    }
}

impl TurnGuard {
    /// Notes how the turn has ended, if it has and anybody looks.
    fn trace_end(&self) {
        if !self.span.is_enabled() {
            return;
        }
        self.log.turn_id().inspect(|turn_id| self.span.turn_id(turn_id));
        let Some((digest, end)) = self.log.ended() else { return };
        match RunResult::assemble(&self.log.thread_id, digest, end) {
            Ok(result) => self.span.ended(result.turn.status.as_str(), result.turn_usage.as_ref()),
            Err(error) => {
                self.span.failed(&error);
                if let Some(result) = error.turn() {
                    self.span.ended(result.turn.status.as_str(), result.turn_usage.as_ref());
                }
            }
        }
    }
}

impl Drop for TurnGuard {
    fn drop(&mut self) {
        self.trace_end();
        self.session.connection.release(&self.log, self.interrupt_on_drop.load(Ordering::Relaxed));
    }
}

//! What keeps a turn's events coming: shared by a handle, its clones and its streams.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use openai_codex_protocol::ClientRequest;

use crate::client::Session;
use crate::connection::turn_log::TurnLog;
use crate::{Error, ErrorKind, Result, RunResult, trace};

/// A hold on a turn. While it lives, the turn's events are kept; when it goes, they no longer are.
#[derive(Debug)]
pub(super) struct TurnHold {
    pub(super) session: Arc<Session>,
    pub(super) log: Arc<TurnLog>,
    /// Whether the turn is interrupted with the last hold on it, if it exists because of this one.
    interrupt_on_drop: AtomicBool,
    span: trace::Span,
}

impl TurnHold {
    pub(super) fn new(session: Arc<Session>, log: Arc<TurnLog>) -> Self {
        let span = trace::turn(&log.thread_id);
        Self { session, log, interrupt_on_drop: AtomicBool::new(true), span }
    }

    pub(super) fn set_interrupt_on_drop(&self, interrupt: bool) {
        self.interrupt_on_drop.store(interrupt, Ordering::Relaxed);
    }

    /// Makes a request about the turn, which only the runtime that runs it can answer.
    pub(super) async fn call<R: ClientRequest>(&self, params: &R::Params) -> Result<R::Response> {
        let answer = self.session.call::<R>(params, Some(&self.log.thread_id)).await;
        answer.map_err(|error| match error.kind() {
            ErrorKind::TransportClosed => {
                error.with_note("; the runtime of the turn has gone, and the turn with it")
            }
            _ => error,
        })
    }

    /// Waits for the turn's end and puts its result together.
    pub(super) async fn outcome(&self) -> Result<RunResult> {
        self.end_in_a_fork();
        let mut wait = self.log.wait();
        let (digest, end) = poll_fn(|context| wait.poll_end(context)).await;
        RunResult::assemble(&self.log.thread_id, digest, end)
    }

    /// Ends the turn in a fork of the process that has started its runtime: nothing of it will come here.
    pub(super) fn end_in_a_fork(&self) {
        if let Err(error) = self.session.connection.check_process() {
            let mut waiting = Vec::new();
            self.log.lose(&error.with_thread(Some(&self.log.thread_id)), &mut waiting);
        }
    }

    /// Why the turn has failed, if it has ended and did.
    pub(super) fn failure(&self) -> Option<Error> {
        let (digest, end) = self.log.ended()?;
        RunResult::assemble(&self.log.thread_id, digest, end).err()
    }
}

impl TurnHold {
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

impl Drop for TurnHold {
    fn drop(&mut self) {
        self.trace_end();
        self.session.connection.release(&self.log, self.interrupt_on_drop.load(Ordering::Relaxed));
    }
}

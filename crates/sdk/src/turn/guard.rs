//! What a turn's handle, its clones and its streams share: the subscription that keeps the turn's events, the requests about the
//! turn, and what happens when the last of them is dropped.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use openai_codex_protocol::types::{ThreadItem, TurnItemsView, TurnSteerParams, TurnSteerResponse};
use openai_codex_protocol::{ClientRequest, methods};

use crate::connection::host::SharedBuffer;
use crate::connection::turn_buffer::{Digest, End};
use crate::error::{Error, ErrorKind, Result};
use crate::io::turn_subscription::TurnSubscription;
use crate::result::RunResult;
use crate::session::runtime::Session;
use crate::trace;

/// Keeps a turn's subscription: the client buffers the turn's events until the guard is dropped.
#[derive(Debug)]
pub(crate) struct TurnGuard {
    pub(crate) session: Arc<Session>,
    pub(crate) subscription: Arc<TurnSubscription>,
    /// The client's id of the user message that the turn was started with, or that has joined it.
    pub(crate) client_message_id: Option<Arc<str>>,
    /// Whether the guard follows a turn that another call has started. The earlier items are in the runtime's records.
    follows: bool,
    /// Whether dropping the guard interrupts the turn, if this call created it and nothing else holds it.
    interrupt_on_drop: AtomicBool,
    span: trace::Span,
}

impl TurnGuard {
    pub(crate) fn new(session: Arc<Session>, subscription: Arc<TurnSubscription>) -> Self {
        let span = trace::turn(&subscription.thread_id);
        let interrupt_on_drop = AtomicBool::new(true);
        Self { session, subscription, client_message_id: None, follows: false, interrupt_on_drop, span }
    }

    /// Completes the turn's result from the runtime's records.
    pub(crate) fn following(mut self) -> Self {
        self.follows = true;
        self
    }

    /// Sets the client's id of the turn's user message.
    pub(crate) fn with_client_message_id(mut self, id: Option<&str>) -> Self {
        self.client_message_id = id.map(Arc::from);
        self
    }

    pub(crate) fn set_interrupt_on_drop(&self, interrupt: bool) {
        self.interrupt_on_drop.store(interrupt, Ordering::Relaxed);
    }

    /// Makes a request about the turn. Only the runtime that runs the turn can respond to it.
    pub(crate) async fn call<R: ClientRequest>(&self, params: &R::Params) -> Result<R::Response> {
        self.session.call::<R>(params, Some(&self.subscription.thread_id)).await.map_err(with_loss)
    }

    /// Whether the runtime lets a `turn/start` join a turn that runs.
    pub(crate) fn joins(&self) -> bool {
        self.session.joins_turns()
    }

    /// Waits for the turn's end and returns its result.
    pub(crate) async fn outcome(&self) -> Result<RunResult> {
        let (digest, end) = self.end().await;
        let is_over = matches!(end, End::Completed(_));
        let result = RunResult::assemble(&self.subscription.thread_id, digest, end);
        let recorded = if is_over { self.recorded_items().await } else { None };
        let result = match (result, recorded) {
            (Ok(result), Some(items)) => Ok(result.with_items(items)),
            (Err(error), Some(items)) => Err(match error.turn().cloned() {
                Some(partial) => error.with_turn(partial.with_items(items)),
                None => error,
            }),
            (result, None) => result,
        };
        result.map_err(|error| error.with_client_message_id(self.client_message_id.as_deref()))
    }

    /// The items of a turn that the guard follows, with those from before. `None` for other turns: their guards have all items.
    pub(crate) async fn recorded_items(&self) -> Option<Vec<ThreadItem>> {
        let turn_id = self.subscription.turn_id().filter(|_| self.follows)?;
        let thread_id = &self.subscription.thread_id;
        let turn = self.session.recorded_turn(thread_id, &turn_id, TurnItemsView::Full).await;
        turn.ok().flatten().map(|turn| turn.items)
    }

    /// Waits for the turn's end.
    pub(crate) async fn end(&self) -> (Digest, End) {
        if let Err(error) = self.check_process() {
            return (Digest::default(), End::Lost(error));
        }
        let mut wait = self.subscription.wait();
        poll_fn(|context| wait.poll_end(context)).await
    }

    /// Fails in a fork of the process that started the turn's runtime: no events arrive there. Callers check this before they
    /// access the subscription, whose lock the I/O thread may have held at the fork.
    pub(crate) fn check_process(&self) -> Result<()> {
        let checked = self.session.connection.check_process();
        checked.map_err(|error| error.with_thread(Some(&self.subscription.thread_id)))
    }

    /// Interrupts the turn. Does nothing if it is over.
    pub(crate) async fn interrupt(&self, turn_id: &Arc<str>) -> Result<()> {
        self.check_process().map_err(|error| error.with_method(methods::TurnInterrupt::METHOD))?;
        // A turn whose end was lost may still run.
        if self.subscription.has_ended() && !self.subscription.is_lost() {
            return Ok(());
        }
        self.failure_of_connection()?;
        let interrupted = self.session.connection.interrupt(&self.subscription, turn_id.clone()).await;
        interrupted.map_err(|error| with_loss(error.with_thread(Some(&self.subscription.thread_id))))
    }

    /// Fails if the turn was lost with its connection.
    fn failure_of_connection(&self) -> Result<()> {
        match (self.subscription.is_lost(), self.session.connection.failure()) {
            (true, Some(error)) => {
                let error = error.with_method(methods::TurnInterrupt::METHOD);
                Err(with_loss(error.with_thread(Some(&self.subscription.thread_id))))
            }
            _ => Ok(()),
        }
    }

    /// Adds input to the turn as soon as it runs. The server refuses earlier input, so no input is added twice.
    pub(crate) async fn steer(&self, mut params: TurnSteerParams) -> Result<TurnSteerResponse> {
        params.client_user_message_id = self.session.new_client_id();
        let response = self.steer_when_it_runs(&params).await;
        let response = response
            .map_err(|error| error.with_client_message_id(params.client_user_message_id.as_deref()))?;
        if let Some(client_id) = params.client_user_message_id {
            self.subscription.with(|buffer| buffer.add_input(client_id, params.input));
        }
        Ok(response)
    }

    async fn steer_when_it_runs(&self, params: &TurnSteerParams) -> Result<TurnSteerResponse> {
        /// How long the client repeats a refused request.
        const LIMIT: Duration = Duration::from_secs(30);
        /// How long each attempt waits for a turn that has not begun.
        const BEGIN_WAIT: Duration = Duration::from_millis(500);
        const PAUSE: Duration = Duration::from_millis(20);
        let connection = &self.session.connection;
        connection.check_process()?;
        let limit = self.session.timeout_of(methods::TurnSteer::METHOD).unwrap_or(LIMIT).min(LIMIT);
        let mut time = connection.sleep(limit);
        loop {
            let mut begin_timer = connection.sleep(BEGIN_WAIT);
            let mut runs = pin!(connection.wait_until_running(&params.expected_turn_id));
            poll_fn(|context| match runs.as_mut().poll(context) {
                Poll::Ready(_) => Poll::Ready(()),
                Poll::Pending => Pin::new(&mut begin_timer).poll(context),
            })
            .await;
            match self.call::<methods::TurnSteer>(params).await {
                Err(error) if error.kind() == ErrorKind::TurnNotActive && !self.subscription.has_ended() => {
                    let mut pause = connection.sleep(PAUSE);
                    let time_up = poll_fn(|context| match Pin::new(&mut time).poll(context) {
                        Poll::Ready(()) => Poll::Ready(true),
                        Poll::Pending => Pin::new(&mut pause).poll(context).map(|()| false),
                    });
                    if time_up.await {
                        return Err(error);
                    }
                }
                Err(error) if error.kind() == ErrorKind::ThreadNotFound && self.subscription.has_ended() => {
                    let message =
                        format!("the turn is over, and the server has unloaded its thread ({error})");
                    let over = Error::new(ErrorKind::TurnNotActive, message);
                    let over = over.with_method(methods::TurnSteer::METHOD);
                    return Err(over.with_thread(Some(&self.subscription.thread_id)).with_source(error));
                }
                response => return response,
            }
        }
    }

    /// The error of a turn that has ended and failed.
    pub(crate) fn failure(&self) -> Option<Error> {
        let (digest, end) = self.subscription.ended()?;
        RunResult::assemble(&self.subscription.thread_id, digest, end).err()
    }
}

/// Adds to an error that the turn was lost with its runtime.
fn with_loss(error: Error) -> Error {
    match error.kind() {
        ErrorKind::TransportClosed => {
            error.with_note("; the turn was lost with its runtime: `recover` reads what the runtime recorded")
        }
        _ => error,
    }
}

impl TurnGuard {
    /// Records in the span how the turn ended.
    fn trace_end(&self) {
        if !self.span.is_enabled() {
            return;
        }
        self.subscription.turn_id().inspect(|turn_id| self.span.turn_id(turn_id));
        let Some((digest, end)) = self.subscription.ended() else { return };
        match RunResult::assemble(&self.subscription.thread_id, digest, end) {
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
        if self.check_process().is_err() {
            return;
        }
        self.trace_end();
        self.session.connection.release(&self.subscription, self.interrupt_on_drop.load(Ordering::Relaxed));
    }
}

//! One connection to one runtime, as the session uses it.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::background::until;
use crate::connection::effect::Phase;
use crate::connection::outgoing::{ClientNotification, frame};
use crate::connection::turn_subscription::TurnSubscription;
use crate::error::{Error, ErrorKind, Result};
use crate::io::interruption::Interruption;
use crate::io::request::{ClientCall, Pending};
use crate::io::shared::{Ended, Shared};
use crate::options::trace_context::TraceSource;

/// A connection, owned by everything that needs it; when the last owner drops it, the runtime is ended.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) shared: Arc<Shared>,
}

impl Connection {
    /// Sends a request, as part of the trace of the caller. Its answer may be dropped at any time.
    pub(crate) fn send(&self, call: ClientCall<'_>) -> Result<Pending> {
        // Code of the user: no lock is held.
        let trace = self.shared.trace_context.as_ref().and_then(TraceSource::current);
        self.shared.send_request(ClientCall { trace, ..call })
    }

    /// The error without the keys and tokens that were sent on this connection.
    pub(crate) fn redact(&self, error: Error) -> Error {
        error.redacted(|text| self.shared.secrets.redact_text(text))
    }

    /// Sends a notification without parameters.
    pub(crate) fn notify(&self, method: &str) {
        self.shared.send(None, frame(&ClientNotification { method }));
    }

    /// A window of a turn that is to be started.
    pub(crate) fn log(&self, thread_id: Arc<str>, keep_backlog: bool) -> TurnSubscription {
        TurnSubscription::new(thread_id, keep_backlog, &self.shared.budget)
    }

    /// Interrupts a turn. Completes when the server has accepted that, or the turn is over; its commands are ended too, if
    /// the log says so.
    pub(crate) async fn interrupt(&self, log: &TurnSubscription, turn_id: Arc<str>) -> Result<()> {
        self.check_process()?;
        let turn = turn_id.clone();
        let interruption = Interruption::new(log.thread_id.clone(), turn_id, log.ends_commands());
        let interruption = interruption.of_lost_turn(log.is_lost());
        let (interruption, outcome) = interruption.with_outcome();
        self.shared.router().set_being_interrupted(&turn, true);
        self.shared.interrupt(interruption);
        let lost = || {
            self.failure()
                .unwrap_or_else(|| Error::new(ErrorKind::TransportClosed, "the connection has ended"))
        };
        outcome.await.unwrap_or_else(|_| Err(lost().with_method("turn/interrupt")))
    }

    /// Waits, so long at most, for the end of a thread's turn that is being interrupted. A turn that is started after that
    /// does not join it.
    pub(crate) async fn until_interrupted(&self, thread_id: &str, limit: Duration) {
        // In a fork of the process nothing would ever come.
        let followed =
            self.check_process().is_ok().then(|| self.shared.router().follow_interrupted(thread_id));
        let Some(mut phase) = followed.flatten() else { return };
        let mut time = self.sleep(limit);
        let mut over = pin!(until(&mut phase, Phase::is_over));
        poll_fn(|context| match over.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => Pin::new(&mut time).poll(context),
        })
        .await;
    }

    /// Whether the server runs a turn: completes at once if it does, or when it does; with `false` if the turn is over.
    pub(crate) async fn runs(&self, turn_id: &str) -> bool {
        let Some(mut phase) = self.shared.router().follow(turn_id) else { return false };
        until(&mut phase, Phase::has_begun).await && matches!(*phase.borrow(), Phase::Running)
    }

    /// The last handle of a turn has gone.
    pub(crate) fn release(&self, log: &Arc<TurnSubscription>, interrupt: bool) {
        if !self.shared.process.is_current() {
            return;
        }
        self.shared.route(|router, effects| router.release(log, interrupt, effects));
    }

    /// Completes after `delay`, on the clock of the I/O thread.
    pub(crate) fn sleep(&self, delay: Duration) -> impl Future<Output = ()> + Send + Unpin + use<> {
        self.shared.timers.sleep(delay)
    }

    /// An error in a fork of the process that has started the runtime.
    pub(crate) fn check_process(&self) -> Result<()> {
        self.shared.process.check()
    }

    /// What an error says of what the server wrote before the handshake, instead of an answer.
    pub(crate) fn wrote_before_greeting(&self) -> String {
        self.shared.preamble.words()
    }

    /// Whether a turn runs on a thread, or is about to.
    pub(crate) fn is_busy(&self, thread_id: &str) -> bool {
        self.shared.router().is_busy(thread_id)
    }

    /// Why the connection has ended, if it has. Whoever was told by anything that it has, finds it so here.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.shared.router().failure()
    }

    /// PendingTurns the end of the connection: everything that waits ends with [`ErrorKind::Closed`].
    pub(crate) fn close(&self) {
        // A fork must not wake what belongs to its parent, nor wait for a lock that a thread held which it does not have.
        if !self.shared.process.is_current() {
            return;
        }
        let error = Error::new(ErrorKind::Closed, "the client was closed");
        self.shared.fail(&error);
        self.shared.closing.send_replace(true);
    }

    /// Waits until the runtime has been reaped and nothing of the connection is left.
    pub(crate) fn ended(&self) -> impl Future<Output = Ended> + Send + use<> {
        let mut ended = self.shared.ended.subscribe();
        async move {
            until(&mut ended, Option::is_some).await;
            // If the I/O thread is gone without a word, it owned the child, which dies with its handle.
            let ended = ended.borrow().clone();
            ended.unwrap_or(Ended { reaped: false })
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
    }
}

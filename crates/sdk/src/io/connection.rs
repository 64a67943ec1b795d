//! One connection to one runtime, as the session uses it.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use crate::background::{Boxed, until};
use crate::connection::turn_phase::Phase;
use crate::error::{Error, ErrorKind, Result};
use crate::io::closing;
use crate::io::interruption::Interruption;
use crate::io::shared::{Connection, Ended, Shared};
use crate::io::turn_subscription::TurnSubscription;
use crate::io::watchdog;

impl Connection {
    /// The error without the keys and tokens that were sent on this connection.
    pub(crate) fn redact(&self, error: Error) -> Error {
        error.redacted(|text| self.shared.secrets.redact_text(text))
    }

    /// Interrupts a turn, and its commands if the subscription says so. Completes when the server has accepted the interrupt, or
    /// when the turn is over.
    pub(crate) fn interrupt<'a>(
        &'a self,
        subscription: &'a TurnSubscription,
        turn_id: Arc<str>,
    ) -> Boxed<'a, Result<()>> {
        Box::pin(async move {
            self.check_process()?;
            let turn = turn_id.clone();
            let interruption =
                Interruption::new(subscription.thread_id.clone(), turn_id, subscription.ends_commands());
            let interruption = interruption.of_lost_turn(subscription.is_lost());
            let (interruption, outcome) = interruption.with_outcome();
            self.shared.router().set_being_interrupted(&turn, true);
            self.shared.interrupt(interruption);
            let lost = || {
                self.failure()
                    .unwrap_or_else(|| Error::new(ErrorKind::TransportClosed, "the connection has ended"))
            };
            outcome.await.unwrap_or_else(|_| Err(lost().with_method("turn/interrupt")))
        })
    }

    /// Binds a subscription to a turn that the server runs, whichever client has started it. Returns whether the client did not know
    /// of the turn.
    pub(crate) fn follow_events(
        &self,
        subscription: &Arc<TurnSubscription>,
        turn_id: &Arc<str>,
    ) -> Result<bool> {
        self.check_process()?;
        self.shared.route(|router| router.follow_events(subscription, turn_id))
    }

    /// Notes the id under which the server lists a running turn.
    pub(crate) fn set_listed_id(&self, turn_id: &str, listed_id: &str) {
        self.shared.router().set_listed_id(turn_id, listed_id);
    }

    /// Unbinds a subscription from a turn that was over when it was bound.
    pub(crate) fn unfollow_events(&self, subscription: &Arc<TurnSubscription>, turn_id: &str) {
        self.shared.route(|router| router.unfollow_events(subscription, turn_id));
    }

    /// Waits until no turn of a thread is being given up, so that a turn which starts afterwards joins none of them. First waits for the
    /// response to a start that was given up, for at most `response_limit`, because only that names the turn to interrupt. Then waits for
    /// the end of the turn, for at most `end_limit`. Returns whether such a turn is left.
    pub(crate) fn wait_until_given_up<'a>(
        &'a self,
        thread_id: &'a str,
        response_limit: Option<Duration>,
        end_limit: Duration,
    ) -> Boxed<'a, bool> {
        Box::pin(async move {
            const PAUSE: Duration = Duration::from_millis(5);
            // A fork of the process has no I/O thread that could end the wait.
            if self.check_process().is_err() {
                return true;
            }
            let mut time = None;
            while self.shared.router().gives_up_start(thread_id) {
                if time.is_none() {
                    time = response_limit.map(|limit| self.sleep(limit));
                }
                let mut pause = self.sleep(PAUSE);
                let is_over = poll_fn(|context| {
                    let time = time.as_mut().map(|time| Pin::new(time).poll(context));
                    if time.is_some_and(|time| time.is_ready()) {
                        return Poll::Ready(true);
                    }
                    Pin::new(&mut pause).poll(context).map(|()| false)
                });
                if is_over.await {
                    break;
                }
            }
            self.wait_until_interrupted(thread_id, end_limit).await;
            self.shared.router().gives_up_turn(thread_id)
        })
    }

    /// Waits, for at most `limit`, until a thread's turn that is being interrupted has ended. A turn that starts afterwards does
    /// not join it.
    pub(crate) fn wait_until_interrupted<'a>(&'a self, thread_id: &'a str, limit: Duration) -> Boxed<'a, ()> {
        Box::pin(async move {
            // A fork of the process has no I/O thread that could end the wait.
            let follower =
                self.check_process().is_ok().then(|| self.shared.router().follow_interrupted(thread_id));
            let Some(follower) = follower.flatten() else { return };
            let mut phase = follower.subscribe();
            drop(follower);
            let mut time = self.sleep(limit);
            let mut over = pin!(until(&mut phase, Phase::is_over));
            poll_fn(|context| match over.as_mut().poll(context) {
                Poll::Ready(_) => Poll::Ready(()),
                Poll::Pending => Pin::new(&mut time).poll(context),
            })
            .await;
        })
    }

    /// Notes that the server sends no more events of a thread.
    pub(crate) fn note_unsubscribed(&self, thread_id: &str) {
        self.shared.router().lose_sight(thread_id);
    }

    /// Ends the waits for a thread's turns whose events did not arrive, because the client had unsubscribed. The server has just said
    /// that no turn runs in the thread, or only this one.
    pub(crate) fn end_unseen_turns(&self, thread_id: &str, running: Option<&str>) {
        let listed = |turn_id: &Arc<str>| self.shared.router().listed_id(turn_id);
        let over = self.turns_on(thread_id).into_iter();
        for turn_id in over.filter(|turn_id| running.is_none_or(|running| *listed(turn_id) != *running)) {
            self.shared.begin(Box::pin(watchdog::end_unseen(self.shared.clone(), turn_id)));
        }
    }

    /// Waits until the server runs a turn. Returns `false` if the turn is over.
    pub(crate) async fn wait_until_running(&self, turn_id: &str) -> bool {
        let Some(mut phase) = self.shared.follow(turn_id) else { return false };
        until(&mut phase, Phase::has_begun).await && matches!(*phase.borrow(), Phase::Running)
    }

    /// Releases a subscription whose last handle has gone.
    pub(crate) fn release(&self, subscription: &Arc<TurnSubscription>, interrupt: bool) {
        if !self.shared.process.is_current() {
            return;
        }
        self.shared.route(|router| router.release(subscription, interrupt));
    }

    /// Completes after `delay`, on the clock of the I/O thread.
    pub(crate) fn sleep(&self, delay: Duration) -> impl Future<Output = ()> + Send + Unpin + use<> {
        self.shared.timers.sleep(delay)
    }

    /// Fails in a fork of the process that started the runtime.
    pub(crate) fn check_process(&self) -> Result<()> {
        self.shared.process.check()
    }

    /// The part of an error message that quotes what the server wrote before the handshake.
    pub(crate) fn preamble_quote(&self) -> String {
        self.shared.preamble.quote()
    }

    /// The number of the transport, from 0.
    pub(crate) fn transport(&self) -> u32 {
        self.shared.transport.load(Ordering::Acquire)
    }

    /// Whether the client has replaced a lost transport.
    pub(crate) fn has_reconnected(&self) -> bool {
        self.transport() > 0
    }

    /// Whether a turn runs on a thread, or is about to.
    pub(crate) fn is_busy(&self, thread_id: &str) -> bool {
        self.shared.router().is_busy(thread_id)
    }

    /// Whether a start on a thread waits for its response.
    pub(crate) fn is_starting(&self, thread_id: &str) -> bool {
        self.shared.router().is_starting(thread_id)
    }

    /// Whether a turn runs of which the client receives the events.
    pub(crate) fn is_running(&self, turn_id: &str) -> bool {
        self.shared.router().is_running(turn_id)
    }

    /// Whether a budget is set for a turn that runs on a thread.
    pub(crate) fn has_budget(&self, thread_id: &str) -> bool {
        self.shared.router().has_budget(thread_id)
    }

    /// The running turns of a thread of which the client receives the events.
    pub(crate) fn running_turns(&self, thread_id: &str) -> Vec<Arc<str>> {
        self.shared.router().running_turns(thread_id)
    }

    /// Whether no call with a handle has created a turn: another client of the server, or a plain request.
    pub(crate) fn is_turn_of_others(&self, turn_id: &str) -> bool {
        self.shared.router().is_turn_of_others(turn_id)
    }

    /// Notes that the turn of a start is one of another client, which the start has joined.
    pub(crate) fn disown(&self, subscription: &TurnSubscription) {
        self.shared.router().disown(subscription);
    }

    /// The ids of the turns that are known to run on a thread.
    pub(crate) fn turns_on(&self, thread_id: &str) -> Vec<Arc<str>> {
        self.shared.router().turns_on(thread_id)
    }

    /// Whether a thread runs a turn that no call with a handle has created.
    pub(crate) fn runs_turn_of_others(&self, thread_id: &str) -> bool {
        self.shared.router().runs_turn_of_others(thread_id)
    }

    /// The threads of a thread's sub-agents, and whether each one runs a turn.
    pub(crate) fn subagents(&self, thread_id: &str) -> Vec<(Arc<str>, bool)> {
        self.shared.router().subagents(thread_id)
    }

    /// Why the connection has ended, if it has. It is set before any call reports the end.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.shared.router().failure()
    }

    /// Starts the end of the connection. Everything that waits ends with [`ErrorKind::Closed`]. A server that runs by itself would go
    /// on with the turns that the client is interrupting, so their interrupts come first, for at most some seconds, also if the
    /// connection is lost.
    pub(crate) fn close(&self) {
        // A fork must not wake its parent's tasks, nor wait for a lock that a thread of its parent holds.
        if !self.shared.process.is_current() {
            return;
        }
        let shared = self.shared.clone();
        if shared.shared_server.is_some() && closing::any_left(&shared) {
            closing::begin(&shared);
            self.shared.begin(Box::pin(async move {
                closing::finish_all(&shared).await;
                end(&shared);
            }));
        } else {
            end(&shared);
        }
    }

    /// The error of a close that has ended the connection before the server had confirmed all interrupts.
    pub(crate) fn unconfirmed_interrupts(&self) -> Option<Error> {
        self.shared.interrupts.unconfirmed()
    }

    /// Waits until the runtime is reaped and nothing of the connection is left.
    pub(crate) fn ended(&self) -> impl Future<Output = Ended> + Send + use<> {
        let mut ended = self.shared.ended.subscribe();
        async move {
            until(&mut ended, Option::is_some).await;
            // An I/O thread that ends without a report owned the child, which dies with its handle.
            let ended = ended.borrow().clone();
            ended.unwrap_or(Ended { reaped: false })
        }
    }
}

/// Ends everything that waits, and then the connection.
fn end(shared: &Arc<Shared>) {
    shared.fail(&Error::new(ErrorKind::Closed, "the client was closed; make a new one"));
    shared.closing.send_replace(true);
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
    }
}

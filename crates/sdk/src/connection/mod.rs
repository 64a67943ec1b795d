//! One connection to one runtime: requests out, answers and events in.
//!
//! The parts: [`envelope`] reads where a frame goes, [`router`] decides, with [`starts`] for turns that are not known yet,
//! [`lineage`] for the families of threads and [`logins`] for whose the end of a login is. [`staged`] holds the events of
//! what was read at once, [`turn_log`] and [`observers`] keep what consumers have not taken yet
//! ([`frame_queue`], [`backlog`], [`merge`]). [`asked`] keeps what the server has asked, [`serve`] has it answered by
//! handlers and [`fallback`] without any. [`deadlines`] ends what takes too long, [`watchdog`] asks after silent turns,
//! [`interruption`] interrupts turns and [`limits`] keeps their limits,
//! [`secrets`] takes keys out of what reports trouble, [`preamble`] is what came before the handshake, [`outgoing`] is what is written, and [`driver`] runs them over a
//! transport on the client's I/O thread.

pub(crate) mod asked;
pub(crate) mod backlog;
#[cfg(any(test, fuzzing))]
pub(crate) mod checks;
pub(crate) mod deadlines;
mod driver;
pub(crate) mod envelope;
mod fallback;
pub(crate) mod frame_queue;
mod interruption;
mod io_thread;
pub(crate) mod limits;
mod lineage;
pub(crate) mod logins;
mod merge;
pub(crate) mod observers;
mod outgoing;
mod preamble;
pub(crate) mod router;
pub(crate) mod secrets;
mod serve;
mod staged;
mod starts;
#[cfg(test)]
mod tests;
pub(crate) mod turn_log;
mod watchdog;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot, watch};

use crate::background::{Job, until};
use crate::handler::{Handlers, Layer, drop_elsewhere};
use crate::method_class::ClassDeadlines;
use crate::owning_process::OwningProcess;
use crate::thread::live::LiveThreads;
use crate::trace;
use crate::trace_context::{TraceContext, TraceSource};
use crate::wire_log::Recorder;
use crate::{Error, ErrorKind, Result};
use backlog::{Budget, Limits};
use deadlines::Deadlines;
use interruption::Interruption;
use logins::LoginEnd;
use observers::{Afterwards, Hub, Observed};
use outgoing::{ClientNotification, Outgoing, Request, frame};
use preamble::Preamble;
use router::{Answer, Effect, Phase, Router, Waiter};
use secrets::Secrets;
use turn_log::TurnLog;

/// The method whose parameters hold keys and tokens.
const LOGIN: &str = "account/login/start";

/// A connection, owned by everything that needs it; when the last owner drops it, the runtime is ended.
#[derive(Debug)]
pub(crate) struct Connection {
    shared: Arc<Shared>,
}

/// What a connection has to know of its client.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    pub(crate) hub: Arc<Hub>,
    pub(crate) handlers: Arc<Handlers>,
    pub(crate) live_threads: Arc<LiveThreads>,
    pub(crate) limits: Limits,
    /// How long a turn may be silent before the server is asked about it.
    pub(crate) silence: Duration,
    /// How long requests may wait for their answers.
    pub(crate) timeouts: ClassDeadlines,
    pub(crate) trace_context: Option<TraceSource>,
    pub(crate) wire_log: Option<Arc<Recorder>>,
    pub(crate) afterwards: Afterwards,
}

/// What the owners of a connection share with its I/O thread.
#[derive(Debug)]
struct Shared {
    router: Mutex<Router>,
    outbox: mpsc::UnboundedSender<Outgoing>,
    deadlines: Deadlines,
    /// How long requests may wait for their answers.
    timeouts: ClassDeadlines,
    /// What the I/O thread is to begin.
    jobs: mpsc::UnboundedSender<Job>,
    secrets: Arc<Secrets>,
    hub: Arc<Hub>,
    handlers: Arc<Handlers>,
    live_threads: Arc<LiveThreads>,
    budget: Arc<Budget>,
    trace_context: Option<TraceSource>,
    afterwards: Afterwards,
    closing: watch::Sender<bool>,
    ended: watch::Sender<Option<Ended>>,
    /// Whether a request, which can only be `initialize`, was answered. Before that the peer may be any program.
    greeted: AtomicBool,
    preamble: Preamble,
    /// Whose threads complete what is waited for.
    process: OwningProcess,
    /// Whether the connection has ended. What still comes is nobody's.
    over: AtomicBool,
}

/// How a connection ended: reaped, and nothing of it is left.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) reaped: bool,
}

fn drop_one_elsewhere(layer: Option<Layer>) {
    if let Some(layer) = layer {
        drop_elsewhere(vec![layer]);
    }
}

/// How the router takes note of a request: gives its id.
type Register<'a> = Box<dyn FnOnce(&mut Router, Waiter) -> Result<i64> + 'a>;

impl Shared {
    fn router(&self) -> MutexGuard<'_, Router> {
        self.router.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the router decide something and does what it decided, when it is no longer locked.
    fn route<T>(self: &Arc<Self>, decide: impl FnOnce(&mut Router, &mut Vec<Effect>) -> T) -> T {
        let mut effects = Vec::new();
        let decided = decide(&mut self.router(), &mut effects);
        self.apply(&mut effects);
        decided
    }

    fn apply(self: &Arc<Self>, effects: &mut Vec<Effect>) {
        for effect in effects.drain(..) {
            match effect {
                Effect::Resolve(waiter, answer) => {
                    // The receiver may just have gone; then nobody is left to be told.
                    let _ = waiter.reply.send(answer);
                    drop_one_elsewhere(waiter.opens);
                }
                Effect::Wake(wakers) => wakers.into_iter().for_each(Waker::wake),
                Effect::EndLogin(ending, end) => drop(ending.send_replace(Some(end))),
                Effect::Serve(ask) => serve::begin(self, ask),
                Effect::Repeat(frame) => self.send(None, frame),
                Effect::Cancel(signal, untold) => {
                    signal.fire();
                    if let Some(ask) = untold {
                        self.send(None, serve::error_frame(&ask.id, "the turn has ended"));
                    }
                }
                Effect::Bind(thread_id, layer) => drop_one_elsewhere(self.handlers.bind(&thread_id, layer)),
                Effect::Unloaded(thread_id) => self.live_threads.closed(&thread_id),
                Effect::Closed(thread_id) => drop_one_elsewhere(self.handlers.release(&thread_id)),
                Effect::Interrupt { thread_id, turn_id, end_commands } => {
                    self.interrupt(Interruption::new(thread_id, turn_id, end_commands));
                }
                Effect::Limit(log) => self.begin(Box::pin(limits::watch(self.clone(), log))),
                Effect::Exceeded(log) => {
                    let error = log.budget_error();
                    self.begin(Box::pin(limits::stop(self.clone(), log, error)));
                }
                Effect::Suspect(turn) => self.begin(Box::pin(watchdog::check_suspect(self.clone(), turn))),
                Effect::TurnRuns(phase) => drop(phase.send_replace(Phase::Running)),
                Effect::TurnOver(phase, commands) => drop(phase.send_replace(Phase::Over(commands))),
            }
        }
    }

    /// Has the I/O thread begin a job. One that has gone means an ended connection, and with it every turn.
    fn begin(&self, job: Job) {
        let _ = self.jobs.send(job);
    }

    fn interrupt(self: &Arc<Self>, interruption: Interruption) {
        self.begin(Box::pin(interruption::carry_out(self.clone(), interruption)));
    }

    /// Sends a request of our own, which belongs to no trace.
    fn request(
        self: &Arc<Self>,
        method: &str,
        params: Option<&RawValue>,
        thread_id: Option<&str>,
        deadline: Option<Duration>,
    ) -> Result<Pending> {
        self.send_request(method, params, thread_id, deadline, None, Box::new(Router::register))
    }

    fn send_request(
        self: &Arc<Self>,
        method: &str,
        params: Option<&RawValue>,
        thread_id: Option<&str>,
        deadline: Option<Duration>,
        trace: Option<TraceContext>,
        register: Register<'_>,
    ) -> Result<Pending> {
        self.process.check().map_err(|error| error.with_method(method).with_thread(thread_id))?;
        // Whoever does not say which thread a request is for may have said it in the parameters.
        let told =
            params.filter(|_| thread_id.is_none()).and_then(|params| envelope::thread_of(params.get()));
        let thread_id = thread_id.or(told.as_deref());
        if let Some(params) = params.filter(|_| method == LOGIN) {
            self.secrets.learn(params.get());
        }
        let (reply, answer) = oneshot::channel();
        let waiter =
            Waiter { reply, method: method.into(), thread_id: thread_id.map(Arc::from), opens: None };
        let id = register(&mut self.router(), waiter)
            .map_err(|error| error.with_method(method).with_thread(thread_id))?;
        self.send(Some(id), frame(&Request { method, id, params, trace }));
        if let Some(deadline) = deadline {
            self.deadlines.request(id, deadline);
        }
        let span = trace::request(method, id, thread_id);
        Ok(Pending { shared: self.clone(), id, answer, span })
    }

    fn send(&self, id: Option<i64>, frame: Bytes) {
        // A writer that is gone means an ended connection, which resolves every waiter.
        let _ = self.outbox.send(Outgoing { id, frame });
    }

    /// Ends everything with one error; the first call wins.
    fn fail(self: &Arc<Self>, error: &Error) {
        // The hub belongs to the client, and may serve another connection by the second time.
        if self.route(|router, effects| router.fail(error, effects)) {
            self.over.store(true, Ordering::Release);
            if error.kind() != ErrorKind::Closed {
                trace::lost(error);
            }
            self.tell_observers((error.kind() != ErrorKind::Closed).then_some(error));
        }
    }

    fn tell_observers(&self, lost: Option<&Error>) {
        let greeted = self.greeted.load(Ordering::Acquire);
        match (self.afterwards, lost) {
            (Afterwards::Restart | Afterwards::RestartAgain, Some(error)) if greeted => {
                self.hub.announce(&Observed::Lost(error.clone()));
            }
            // The start is made again.
            (_, Some(error)) if error.is_home_contended() => {}
            // An attempt that has failed is told by who makes it, and a close by who closes.
            (Afterwards::RestartAgain, _) => {}
            _ => self.hub.end(lost),
        }
    }
}

impl Connection {
    /// Sends a request. The answer's future may be dropped at any time.
    pub(crate) fn request(
        &self,
        method: &str,
        params: Option<&RawValue>,
        thread_id: Option<&str>,
        deadline: Option<Duration>,
    ) -> Result<Pending> {
        self.shared.send_request(
            method,
            params,
            thread_id,
            deadline,
            self.trace(),
            Box::new(Router::register),
        )
    }

    /// Sends a request that opens a thread, which has these handlers from the answer on.
    pub(crate) fn open_thread(
        &self,
        method: &str,
        params: Option<&RawValue>,
        thread_id: Option<&str>,
        deadline: Option<Duration>,
        layer: Layer,
    ) -> Result<Pending> {
        let trace = self.trace();
        let register = |router: &mut Router, waiter| {
            router.register(Waiter { opens: (!layer.is_empty()).then_some(layer), ..waiter })
        };
        self.shared.send_request(method, params, thread_id, deadline, trace, Box::new(register))
    }

    /// The trace that a request made now is part of. The user's code: no lock is held.
    fn trace(&self) -> Option<TraceContext> {
        self.shared.trace_context.as_ref().and_then(TraceSource::current)
    }

    /// Sends a `turn/start` whose events go to `log` from this moment on.
    pub(crate) fn start_turn(
        &self,
        params: &RawValue,
        log: &Arc<TurnLog>,
        deadline: Option<Duration>,
        joins: bool,
    ) -> Result<Pending> {
        let thread_id = log.thread_id.clone();
        let trace = self.trace();
        self.shared.send_request(
            "turn/start",
            Some(params),
            Some(&thread_id),
            deadline,
            trace,
            Box::new(|router, waiter| router.register_start(waiter, log.clone(), joins)),
        )
    }

    /// Sends a `thread/compact/start`; the events of the turn that it starts go to `log`.
    pub(crate) fn start_compaction(
        &self,
        params: &RawValue,
        log: &Arc<TurnLog>,
        deadline: Option<Duration>,
    ) -> Result<Pending> {
        let (method, thread_id) = ("thread/compact/start", log.thread_id.clone());
        let trace = self.trace();
        let register = |router: &mut Router, waiter| router.register_compaction(waiter, log.clone());
        self.shared.send_request(method, Some(params), Some(&thread_id), deadline, trace, Box::new(register))
    }

    /// Sends an `account/login/start`; besides the answer there is how the login ends, whichever comes first.
    pub(crate) fn start_login(
        &self,
        params: &RawValue,
        deadline: Option<Duration>,
    ) -> Result<(Pending, watch::Receiver<Option<LoginEnd>>)> {
        let (ending, ended) = watch::channel(None);
        let answer = self.shared.send_request(
            LOGIN,
            Some(params),
            None,
            deadline,
            self.trace(),
            Box::new(|router, waiter| router.register_login(waiter, ending)),
        )?;
        Ok((answer, ended))
    }

    /// The error without the keys and tokens that were sent on this connection.
    pub(crate) fn redact(&self, error: Error) -> Error {
        error.redacted(|text| self.shared.secrets.clean_text(text))
    }

    /// Sends a notification without parameters.
    pub(crate) fn notify(&self, method: &str) {
        self.shared.send(None, frame(&ClientNotification { method }));
    }

    /// A window of a turn that is to be started.
    pub(crate) fn log(&self, thread_id: Arc<str>, keep_backlog: bool) -> TurnLog {
        TurnLog::new(thread_id, keep_backlog, &self.shared.budget)
    }

    /// Interrupts a turn. Completes when the server has accepted that, or the turn is over; its commands are ended too, if
    /// the log says so.
    pub(crate) async fn interrupt(&self, log: &TurnLog, turn_id: Arc<str>) -> Result<()> {
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
    pub(crate) fn release(&self, log: &Arc<TurnLog>, interrupt: bool) {
        if !self.shared.process.is_current() {
            return;
        }
        self.shared.route(|router, effects| router.release(log, interrupt, effects));
    }

    /// Completes after `delay`, on the clock of the I/O thread.
    pub(crate) fn sleep(&self, delay: Duration) -> impl Future<Output = ()> + Send + Unpin + use<> {
        self.shared.deadlines.sleep(delay)
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

    /// Starts the end of the connection: everything that waits ends with [`ErrorKind::Closed`].
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

/// The answer to come. Dropping it cancels the wait, and the request too if it has not been written yet.
#[derive(Debug)]
pub(crate) struct Pending {
    shared: Arc<Shared>,
    id: i64,
    answer: oneshot::Receiver<Answer>,
    span: trace::Span,
}

impl Future for Pending {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        Pin::new(&mut self.answer).poll(context).map(|answer| {
            let answer = answer.unwrap_or_else(|_| {
                Err(Error::new(
                    ErrorKind::TransportClosed,
                    "the connection ended while the request was under way",
                ))
            });
            answer.inspect_err(|error| self.span.failed(error))
        })
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.shared.process.is_current() {
            return;
        }
        // Nobody is woken by what is dropped here, and it is dropped when the router is no longer locked.
        self.answer.close();
        let waiter = self.shared.router().cancel(self.id);
        drop(waiter);
    }
}

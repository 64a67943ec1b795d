//! The turns of a worker.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use openai_codex::{AsyncCodex, AsyncThread, Error, ErrorGroup, ErrorKind, Rollout, RunResult};
use restate_sdk::prelude::{HandlerError, HandlerResult, TerminalError};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::interrupts::Interrupts;
use crate::length;
use crate::notes::{Cut, Note, Notes};
use crate::openings::Openings;
use crate::request::RunInput;
use crate::runner;
use crate::turn::{End, Order, Place, Progress, Seen, StoredThread, TOO_LONG, Turn, lock};

/// How long a turn runs before the engine is told where. For a shorter one that would be a step more.
const PUBLISH_AFTER: Duration = Duration::from_millis(250);

/// The pause between looks for turns that are to be interrupted.
const INTERRUPT_LOOK_PAUSE: Duration = Duration::from_millis(200);

const NO_HOME: &str = "the runtime does not say where its home is";

/// The limits of a worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The longest durable step.
    pub(crate) step: Duration,
    /// How long a turn waits for a decision before it is given up.
    pub(crate) hold: Duration,
    /// How long a turn goes on that the engine does not wait for in this worker.
    pub(crate) settle: Duration,
    /// How many bytes a result may have as JSON.
    pub(crate) message: usize,
}

/// What the steps of all invocations in this process share.
pub(crate) struct Worker {
    pub(crate) name: String,
    /// Names this process among all workers, and is not guessable.
    pub(crate) process: String,
    pub(crate) codex: AsyncCodex,
    pub(crate) limits: Limits,
    /// The address of the worker's own port.
    pub(crate) control: OnceLock<String>,
    pub(crate) openings: OnceLock<Openings>,
    pub(crate) notes: OnceLock<Notes>,
    pub(crate) interrupts: OnceLock<Interrupts>,
    /// Why the worker cannot go on.
    pub(crate) broken: watch::Sender<Option<String>>,
    /// Whether the worker takes no more turns.
    pub(crate) draining: watch::Sender<bool>,
    /// Whether the turns that run are to go on elsewhere.
    pub(crate) leaving: watch::Sender<bool>,
    turns: Mutex<HashMap<String, Arc<Turn>>>,
    /// How many invocations hold a turn.
    holds: Mutex<HashMap<String, usize>>,
    writers: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    turns: AtomicU64,
    continued: AtomicU64,
    failed: AtomicU64,
    tokens: AtomicU64,
}

/// What a worker's own port says about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkerReport {
    /// The name of the worker.
    pub worker: String,
    /// The process id of the worker.
    pub pid: u32,
    /// The process id of its runtime.
    pub runtime_pid: Option<u32>,
    /// Whether it takes turns.
    pub ready: bool,
    /// The turns that it has.
    pub running: usize,
    /// How many of these wait for a decision.
    pub waiting: usize,
    /// The turns whose outcome it returned since its start.
    pub turns: u64,
    /// How many of these it continued.
    pub continued: u64,
    /// The turns that failed.
    pub failed: u64,
    /// The tokens of the turns that it ran.
    pub tokens: u64,
}

/// What became of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Delivery {
    /// The runtime has it.
    Delivered,
    /// The turn runs here and does not wait for it any more.
    Unwanted,
    /// The turn does not run here.
    Elsewhere,
}

/// What a look finds of a turn that waits for decisions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Look {
    /// These requests still wait.
    Waits(Vec<String>),
    /// The turn has ended.
    Over,
    /// The user wants the turn to be interrupted.
    Interrupt,
    /// The turn does not run here, but may run in a worker that has lost the engine.
    Elsewhere,
    /// A worker gave the turn up, and no worker has it.
    GivenUp,
}

impl Worker {
    pub(crate) fn new(name: String, process: String, codex: AsyncCodex, limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            name,
            process,
            codex,
            limits,
            control: OnceLock::new(),
            openings: OnceLock::new(),
            notes: OnceLock::new(),
            interrupts: OnceLock::new(),
            broken: watch::Sender::new(None),
            draining: watch::Sender::new(false),
            leaving: watch::Sender::new(false),
            turns: Mutex::default(),
            holds: Mutex::default(),
            writers: Mutex::default(),
            counters: Counters::default(),
        })
    }

    /// Carries a turn on, and returns when there is something to say about it, or after the time of a step. A durable step: it can
    /// be repeated, here and in other workers.
    pub(crate) async fn advance(self: Arc<Self>, order: Order) -> HandlerResult<Seen> {
        let turn = self.turn_of(&order)?;
        if self.wants_interrupt(&order.invocation) {
            turn.to_interrupt();
        }
        let mut state = turn.state.subscribe();
        let mut leaving = self.leaving.subscribe();
        let until = tokio::time::sleep(self.limits.step);
        tokio::pin!(until);
        loop {
            let seen = state.borrow_and_update().clone();
            if *leaving.borrow_and_update() {
                return Err(HandlerError::from("the worker is ending; another one takes the turn"));
            }
            let publish_at = seen.begun.map_or_else(Instant::now, |begun| begun + PUBLISH_AFTER);
            let place = seen.turn_id.map(|turn_id| self.place(turn_id));
            match seen.end {
                Some(End::Progress(progress)) => {
                    self.forget(&turn);
                    let progress = self.checked(progress);
                    if matches!(progress, Progress::Failed { .. }) {
                        self.counters.failed.fetch_add(1, Ordering::Relaxed);
                    }
                    return Ok(Seen { thread: turn.stored(), progress });
                }
                Some(End::Again(why)) => {
                    self.forget(&turn);
                    return Err(HandlerError::from(why));
                }
                None => {}
            }
            if seen.to_interrupt && !*turn.interrupting.borrow() {
                return Ok(Seen { thread: turn.stored(), progress: Progress::Interrupt });
            }
            let asks = turn.asks();
            let is_news = place.is_some() && place != order.place;
            // Before a wait, which can be long.
            let waits = !asks.is_empty() && !*turn.interrupting.borrow();
            if is_news && (waits || Instant::now() >= publish_at) {
                return Ok(Seen { thread: turn.stored(), progress: Progress::Running(place) });
            }
            // What an interrupted turn still asks, its end answers.
            if waits {
                return Ok(Seen { thread: turn.stored(), progress: Progress::Asks(asks) });
            }
            tokio::select! {
                _ = state.changed() => {}
                _ = leaving.changed() => {}
                () = tokio::time::sleep_until(publish_at), if is_news => {}
                () = &mut until => {
                    return Ok(Seen { thread: turn.stored(), progress: Progress::Running(place) });
                }
            }
        }
    }

    /// The progress, or what is wrong with an outcome that is too long for the engine.
    fn checked(&self, progress: Progress) -> Progress {
        let Progress::Ended(outcome) = &progress else { return progress };
        let Err(length) = length::check(outcome, self.limits.message) else { return progress };
        let advice = match outcome.items {
            Some(_) => {
                "call `run` with the same key and without `items`, or read the thread's items in its home"
            }
            None => "read the thread in its home",
        };
        let message = format!("the turn has run, and its outcome has {length}; {advice}");
        Progress::Failed { code: TOO_LONG, message, worker: self.name.clone() }
    }

    /// The turn of this order. Begins it unless it runs here, perhaps for an invocation that was killed.
    fn turn_of(self: &Arc<Self>, order: &Order) -> HandlerResult<Arc<Turn>> {
        let mut turns = lock(&self.turns);
        if let Some(turn) = turns.get(&order.name).filter(|turn| !turn.is_given_up()) {
            turn.taken_by(&order.invocation);
            return Ok(turn.clone());
        }
        if *self.draining.borrow() {
            return Err(HandlerError::from(
                "the worker is ending and takes no more turns; another one takes it",
            ));
        }
        let turn = Turn::new(order);
        turns.insert(order.name.clone(), turn.clone());
        drop(turns);
        let carried_out = tokio::spawn(runner::carry_out(self.clone(), turn.clone(), order.clone()));
        let (worker, panicked) = (self.clone(), turn.clone());
        tokio::spawn(async move {
            if carried_out.await.is_err() {
                panicked.ended(End::Again("the worker failed; see its error output".to_owned()));
                worker.forget(&panicked);
            }
        });
        Ok(turn)
    }

    fn place(&self, turn_id: String) -> Place {
        let control = self.control.get().cloned().unwrap_or_default();
        let events = format!("{control}/turns/{turn_id}/events");
        Place { worker: self.name.clone(), control, turn_id, events }
    }

    /// Takes a turn out of the list, unless another one has taken its place.
    pub(crate) fn forget(&self, turn: &Arc<Turn>) {
        let mut turns = lock(&self.turns);
        if turns.get(&turn.name).is_some_and(|known| Arc::ptr_eq(known, turn)) {
            turns.remove(&turn.name);
        }
    }

    pub(crate) fn turn(&self, name: &str) -> Option<Arc<Turn>> {
        lock(&self.turns).get(name).filter(|turn| !turn.is_given_up()).cloned()
    }

    /// The thread of a turn that runs here.
    pub(crate) fn thread_of_turn(&self, turn_id: &str) -> Option<AsyncThread> {
        let turns = lock(&self.turns);
        let of_turn = |turn: &&Arc<Turn>| turn.state.borrow().turn_id.as_deref() == Some(turn_id);
        turns.values().filter(|turn| !turn.is_over()).find(of_turn)?.thread()
    }

    /// Marks that an invocation waits for a turn in this worker. If none does any more, the turn is given up: at once if it has not
    /// begun, because another worker may be about to begin it.
    pub(crate) fn hold(self: &Arc<Self>, name: &str) -> Hold {
        *lock(&self.holds).entry(name.to_owned()).or_default() += 1;
        Hold { worker: self.clone(), name: name.to_owned() }
    }

    fn release(self: &Arc<Self>, name: &str) {
        {
            let mut holds = lock(&self.holds);
            let Some(count) = holds.get_mut(name) else { return };
            *count -= 1;
            if *count > 0 {
                return;
            }
            holds.remove(name);
        }
        let Some(turn) = self.turn(name) else { return };
        if turn.is_over() {
            self.forget(&turn);
            return;
        }
        if !turn.is_live() {
            self.give_up(&turn);
            return;
        }
        let worker = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(worker.limits.settle).await;
            if !worker.is_held(&turn.name) {
                worker.give_up(&turn);
            }
        });
    }

    /// Has a turn end without an outcome.
    fn give_up(&self, turn: &Turn) {
        turn.give_up(|| self.note(turn, Cut::Waiting));
    }

    /// Leaves the turns that run to other workers.
    pub(crate) fn leave(&self) {
        let turns: Vec<Arc<Turn>> = lock(&self.turns).values().cloned().collect();
        for turn in turns.iter().filter(|turn| turn.waits_since().is_some()) {
            self.give_up(turn);
        }
        self.leaving.send_replace(true);
    }

    /// Notes for all workers of the home what became of a turn. Without the note, the turn counts as cut off.
    pub(crate) fn note(&self, turn: &Turn, cut: Cut) {
        let turn_id = turn.state.borrow().turn_id.clone();
        if let (Some(notes), Some(turn_id)) = (self.notes.get(), turn_id)
            && let Err(error) = notes.write(&turn.invocation(), &Note { turn_id, cut })
        {
            eprintln!("codex-worker: a note about a turn cannot be written: {error}");
        }
    }

    /// What a worker has noted about the turn of an invocation.
    pub(crate) fn noted(&self, invocation: &str) -> Option<Note> {
        self.notes.get()?.read(invocation)
    }

    pub(crate) fn forget_note(&self, invocation: &str) {
        if let Some(notes) = self.notes.get() {
            notes.remove(invocation);
        }
    }

    /// Whether an invocation waits for this turn.
    pub(crate) fn is_held(&self, name: &str) -> bool {
        lock(&self.holds).contains_key(name)
    }

    /// Passes a decision to the runtime.
    pub(crate) fn respond(&self, name: &str, ask: &str, response: Value) -> Delivery {
        match self.turn(name).and_then(|turn| turn.respond(ask, response)) {
            None => Delivery::Elsewhere,
            Some(true) => Delivery::Delivered,
            Some(false) => Delivery::Unwanted,
        }
    }

    /// Looks after a turn that waits for decisions. Gives it up if it has waited for long.
    pub(crate) fn look_after(&self, name: &str, invocation: &str) -> Look {
        let Some(turn) = self.turn(name) else {
            return match self.noted(invocation) {
                Some(Note { cut: Cut::Over, .. }) => Look::Over,
                _ if self.wants_interrupt(invocation) => Look::Interrupt,
                Some(Note { cut: Cut::Waiting, .. }) => Look::GivenUp,
                None => Look::Elsewhere,
            };
        };
        if turn.is_over() {
            return Look::Over;
        }
        if turn.state.borrow().to_interrupt {
            return Look::Interrupt;
        }
        if turn.waits_since().is_some_and(|since| since.elapsed() >= self.limits.hold) {
            self.give_up(&turn);
            return Look::GivenUp;
        }
        Look::Waits(turn.asks().into_iter().map(|ask| ask.id).collect())
    }

    /// Interrupts a turn. The engine knows that it is to be interrupted.
    pub(crate) fn interrupt(&self, name: &str) {
        if let Some(turn) = self.turn(name) {
            turn.interrupting.send_replace(true);
        }
    }

    /// Notes for all workers of the home that the turn of an invocation is to be interrupted.
    pub(crate) fn want_interrupt(&self, invocation: &str) -> io::Result<()> {
        let interrupts = self.interrupts.get().ok_or_else(|| io::Error::other(NO_HOME))?;
        interrupts.want(invocation)
    }

    /// Whether the turn of an invocation is to be interrupted.
    pub(crate) fn wants_interrupt(&self, invocation: &str) -> bool {
        self.interrupts.get().is_some_and(|interrupts| interrupts.wants(invocation))
    }

    /// Forgets that a turn is to be interrupted: the engine knows it, or the turn is over.
    pub(crate) fn forget_interrupt(&self, invocation: &str) {
        if let Some(interrupts) = self.interrupts.get() {
            interrupts.remove(invocation);
        }
    }

    /// Looks for turns of this worker that are to be interrupted, until the task is aborted.
    pub(crate) async fn watch_interrupts(self: Arc<Self>) {
        loop {
            tokio::time::sleep(INTERRUPT_LOOK_PAUSE).await;
            let turns: Vec<Arc<Turn>> = lock(&self.turns).values().cloned().collect();
            let Some(interrupts) = self.interrupts.get().filter(|_| !turns.is_empty()) else { continue };
            let wanted = interrupts.wanted();
            for turn in turns.iter().filter(|turn| wanted.contains(&turn.invocation())) {
                turn.to_interrupt();
            }
        }
    }

    /// Adds input to a turn, once for each id. Returns whether it runs here.
    pub(crate) async fn steer(&self, name: &str, id: &str, input: &RunInput) -> Result<bool, String> {
        let Some(turn) = self.turn(name).filter(|turn| turn.is_live()) else { return Ok(false) };
        let Some(thread) = turn.thread() else { return Ok(false) };
        let input = input.to_input();
        let steering = async move {
            let steered = match thread.follow().await {
                Ok(Some(running)) => running.steer(input).await.map(|_| true),
                Ok(None) => Ok(false),
                Err(error) => Err(error),
            };
            match steered {
                Err(error) if error.kind() == ErrorKind::TurnNotActive => Ok(false),
                steered => steered.map_err(|error| error.to_string()),
            }
        };
        turn.steers.once(id, steering).await
    }

    /// Reads a thread's history. A durable step.
    pub(crate) async fn export(self: Arc<Self>, thread_id: String) -> HandlerResult<Value> {
        let rollout =
            self.with_thread(&thread_id, async |thread: &AsyncThread| thread.export().await).await?;
        check_whole(&rollout)?;
        if let Err(length) = length::check(&rollout, self.limits.message) {
            let message = format!(
                "the history of thread {thread_id} has {length}; move it with `export` and `thread_import` of two clients, and pass \
                 {{\"thread_id\": \"{thread_id}\"}} to `import` of the object in the other home"
            );
            return Err(TerminalError::new_with_code(TOO_LONG, message).into());
        }
        Ok(serde_json::to_value(rollout)?)
    }

    /// Takes a thread that the home has. A durable step.
    pub(crate) async fn adopt(self: Arc<Self>, thread_id: String) -> HandlerResult<StoredThread> {
        self.with_thread(&thread_id, async |_: &AsyncThread| Ok(())).await?;
        Ok(StoredThread { id: thread_id, opened_by: None, used: true })
    }

    /// Does something with a thread of the home, which no other runtime has meanwhile.
    async fn with_thread<T>(
        &self,
        thread_id: &str,
        act: impl AsyncFnOnce(&AsyncThread) -> Result<T, Error>,
    ) -> HandlerResult<T> {
        let writer = self.writer(thread_id);
        let _writer = writer.lock().await;
        let acting = async {
            let thread = self
                .codex
                .thread_resume(thread_id)
                .include_turns(false)
                .writer_timeout(self.limits.step)
                .await?;
            let done = act(&thread).await;
            thread.unsubscribe().await?;
            done
        };
        acting.await.map_err(|error| self.step_error(&error))
    }

    /// Stores a thread's history. A durable step: an earlier attempt can have stored it, or a part of it.
    pub(crate) async fn import(self: Arc<Self>, rollout: Rollout) -> HandlerResult<StoredThread> {
        check_whole(&rollout)?;
        let id = rollout.thread_id().to_owned();
        let writer = self.writer(&id);
        let _writer = writer.lock().await;
        self.codex.thread_import(&rollout).await.map_err(|error| self.step_error(&error))?;
        Ok(StoredThread { id, opened_by: None, used: true })
    }

    /// An error that ends the invocation if no later attempt can succeed, and has the engine repeat the step otherwise.
    fn step_error(&self, error: &Error) -> HandlerError {
        if matches!(error.kind(), ErrorKind::RestartsExhausted | ErrorKind::Closed) {
            self.broken.send_replace(Some(error.to_string()));
        }
        let code = match (error.kind(), error.kind().group()) {
            (ErrorKind::ThreadNotFound | ErrorKind::ThreadLost, _) => 404,
            (ErrorKind::OptionNotApplied | ErrorKind::InvalidParams | ErrorKind::InvalidRequest, _)
            | (_, ErrorGroup::Input) => 400,
            _ => return HandlerError::from(error.to_string()),
        };
        TerminalError::new_with_code(code, error.to_string()).into()
    }

    /// The threads that invocations have opened.
    pub(crate) fn openings(&self) -> io::Result<&Openings> {
        self.openings.get().ok_or_else(|| io::Error::other(NO_HOME))
    }

    /// The thread that an invocation has opened, once it has ended.
    pub(crate) fn opened(&self, invocation: &str) -> Option<StoredThread> {
        let opening = self.openings().and_then(|openings| openings.latest(invocation)).ok()??;
        Some(StoredThread { opened_by: None, ..opening.thread })
    }

    /// Notes that the engine has the thread of an invocation. A file that stays without this does no harm.
    pub(crate) fn end_opening(&self, invocation: &str) {
        let _ = self.openings().and_then(|openings| openings.end(invocation));
        self.forget_note(invocation);
        self.forget_interrupt(invocation);
    }

    /// The lock of a thread in this worker.
    pub(crate) fn writer(&self, thread_id: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut writers = lock(&self.writers);
        writers.retain(|_, writer| Arc::strong_count(writer) > 1);
        writers.entry(thread_id.to_owned()).or_default().clone()
    }

    pub(crate) fn count(&self, result: &RunResult, continued: u32) {
        self.counters.turns.fetch_add(1, Ordering::Relaxed);
        self.counters.continued.fetch_add(continued.min(1).into(), Ordering::Relaxed);
        let tokens = result.turn_usage.as_ref().map_or(0, |usage| usage.total_tokens);
        self.counters.tokens.fetch_add(tokens.try_into().unwrap_or(0), Ordering::Relaxed);
    }

    /// The turns that run, without those that wait for decisions.
    pub(crate) fn busy(&self) -> usize {
        lock(&self.turns).values().filter(|turn| !turn.is_over() && turn.asks().is_empty()).count()
    }

    pub(crate) fn report(&self, ready: bool) -> WorkerReport {
        let (running, waiting) = {
            let turns = lock(&self.turns);
            (turns.len(), turns.values().filter(|turn| !turn.asks().is_empty()).count())
        };
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WorkerReport {
            worker: self.name.clone(),
            pid: std::process::id(),
            runtime_pid: self.codex.runtime_pid(),
            ready,
            running,
            waiting,
            turns: read(&self.counters.turns),
            continued: read(&self.counters.continued),
            failed: read(&self.counters.failed),
            tokens: read(&self.counters.tokens),
        }
    }
}

/// Refuses the history of a fork. Without the source, or with one that differs, turns would be lost.
fn check_whole(rollout: &Rollout) -> Result<(), TerminalError> {
    let Some(base) = rollout.base_thread_id() else { return Ok(()) };
    let id = rollout.thread_id();
    let message = format!(
        "thread {id} is a fork, and its history refers to that of thread {base}; move both with `export` and `thread_import` of two \
         clients, the source first, and pass {{\"thread_id\": \"{id}\"}} to `import` of the object in the other home"
    );
    Err(TerminalError::new_with_code(400, message))
}

/// An invocation that waits for a turn.
pub(crate) struct Hold {
    worker: Arc<Worker>,
    name: String,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.worker.release(&self.name);
    }
}

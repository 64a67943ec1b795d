//! The virtual object `CodexThread`.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openai_codex::Rollout;
use openai_codex::types::TurnStatus;
use restate_sdk::context::{DurableFuture, DurableFuturesUnordered, RunFuture};
use restate_sdk::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::ask::{Ask, AskKind, Decision, OpenAsk, cancels, decision_of, interrupt};
use crate::asked::{Asked, Waiting, Woken};
use crate::control::{self, UNCERTAIN};
use crate::looks::Looks;
use crate::outcome::{How, RunOutcome};
use crate::request::{HalfDoneChoice, OnHalfDone, RunInput, RunRequest};
use crate::turn::{self, Order, Place, Progress, StoredThread, TOO_LONG, TURN_FAILED, lock};
use crate::worker::{Delivery, Look, Worker};

/// The keys of the object's state.
pub(crate) const THREAD: &str = "thread";
pub(crate) const RUNNING: &str = "running";
pub(crate) const ASKS: &str = "asks";
pub(crate) const TOTALS: &str = "totals";
pub(crate) const INTERRUPTED: &str = "interrupted";

/// How many keys of interrupted turns an object keeps: the last ones.
const INTERRUPTED_KEYS: usize = 100;

/// The code of an invocation that was cancelled.
const CANCELLED: u16 = 409;
/// The code of an `import` into an object that has a thread.
const HAS_THREAD: u16 = 410;

/// The pauses between looks whether `run` has recorded an interrupt: the first and the longest.
const FIRST_INTERRUPT_PAUSE: Duration = Duration::from_millis(50);
const LAST_INTERRUPT_PAUSE: Duration = Duration::from_secs(2);
/// How long an interrupt waits for its record. Longer than it takes until a frozen worker is killed.
const INTERRUPT_TIME: Duration = Duration::from_secs(100);

/// The turn that runs, in the state and in the answer of `status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunningTurn {
    /// The key of the turn.
    pub key: String,
    /// The invocation.
    pub invocation: String,
    /// Where it runs. `None` until a worker has begun it.
    pub place: Option<Place>,
}

/// What a thread's turns have used, by worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Totals(pub BTreeMap<String, WorkerTotals>);

/// What the turns of one worker have used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkerTotals {
    /// The turns with an outcome.
    pub turns: u64,
    /// How many of these were continued.
    pub continued: u64,
    /// The turns that failed.
    pub failed: u64,
    /// The tokens.
    pub tokens: i64,
}

/// The answer of `status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ThreadStatus {
    /// The thread's id in the worker's home. `None` before the first turn.
    pub thread_id: Option<String>,
    /// The turn that runs.
    pub running: Option<RunningTurn>,
    /// What waits for a decision.
    pub asks: Vec<OpenAsk>,
    /// What the thread has used.
    pub totals: Totals,
}

/// The answer of `steer` and `interrupt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Reached {
    /// Whether a turn was running and has been reached.
    pub reached: bool,
}

/// The virtual object of a thread.
pub(crate) struct CodexThread {
    pub(crate) worker: Arc<Worker>,
}

#[restate_sdk::object(name = "CodexThread", client_visibility = "pub(crate)")]
impl CodexThread {
    /// Runs a turn: once for each key. Waits for its end, and returns the outcome.
    #[handler]
    async fn run(
        &self,
        ctx: ObjectContext<'_>,
        request: Json<RunRequest>,
    ) -> Result<Json<RunOutcome>, HandlerError> {
        let request = request.into_inner();
        let key = request.key.clone().unwrap_or_else(|| ctx.invocation_id().to_owned());
        let name = turn::name(ctx.key(), &key);
        let _hold = self.worker.hold(&name);
        let running =
            RunningTurn { key: key.clone(), invocation: ctx.invocation_id().to_owned(), place: None };
        let run = Run {
            worker: self.worker.clone(),
            ctx: &ctx,
            request: Arc::new(request),
            key,
            name,
            running,
            thread: Mutex::default(),
            has_asked: AtomicBool::new(false),
        };
        let ended = run.follow().await;
        if let Err(stopped) = &ended
            && stopped.is_cancelled()
        {
            run.cancel().await;
        }
        run.settle(&ended).await?;
        // The engine has what the invocation has opened.
        self.worker.end_opening(ctx.invocation_id());
        Ok(Json(ended.map_err(|stopped| stopped.error)?))
    }

    /// Adds input to the turn that runs.
    #[handler]
    async fn steer(
        &self,
        ctx: SharedObjectContext<'_>,
        input: Json<RunInput>,
    ) -> Result<Json<Reached>, HandlerError> {
        let input = input.into_inner();
        let Some((place, name)) = running(&ctx).await? else { return Ok(Json(Reached { reached: false })) };
        let id = ctx.invocation_id().to_owned();
        let worker = self.worker.clone();
        let steer =
            move || async move { control::steer(&worker, &place, &name, &id, &input).await.map(Json) };
        let reached = ctx.run(steer).name("steer").await?.into_inner();
        Ok(Json(Reached { reached }))
    }

    /// Interrupts the turn that runs. Its `run` then returns what it produced.
    // Lazy, so that each read asks the engine.
    #[handler(lazy_state)]
    async fn interrupt(&self, ctx: SharedObjectContext<'_>) -> Result<Json<Reached>, HandlerError> {
        let Some(turn) = ctx.get::<Json<RunningTurn>>(RUNNING).await?.map(Json::into_inner) else {
            return Ok(Json(Reached { reached: false }));
        };
        let (worker, invocation) = (self.worker.clone(), turn.invocation.clone());
        let want = move || async move { Ok(worker.want_interrupt(&invocation)?) };
        ctx.run(want).name("interrupt").await?;
        let reached = has_taken_interrupt(&ctx, &turn).await;
        if matches!(reached, Ok(false)) {
            self.worker.forget_interrupt(&turn.invocation);
        }
        Ok(Json(Reached { reached: reached? }))
    }

    /// Returns what the thread does.
    #[handler]
    async fn status(&self, ctx: SharedObjectContext<'_>) -> Result<Json<ThreadStatus>, HandlerError> {
        let thread = ctx.get::<Json<StoredThread>>(THREAD).await?;
        let running = ctx.get::<Json<RunningTurn>>(RUNNING).await?;
        let asks = ctx.get::<Json<Vec<OpenAsk>>>(ASKS).await?;
        let totals = ctx.get::<Json<Totals>>(TOTALS).await?;
        Ok(Json(ThreadStatus {
            thread_id: thread.map(|thread| thread.0.id),
            running: running.map(|running| running.0),
            asks: asks.map(|asks| asks.0).unwrap_or_default(),
            totals: totals.map(|totals| totals.0).unwrap_or_default(),
        }))
    }

    /// Returns the thread's history, for `import` of another home's object.
    #[handler]
    async fn export(&self, ctx: ObjectContext<'_>) -> Result<Json<Value>, HandlerError> {
        let Some(thread) = ctx.get::<Json<StoredThread>>(THREAD).await? else {
            return Err(TerminalError::new_with_code(404, "the thread has not run a turn").into());
        };
        let worker = self.worker.clone();
        let read = move || async move { worker.export(thread.0.id).await.map(Json) };
        Ok(ctx.run(read).name("export").await?)
    }

    /// Stores a history that `export` has returned, or takes a thread that the home has. The next turn continues it.
    #[handler]
    async fn import(&self, ctx: ObjectContext<'_>, history: Json<Value>) -> Result<(), HandlerError> {
        if ctx.get::<Json<StoredThread>>(THREAD).await?.is_some() {
            let message = "the object has a thread; call `forget` before the import";
            return Err(TerminalError::new_with_code(HAS_THREAD, message).into());
        }
        let history: History = serde_json::from_value(history.into_inner()).map_err(|error| {
            TerminalError::new_with_code(400, format!("not a history of `export`: {error}"))
        })?;
        let worker = self.worker.clone();
        let write = move || async move {
            match history {
                History::Whole(rollout) => worker.import(rollout).await.map(Json),
                History::InHome { thread_id } => worker.adopt(thread_id).await.map(Json),
            }
        };
        let stored = ctx.run(write).name("import").await?;
        ctx.set(THREAD, stored);
        Ok(())
    }

    /// Forgets the thread: the next turn opens a new one. The home keeps its history.
    #[handler]
    async fn forget(&self, ctx: ObjectContext<'_>) -> Result<(), HandlerError> {
        ctx.clear_all();
        Ok(())
    }
}

/// The input of `import`.
#[derive(Deserialize)]
#[serde(untagged)]
enum History {
    /// The result of `export`.
    Whole(Rollout),
    /// The id of a thread that the home has.
    InHome { thread_id: String },
}

/// Waits until `run` has recorded the interrupt of its turn, or has ended without it.
async fn has_taken_interrupt(
    ctx: &SharedObjectContext<'_>,
    turn: &RunningTurn,
) -> Result<bool, TerminalError> {
    let mut resolved = Vec::new();
    let (mut pause, mut waited) = (FIRST_INTERRUPT_PAUSE, Duration::ZERO);
    while waited < INTERRUPT_TIME {
        // Read before the turn. If the turn is still that one, these are not requests of the next one, also if a replay takes only the
        // requests from the journal.
        let asks = ctx.get::<Json<Vec<OpenAsk>>>(ASKS).await?.unwrap_or_default().into_inner();
        let running = ctx.get::<Json<RunningTurn>>(RUNNING).await?;
        // Read after the turn: `run` records an interrupt before it ends.
        let interrupted = ctx.get::<Json<Vec<String>>>(INTERRUPTED).await?.unwrap_or_default().into_inner();
        if interrupted.contains(&turn.key) {
            return Ok(true);
        }
        if running.is_none_or(|running| running.0.invocation != turn.invocation) {
            return Ok(false);
        }
        // What waits for a decision waits no longer.
        for open in asks {
            if !resolved.contains(&open.awakeable) {
                ctx.resolve_awakeable(&open.awakeable, Json(interrupt()));
                resolved.push(open.awakeable);
            }
        }
        ctx.sleep(pause).await?;
        waited += pause;
        pause = (pause * 2).min(LAST_INTERRUPT_PAUSE);
    }
    let message = format!(
        "the call {} has not recorded the interrupt within {INTERRUPT_TIME:?}, and it is not known whether its turn runs; the \
         interrupt takes effect if the call goes on",
        turn.invocation
    );
    Err(TerminalError::new_with_code(UNCERTAIN, message))
}

/// The place of the turn that runs, and its name in that worker.
async fn running(ctx: &SharedObjectContext<'_>) -> Result<Option<(Place, String)>, TerminalError> {
    let running = ctx.get::<Json<RunningTurn>>(RUNNING).await?;
    Ok(running.and_then(|running| Some((running.0.place?, turn::name(ctx.key(), &running.0.key)))))
}

/// An invocation of `run`.
struct Run<'run, 'ctx> {
    worker: Arc<Worker>,
    ctx: &'run ObjectContext<'ctx>,
    request: Arc<RunRequest>,
    key: String,
    name: String,
    running: RunningTurn,
    /// The thread in the state.
    thread: Mutex<Option<StoredThread>>,
    /// Whether the state can have requests that wait for a decision.
    has_asked: AtomicBool,
}

/// Why an invocation has no outcome, and the worker that says so.
struct Stopped {
    error: TerminalError,
    worker: Option<String>,
}

impl From<TerminalError> for Stopped {
    fn from(error: TerminalError) -> Self {
        Self { error, worker: None }
    }
}

impl Stopped {
    fn is_cancelled(&self) -> bool {
        self.error.code() == CANCELLED
    }
}

impl<'ctx> Run<'_, 'ctx> {
    /// A durable step.
    async fn step<T, F, Fut>(&self, name: &str, step: F) -> Result<T, TerminalError>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        F: FnOnce(Arc<Worker>, String) -> Fut + Send + 'ctx,
        Fut: Future<Output = HandlerResult<T>> + Send + 'ctx,
    {
        let (worker, turn) = (self.worker.clone(), self.name.clone());
        let step = move || async move { step(worker, turn).await.map(Json) };
        Ok(self.ctx.run(step).name(name).await?.into_inner())
    }

    /// Interrupts the turn of a cancelled invocation. The result of the step that was cancelled is lost, and with it a thread that it
    /// has opened.
    async fn cancel(&self) {
        let invocation = self.running.invocation.clone();
        let interrupt = |worker: Arc<Worker>, name: String| async move {
            worker.interrupt(&name);
            Ok(worker.opened(&invocation))
        };
        // A later call with the key does not continue the turn. If the state cannot be written, the call has no end either.
        let _ = self.keep_interrupted().await;
        let opened: Option<StoredThread> =
            self.step("interrupt the turn", interrupt).await.unwrap_or_default();
        let is_used = lock(&self.thread).as_ref().is_some_and(|known| known.used);
        if let Some(thread) = opened.filter(|_| !is_used) {
            self.keep_thread(thread);
        }
    }

    /// Follows the turn to its end, through as many workers as it takes.
    async fn follow(&self) -> Result<RunOutcome, Stopped> {
        let ctx = self.ctx;
        *lock(&self.thread) = ctx.get::<Json<StoredThread>>(THREAD).await?.map(Json::into_inner);
        let mut request = self.request.clone();
        let mut running = self.running.clone();
        let mut interrupted = self.interrupted_keys().await?.contains(&self.key);
        let mut asked = Asked::default();
        ctx.set(RUNNING, Json(running.clone()));
        // Of a call that was killed.
        ctx.clear(ASKS);
        loop {
            let order = Order {
                name: self.name.clone(),
                key: self.key.clone(),
                invocation: self.running.invocation.clone(),
                thread: lock(&self.thread).clone(),
                request: request.clone(),
                interrupted,
                place: running.place.clone(),
            };
            let seen = self.step("follow the turn", |worker, _| worker.advance(order)).await?;
            if let Some(thread) = seen.thread {
                // A failed turn is stored too, and one whose outcome is too long.
                let has_ended = matches!(
                    seen.progress,
                    Progress::Ended(_) | Progress::Failed { code: TURN_FAILED | TOO_LONG, .. }
                );
                self.keep_thread(thread.after(has_ended));
            }
            match seen.progress {
                Progress::Running(place) if place.is_none() || place == running.place => {}
                Progress::Running(place) => {
                    running.place = place;
                    ctx.set(RUNNING, Json(running.clone()));
                }
                Progress::Asks(asks) => {
                    if self.decide(asks, &mut asked).await? {
                        interrupted = true;
                        self.interrupt().await?;
                    }
                }
                Progress::Interrupt => {
                    interrupted = true;
                    self.interrupt().await?;
                }
                Progress::HalfDone(said) => match self.decide_half_done(said).await? {
                    Some(policy) => {
                        let mut changed = (*request).clone();
                        changed.on_half_done = policy;
                        request = Arc::new(changed);
                    }
                    None => interrupted = true,
                },
                Progress::Ended(outcome) => return Ok(*outcome),
                Progress::Failed { code, message, worker } => {
                    let error = TerminalError::new_with_code(code, message);
                    return Err(Stopped { error, worker: Some(worker) });
                }
            }
        }
    }

    /// Writes the thread into the state, unless it is there.
    fn keep_thread(&self, thread: StoredThread) {
        let mut known = lock(&self.thread);
        if known.as_ref() != Some(&thread) {
            self.ctx.set(THREAD, Json(thread.clone()));
            *known = Some(thread);
        }
    }

    /// Interrupts the turn. The state says so before: a later call with the key does not continue it.
    async fn interrupt(&self) -> Result<(), TerminalError> {
        self.keep_interrupted().await?;
        let invocation = self.running.invocation.clone();
        self.step("interrupt the turn", move |worker, name| async move {
            worker.interrupt(&name);
            worker.forget_interrupt(&invocation);
            Ok(())
        })
        .await
    }

    async fn interrupted_keys(&self) -> Result<Vec<String>, TerminalError> {
        Ok(self.ctx.get::<Json<Vec<String>>>(INTERRUPTED).await?.map(Json::into_inner).unwrap_or_default())
    }

    /// Writes into the state that the turn of this key was interrupted.
    async fn keep_interrupted(&self) -> Result<(), TerminalError> {
        let mut keys = self.interrupted_keys().await?;
        if !keys.contains(&self.key) {
            keys.push(self.key.clone());
            let old = keys.len().saturating_sub(INTERRUPTED_KEYS);
            self.ctx.set(INTERRUPTED, Json(keys.split_off(old)));
        }
        Ok(())
    }

    /// Gets decisions about requests, and passes them on. A decision that the turn does not get is kept for the same request, in this turn
    /// or in one that continues it. Returns whether the turn is to be interrupted.
    async fn decide(&self, asks: Vec<Ask>, asked: &mut Asked<'ctx>) -> Result<bool, TerminalError> {
        for ask in asks {
            if let Some(known) = asked.take_kept(&ask) {
                if self.respond(&ask, &known.response).await? != Delivery::Delivered {
                    asked.kept.push(known);
                }
            } else if !asked.reopen(&ask) {
                let (at, open) = self.open_ask(&mut asked.waiting, ask, None);
                asked.open.insert(at, open);
            }
        }
        if asked.open.is_empty() {
            return Ok(false);
        }
        let mut looks = Looks::new();
        let mut next_look = self.push_look(&mut asked.waiting, looks.pause());
        self.publish(&asked.open);
        let mut is_interrupted = false;
        while !asked.open.is_empty() && !is_interrupted {
            let Some((at, woken)) = asked.waiting.next().await? else { break };
            let woken = match woken {
                // A withdrawn request whose awakeable was rejected.
                Err(error) if error.code() != CANCELLED && asked.forget_withdrawn(at) => continue,
                woken => woken?,
            };
            let decision = match woken {
                Woken::Decided(decision) => decision,
                // One of an earlier wait.
                Woken::Look if at != next_look => continue,
                Woken::Look => {
                    let invocation = self.running.invocation.clone();
                    let looking = |worker: Arc<Worker>, name: String| async move {
                        Ok(worker.look_after(&name, &invocation))
                    };
                    let found = self.step("look after the turn", looking).await?;
                    match &found {
                        Look::Waits(wanted) => {
                            if asked.withdraw(|ask| wanted.contains(&ask.id)) {
                                self.publish(&asked.open);
                            }
                        }
                        Look::Over => break,
                        Look::Interrupt => {
                            is_interrupted = true;
                            break;
                        }
                        Look::Elsewhere | Look::GivenUp => {}
                    }
                    looks.found(&found);
                    next_look = self.push_look(&mut asked.waiting, looks.pause());
                    continue;
                }
            };
            match asked.open.remove(&at) {
                Some(answered) => {
                    is_interrupted = self.pass_on(answered, &decision, asked).await?;
                    self.publish(&asked.open);
                }
                None => is_interrupted = asked.keep_late(at, &decision),
            }
        }
        asked.withdraw(|_| false);
        self.ctx.clear(ASKS);
        Ok(is_interrupted)
    }

    /// Passes a decision on, or asks again if it is unusable. Returns whether the turn is to be interrupted.
    async fn pass_on(
        &self,
        answered: OpenAsk,
        decision: &Value,
        asked: &mut Asked<'ctx>,
    ) -> Result<bool, TerminalError> {
        let response = match answered.ask.read(decision) {
            Ok(Decision::Response(response)) => response,
            Ok(Decision::Interrupt) => return Ok(true),
            Ok(Decision::Policy(_)) => return Ok(false),
            Err(problem) => {
                let (at, again) = self.open_ask(&mut asked.waiting, answered.ask, Some(problem));
                asked.open.insert(at, again);
                return Ok(false);
            }
        };
        let delivery = self.respond(&answered.ask, &response).await?;
        match (delivery, cancels(&response)) {
            // The runtime interrupts the turn, and makes no other request.
            (Delivery::Delivered, true) => asked.open.clear(),
            (Delivery::Delivered, false) => {}
            _ => return Ok(asked.keep(answered.ask, response)),
        }
        Ok(false)
    }

    /// Gets the decision about a turn that is half done. `None`: it is the outcome.
    async fn decide_half_done(&self, said: Option<String>) -> Result<Option<OnHalfDone>, TerminalError> {
        let ask = Ask::new(format!("{}/half_done", self.key), AskKind::HalfDone, json!({"said": said}));
        let mut problem = None;
        loop {
            let mut waiting: DurableFuturesUnordered<Waiting<'ctx>> = DurableFuturesUnordered::new();
            let (at, open) = self.open_ask(&mut waiting, ask.clone(), problem.take());
            self.publish(&BTreeMap::from([(at, open)]));
            let woken = waiting.next().await?;
            self.ctx.clear(ASKS);
            let Some((_, woken)) = woken else { return Ok(None) };
            let Woken::Decided(decision) = woken? else { continue };
            match ask.read(&decision) {
                Ok(Decision::Policy(OnHalfDone::Choice(HalfDoneChoice::Ask))) => {}
                Ok(Decision::Policy(policy)) => return Ok(Some(policy)),
                Ok(Decision::Response(_)) => {}
                Ok(Decision::Interrupt) => return Ok(None),
                Err(unusable) => problem = Some(unusable),
            }
        }
    }

    /// Makes an awakeable for a request.
    fn open_ask(
        &self,
        waiting: &mut DurableFuturesUnordered<Waiting<'ctx>>,
        ask: Ask,
        problem: Option<String>,
    ) -> (usize, OpenAsk) {
        // As bytes: the engine would repeat a step for ever that cannot read a decision.
        let (awakeable, decided) = self.ctx.awakeable::<Vec<u8>>();
        let at = waiting.push(Box::pin(decided.map_ok(|decision| Woken::Decided(decision_of(&decision)))));
        (at, OpenAsk { awakeable, problem, ask })
    }

    fn push_look(&self, waiting: &mut DurableFuturesUnordered<Waiting<'ctx>>, after: Duration) -> usize {
        waiting.push(Box::pin(self.ctx.sleep(after).map_ok(|()| Woken::Look)))
    }

    fn publish(&self, open: &BTreeMap<usize, OpenAsk>) {
        self.has_asked.store(true, Ordering::Relaxed);
        self.ctx.set(ASKS, Json(open.values().cloned().collect::<Vec<_>>()));
    }

    /// Passes a decision to the runtime, if the turn runs in this worker.
    async fn respond(&self, ask: &Ask, response: &Value) -> Result<Delivery, TerminalError> {
        let (id, response) = (ask.id.clone(), response.clone());
        self.step("pass the decision on", move |worker, name| async move {
            Ok(worker.respond(&name, &id, response))
        })
        .await
    }

    /// Writes the end into the state.
    async fn settle(&self, ended: &Result<RunOutcome, Stopped>) -> Result<(), TerminalError> {
        let ctx = self.ctx;
        let is_interrupted = matches!(ended, Ok(outcome) if outcome.status == TurnStatus::Interrupted);
        // Before `interrupt` finds that the turn is over.
        let recorded = if is_interrupted { self.keep_interrupted().await } else { Ok(()) };
        ctx.clear(RUNNING);
        if self.has_asked.load(Ordering::Relaxed) {
            ctx.clear(ASKS);
        }
        let thread = lock(&self.thread).clone();
        if let Some(thread) = thread.filter(|thread| thread.opened_by.is_some()) {
            // No worker begins a turn in it for this invocation any more.
            self.keep_thread(StoredThread { opened_by: None, ..thread });
        }
        let mut totals = ctx.get::<Json<Totals>>(TOTALS).await?.map(Json::into_inner).unwrap_or_default();
        match ended {
            Ok(outcome) => {
                let worker = totals.0.entry(outcome.worker.clone()).or_default();
                worker.turns += 1;
                worker.continued += u64::from(outcome.how == How::Continued);
                worker.tokens += outcome.usage.as_ref().map_or(0, |usage| usage.total_tokens);
            }
            Err(Stopped { worker: Some(worker), .. }) => {
                totals.0.entry(worker.clone()).or_default().failed += 1
            }
            Err(_) => {}
        }
        ctx.set(TOTALS, Json(totals));
        recorded
    }
}

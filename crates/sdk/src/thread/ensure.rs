//! Runs a turn once, however many callers ask for it, and however often.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use backon::{FuturesTimerSleeper, Sleeper};
use openai_codex_protocol::ClientRequest;
use openai_codex_protocol::methods;
use openai_codex_protocol::types::{Turn, TurnItemsView, TurnStatus};
use tokio::sync::OwnedMutexGuard;

use crate::background::Boxed;
use crate::connection::turn_buffer::End;
use crate::error::{Error, ErrorKind, Result};
use crate::into_future::Sending;
use crate::io::turn_limits::TurnLimits;
use crate::options::input::TurnInput;
use crate::result::RunResult;
use crate::select::select;
use crate::session::clients::AsyncCodex;
use crate::session::live_threads::LoadPoint;
use crate::session::running_turn::running_turn;
use crate::session::runtime::Session;
use crate::session::supervisor::ClientCore;
use crate::session::thread_state::ThreadState;
use crate::session::writer::WriterWait;
use crate::thread::find_turn::{Match, find_turns, ids_of};
use crate::thread::half_done::HalfDone;
use crate::turn::follow::follow;
use crate::turn::guard::TurnGuard;
use crate::turn::result::unused_message;
use crate::turn::start::TurnStart;

/// How long a shared server may take to read what a former connection has sent. Of 39 starts whose connection was cut just after
/// they were written, one was in the history at once, and all of them after 0.6 seconds.
const SETTLE: Duration = Duration::from_secs(2);

/// Calls of several clients that have waited for the same turn go on within this time, each at its own moment. So those that follow see the
/// turn that the first one starts.
const SPREAD: Duration = Duration::from_millis(500);

/// How often the client looks for the record of a turn that is just beginning.
const PAUSE: Duration = Duration::from_millis(20);

/// A builder that runs a turn once, however many callers ask for it, and however often; see
/// [`AsyncThread::ensure`](crate::AsyncThread::ensure).
///
/// With the async client, the builder can be awaited: `thread.ensure("…", "…").await` does the same as `run`.
#[must_use = "no turn is looked for until `run`"]
#[derive(Clone, Debug)]
pub struct Ensure<C> {
    key: String,
    turn: TurnStart<AsyncCodex>,
    half_done: HalfDone,
    writer_timeout: Duration,
    client: PhantomData<C>,
}

/// The result of a turn that [`ensure`](crate::AsyncThread::ensure) has run or found.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Ensured {
    /// What this call has done.
    pub outcome: EnsureOutcome,
    /// The turn's result. After a continuation, that of the last turn.
    pub result: RunResult,
    /// The other turns of the key that were interrupted, the oldest first.
    pub half_done: Vec<RunResult>,
}

/// What a call of [`ensure`](crate::AsyncThread::ensure) has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EnsureOutcome {
    /// It has run the turn.
    Ran,
    /// The turn was done. The result is from the thread's history, without token usage.
    FoundDone,
    /// The turn was running, and the call has waited for its end. Or another client has started a turn in the thread at the same
    /// moment, and the runtime has made one turn of both messages.
    Attached,
    /// The turn was interrupted, and the call has run another turn. The number says how many such turns the key has had.
    Continued(u32),
}

impl<C> TurnStart<C> {
    /// Runs this turn once, however many callers ask for it, and however often; see
    /// [`AsyncThread::ensure`](crate::AsyncThread::ensure). `key` becomes the [id](Self::client_message_id) of its message.
    pub fn ensure(self, key: impl Into<String>) -> Ensure<C> {
        Ensure {
            key: key.into(),
            turn: self.with_client(),
            half_done: HalfDone::Fail,
            writer_timeout: Duration::from_secs(60),
            client: PhantomData,
        }
    }
}

impl<C> Ensure<C> {
    pub(crate) fn new(
        core: Arc<ClientCore>,
        thread: Arc<ThreadState>,
        key: String,
        input: TurnInput,
    ) -> Self {
        TurnStart::new(core, thread, input).ensure(key)
    }

    /// Sets what to do about a turn that is found interrupted. [`HalfDone::Fail`] unless set.
    pub fn on_half_done(mut self, half_done: HalfDone) -> Self {
        self.half_done = half_done;
        self
    }

    /// Sets how long to wait while another runtime has the thread loaded. One minute unless set, and no longer than the turn's
    /// [`timeout`](TurnStart::timeout). A runtime that is killed releases the thread at once. Otherwise it keeps the thread until its
    /// client is closed, or for half an hour (0.171.0: a minute) after its last client has unsubscribed from the thread.
    pub fn writer_timeout(mut self, timeout: Duration) -> Self {
        self.writer_timeout = timeout;
        self
    }
}

/// What to do next about a turn.
enum Step {
    /// Start this turn, if the thread is still loaded so: the turn itself, or its continuation with this number.
    Start(Box<TurnStart<AsyncCodex>>, u32, LoadPoint),
    Attach(Turn),
    Done(Turn),
    /// Look again after this.
    Wait(Wait),
}

/// What a call waits for before it looks again. Meanwhile other calls look for their turns.
enum Wait {
    Nothing,
    /// What a former connection has sent can still arrive.
    Settling(Duration),
    /// This turn runs.
    Turn(Box<Turn>),
    /// A turn is about to run, or has no record yet.
    Busy,
}

impl Ensure<AsyncCodex> {
    async fn perform(mut self) -> Result<Ensured> {
        self.check()?;
        let key = self.key.clone();
        let ensured = self.ensure_turn().await;
        ensured.map_err(|error| match error.client_message_id() {
            Some(_) => error,
            None => error.with_client_message_id(Some(&key)),
        })
    }

    fn check(&mut self) -> Result<()> {
        let unusable =
            |message: &str| Err(Error::invalid_input(message).with_thread(Some(&self.turn.thread.id)));
        if self.key.trim().is_empty() {
            return unusable("the key of `ensure` is empty");
        }
        if continuation(&self.key).is_some() {
            return unusable(
                "the key of `ensure` ends with `#` and a number, like the keys of continued turns",
            );
        }
        if matches!(self.turn.input, TurnInput::External(_)) {
            return unusable(
                "`ensure` needs a user message, whose id the runtime stores, and not an external message",
            );
        }
        if self.turn.thread.is_ephemeral() {
            return unusable(
                "`ensure` looks for the turn in the thread's history, and an ephemeral thread has none",
            );
        }
        if let HalfDone::Continue(prompt) = &self.half_done {
            prompt.to_wire().map_err(|error| {
                error
                    .with_note("; it is the prompt of `continue_with`")
                    .with_thread(Some(&self.turn.thread.id))
            })?;
        }
        self.turn = self.turn.clone().client_message_id(&*self.key);
        self.turn.check()
    }

    fn ensure_turn(&self) -> Boxed<'_, Result<Ensured>> {
        Box::pin(async move {
            let thread = self.turn.thread.clone();
            let mut half_done = Vec::new();
            loop {
                let session = self.open().await?;
                let (lock, step) = self.within_timeout(self.prepare(&session, &mut half_done)).await?;
                let (guard, number) = match step {
                    Step::Done(turn) => {
                        let result = RunResult::recorded(&thread.id, turn)?;
                        return Ok(Ensured { outcome: EnsureOutcome::FoundDone, result, half_done });
                    }
                    Step::Attach(turn) => {
                        match follow(&session, &thread, &turn, self.turn.limits, false).await? {
                            Some(guard) => (guard, None),
                            // It has ended in the meantime.
                            None => continue,
                        }
                    }
                    Step::Wait(wait) => {
                        drop(lock);
                        self.wait(&session, wait).await?;
                        continue;
                    }
                    Step::Start(turn, number, loaded) => {
                        match turn.begin_alone(session.clone(), loaded).await {
                            Ok(Some(guard)) => (guard, Some(number)),
                            Ok(None) => {
                                drop(lock);
                                self.wait(&session, Wait::Busy).await?;
                                continue;
                            }
                            // A connection that has ended finds nothing any more.
                            Err(error)
                                if error.kind() == ErrorKind::Uncertain
                                    && session.connection.failure().is_none() =>
                            {
                                drop(lock);
                                self.sleep(&session, SETTLE).await?;
                                continue;
                            }
                            Err(error) => return Err(error),
                        }
                    }
                };
                drop(lock);
                let created = number.filter(|_| guard.subscription.created());
                if created.is_some() && self.is_duplicate(&session, &guard).await? {
                    continue;
                }
                if number.is_some()
                    && created.is_none()
                    && let Some(turn_id) = guard.subscription.turn_id()
                {
                    self.check_running(&session, &turn_id).await?;
                }
                let outcome = match created {
                    None => EnsureOutcome::Attached,
                    Some(0) => EnsureOutcome::Ran,
                    Some(number) => EnsureOutcome::Continued(number),
                };
                let result = guard.outcome().await?;
                if self.came_too_late(&result) {
                    continue;
                }
                return Ok(Ensured { outcome, result, half_done });
            }
        })
    }

    /// Keeps other calls out, and looks for the turn.
    async fn prepare(
        &self,
        session: &Arc<Session>,
        half_done: &mut Vec<RunResult>,
    ) -> Result<(OwnedMutexGuard<()>, Step)> {
        const METHOD: &str = methods::TurnStart::METHOD;
        let limit = self.turn.limits.time_left().into_iter().chain(session.timeout_of(METHOD)).min();
        let lock = self.turn.thread.begin_ensure(session, limit).await;
        let lock = lock.map_err(|error| error.with_method(METHOD))?;
        let step = self.next_step(session, half_done).await?;
        Ok((lock, step))
    }

    /// Loads the thread, which makes this client's runtime the only one that writes to it.
    async fn open(&self) -> Result<Arc<Session>> {
        let TurnStart { core, thread, .. } = &self.turn;
        let wait = WriterWait::new(self.writer_timeout);
        let opening = async {
            loop {
                match thread.session_for_ensure(core, self.turn.limits.time_left()).await {
                    Err(error) if wait.again(&error).await => {}
                    opened => break opened,
                }
            }
        };
        let opened = self.within_timeout(opening).await.map_err(|error| match error.kind() {
            ErrorKind::Timeout => wait.in_use().unwrap_or(error),
            _ => error,
        });
        opened.map_err(|error| {
            // Turns may have run in a thread whose file is damaged. After a loss of the runtime the error says so by itself.
            let is_unknown = error.json_rpc().is_some() && !error.is_of_damaged_history();
            if error.kind() != ErrorKind::ThreadNotFound || !is_unknown {
                return error;
            }
            let message = format!("the runtime has no record of the thread ({error})");
            Error::new(ErrorKind::ThreadLost, message).with_thread(Some(&thread.id)).with_source(error)
        })
    }

    /// Looks for the turn.
    async fn next_step(&self, session: &Arc<Session>, half_done: &mut Vec<RunResult>) -> Result<Step> {
        let TurnStart { core, thread, .. } = &self.turn;
        let found = find_turns(core, thread, session, |id| match number_of(id, &self.key) {
            Some(0) => Some(Match::Last),
            number => number.map(|_| Match::More),
        });
        let Some((loaded, mut turns)) = found.await? else { return Ok(Step::Wait(Wait::Nothing)) };
        // A message that came too late for the model has run nothing.
        turns.retain(|turn| used_ids(turn).any(|id| number_of(id, &self.key).is_some()));
        let number_of_turn = |turn: &Turn| used_ids(turn).filter_map(|id| number_of(id, &self.key)).max();
        let last = turns.iter().filter_map(number_of_turn).max();
        // Of two turns with the same number, one was interrupted as a duplicate.
        let is_interrupted = |turn: &Turn| turn.status == TurnStatus::Interrupted;
        let of_last = turns.iter().position(|turn| number_of_turn(turn) == last && !is_interrupted(turn));
        if let Some(position) = of_last {
            let turn = turns.remove(position);
            *half_done = partial_results(turns);
            return match turn.status {
                TurnStatus::InProgress => {
                    self.check_running(session, &turn.id).await?;
                    Ok(Step::Attach(turn))
                }
                TurnStatus::Completed | TurnStatus::Failed => Ok(Step::Done(turn)),
                _ => Err(self.unknown_status(turn)),
            };
        }
        *half_done = partial_results(turns);
        if let Some(unsettled) = self.unsettled(session) {
            return Ok(Step::Wait(Wait::Settling(unsettled)));
        }
        if last.is_some() && matches!(self.half_done, HalfDone::Fail) {
            return Err(self.interrupted(half_done.last()));
        }
        if let Some(turn) = running_turn(session, &thread.id).await? {
            self.check_running(session, &turn.id).await?;
            return Ok(Step::Wait(Wait::Turn(turn.into())));
        }
        if session.connection.is_busy(&thread.id) {
            return Ok(Step::Wait(Wait::Busy));
        }
        let Some(last) = last else { return Ok(Step::Start(self.turn.clone().into(), 0, loaded)) };
        let prompt = half_done.last().and_then(|partial| self.half_done.decide(partial));
        let Some(prompt) = prompt else { return Err(self.interrupted(half_done.last())) };
        let Some(number) = last.checked_add(1) else {
            let message =
                format!("the id `{}#{last}` of a message has the highest number of a continuation", self.key);
            return Err(Error::invalid_input(message).with_thread(Some(&thread.id)));
        };
        let mut turn = self.turn.clone().client_message_id(format!("{}#{number}", self.key));
        turn.input = prompt.into();
        turn.check()?;
        Ok(Step::Start(turn.into(), number, loaded))
    }

    /// Refuses a running turn that may do more than this call allows. Neither its end nor its result is waited for.
    async fn check_running(&self, session: &Session, turn_id: &str) -> Result<()> {
        self.turn.check_waiting(session, turn_id).await
    }

    /// Whether a message of the key has joined a turn whose model had said all.
    fn came_too_late(&self, result: &RunResult) -> bool {
        let is_completed = result.turn.status == TurnStatus::Completed;
        let is_unused = |id: &str| unused_message(&result.items, &result.turn.status, id).is_some();
        let mut ids = ids_of(&result.items).filter(|id| number_of(id, &self.key).is_some()).peekable();
        is_completed && (!result.unused_inputs.is_empty() || (ids.peek().is_some() && ids.all(is_unused)))
    }

    /// How long something that was sent on a former connection can still arrive, if it can.
    fn unsettled(&self, session: &Session) -> Option<Duration> {
        let loaded_for = self.turn.thread.loaded_for(session).filter(|_| session.shares_server);
        loaded_for.and_then(|since| SETTLE.checked_sub(since)).map(|unsettled| unsettled + PAUSE)
    }

    async fn wait(&self, session: &Arc<Session>, wait: Wait) -> Result<()> {
        let thread = &self.turn.thread;
        match wait {
            Wait::Nothing => Ok(()),
            Wait::Settling(unsettled) => self.sleep(session, unsettled).await,
            Wait::Turn(turn) => {
                let TurnLimits { timeout, ends_at, .. } = self.turn.limits;
                let limits = TurnLimits { timeout, ends_at, ..TurnLimits::default() };
                let followed = self.within_timeout(follow(session, thread, &turn, limits, false)).await?;
                let Some(other) = followed else { return Ok(()) };
                match other.end().await.1 {
                    End::Completed(_) if session.shares_server => {
                        self.sleep(session, SPREAD.mul_f64(fastrand::f64())).await
                    }
                    End::Completed(_) => Ok(()),
                    End::Lost(error) => {
                        Err(error.with_note("; `ensure` waited for another turn of the thread"))
                    }
                }
            }
            Wait::Busy => {
                self.sleep(session, PAUSE).await?;
                while session.connection.is_busy(&thread.id)
                    && running_turn(session, &thread.id).await?.is_none()
                {
                    self.sleep(session, PAUSE).await?;
                }
                Ok(())
            }
        }
    }

    fn interrupted(&self, partial: Option<&RunResult>) -> Error {
        let message = "the turn was begun and interrupted, and what its commands did half is unknown. To continue it, call `ensure` \
                       again with `HalfDone::continue_with`; to run it from the start, use another key";
        let error = Error::new(ErrorKind::TurnInterrupted, message).with_thread(Some(&self.turn.thread.id));
        match partial {
            Some(partial) => error.with_turn(partial.clone()),
            None => error,
        }
    }

    fn unknown_status(&self, turn: Turn) -> Error {
        let message = format!(
            "the turn has the status {:?}, and the client does not know whether it is done: use a newer version of this crate",
            turn.status.as_str()
        );
        let error = Error::new(ErrorKind::Decode, message).with_thread(Some(&self.turn.thread.id));
        error.with_turn(RunResult::of_record(turn))
    }

    /// Whether another client of the server has started a turn with the same key before. Then this one is interrupted.
    async fn is_duplicate(&self, session: &Arc<Session>, guard: &TurnGuard) -> Result<bool> {
        const LATEST: u32 = 10;
        let Some(turn_id) = guard.subscription.turn_id().filter(|_| session.shares_server) else {
            return Ok(false);
        };
        let latest = session.latest_turns(&self.turn.thread.id, LATEST, TurnItemsView::Full).await?;
        let duplicate =
            guard.client_message_id.as_deref().is_some_and(|id| begun_before(&latest, &turn_id, id));
        if duplicate {
            guard.interrupt(&turn_id).await?;
            guard.end().await;
        }
        Ok(duplicate)
    }

    /// Sleeps, unless the turn's timeout is over before.
    async fn sleep(&self, session: &Session, pause: Duration) -> Result<()> {
        if self.turn.limits.time_left().is_some_and(|left| left <= pause) {
            return Err(self.over_before_start());
        }
        session.connection.sleep(pause).await;
        Ok(())
    }

    /// Does a part of the search, and ends it at the turn's timeout.
    async fn within_timeout<T>(&self, part: impl Future<Output = Result<T>>) -> Result<T> {
        let Some(left) = self.turn.limits.time_left() else { return part.await };
        select! {
            done = part => done,
            () = FuturesTimerSleeper.sleep(left) => Err(self.over_before_start()),
        }
    }

    fn over_before_start(&self) -> Error {
        let why = "the client was looking for the turn, or was waiting for another turn or another call of `ensure`. If the program \
                   holds a future of such a call, it must poll or drop the future. Otherwise set a longer timeout";
        self.turn.limits.over_before_start(&self.turn.thread.id, why)
    }
}

/// Whether another turn with this id began before a turn, and was not interrupted. `latest`: the latest turns, the last one first. The
/// turn itself may have no record yet.
fn begun_before(latest: &[Turn], turn_id: &str, client_id: &str) -> bool {
    let earlier = latest.iter().position(|turn| turn.id == turn_id).map_or(latest, |own| &latest[own + 1..]);
    let is_same = |turn: &Turn| used_ids(turn).any(|id| id == client_id);
    earlier.iter().any(|turn| turn.status != TurnStatus::Interrupted && is_same(turn))
}

/// The client's ids of those user messages of a turn that the model has received, or can still receive.
fn used_ids(turn: &Turn) -> impl Iterator<Item = &str> {
    ids_of(&turn.items).filter(|id| unused_message(&turn.items, &turn.status, id).is_none())
}

/// The number of the key's turn that a message belongs to: 0 for the first one, or that of a continuation.
fn number_of(client_id: &str, key: &str) -> Option<u32> {
    let rest = client_id.strip_prefix(key)?;
    if rest.is_empty() { Some(0) } else { rest.strip_prefix('#').and_then(parse) }
}

/// The number of a continuation that an id ends with.
fn continuation(id: &str) -> Option<u32> {
    id.rsplit_once('#').and_then(|(_, number)| parse(number))
}

fn parse(number: &str) -> Option<u32> {
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| number.parse().ok()).flatten()
}

/// The results of those turns that were interrupted. The turns come with the latest one first.
fn partial_results(turns: Vec<Turn>) -> Vec<RunResult> {
    let interrupted = turns.into_iter().rev().filter(|turn| turn.status == TurnStatus::Interrupted);
    interrupted.map(RunResult::of_record).collect()
}

impl Ensure<AsyncCodex> {
    /// Runs the turn, or waits for it, or finds its result.
    ///
    /// Dropping the future leaves the turn running, unless [`interrupt_on_drop`](TurnStart::interrupt_on_drop) is set: the next call
    /// with the key attaches to it. Only a drop between the start and its response, some milliseconds, interrupts the turn.
    ///
    /// # Errors
    /// - As [`TurnStart::run`]. A turn that has failed fails each call in the same way: use another key to run it again.
    /// - [`ErrorKind::TurnInterrupted`] for a turn that is half done, with [`HalfDone::Fail`].
    /// - [`ErrorKind::ThreadLost`] if the thread was never stored, because none of its turns had begun when its runtime ended. Start
    ///   another thread.
    /// - [`ErrorKind::ThreadNotFound`] if the file of the thread's history is damaged. The turn may have run.
    /// - [`ErrorKind::OptionNotApplied`] while a turn runs in the thread whose sandbox or approval mode allows more than this call. The
    ///   call does not wait for that turn, also if it has the key.
    /// - [`ErrorKind::ThreadInUse`] if another runtime has the thread loaded after the [`writer_timeout`](Self::writer_timeout).
    /// - [`ErrorKind::UnsupportedByRuntime`] with a runtime before 0.144.4.
    ///
    /// After an error of the connection, call it again, with a new client.
    pub async fn run(self) -> Result<Ensured> {
        self.perform().await
    }
}

/// Awaiting the builder does the same as [`run`](Self::run).
impl IntoFuture for Ensure<AsyncCodex> {
    type Output = Result<Ensured>;
    type IntoFuture = Sending<Ensured>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

#[cfg(feature = "blocking")]
impl Ensure<crate::session::clients::Codex> {
    /// Runs the turn, or waits for it, or finds its result.
    ///
    /// # Errors
    /// - As [`TurnStart::run`]. A turn that has failed fails each call in the same way: use another key to run it again.
    /// - [`ErrorKind::TurnInterrupted`] for a turn that is half done, with [`HalfDone::Fail`].
    /// - [`ErrorKind::ThreadLost`] if the thread was never stored, because none of its turns had begun when its runtime ended. Start
    ///   another thread.
    /// - [`ErrorKind::ThreadNotFound`] if the file of the thread's history is damaged. The turn may have run.
    /// - [`ErrorKind::OptionNotApplied`] while a turn runs in the thread whose sandbox or approval mode allows more than this call. The
    ///   call does not wait for that turn, also if it has the key.
    /// - [`ErrorKind::ThreadInUse`] if another runtime has the thread loaded after the [`writer_timeout`](Self::writer_timeout).
    /// - [`ErrorKind::UnsupportedByRuntime`] with a runtime before 0.144.4.
    ///
    /// After an error of the connection, call it again, with a new client.
    pub fn run(self) -> Result<Ensured> {
        let Self { key, turn, half_done, writer_timeout, client: _ } = self;
        let ensure = Ensure::<AsyncCodex> { key, turn, half_done, writer_timeout, client: PhantomData };
        crate::block_on::wait(ensure.perform())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_turn_that_began_before_is_found_also_if_the_later_one_has_no_record() {
        let turn = |id: &str, status: TurnStatus, key: &str| -> Turn {
            let message = json!({"type": "userMessage", "id": "m", "clientId": key, "content": []});
            let turn = json!({"id": id, "status": status.as_str(), "items": [message]});
            serde_json::from_value(turn).unwrap()
        };
        let ended = |key| turn("theirs", TurnStatus::Completed, key);
        // The message with this key joined the turn when its model had said all.
        let late = |key: &str| {
            let message = |id: &str| json!({"type": "userMessage", "id": id, "clientId": id, "content": []});
            let said = json!({"type": "agentMessage", "id": "a", "text": "done"});
            let first = if key == "k" { "first" } else { "k" };
            let items = json!([message(first), said, message(key)]);
            serde_json::from_value(json!({"id": "theirs", "status": "completed", "items": items})).unwrap()
        };
        let own = || turn("ours", TurnStatus::InProgress, "k");
        for (latest, expected) in [
            (vec![own(), ended("k")], true),
            (vec![ended("k")], true),
            (vec![ended("k"), own()], false),
            (vec![own(), ended("other")], false),
            (vec![turn("theirs", TurnStatus::Interrupted, "k")], false),
            (vec![late("k")], false),
            (vec![late("other")], true),
            (vec![own()], false),
        ] {
            assert_eq!(begun_before(&latest, "ours", "k"), expected, "{latest:?}");
        }
    }

    #[test]
    fn ids_have_the_numbers_of_their_turns() {
        for (id, number) in [
            ("k", Some(0)),
            ("k#1", Some(1)),
            ("k#23", Some(23)),
            ("k#", None),
            ("k#+1", None),
            ("k#x", None),
            ("k2", None),
            ("x", None),
            ("k#99999999999", None),
        ] {
            assert_eq!(number_of(id, "k"), number, "{id}");
        }
        assert_eq!(
            (continuation("a#b#3"), continuation("a#b"), continuation("#1")),
            (Some(3), None, Some(1))
        );
    }
}

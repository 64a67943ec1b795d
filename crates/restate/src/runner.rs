//! Carries out a turn: opens or resumes its thread, and makes sure that the turn has run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use openai_codex::{
    ApprovalMode, AsyncThread, EnsureOutcome, Ensured, Error, ErrorGroup, ErrorKind, Event, HalfDone,
    Notification, RequestHandler, RunResult,
};
use tokio::sync::OwnedMutexGuard;

use crate::desk::{Desk, with_options};
use crate::notes::{Cut, Note};
use crate::openings::{Opening, Openings};
use crate::outcome::{How, RunOutcome};
use crate::process::Process;
use crate::request::{HalfDoneChoice, OnHalfDone};
use crate::turn::{End, Order, Progress, StoredThread, TURN_FAILED, Turn, is_set};
use crate::worker::Worker;

/// How long one attempt waits for another runtime to give up the thread. There are as many attempts as it takes.
const WRITER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a thread of a process that has ended must be missing to count as never used. Its runtime may end a moment later.
const UNBORN_AFTER: Duration = Duration::from_secs(2);

/// How long a process that lives may take to begin the first turn of a thread that it has opened. One that is frozen is killed sooner.
const OPENER_TIME: Duration = Duration::from_secs(60);

/// The pause between looks for a missing thread.
const MISSING_PAUSE: Duration = Duration::from_millis(500);

/// How long the runtime takes to unload a thread that nobody uses, with the configuration of a worker.
const UNLOADED_AFTER: Duration = Duration::from_millis(1500);

/// The pause after an interrupt that has failed.
const INTERRUPT_PAUSE: Duration = Duration::from_millis(200);

/// How long a `turn/start` takes at most to begin a turn.
const START_TIME: Duration = Duration::from_millis(500);

/// Carries out a turn to its end, or until it is given up.
pub(crate) async fn carry_out(worker: Arc<Worker>, turn: Arc<Turn>, order: Order) {
    let end = attempt(&worker, &turn, &order).await;
    // Its invocation may wait for a decision elsewhere, and asks about the end there.
    if matches!(end, End::Progress(_)) && !worker.is_held(&turn.name) {
        worker.note(&turn, Cut::Over);
    }
    turn.ended(end);
    if turn.is_given_up() || !worker.is_held(&turn.name) {
        worker.forget(&turn);
    }
}

async fn attempt(worker: &Arc<Worker>, turn: &Arc<Turn>, order: &Order) -> End {
    let found = match find(worker, turn, order).await {
        Ok(found) => found,
        Err(end) => return end,
    };
    let thread = &found.thread;
    // This process can have been frozen, and another one has opened a thread in its place.
    if let Some(opening) = &found.opening
        && !worker.openings().is_ok_and(|openings| openings.is_latest(&order.invocation, opening.number))
    {
        let _ = thread.unsubscribe().await;
        return End::Again("another worker has the turn".to_owned());
    }
    turn.set_thread(thread, found.stored.clone());
    let mut given_up = turn.given_up.subscribe();
    let end = tokio::select! {
        biased;
        () = is_set(&mut given_up) => {
            settle(worker, turn, thread).await;
            gave_up()
        }
        end = run(worker, turn, order, thread) => end,
    };
    if let Some(opening) = found.opening.filter(|_| !turn.has_begun()) {
        // Another worker need not wait for this one.
        let _ = worker.openings().and_then(|openings| openings.abandon(&order.invocation, &opening));
    }
    // The runtime then unloads the thread, and other workers can use it.
    let _ = thread.unsubscribe().await;
    end
}

fn gave_up() -> End {
    End::Again("the worker gave up the turn".to_owned())
}

/// Waits for the end of the turn in a thread that was given up, and interrupts it if that takes too long, if its call was cancelled, or
/// if it waits for a decision.
async fn settle(worker: &Worker, turn: &Turn, thread: &AsyncThread) {
    let mut running = thread.follow().await;
    if matches!(running, Ok(None)) {
        // A start that was just sent.
        tokio::time::sleep(START_TIME).await;
        running = thread.follow().await;
    }
    let Ok(Some(running)) = running else { return };
    let ends_now = *turn.interrupting.borrow() || turn.waits_since().is_some();
    let time = if ends_now { Duration::ZERO } else { worker.limits.settle };
    if tokio::time::timeout(time, running.run()).await.is_err() {
        let _ = running.interrupt().await;
        let _ = tokio::time::timeout(UNLOADED_AFTER, running.run()).await;
    }
}

/// The thread of a turn.
struct Found {
    thread: AsyncThread,
    stored: StoredThread,
    /// If this attempt has opened the thread.
    opening: Option<Opening>,
    /// One turn at a time in a thread: one that was given up may still have to end there.
    _writer: OwnedMutexGuard<()>,
}

/// Finds the thread of a turn: the one that the invocation has opened, or else the one that the engine knows. Opens one if there is
/// none, or if it was lost before its first turn.
async fn find(worker: &Worker, turn: &Arc<Turn>, order: &Order) -> Result<Found, End> {
    let again = |error: std::io::Error| End::Again(format!("the home cannot be used: {error}"));
    let openings = worker.openings().map_err(again)?;
    // How long the thread may be missing, and since when it is.
    let mut missing: Option<(Duration, Instant)> = None;
    while !turn.is_given_up() {
        let used = order.thread.as_ref().filter(|thread| thread.used);
        let latest = match used {
            Some(_) => None,
            None => openings.latest(&order.invocation).map_err(again)?,
        };
        let number = latest.as_ref().map_or(0, |opening| opening.number + 1);
        let known = latest.map(|opening| opening.thread).or_else(|| order.thread.clone());
        let Some(known) = known else {
            match open(worker, turn, order, openings, number).await? {
                Some(found) => return Ok(found),
                None => continue,
            }
        };
        // Before the look: a thread that has no opener then is stored by the look, or is lost.
        let patience = match known.opened_by {
            // No other turn of this process has the thread.
            Some(opener) if opener == Process::own() => Duration::ZERO,
            Some(opener) if opener.lives() => OPENER_TIME,
            _ => UNBORN_AFTER,
        };
        if let Some(found) = resume(worker, turn, order, &known).await? {
            return Ok(found);
        }
        if turn.is_given_up() {
            break;
        }
        if known.used {
            let message = format!(
                "thread {} is not in the home of worker {}; import it there, or forget it",
                known.id, worker.name
            );
            let worker = worker.name.clone();
            return Err(End::Progress(Progress::Failed { code: 404, message, worker }));
        }
        let (_, since) = *missing
            .insert(missing.filter(|(before, _)| *before == patience).unwrap_or((patience, Instant::now())));
        if since.elapsed() >= patience {
            if let Some(found) = open(worker, turn, order, openings, number).await? {
                return Ok(found);
            }
            missing = None;
        } else {
            tokio::time::sleep(MISSING_PAUSE).await;
        }
    }
    Err(gave_up())
}

/// Opens a thread for an invocation. `None` if another attempt has opened one.
async fn open(
    worker: &Worker,
    turn: &Arc<Turn>,
    order: &Order,
    openings: &Openings,
    number: u32,
) -> Result<Option<Found>, End> {
    let desk = Arc::new(Desk::default());
    desk.serve(turn);
    let builder = with_options!(worker.codex.thread_start(), &order.request.options, desk);
    let thread = builder.send().await.map_err(|error| failed(worker, &error))?;
    let stored = StoredThread { id: thread.id().to_owned(), opened_by: Some(Process::own()), used: false };
    let writer = worker.writer(&stored.id).lock_owned().await;
    let opening = Opening { number, thread: stored.clone() };
    match openings.claim(&order.invocation, &opening) {
        Ok(true) => Ok(Some(Found { thread, stored, opening: Some(opening), _writer: writer })),
        claimed => {
            let _ = thread.unsubscribe().await;
            match claimed {
                Ok(_) => Ok(None),
                Err(error) => Err(End::Again(format!("the home cannot be used: {error}"))),
            }
        }
    }
}

/// Resumes a thread that the home has. `None` if it does not have the thread, or if the turn was given up.
async fn resume(
    worker: &Worker,
    turn: &Arc<Turn>,
    order: &Order,
    known: &StoredThread,
) -> Result<Option<Found>, End> {
    let writer = worker.writer(&known.id).lock_owned().await;
    let mut reloads = false;
    while !turn.is_given_up() {
        let desk = Arc::new(Desk::default());
        desk.serve(turn);
        let builder = with_options!(worker.codex.thread_resume(&known.id), &order.request.options, desk);
        let error = match builder.include_turns(false).writer_timeout(WRITER_TIMEOUT).send().await {
            Ok(thread) => {
                let stored = known.clone();
                return Ok(Some(Found { thread, stored, opening: None, _writer: writer }));
            }
            Err(error) => error,
        };
        match error.kind() {
            ErrorKind::ThreadNotFound | ErrorKind::ThreadLost => return Ok(None),
            // The runtime still has the thread loaded, with other options.
            ErrorKind::OptionNotApplied if !reloads => {
                reloads = true;
                tokio::time::sleep(UNLOADED_AFTER).await;
            }
            ErrorKind::ThreadInUse => {}
            _ => return Err(failed(worker, &error)),
        }
    }
    Ok(None)
}

async fn run(worker: &Arc<Worker>, turn: &Arc<Turn>, order: &Order, thread: &AsyncThread) -> End {
    let request = &order.request;
    let mut events = thread.events();
    let mut builder = thread.turn(request.input.to_input());
    if let Some(effort) = &request.options.effort {
        builder = builder.effort(effort.clone());
    }
    if let Some(schema) = &request.options.output_schema {
        builder = builder.output_schema(schema.clone());
    }
    let policy = if order.interrupted { HalfDone::Fail } else { half_done(worker, turn, order) };
    let ensured = builder.ensure(&*order.key).on_half_done(policy).run();
    tokio::pin!(ensured);
    let mut interrupting = turn.interrupting.subscribe();
    let mut interrupts = false;
    let ensured = loop {
        tokio::select! {
            ensured = &mut ensured => break ensured,
            event = events.next() => match event {
                Some(Ok(Event::Notification(Notification::TurnStarted(started)))) if started.thread_id == thread.id() => {
                    turn.begun(started.turn.id);
                    worker.forget_note(&turn.invocation());
                }
                Some(Ok(_)) => {}
                // The client has ended, and so does the other future.
                Some(Err(_)) | None => break ensured.await,
            },
            () = is_set(&mut interrupting), if !interrupts && turn.is_live() => {
                interrupts = interrupt(thread).await;
                if !interrupts {
                    // It is tried again, unless the turn has ended.
                    tokio::time::sleep(INTERRUPT_PAUSE).await;
                }
            }
        }
    };
    let outcome = |how, continued, result: RunResult| {
        worker.count(&result, continued);
        let outcome =
            RunOutcome::new(&order.key, thread.id(), &worker.name, how, continued, result, request.items);
        End::Progress(Progress::Ended(Box::new(outcome)))
    };
    match ensured {
        Ok(Ensured { outcome: how, result, .. }) => match how {
            EnsureOutcome::Ran => outcome(How::Ran, 0, result),
            EnsureOutcome::FoundDone => outcome(How::FoundDone, 0, result),
            EnsureOutcome::Attached => outcome(How::Attached, 0, result),
            EnsureOutcome::Continued(number) => outcome(How::Continued, number, result),
            _ => outcome(How::Ran, 0, result),
        },
        Err(error) if error.kind() == ErrorKind::TurnInterrupted => match error.turn().cloned() {
            Some(result) if interrupts || *turn.interrupting.borrow() => outcome(How::Interrupted, 0, result),
            // The engine records it, and then it is the outcome.
            _ if worker.wants_interrupt(&turn.invocation()) => End::Progress(Progress::Interrupt),
            partial if request.on_half_done == OnHalfDone::Choice(HalfDoneChoice::Ask) => {
                End::Progress(Progress::HalfDone(partial.and_then(|partial| partial.final_response)))
            }
            _ => {
                let message =
                    "the turn was cut off in the middle, and the request is not to continue it".to_owned();
                End::Progress(Progress::Failed { code: TURN_FAILED, message, worker: worker.name.clone() })
            }
        },
        Err(error) => failed(worker, &error),
    }
}

/// What to do about a turn that was cut off. The request says it, except about one that is to be interrupted, and one that a worker
/// gave up while it waited for a decision.
fn half_done(worker: &Arc<Worker>, turn: &Arc<Turn>, order: &Order) -> HalfDone {
    let waited = match worker.noted(&order.invocation) {
        Some(Note { turn_id, cut: Cut::Waiting }) => Some(turn_id),
        _ => None,
    };
    let policy = order.request.on_half_done.clone();
    let (worker, turn) = (worker.clone(), turn.clone());
    HalfDone::ask(move |partial| {
        if *turn.interrupting.borrow() || worker.wants_interrupt(&turn.invocation()) {
            return HalfDone::Fail;
        }
        let prompt = if waited.as_ref() == Some(&partial.turn.id) {
            Some(policy.prompt_after_wait())
        } else {
            policy.prompt()
        };
        prompt.map_or(HalfDone::Fail, HalfDone::continue_with)
    })
}

/// Interrupts the turn that runs in a thread. Returns whether the runtime has done so.
async fn interrupt(thread: &AsyncThread) -> bool {
    match thread.follow().await {
        Ok(Some(running)) => running.interrupt().await.is_ok(),
        Ok(None) | Err(_) => false,
    }
}

/// What the failure of a request means for the turn: the engine repeats what can succeed later.
fn failed(worker: &Worker, error: &Error) -> End {
    if matches!(error.kind(), ErrorKind::RestartsExhausted | ErrorKind::Closed) {
        worker.broken.send_replace(Some(error.to_string()));
    }
    let code = match (error.kind(), error.kind().group()) {
        (ErrorKind::TurnLost | ErrorKind::Uncertain, _) => None,
        (ErrorKind::OptionNotApplied | ErrorKind::InvalidParams | ErrorKind::InvalidRequest, _)
        | (_, ErrorGroup::Input) => Some(400),
        (_, ErrorGroup::Turn) => Some(TURN_FAILED),
        _ => None,
    };
    match code {
        Some(code) => {
            let (message, worker) = (error.to_string(), worker.name.clone());
            End::Progress(Progress::Failed { code, message, worker })
        }
        None => End::Again(error.to_string()),
    }
}

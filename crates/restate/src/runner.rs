//! Carries out a turn: opens or resumes its thread, and makes sure that the turn has run.

use std::sync::Arc;
use std::time::Duration;

use openai_codex::{
    ApprovalMode, AsyncThread, EnsureOutcome, Ensured, Error, ErrorGroup, ErrorKind, Event, HalfDone,
    Notification, RequestHandler, RunResult,
};

use crate::desk::{Desk, with_options};
use crate::outcome::{How, RunOutcome};
use crate::request::{HalfDoneChoice, OnHalfDone, RunOptions};
use crate::turn::{End, Order, Progress, StoredThread, Turn, is_set};
use crate::worker::Worker;

/// How long one attempt waits for another runtime to give up the thread. There are as many attempts as it takes.
const WRITER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a thread of another process must be missing to count as never used. That process may be about to store it, as long as
/// it lives, and for a moment after.
const UNBORN_AFTER: Duration = Duration::from_secs(2);

/// How long the runtime takes to unload a thread that nobody uses, with the configuration of a worker.
const UNLOADED_AFTER: Duration = Duration::from_millis(1500);

/// The pause after an interrupt that has failed.
const INTERRUPT_PAUSE: Duration = Duration::from_millis(200);

/// How long a `turn/start` takes at most to begin a turn.
const START_TIME: Duration = Duration::from_millis(500);

/// Opens a thread. It exists in this process only until its first turn.
pub(crate) async fn open(worker: &Worker, options: &RunOptions) -> Result<StoredThread, Error> {
    let desk = Arc::new(Desk::default());
    let builder = with_options!(worker.codex.thread_start(), options, desk.clone());
    let thread = builder.send().await?;
    let stored = StoredThread { id: thread.id().to_owned(), opener: worker.process.clone(), used: false };
    worker.keep_opened(thread, desk);
    Ok(stored)
}

/// Carries out a turn to its end, or until it is given up.
pub(crate) async fn carry_out(worker: Arc<Worker>, turn: Arc<Turn>, order: Order) {
    // One at a time in a thread: a turn that was given up may still have to end there.
    let writer = worker.writer(&order.thread.id);
    let _writer = writer.lock().await;
    let end = attempt(&worker, &turn, &order).await;
    turn.ended(end);
    if turn.is_given_up() || !worker.is_held(&turn.name) {
        worker.forget(&turn);
    }
}

async fn attempt(worker: &Worker, turn: &Arc<Turn>, order: &Order) -> End {
    let thread = match thread_of(worker, turn, order).await {
        Ok(Some(thread)) => thread,
        Ok(None) if turn.is_given_up() => return gave_up(),
        Ok(None) if order.thread.used => {
            let message = format!(
                "thread {} is not in the home of worker {}; import it there, or forget it",
                order.thread.id, worker.name
            );
            return End::Progress(Progress::Failed { code: 404, message, worker: worker.name.clone() });
        }
        Ok(None) => return End::Progress(Progress::Unborn),
        Err(error) => return failed(worker, &error),
    };
    turn.set_thread(&thread);
    let mut given_up = turn.given_up.subscribe();
    let end = tokio::select! {
        biased;
        () = is_set(&mut given_up) => {
            settle(worker, turn, &thread).await;
            gave_up()
        }
        end = run(worker, turn, order, &thread) => end,
    };
    // The runtime then unloads the thread, and other workers can use it.
    let _ = thread.unsubscribe().await;
    end
}

fn gave_up() -> End {
    End::Again("the worker gave up the turn".to_owned())
}

/// Waits for the end of the turn in a thread that was given up, and interrupts it if that takes too long, or if its call was cancelled.
async fn settle(worker: &Worker, turn: &Turn, thread: &AsyncThread) {
    let mut running = thread.follow().await;
    if matches!(running, Ok(None)) {
        // A start that was just sent.
        tokio::time::sleep(START_TIME).await;
        running = thread.follow().await;
    }
    let Ok(Some(running)) = running else { return };
    let time = if *turn.interrupting.borrow() { Duration::ZERO } else { worker.times.settle };
    if tokio::time::timeout(time, running.run()).await.is_err() {
        let _ = running.interrupt().await;
        let _ = tokio::time::timeout(UNLOADED_AFTER, running.run()).await;
    }
}

/// The thread, opened by this process or stored in the home. `None` if there is neither.
async fn thread_of(worker: &Worker, turn: &Arc<Turn>, order: &Order) -> Result<Option<AsyncThread>, Error> {
    if let Some((thread, desk)) = worker.take_opened(&order.thread.id) {
        desk.serve(turn);
        return Ok(Some(thread));
    }
    let options = &order.request.options;
    let mut missing = order.thread.opener == worker.process;
    let mut reloads = false;
    while !turn.is_given_up() {
        let desk = Arc::new(Desk::default());
        desk.serve(turn);
        let builder = with_options!(worker.codex.thread_resume(&order.thread.id), options, desk);
        let error = match builder.include_turns(false).writer_timeout(WRITER_TIMEOUT).send().await {
            Ok(thread) => return Ok(Some(thread)),
            Err(error) => error,
        };
        match error.kind() {
            ErrorKind::ThreadNotFound | ErrorKind::ThreadLost if missing || order.thread.used => {
                return Ok(None);
            }
            ErrorKind::ThreadNotFound | ErrorKind::ThreadLost => {
                missing = true;
                tokio::time::sleep(UNBORN_AFTER).await;
            }
            // The runtime still has the thread loaded, with other options.
            ErrorKind::OptionNotApplied if !reloads => {
                reloads = true;
                tokio::time::sleep(UNLOADED_AFTER).await;
            }
            ErrorKind::ThreadInUse => {}
            _ => return Err(error),
        }
    }
    Ok(None)
}

async fn run(worker: &Worker, turn: &Arc<Turn>, order: &Order, thread: &AsyncThread) -> End {
    let request = &order.request;
    let mut events = thread.events();
    let mut builder = thread.turn(request.input.to_input());
    if let Some(effort) = &request.options.effort {
        builder = builder.effort(effort.clone());
    }
    if let Some(schema) = &request.options.output_schema {
        builder = builder.output_schema(schema.clone());
    }
    let policy = match request.on_half_done.prompt() {
        Some(prompt) if !order.interrupted => HalfDone::continue_with(prompt),
        _ => HalfDone::Fail,
    };
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
            Some(result) if order.interrupted || interrupts => outcome(How::Interrupted, 0, result),
            partial if request.on_half_done == OnHalfDone::Choice(HalfDoneChoice::Ask) => {
                End::Progress(Progress::HalfDone(partial.and_then(|partial| partial.final_response)))
            }
            _ => {
                let message =
                    "a worker died in the middle of the turn, and the request is not to continue it"
                        .to_owned();
                End::Progress(Progress::Failed { code: 422, message, worker: worker.name.clone() })
            }
        },
        Err(error) => failed(worker, &error),
    }
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
        (ErrorKind::OptionNotApplied | ErrorKind::InvalidParams, _) | (_, ErrorGroup::Input) => Some(400),
        (_, ErrorGroup::Turn) => Some(422),
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

//! Interrupts turns and checks that they end.
//!
//! The runtime refuses to interrupt a turn that it has not begun. It does not respond to an interrupt of a turn that has just
//! ended. So the client holds an interrupt until the turn runs, tries again when the server says that no turn is active, and
//! stops when the turn ends. If the turn does not end, observers get an event.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use openai_codex_protocol::types::{
    ThreadBackgroundTerminalsListParams, ThreadBackgroundTerminalsListResponse,
    ThreadBackgroundTerminalsTerminateParams, TurnInterruptParams,
};
use openai_codex_protocol::{ClientRequest, methods};
use serde_json::value::RawValue;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::background::until;
use crate::codec::encode;
use crate::connection::intent::Intent;
use crate::connection::turn_phase::Phase;
use crate::error::{Error, ErrorKind};
use crate::io::observers::Observed;
use crate::io::request::ClientCall;
use crate::io::shared::Shared;
use crate::io::tokens::IoHost;
use crate::io::watchdog;
use crate::options::method_class::QUICK;
use crate::select::select;

/// How long an interrupt waits for its turn to begin, before each attempt.
const START_WAIT: Duration = Duration::from_millis(500);
/// How long the server may refuse an interrupt because no turn is active. A turn begins only after its MCP servers have started.
const REFUSAL_LIMIT: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// How long a turn may take to end after the server has accepted the interrupt.
const END_LIMIT: Duration = Duration::from_secs(30);

/// How long an interrupt without a response is repeated, if the client can connect again. The client notices after 40 seconds of silence that
/// a connection is lost.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);

/// A turn to interrupt.
#[derive(Debug)]
pub(crate) struct Interruption {
    pub(crate) thread_id: Arc<str>,
    pub(crate) turn_id: Arc<str>,
    /// Whether to end the turn's running commands too.
    pub(crate) end_commands: bool,
    /// Whether the end of the turn was lost, so that the client does not know whether it runs.
    is_lost: bool,
    /// Gets the outcome: the interrupt has taken effect, or it has failed.
    outcome: Option<oneshot::Sender<Result<(), Error>>>,
}

impl Interruption {
    pub(crate) fn new(thread_id: Arc<str>, turn_id: Arc<str>, end_commands: bool) -> Self {
        Self { thread_id, turn_id, end_commands, is_lost: false, outcome: None }
    }

    /// Sets whether the end of the turn was lost.
    pub(crate) fn of_lost_turn(self, is_lost: bool) -> Self {
        Self { is_lost, ..self }
    }

    /// Adds a receiver of the outcome: the server has accepted the interrupt, or the turn is over.
    pub(crate) fn with_outcome(mut self) -> (Self, oneshot::Receiver<Result<(), Error>>) {
        let (outcome, receiver) = oneshot::channel();
        self.outcome = Some(outcome);
        (self, receiver)
    }
}

/// Interrupts a turn. A failure becomes an event, unless the connection has ended. Returns whether the turn is over. `learning`: asks
/// for commands of the turn that the client has not seen.
pub(crate) async fn carry_out(
    shared: Arc<Shared>,
    mut interruption: Interruption,
    learning: impl Future<Output = Result<(), Error>>,
) -> bool {
    let before = {
        let Interruption { thread_id, turn_id, end_commands, .. } = &interruption;
        let mut router = shared.router();
        router.note_interrupted(thread_id, turn_id, *end_commands);
        router.take_over_commands(turn_id)
    };
    let learned = learning.await;
    // The end of a turn names its commands, too.
    let was_running = shared.follow(&interruption.turn_id).is_some();
    let outcome = interrupt(&shared, &mut interruption).await;
    let mut router = shared.router();
    router.set_being_interrupted(&interruption.turn_id, false);
    if let Err(error) = &outcome {
        // The turn can still end as interrupted: late, by this interrupt, or by another one.
        let by_this = error.kind() == ErrorKind::Timeout;
        let ends_commands = if by_this { interruption.end_commands } else { before };
        router.return_commands(&interruption.turn_id, ends_commands);
        if !by_this {
            router.forget_interrupted(&interruption.turn_id);
        }
    }
    drop(router);
    let is_over = outcome.is_ok();
    conclude(&shared, interruption, if was_running { outcome.and(learned) } else { outcome });
    is_over
}

/// Ends the commands of a turn that the server, or another client, has interrupted: a compaction or a review interrupts the
/// running turn of its thread.
pub(crate) async fn finish(shared: Arc<Shared>, interruption: Interruption, commands: Arc<[Box<str>]>) {
    shared.router().note_interrupted(&interruption.thread_id, &interruption.turn_id, true);
    let outcome = end_commands(&shared, &interruption, &commands).await;
    conclude(&shared, interruption, outcome);
}

fn conclude(shared: &Shared, interruption: Interruption, outcome: Result<(), Error>) {
    // The runtime ends commands that are just starting, and can lose them. They are neither items nor background terminals.
    shared.sweeps.request(&interruption.thread_id);
    if let Err(error) = &outcome {
        report_failure(shared, &interruption.thread_id, &interruption.turn_id, error);
    }
    if let Some(receiver) = interruption.outcome {
        let _ = receiver.send(outcome);
    }
}

/// Reports to observers that an interrupt has failed, unless the connection has ended.
pub(crate) fn report_failure(shared: &Shared, thread_id: &str, turn_id: &str, error: &Error) {
    if !matches!(error.kind(), ErrorKind::Closed | ErrorKind::TransportClosed) && shared.hub.is_watched() {
        let event = Observed::InterruptFailed {
            thread_id: thread_id.to_string(),
            turn_id: turn_id.to_string(),
            error: error.clone(),
        };
        shared.hub.publish(Some(thread_id), &event);
    }
}

async fn interrupt(shared: &Arc<Shared>, interruption: &mut Interruption) -> Result<(), Error> {
    let (thread_id, turn_id) = (interruption.thread_id.clone(), interruption.turn_id.clone());
    let params = TurnInterruptParams::new(&*thread_id, &*shared.router().listed_id(&turn_id));
    let Some(mut phase) = shared.follow(&turn_id) else {
        // A turn whose end was lost may still run.
        return match interruption.is_lost {
            true => match call::<methods::TurnInterrupt>(shared, &thread_id, &params).await {
                Err(error) if error.kind() == ErrorKind::TurnNotActive => Ok(()),
                response => response.map(drop),
            },
            false => Ok(()),
        };
    };
    interrupt_subagents(shared, interruption);
    let (mut pause, begun) = (FIRST_PAUSE, Instant::now());
    // The runtime refuses an interrupt of a turn that has ended, or does not respond to it, and no event says that it has ended.
    let mut unseen_end = pin!(watchdog::unseen_end(shared, &turn_id));
    loop {
        // The wait fails if the connection has ended.
        let _ = timeout(START_WAIT, until(&mut phase, Phase::has_begun)).await;
        // Once the thread is resumed, the end of such a turn arrives. Its commands stay unknown.
        let of_others = shared.router().commands_of_others(&turn_id);
        let end_all = async |commands: Arc<[Box<str>]>| match &of_others {
            Some(of_others) => end_unseen_commands(shared, interruption, of_others).await,
            None => end_commands(shared, interruption, &commands).await,
        };
        let response = select! {
            commands = end_of(shared, &mut phase) => return end_all(commands?).await,
            response = call::<methods::TurnInterrupt>(shared, &thread_id, &params) => response.map(drop),
            () = unseen_end.as_mut() => break,
        };
        match response {
            Ok(()) => break,
            Err(error) if error.kind() == ErrorKind::TurnNotActive && begun.elapsed() < REFUSAL_LIMIT => {
                select! {
                    commands = end_of(shared, &mut phase) => return end_all(commands?).await,
                    () = unseen_end.as_mut() => break,
                    () = sleep(pause) => {},
                }
                pause = (2 * pause).min(LONGEST_PAUSE);
            }
            // It was not sent, or its response was lost. It is sent when the connection is there again. Or the network has forgotten the
            // connection, which the client notices later.
            Err(error)
                if error.kind() == ErrorKind::Timeout
                    && (shared.is_lost()
                        || shared.reconnect.is_some() && begun.elapsed() < SILENCE_LIMIT) =>
            {
                // A timeout that the program has made shorter limits its wait.
                let timeout = shared.timeouts.of_method(methods::TurnInterrupt::METHOD);
                if timeout.is_some_and(|timeout| timeout < QUICK)
                    && let Some(outcome) = interruption.outcome.take()
                {
                    let note = "; the turn may still run, and the client makes the interrupt again";
                    let _ = outcome.send(Err(error.with_note(note)));
                }
            }
            Err(error) => return Err(error.with_note("; the turn may still run")),
        }
    }
    // The server has accepted the interrupt when the turn is over. No event says so.
    let of_others = shared.router().commands_of_others(&turn_id);
    if let Some(of_others) = of_others {
        let ended = end_unseen_commands(shared, interruption, &of_others).await;
        shared.begin(Box::pin(watchdog::end_unseen(shared.clone(), turn_id.clone())));
        return ended;
    }
    if !shared.router().has_commands(&turn_id)
        && let Some(outcome) = interruption.outcome.take()
    {
        let _ = outcome.send(Ok(()));
    }
    let Ok(commands) = timeout(END_LIMIT, end_of(shared, &mut phase)).await else {
        let message = format!(
            "the server accepted the interrupt of turn {turn_id}, and the turn has not ended within {END_LIMIT:?}"
        );
        return Err(Error::new(ErrorKind::Timeout, message)
            .with_method(methods::TurnInterrupt::METHOD)
            .with_thread(Some(&thread_id)));
    };
    end_commands(shared, interruption, &commands?).await
}

/// Interrupts the turns of sub-agents that work for a turn. The runtime does not interrupt them with it.
fn interrupt_subagents(shared: &Arc<Shared>, interruption: &Interruption) {
    let subagents = shared.router().take_subagent_turns(&interruption.turn_id);
    for (thread_id, turn_id) in subagents {
        shared.interrupt(Interruption::new(thread_id, turn_id, interruption.end_commands));
    }
}

/// Waits until a turn is over, and returns the ids of its commands that still run. Fails if the connection ends first.
async fn end_of(shared: &Shared, phase: &mut watch::Receiver<Phase>) -> Result<Arc<[Box<str>]>, Error> {
    until(phase, Phase::is_over).await;
    let commands = match &*phase.borrow() {
        Phase::Over(commands) => Some(commands.clone()),
        _ => None,
    };
    let failure = shared.router().failure();
    match (commands, failure) {
        (_, Some(error)) => Err(error.with_method(methods::TurnInterrupt::METHOD)),
        (commands, None) => Ok(commands.unwrap_or_default()),
    }
}

/// Ends the commands of an interrupted turn that the server keeps running as background terminals.
async fn end_commands(
    shared: &Arc<Shared>,
    interruption: &Interruption,
    commands: &[Box<str>],
) -> Result<(), Error> {
    // Sub-agents can have started turns in the meantime.
    interrupt_subagents(shared, interruption);
    if !interruption.end_commands {
        return Ok(());
    }
    let of_turn = terminate_commands(shared, &interruption.thread_id, commands).await;
    end_left_commands(shared, interruption).await.and(of_turn)
}

/// Ends the commands of sub-agents whose turns were over before the turn that they worked for was interrupted.
async fn end_left_commands(shared: &Arc<Shared>, interruption: &Interruption) -> Result<(), Error> {
    let left = shared.router().left_by_subagents(&interruption.turn_id);
    let mut ended = Ok(());
    for of_thread in left.chunk_by(|(one, _), (next, _)| one == next) {
        let commands: Vec<_> = of_thread.iter().map(|(_, command)| command.clone()).collect();
        ended = ended.and(terminate_commands(shared, &of_thread[0].0, &commands).await);
    }
    ended
}

/// Ends these commands of a thread.
async fn terminate_commands(
    shared: &Arc<Shared>,
    thread_id: &str,
    commands: &[Box<str>],
) -> Result<(), Error> {
    if commands.is_empty() {
        return Ok(());
    }
    // Each page lists at least one terminal, and each command has one.
    terminate(shared, thread_id, commands.len() + 1, &|id| commands.iter().any(|command| **command == *id))
        .await
}

/// Ends the commands of an interrupted turn whose events did not arrive: the thread's background terminals that belong to no
/// other turn.
async fn end_unseen_commands(
    shared: &Arc<Shared>,
    interruption: &Interruption,
    of_others: &[Box<str>],
) -> Result<(), Error> {
    /// More pages than a thread can have terminals. It ends a listing that goes on for ever.
    const MAX_PAGES: usize = 256;
    interrupt_subagents(shared, interruption);
    if !interruption.end_commands {
        return Ok(());
    }
    let of_turn = terminate(shared, &interruption.thread_id, MAX_PAGES, &|id| {
        !of_others.iter().any(|command| **command == *id)
    })
    .await;
    end_left_commands(shared, interruption).await.and(of_turn)
}

/// Ends the background terminals of a thread whose item ids satisfy the condition.
pub(crate) async fn terminate(
    shared: &Arc<Shared>,
    thread_id: &str,
    max_pages: usize,
    is_wanted: &(dyn Fn(&str) -> bool + Sync),
) -> Result<(), Error> {
    match terminate_each(shared, thread_id, max_pages, is_wanted).await {
        // The runtime has unloaded the thread, and ended its terminals.
        Err(error) if error.kind() == ErrorKind::ThreadNotFound => Ok(()),
        terminated => terminated.map_err(|error| {
            error.with_note("; the turn is over, and commands that it has started may still run")
        }),
    }
}

async fn terminate_each(
    shared: &Arc<Shared>,
    thread_id: &str,
    max_pages: usize,
    is_wanted: &(dyn Fn(&str) -> bool + Sync),
) -> Result<(), Error> {
    let (mut cursor, mut process_ids) = (None, Vec::new());
    // A terminal that ends can move those of later pages, so the listing comes first.
    for _ in 0..max_pages {
        let mut params = ThreadBackgroundTerminalsListParams::new(thread_id);
        params.cursor = cursor;
        let page = call::<methods::ThreadBackgroundTerminalsList>(shared, thread_id, &params).await?;
        let ThreadBackgroundTerminalsListResponse { data, next_cursor, .. } = page;
        let wanted = data.into_iter().filter(|terminal| is_wanted(&terminal.item_id));
        process_ids.extend(wanted.map(|terminal| terminal.process_id));
        match next_cursor {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    for process_id in process_ids {
        let params = ThreadBackgroundTerminalsTerminateParams::new(thread_id, process_id);
        call::<methods::ThreadBackgroundTerminalsTerminate>(shared, thread_id, &params).await?;
    }
    Ok(())
}

pub(crate) async fn call<R: ClientRequest>(
    shared: &Arc<Shared>,
    thread_id: &str,
    params: &R::Params,
) -> Result<R::Response, Error> {
    call_with::<R>(shared, thread_id, params, Intent::Plain).await
}

pub(crate) async fn call_with<R: ClientRequest>(
    shared: &Arc<Shared>,
    thread_id: &str,
    params: &R::Params,
    intent: Intent<IoHost>,
) -> Result<R::Response, Error> {
    let response = send(shared, R::METHOD, thread_id, encode(R::METHOD, params)?, intent).await?;
    openai_codex_protocol::decode_response::<R>(&response)
        .map_err(|error| Error::from_decode(error).with_method(R::METHOD).with_thread(Some(thread_id)))
}

async fn send(
    shared: &Arc<Shared>,
    method: &str,
    thread_id: &str,
    params: Option<Box<RawValue>>,
    intent: Intent<IoHost>,
) -> Result<String, Error> {
    let timeout = shared.timeouts.of_method(method);
    let call = ClientCall {
        thread_id: Some(thread_id),
        timeout,
        intent,
        ..ClientCall::new(method, params.as_deref())
    };
    shared.send_request(call)?.await
}

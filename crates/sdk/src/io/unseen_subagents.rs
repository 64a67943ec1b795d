//! Interrupts what the client has not seen of an interrupted turn: sub-agents, and commands that began before.
//!
//! A client that has joined or follows the turn of another client, has lost the connection meanwhile, or has unsubscribed from the thread,
//! has not received the events by which it would know them. The server's record of the turn names them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openai_codex_protocol::types::{
    CommandExecutionStatus, SortDirection, ThreadItem, ThreadResumeInitialTurnsPageParams,
    ThreadResumeParams, ThreadTurnsListParams, ThreadTurnsListResponse, Turn, TurnInterruptParams,
    TurnItemsView, TurnStatus,
};
use openai_codex_protocol::{ClientRequest, methods};
use tokio::time::{Instant, sleep, timeout};

use crate::connection::intent::Intent;
use crate::error::{Error, ErrorKind, FIRST_WRITE};
use crate::io::interruption::{self, Interruption, call, call_with, report_failure, terminate};
use crate::io::shared::Shared;

/// How many of a thread's latest turns are read. The interrupted turn is among them.
const LATEST: u32 = 20;
/// The pause between two requests until a runtime has stored the first turn of a thread.
const PAUSE: Duration = Duration::from_millis(20);
/// How long an interrupt waits for the names of the running commands.
const LEARN_LIMIT: Duration = Duration::from_secs(1);
/// How many sub-agents are looked for. It ends a search in records that go on for ever.
const MAX_SUBAGENTS: usize = 1_024;
/// More pages than a thread can have terminals. It ends a listing that goes on for ever.
const MAX_PAGES: usize = 256;

/// Interrupts a turn, and then the sub-agents that the client has not seen. A failure becomes an event, unless the connection has ended.
pub(crate) async fn carry_out(shared: Arc<Shared>, interruption: Interruption) {
    let transport = || shared.transport.load(Ordering::Acquire);
    let before = transport();
    let looks = shared.router().may_have_unseen_subagents(&interruption.turn_id);
    let (thread_id, turn_id) = (interruption.thread_id.clone(), interruption.turn_id.clone());
    let end_commands = interruption.end_commands;
    let learning = learn_commands(shared.clone(), thread_id.clone(), turn_id.clone(), end_commands);
    let is_over = interruption::carry_out(shared.clone(), interruption, learning).await;
    if is_over && (looks || transport() != before) {
        interrupt_unseen(&shared, thread_id, turn_id, end_commands).await;
    }
}

/// Asks for the commands of a turn that were not reported to this client. The server names them only while the turn runs.
async fn learn_commands(
    shared: Arc<Shared>,
    thread_id: Arc<str>,
    turn_id: Arc<str>,
    end_commands: bool,
) -> Result<(), Error> {
    if !end_commands || !shared.router().may_have_unseen_commands(&turn_id) {
        return Ok(());
    }
    let listed_id = shared.router().listed_id(&turn_id);
    match running_commands(&shared, &thread_id, &listed_id).await {
        Ok(commands) => {
            shared.router().add_commands(&turn_id, commands);
            Ok(())
        }
        // The server has unloaded the thread, and ended its commands.
        Err(error) if error.kind() == ErrorKind::ThreadNotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Interrupts the turn that begins in a thread, if it works for an interrupted turn. The client has not seen where the thread comes from.
/// A runtime before 0.163.0 does not name the turn that it works for, and reports its start.
pub(crate) async fn interrupt_unknown(shared: Arc<Shared>, thread_id: Arc<str>, turn_id: Arc<str>) {
    let latest = match latest_turns(&shared, &thread_id).await {
        Ok(latest) => latest,
        // The server has removed the thread.
        Err(error) if error.kind() == ErrorKind::ThreadNotFound => return,
        Err(error) => {
            let note = "; the turn may work for a turn that the client has interrupted, and may still run";
            return report_failure(&shared, &thread_id, &turn_id, &error.with_note(note));
        }
    };
    let root = latest.data.into_iter().next().and_then(|turn| turn.root_turn_id);
    let Some(root) = root.map(Arc::<str>::from) else { return };
    let interrupted = shared.router().interrupted(&root);
    if let Some(end_commands) = interrupted {
        let (of_job, thread, turn) = (shared.clone(), thread_id.clone(), root.clone());
        let interrupting =
            async move { drop(interrupt_subagent(&of_job, &thread, &turn, end_commands).await) };
        shared.interrupts.add(thread_id, root, interrupting).await;
    }
}

async fn interrupt_unseen(shared: &Arc<Shared>, thread_id: Arc<str>, root: Arc<str>, end_commands: bool) {
    let mut known = vec![thread_id.clone()];
    let mut turns = VecDeque::from([(thread_id, root.clone())]);
    while let Some((thread_id, turn_id)) = turns.pop_front() {
        let recorded = match latest_turns(shared, &thread_id).await {
            Ok(recorded) => recorded,
            Err(error) => {
                let error = error.with_note("; the turn is over, and sub-agents of the turn may still run");
                report_failure(shared, &thread_id, &turn_id, &error);
                continue;
            }
        };
        let of_turn = recorded.data.iter().filter(|turn| *turn.id == *turn_id);
        for subagent in of_turn.flat_map(|turn| &turn.items).flat_map(subagents) {
            if known.len() > MAX_SUBAGENTS || known.iter().any(|known| **known == *subagent) {
                continue;
            }
            let subagent = Arc::<str>::from(subagent);
            known.push(subagent.clone());
            let of_root = interrupt_subagent(shared, &subagent, &root, end_commands).await;
            turns.extend(of_root.into_iter().map(|turn_id| (subagent.clone(), turn_id)));
        }
    }
}

/// Interrupts the running turn of a sub-agent's thread, and ends the commands of its turns, as far as the turns work for the root.
/// Returns these turns.
async fn interrupt_subagent(
    shared: &Arc<Shared>,
    thread_id: &Arc<str>,
    root: &str,
    end_commands: bool,
) -> Vec<Arc<str>> {
    let latest = match latest_turns(shared, thread_id).await {
        Ok(latest) => latest,
        // The server has removed the thread, or the thread has not run a turn.
        Err(error) if error.kind() == ErrorKind::ThreadNotFound => return Vec::new(),
        Err(error) => {
            let error = error.with_note("; the sub-agent of an interrupted turn may still run");
            report_failure(shared, thread_id, root, &error);
            return Vec::new();
        }
    };
    let mut is_last = true;
    let (of_root, others): (Vec<Turn>, Vec<Turn>) = latest
        .data
        .into_iter()
        .partition(|turn| works_for(turn, root, std::mem::replace(&mut is_last, false)));
    // The record does not name running commands. So the terminals of a turn that is over are known only if the thread has no others.
    let has_others = !others.is_empty() || latest.next_cursor.is_some();
    let running = of_root.iter().find(|turn| turn.status == TurnStatus::InProgress);
    let seen = running.filter(|turn| shared.router().is_running(&turn.id));
    let ended = match (seen, running) {
        (Some(turn), _) => {
            let turn_id = turn.id.as_str().into();
            shared.interrupt(Interruption::new(thread_id.clone(), turn_id, end_commands));
            Ok(())
        }
        (None, Some(turn)) => interrupt_unseen_turn(shared, thread_id, turn, has_others, end_commands).await,
        (None, None) if end_commands && !of_root.is_empty() && !has_others => {
            terminate(shared, thread_id, MAX_PAGES, &|_| true).await
        }
        (None, None) => Ok(()),
    };
    if let (Err(error), Some(turn)) = (ended, running.or(of_root.first())) {
        report_failure(shared, thread_id, &turn.id, &error);
    }
    of_root.iter().map(|turn| turn.id.as_str().into()).collect()
}

/// Whether a turn of a sub-agent's thread works for the root. `is_last`: whether no turn of the thread has begun since.
fn works_for(turn: &Turn, root: &str, is_last: bool) -> bool {
    match &turn.root_turn_id {
        Some(named) => named == root,
        // A runtime before 0.163.0 does not name the root. The messages of agents have no id of a client.
        None => {
            let begins_with = |item: Option<&ThreadItem>| match item {
                Some(ThreadItem::UserMessage(message)) => message.client_id.is_none(),
                _ => true,
            };
            is_last && begins_with(turn.items.first())
        }
    }
}

/// Interrupts a turn of which the client receives no events. `has_others`: whether other turns have run in its thread.
async fn interrupt_unseen_turn(
    shared: &Arc<Shared>,
    thread_id: &Arc<str>,
    turn: &Turn,
    has_others: bool,
    end_commands: bool,
) -> Result<(), Error> {
    // The terminals of other turns go on.
    let commands = match end_commands && has_others {
        true => Some(running_commands(shared, thread_id, &turn.id).await),
        false => None,
    };
    // A failure of that request must not keep the turn running.
    let params = TurnInterruptParams::new(&**thread_id, &*turn.id);
    match call::<methods::TurnInterrupt>(shared, thread_id, &params).await {
        Err(error) if error.kind() == ErrorKind::TurnNotActive => {}
        response => drop(response.map_err(|error| error.with_note("; the sub-agent's turn may still run"))?),
    }
    shared.sweeps.request(thread_id);
    match commands {
        Some(commands) => {
            let commands = commands?;
            let is_of_turn = |id: &str| commands.iter().any(|command| **command == *id);
            terminate(shared, thread_id, MAX_PAGES, &is_of_turn).await
        }
        None if end_commands => terminate(shared, thread_id, MAX_PAGES, &|_| true).await,
        None => Ok(()),
    }
}

/// The ids of the command items of a thread's running turn that are in progress. Waits for them for at most a second, because the
/// interrupt of the turn waits meanwhile.
async fn running_commands(
    shared: &Arc<Shared>,
    thread_id: &str,
    turn_id: &str,
) -> Result<Vec<Box<str>>, Error> {
    let listing = timeout(LEARN_LIMIT, list_running_commands(shared, thread_id, turn_id)).await;
    let listed = listing.unwrap_or_else(|_| {
        let message = format!("the server did not name the running commands within {LEARN_LIMIT:?}");
        let error = Error::new(ErrorKind::Timeout, message).with_method(methods::ThreadResume::METHOD);
        Err(error.with_thread(Some(thread_id)))
    });
    listed.map_err(|error| {
        error.with_note(
            "; commands that the interrupted turn has started before this client knew it may still run",
        )
    })
}

/// The server reports them in the response to a resume only: it stores a command when it ends. Resuming a loaded thread without options
/// changes nothing.
async fn list_running_commands(
    shared: &Arc<Shared>,
    thread_id: &str,
    turn_id: &str,
) -> Result<Vec<Box<str>>, Error> {
    let page = ThreadResumeInitialTurnsPageParams::new().items_view(TurnItemsView::Full).limit(1_u32);
    let params = ThreadResumeParams::new(thread_id).initial_turns_page(page).exclude_turns(true);
    // The next server may not have the thread loaded, and would load it for this request.
    let transport = shared.transport.load(Ordering::Acquire);
    let resume = async |params| {
        call_with::<methods::ThreadResume>(shared, thread_id, params, Intent::Load { transport }).await
    };
    let response = match resume(&params).await {
        // The client uses no experimental fields, or the runtime cannot list turns while the first turn of a thread is young.
        Err(error) if error.json_rpc().is_some() => resume(&ThreadResumeParams::new(thread_id)).await,
        response => response,
    }?;
    let turns = response.initial_turns_page.map_or(response.thread.turns, |page| page.data);
    let of_turn = turns.into_iter().filter(|turn| turn.id == turn_id);
    let commands = of_turn.flat_map(|turn| turn.items).filter_map(|item| match item {
        ThreadItem::CommandExecution(command) if command.status == CommandExecutionStatus::InProgress => {
            Some(command.id.into_boxed_str())
        }
        _ => None,
    });
    Ok(commands.collect())
}

/// The latest turns of a thread, the last one first.
async fn latest_turns(shared: &Arc<Shared>, thread_id: &str) -> Result<ThreadTurnsListResponse, Error> {
    let params = ThreadTurnsListParams::new(thread_id)
        .sort_direction(SortDirection::Desc)
        .items_view(TurnItemsView::Full)
        .limit(LATEST);
    let began = Instant::now();
    loop {
        match call::<methods::ThreadTurnsList>(shared, thread_id, &params).await {
            Err(error) if error.is_of_beginning_thread() && began.elapsed() < FIRST_WRITE => {
                sleep(PAUSE).await
            }
            turns => return turns,
        }
    }
}

/// The threads of the sub-agents that an item is about.
fn subagents(item: &ThreadItem) -> Vec<&str> {
    match item {
        ThreadItem::CollabAgentToolCall(call) => {
            call.receiver_thread_ids.iter().map(String::as_str).collect()
        }
        ThreadItem::SubAgentActivity(activity) => vec![&activity.agent_thread_id],
        _ => Vec::new(),
    }
}

//! Asks the server about turns that have become silent, because their ends may have been lost.
//!
//! A silent turn may be at work, so the client asks the server first. Only two responses end a turn here: the server says
//! that the turn is over, or it does not respond. The client never starts a turn again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::background::{Boxed, task};
use crate::connection::effect::WatchedTurn;
use crate::error::{Error, ErrorKind};
use crate::io::request::ClientCall;
use crate::io::shared::Shared;
use crate::options::method_class::QUICK;

/// How long the end of a turn may take to arrive after the server has said that the turn is over.
const END_GRACE: Duration = Duration::from_secs(1);
/// How often the watchdog checks the turns in each period of silence.
const CHECKS_PER_SILENCE: u32 = 4;

/// The client does not ask about a shorter silence.
const MIN_SILENCE: Duration = Duration::from_secs(1);

/// What the watchdog knows of a turn.
struct Known {
    turn_id: Arc<str>,
    /// How many of its events have arrived, and since when no other has.
    event_count: u64,
    since: Instant,
    /// The last query about it.
    query: Option<JoinHandle<()>>,
}

/// What the server says about a turn.
enum Verdict {
    /// It may be at work.
    Open,
    Over(String),
}

/// Checks the turns of a connection until the connection ends. Does nothing if `silence` is zero.
pub(crate) async fn run(shared: Arc<Shared>, silence: Duration) {
    if silence.is_zero() {
        return;
    }
    let mut known: Vec<Known> = Vec::new();
    // Each check costs requests, so a very short silence is extended.
    let silence = silence.max(MIN_SILENCE);
    loop {
        sleep(silence / CHECKS_PER_SILENCE).await;
        let now = Instant::now();
        let turns = shared.router().watched_turns();
        known.retain(|known| turns.iter().any(|turn| turn.turn_id == known.turn_id));
        for turn in turns {
            let Some(known) = known.iter_mut().find(|known| known.turn_id == turn.turn_id) else {
                known.push(Known {
                    turn_id: turn.turn_id,
                    event_count: turn.event_count,
                    since: now,
                    query: None,
                });
                continue;
            };
            if known.event_count != turn.event_count || turn.may_be_silent || shared.is_lost() {
                (known.event_count, known.since) = (turn.event_count, now);
            } else if now.duration_since(known.since) >= silence
                && known.query.as_ref().is_none_or(JoinHandle::is_finished)
            {
                known.since = now;
                let observed = format!("the turn was silent for {silence:?}");
                known.query = Some(task(check_turn(shared.clone(), turn, observed)));
            }
        }
    }
}

/// Checks a turn whose thread has become idle, or was closed. Its end usually follows at once.
pub(crate) async fn check_turn_of_idle_thread(shared: Arc<Shared>, turn: WatchedTurn) {
    sleep(2 * END_GRACE).await;
    let silent = shared
        .router()
        .activity(&turn.turn_id)
        .is_some_and(|(event_count, _)| event_count == turn.event_count);
    if silent {
        check_turn(shared, turn, "its thread became idle or was closed".to_owned()).await;
    }
}

/// How long the client waits before it asks about a turn whose events do not arrive, and before it asks again.
const UNSEEN_STEP: Duration = Duration::from_secs(1);

/// Waits until the server says that a turn is over whose events do not arrive. Never completes for other turns.
pub(crate) async fn unseen_end(shared: &Arc<Shared>, turn_id: &str) {
    loop {
        sleep(UNSEEN_STEP).await;
        let unseen = shared.router().unseen_turn(turn_id);
        if let Some(turn) = unseen
            && let Verdict::Over(_) = verdict(shared, &turn).await
        {
            return;
        }
    }
}

/// Ends the waits for a turn whose events do not arrive, when the server says that it is over.
pub(crate) async fn end_unseen(shared: Arc<Shared>, turn_id: Arc<str>) {
    /// Events of the turn's sub-agents can still arrive.
    const ATTEMPTS: usize = 10;
    for _ in 0..ATTEMPTS {
        let unseen = shared.router().unseen_turn(&turn_id);
        let Some(turn) = unseen else { return };
        check_turn(shared.clone(), turn, "the client had unsubscribed from its thread".to_owned()).await;
    }
}

/// Asks the server about a turn that seems to be over. `observed` says why it seems so.
async fn check_turn(shared: Arc<Shared>, turn: WatchedTurn, observed: String) {
    let transport = shared.transport.load(Ordering::Acquire);
    let Verdict::Over(why) = verdict(&shared, &turn).await else { return };
    sleep(END_GRACE).await;
    // After a reconnect the client restores the turn, with its end.
    if shared.transport.load(Ordering::Acquire) != transport || shared.is_lost() {
        return;
    }
    let message = format!(
        "the end of turn {} never came: {observed}, and {why}. The turn may have had effects: `recover` reads what the \
         runtime has recorded",
        turn.turn_id
    );
    let error = Error::new(ErrorKind::TurnLost, message).with_thread(Some(&turn.thread_id));
    shared.route(|router| router.end_lost_turn(&turn, &error));
}

/// Asks the server about the thread and, if the thread is active, about the turn.
fn verdict<'a>(shared: &'a Arc<Shared>, turn: &'a WatchedTurn) -> Boxed<'a, Verdict> {
    Box::pin(async move {
        let thread_id = &*turn.thread_id;
        match send(shared, "thread/read", thread_id, &json!({"threadId": thread_id, "includeTurns": false}))
            .await
        {
            Err(error) if error.kind() == ErrorKind::Timeout => {
                return Verdict::Over("the server does not respond".into());
            }
            // An error says nothing about the turn.
            Err(_) => return Verdict::Open,
            Ok(response) => match response["thread"]["status"]["type"].as_str() {
                Some("active") => {}
                Some(status @ ("idle" | "notLoaded" | "systemError")) => {
                    return Verdict::Over(format!("the server says that its thread is {status}"));
                }
                _ => return Verdict::Open,
            },
        }
        // The thread may be active because of another turn.
        let params = json!({"threadId": thread_id, "limit": 20, "sortDirection": "desc"});
        let Ok(response) = send(shared, "thread/turns/list", thread_id, &params).await else {
            return Verdict::Open;
        };
        let turns = response["data"].as_array().map(Vec::as_slice).unwrap_or_default();
        let status = turns.iter().find(|listed| listed["id"] == *turn.turn_id);
        match status.and_then(|listed| listed["status"].as_str()) {
            Some(status @ ("completed" | "failed" | "interrupted")) => {
                Verdict::Over(format!("the server says that it has {status}"))
            }
            _ => Verdict::Open,
        }
    })
}

async fn send(shared: &Arc<Shared>, method: &str, thread_id: &str, params: &Value) -> Result<Value, Error> {
    let params = to_raw_value(params).unwrap_or_default();
    let timeout = shared.timeouts.of_method(method).unwrap_or(QUICK).min(QUICK);
    let timeout = Some(timeout);
    let call = ClientCall { thread_id: Some(thread_id), timeout, ..ClientCall::new(method, Some(&params)) };
    let response = shared.send_request(call)?.await?;
    Ok(serde_json::from_str(&response).unwrap_or_default())
}

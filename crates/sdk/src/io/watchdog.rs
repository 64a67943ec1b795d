//! Asks after turns that have gone silent: their end may have been lost.
//!
//! A turn that says nothing may be at work, so the server is asked before anything is judged, and only two things end a
//! turn here: the server says that it is over, or does not answer. Nothing is ever tried again.

use std::sync::Arc;
use std::time::Duration;

use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::background::task;
use crate::connection::effect::WatchedTurn;
use crate::error::{Error, ErrorKind};
use crate::io::request::ClientCall;
use crate::io::shared::Shared;
use crate::options::method_class::QUICK;

/// How much time a turn's end that is on its way has to arrive after all.
const GRACE: Duration = Duration::from_secs(1);
/// How often in each period of silence turns are looked at.
const LOOKS: u32 = 4;

/// The shortest silence that the server is asked about.
const SHORTEST: Duration = Duration::from_secs(1);

/// What is known of a turn.
struct Known {
    turn_id: Arc<str>,
    /// How many events of it were seen, and since when no other was.
    seen: u64,
    since: Instant,
    /// The last question about it.
    asking: Option<JoinHandle<()>>,
}

/// What the server says about a turn.
enum Verdict {
    /// It may be at work.
    Open,
    Over(String),
}

/// Looks at the turns of a connection until it ends; never, if the silence is zero.
pub(crate) async fn run(shared: Arc<Shared>, silence: Duration) {
    if silence.is_zero() {
        return;
    }
    let mut known: Vec<Known> = Vec::new();
    // It costs requests, however short the silence is to be.
    let silence = silence.max(SHORTEST);
    loop {
        sleep(silence / LOOKS).await;
        let now = Instant::now();
        let turns = shared.router().watched_turns();
        known.retain(|known| turns.iter().any(|turn| turn.turn_id == known.turn_id));
        for turn in turns {
            let Some(known) = known.iter_mut().find(|known| known.turn_id == turn.turn_id) else {
                known.push(Known { turn_id: turn.turn_id, seen: turn.event_count, since: now, asking: None });
                continue;
            };
            if known.seen != turn.event_count || turn.awaits_client {
                (known.seen, known.since) = (turn.event_count, now);
            } else if now.duration_since(known.since) >= silence
                && known.asking.as_ref().is_none_or(JoinHandle::is_finished)
            {
                known.since = now;
                let noticed = format!("nothing was heard of it for {silence:?}");
                known.asking = Some(task(ask_after(shared.clone(), turn, noticed)));
            }
        }
    }
}

/// Looks after a turn whose thread has gone idle, or was closed: its end mostly follows in the same breath.
pub(crate) async fn check_suspect(shared: Arc<Shared>, turn: WatchedTurn) {
    sleep(2 * GRACE).await;
    let silent = shared.router().activity(&turn.turn_id).is_some_and(|(seen, _)| seen == turn.event_count);
    if silent {
        ask_after(shared, turn, "its thread was reported to be at rest".to_owned()).await;
    }
}

/// Asks the server about a turn that seems to be over: `noticed` says why.
async fn ask_after(shared: Arc<Shared>, turn: WatchedTurn, noticed: String) {
    let Verdict::Over(why) = verdict(&shared, &turn).await else { return };
    sleep(GRACE).await;
    let message = format!(
        "the end of turn {} never came: {noticed}, and {why}. It may have had effects: `recover` reads what the runtime has \
         recorded of it",
        turn.turn_id
    );
    let error = Error::new(ErrorKind::TurnLost, message).with_thread(Some(&turn.thread_id));
    shared.route(|router, effects| router.end_lost_turn(&turn, &error, effects));
}

/// Asks the server about the thread, and if that is at work, about the turn.
async fn verdict(shared: &Arc<Shared>, turn: &WatchedTurn) -> Verdict {
    let thread_id = &*turn.thread_id;
    match ask(shared, "thread/read", thread_id, &json!({"threadId": thread_id, "includeTurns": false})).await
    {
        Err(error) if error.kind() == ErrorKind::Timeout => {
            return Verdict::Over("the server does not answer".into());
        }
        // It cannot tell.
        Err(_) => return Verdict::Open,
        Ok(answer) => match answer["thread"]["status"]["type"].as_str() {
            Some("active") => {}
            Some(status @ ("idle" | "notLoaded" | "systemError")) => {
                return Verdict::Over(format!("the server says that its thread is {status}"));
            }
            _ => return Verdict::Open,
        },
    }
    // Another turn may run there by now.
    let params = json!({"threadId": thread_id, "limit": 20, "sortDirection": "desc"});
    let Ok(answer) = ask(shared, "thread/turns/list", thread_id, &params).await else { return Verdict::Open };
    let turns = answer["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    let status = turns.iter().find(|listed| listed["id"] == *turn.turn_id);
    match status.and_then(|listed| listed["status"].as_str()) {
        Some(status @ ("completed" | "failed" | "interrupted")) => {
            Verdict::Over(format!("the server says that it has {status}"))
        }
        _ => Verdict::Open,
    }
}

async fn ask(shared: &Arc<Shared>, method: &str, thread_id: &str, params: &Value) -> Result<Value, Error> {
    let params = to_raw_value(params).unwrap_or_default();
    let timeout = shared.timeouts.of_method(method).unwrap_or(QUICK).min(QUICK);
    let timeout = Some(timeout);
    let call = ClientCall { thread_id: Some(thread_id), timeout, ..ClientCall::new(method, Some(&params)) };
    let answer = shared.send_request(call)?.await?;
    Ok(serde_json::from_str(&answer).unwrap_or_default())
}

//! One turn in a worker: what the durable steps see of it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openai_codex::AsyncThread;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::ask::Ask;
use crate::outcome::RunOutcome;
use crate::process::Process;
use crate::request::RunRequest;
use crate::steers::Steers;

/// Where a turn runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Place {
    /// The name of the worker.
    pub worker: String,
    /// The address at which the worker takes `steer`.
    pub control: String,
    /// The id of the turn.
    pub turn_id: String,
    /// The address of the turn's events from now on: a `GET` returns each as a line of JSON, up to the end of the turn.
    pub events: String,
}

/// The thread of a `CodexThread`, as the engine keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredThread {
    pub(crate) id: String,
    /// The process that opened it. Until the first turn, the thread exists in that process only. `None` if it does not begin a turn in
    /// it any more.
    #[serde(default)]
    pub(crate) opened_by: Option<Process>,
    /// Whether a turn has ended in it.
    pub(crate) used: bool,
}

impl StoredThread {
    /// The thread after a step of its turn. Once a turn has ended in it, the home has it.
    pub(crate) fn after(self, has_ended: bool) -> Self {
        let used = self.used || has_ended;
        Self { opened_by: self.opened_by.filter(|_| !used), used, ..self }
    }
}

/// The name of a turn in its worker. Names of threads and keys can contain any character, so the length of the first is in it.
pub(crate) fn name(thread: &str, key: &str) -> String {
    format!("{}/{thread}/{key}", thread.len())
}

/// What a durable step is about.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    /// Names the turn among those of the worker: [`name`] makes it.
    pub(crate) name: String,
    pub(crate) key: String,
    pub(crate) invocation: String,
    /// The thread that the engine knows.
    pub(crate) thread: Option<StoredThread>,
    pub(crate) request: Arc<RunRequest>,
    /// The user has interrupted the turn: what it has done is the outcome.
    pub(crate) interrupted: bool,
    /// The place that the engine knows.
    pub(crate) place: Option<Place>,
}

/// The code of a turn that failed.
pub(crate) const TURN_FAILED: u16 = 422;
/// The code of a result that is too long for the engine.
pub(crate) const TOO_LONG: u16 = 413;

/// What a durable step returns: the thread, once there is one, and how far its turn is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) thread: Option<StoredThread>,
    pub(crate) progress: Progress,
}

/// How far a turn is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Progress {
    /// The turn runs there, or it does not run yet.
    Running(Option<Place>),
    /// The turn waits for decisions.
    Asks(Vec<Ask>),
    /// The user wants the turn to be interrupted. The engine knows it before the runtime does.
    Interrupt,
    /// The turn has this outcome.
    Ended(Box<RunOutcome>),
    /// The turn was cut off in the middle. The text is what it had said.
    HalfDone(Option<String>),
    /// The turn cannot have an outcome.
    Failed { code: u16, message: String, worker: String },
}

/// How a turn's task ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// The step returns this.
    Progress(Progress),
    /// The step fails, and the engine repeats it.
    Again(String),
}

/// A request of the runtime that waits for a decision.
struct Pending {
    ask: Ask,
    since: Instant,
    response: oneshot::Sender<Value>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) turn_id: Option<String>,
    /// Since when the turn runs.
    pub(crate) begun: Option<Instant>,
    pub(crate) end: Option<End>,
    /// Whether the user wants the turn to be interrupted.
    pub(crate) to_interrupt: bool,
    /// Changes with the requests that wait.
    asks: u64,
}

/// A turn of this worker: a task, and what is known of it.
pub(crate) struct Turn {
    pub(crate) name: String,
    /// The invocation that has the turn: a later one with the same key can take it over.
    invocation: Mutex<String>,
    pub(crate) state: watch::Sender<State>,
    /// Tells the task to end without an outcome.
    pub(crate) given_up: watch::Sender<bool>,
    /// Whether the turn is to be interrupted, and the engine knows it.
    pub(crate) interrupting: watch::Sender<bool>,
    asks: Mutex<Vec<Pending>>,
    /// The requests that have had a response. The engine may repeat one.
    answered: Mutex<HashSet<String>>,
    thread: Mutex<Option<AsyncThread>>,
    stored: Mutex<Option<StoredThread>>,
    /// The steers that the turn has had.
    pub(crate) steers: Steers,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for a flag. Forever, if the flag's owner is gone.
pub(crate) async fn is_set(flag: &mut watch::Receiver<bool>) {
    if flag.wait_for(|flag| *flag).await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl Turn {
    pub(crate) fn new(order: &Order) -> Arc<Self> {
        Arc::new(Self {
            name: order.name.clone(),
            invocation: Mutex::new(order.invocation.clone()),
            state: watch::Sender::default(),
            given_up: watch::Sender::new(false),
            interrupting: watch::Sender::new(order.interrupted),
            asks: Mutex::default(),
            answered: Mutex::default(),
            thread: Mutex::default(),
            stored: Mutex::default(),
            steers: Steers::default(),
        })
    }

    pub(crate) fn invocation(&self) -> String {
        lock(&self.invocation).clone()
    }

    /// Makes this the invocation that has the turn.
    pub(crate) fn taken_by(&self, invocation: &str) {
        invocation.clone_into(&mut lock(&self.invocation));
    }

    pub(crate) fn set_thread(&self, thread: &AsyncThread, stored: StoredThread) {
        *lock(&self.thread) = Some(thread.clone());
        *lock(&self.stored) = Some(stored);
    }

    /// The thread as the engine is to keep it.
    pub(crate) fn stored(&self) -> Option<StoredThread> {
        lock(&self.stored).clone()
    }

    pub(crate) fn thread(&self) -> Option<AsyncThread> {
        lock(&self.thread).clone()
    }

    pub(crate) fn begun(&self, turn_id: String) {
        self.state.send_modify(|state| {
            state.turn_id = Some(turn_id);
            state.begun = Some(Instant::now());
        });
    }

    pub(crate) fn ended(&self, end: End) {
        self.state.send_modify(|state| state.end = Some(end));
    }

    /// Notes that the user wants the turn to be interrupted.
    pub(crate) fn to_interrupt(&self) {
        self.state.send_if_modified(|state| !std::mem::replace(&mut state.to_interrupt, true));
    }

    pub(crate) fn is_given_up(&self) -> bool {
        *self.given_up.borrow()
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.state.borrow().turn_id.is_some()
    }

    /// Whether the turn runs in this worker's runtime.
    pub(crate) fn is_live(&self) -> bool {
        let state = self.state.borrow();
        state.turn_id.is_some() && state.end.is_none() && !*self.given_up.borrow()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.state.borrow().end.is_some() || *self.given_up.borrow()
    }

    /// The requests that wait for decisions.
    pub(crate) fn asks(&self) -> Vec<Ask> {
        lock(&self.asks).iter().map(|pending| pending.ask.clone()).collect()
    }

    /// Since when the turn waits for a decision.
    pub(crate) fn waits_since(&self) -> Option<Instant> {
        lock(&self.asks).iter().map(|pending| pending.since).min()
    }

    /// Adds a request. The response comes through the receiver.
    pub(crate) fn ask(&self, ask: Ask) -> oneshot::Receiver<Value> {
        let (response, receiver) = oneshot::channel();
        lock(&self.asks).push(Pending { ask, since: Instant::now(), response });
        self.state.send_modify(|state| state.asks += 1);
        receiver
    }

    /// Forgets a request that the runtime does not make any more.
    pub(crate) fn forget_ask(&self, id: &str) {
        lock(&self.asks).retain(|pending| pending.ask.id != id);
        self.state.send_modify(|state| state.asks += 1);
    }

    /// Passes a response to the runtime. `None` if the turn does not run, and otherwise whether the runtime has it.
    pub(crate) fn respond(&self, id: &str, response: Value) -> Option<bool> {
        let pending = {
            let mut asks = lock(&self.asks);
            if !self.is_live() {
                return None;
            }
            let Some(at) = asks.iter().position(|pending| pending.ask.id == id) else {
                return Some(lock(&self.answered).contains(id));
            };
            asks.remove(at)
        };
        let is_wanted = pending.response.send(response).is_ok();
        if is_wanted {
            lock(&self.answered).insert(id.to_owned());
        }
        Some(is_wanted)
    }

    /// Tells the task to end without an outcome. Calls `waited` first if the turn waits for a decision: the runtime gets none any more.
    pub(crate) fn give_up(&self, waited: impl FnOnce()) {
        let asks = lock(&self.asks);
        if !asks.is_empty() && self.is_live() {
            waited();
        }
        self.given_up.send_replace(true);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ask::AskKind;

    #[test]
    fn a_repeated_response_is_delivered_only_if_the_runtime_has_had_the_first() {
        let turn = Turn::new(&Order {
            name: "turn".into(),
            key: "k".into(),
            invocation: "inv_1".into(),
            thread: None,
            request: Arc::new(RunRequest::new("go")),
            interrupted: false,
            place: None,
        });
        let ask = |id: &str| turn.ask(Ask::new(id.into(), AskKind::Command, json!({})));
        let (mut wanted, unwanted) = (ask("wanted"), ask("unwanted"));
        // It does not run yet.
        assert_eq!(turn.respond("wanted", json!("accept")), None);
        turn.begun("t".into());
        drop(unwanted);
        for _ in 0..2 {
            assert_eq!(turn.respond("wanted", json!("accept")), Some(true));
            assert_eq!(turn.respond("unwanted", json!("accept")), Some(false));
        }
        assert_eq!((wanted.try_recv(), turn.asks()), (Ok(json!("accept")), Vec::new()));
        turn.ended(End::Again("it ended".into()));
        assert_eq!(turn.respond("wanted", json!("accept")), None);
    }

    #[test]
    fn turns_of_two_threads_have_two_names() {
        assert_ne!(name("a", "b/c"), name("a/b", "c"));
        assert_ne!(name("a", "/k"), name("a/", "k"));
        assert_ne!(name("1/a", "k"), name("a", "k"));
    }
}

//! What all workers do, from the engine's records.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ask::OpenAsk;
use crate::engine::Engine;
use crate::object::{ASKS, RUNNING, RunningTurn, TOTALS, Totals, WorkerTotals};
use crate::serve::WorkerError;

/// How many of the threads that wait for a decision the table shows.
const SHOWN: usize = 20;

/// What all workers do. [`fleet`] makes it from the engine's records.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Fleet {
    /// The name of the virtual object.
    pub service: String,
    /// The threads with a state.
    pub threads: usize,
    /// The invocations of `run` that wait for an earlier one of their thread.
    pub queued: usize,
    /// The invocations that the engine will repeat after a failed attempt.
    pub retrying: usize,
    /// The invocations that the engine has paused after too many failed attempts.
    pub paused: usize,
    /// The workers, by name. The empty name has the turns that no worker has begun.
    pub workers: BTreeMap<String, WorkerRow>,
    /// What waits for a decision, by thread.
    pub asks: BTreeMap<String, Vec<OpenAsk>>,
}

/// What one worker does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkerRow {
    /// The turns that run.
    pub running: usize,
    /// How many of these wait for a decision.
    pub waiting: usize,
    /// What its turns have used.
    pub totals: WorkerTotals,
}

/// Asks the engine at this admin address what the workers of a virtual object do.
///
/// # Errors
/// The engine cannot be reached, or does not answer.
pub async fn fleet(admin: &str, service: &str) -> Result<Fleet, WorkerError> {
    let engine = Engine::new(admin);
    if !service.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter)) {
        return Err(WorkerError(format!("{service:?} is not the name of a service")));
    }
    let states = engine
        .query(&format!("SELECT service_key, key, value_utf8 FROM state WHERE service_name = '{service}'"))
        .await
        .map_err(WorkerError)?;
    let invocations = engine
        .query(&format!(
            "SELECT status, count(*) AS number FROM sys_invocation WHERE target_service_name = '{service}' \
             AND target_handler_name = 'run' GROUP BY status"
        ))
        .await
        .map_err(WorkerError)?;
    Ok(assemble(service, &states, &invocations))
}

fn assemble(service: &str, states: &[Value], invocations: &[Value]) -> Fleet {
    let mut fleet = Fleet { service: service.to_owned(), ..Fleet::default() };
    let mut threads: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for row in states {
        let text = |name: &str| row[name].as_str().unwrap_or_default();
        threads.entry(text("service_key")).or_default().insert(text("key"), text("value_utf8"));
    }
    fleet.threads = threads.len();
    for (thread, state) in threads {
        let asks: Vec<OpenAsk> = read(&state, ASKS).unwrap_or_default();
        if let Some(running) = read::<RunningTurn>(&state, RUNNING) {
            let worker = running.place.map(|place| place.worker).unwrap_or_default();
            let row = fleet.workers.entry(worker).or_default();
            row.running += 1;
            row.waiting += usize::from(!asks.is_empty());
        }
        for (worker, used) in read::<Totals>(&state, TOTALS).unwrap_or_default().0 {
            let totals = &mut fleet.workers.entry(worker).or_default().totals;
            totals.turns += used.turns;
            totals.continued += used.continued;
            totals.failed += used.failed;
            totals.tokens += used.tokens;
        }
        if !asks.is_empty() {
            fleet.asks.insert(thread.to_owned(), asks);
        }
    }
    for row in invocations {
        let number = row["number"].as_u64().and_then(|number| number.try_into().ok()).unwrap_or(0);
        match row["status"].as_str().unwrap_or_default() {
            "pending" | "scheduled" | "ready" => fleet.queued += number,
            "backing-off" => fleet.retrying += number,
            "paused" => fleet.paused += number,
            _ => {}
        }
    }
    fleet
}

fn read<T: DeserializeOwned>(state: &BTreeMap<&str, &str>, key: &str) -> Option<T> {
    serde_json::from_str(state.get(key)?).ok()
}

/// A table.
impl fmt::Display for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} threads, {} turns queued, {} retrying, {} paused",
            self.service, self.threads, self.queued, self.retrying, self.paused
        )?;
        let width = self.workers.keys().map(String::len).max().unwrap_or(0).max("(starting)".len());
        writeln!(f, "\n{:width$}  running  waiting    turns  continued   failed       tokens", "worker")?;
        let mut sum = WorkerRow::default();
        for (worker, row) in &self.workers {
            write_row(f, if worker.is_empty() { "(starting)" } else { worker }, row, width)?;
            sum.running += row.running;
            sum.waiting += row.waiting;
            sum.totals.turns += row.totals.turns;
            sum.totals.continued += row.totals.continued;
            sum.totals.failed += row.totals.failed;
            sum.totals.tokens += row.totals.tokens;
        }
        write_row(f, "all", &sum, width)?;
        if !self.asks.is_empty() {
            writeln!(f, "\nwaiting for a decision:")?;
        }
        for (thread, asks) in self.asks.iter().take(SHOWN) {
            for open in asks {
                let about = open.ask.command.as_deref().or(open.ask.reason.as_deref()).unwrap_or_default();
                let mut line = String::new();
                for letter in about.chars().take(80) {
                    // A command of the model must not control the terminal.
                    if letter.is_control() { line.push(' ') } else { line.write_char(letter)? }
                }
                writeln!(f, "  {thread}  {:?}  {line}  {}", open.ask.kind, open.awakeable)?;
            }
        }
        if self.asks.len() > SHOWN {
            writeln!(f, "  and {} more threads", self.asks.len() - SHOWN)?;
        }
        Ok(())
    }
}

fn write_row(f: &mut fmt::Formatter<'_>, worker: &str, row: &WorkerRow, width: usize) -> fmt::Result {
    let WorkerRow { running, waiting, totals } = row;
    let WorkerTotals { turns, continued, failed, tokens } = totals;
    writeln!(
        f,
        "{worker:width$}  {running:7}  {waiting:7}  {turns:7}  {continued:9}  {failed:7}  {tokens:11}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_records_of_the_engine_become_a_table() {
        let place = json!({"worker": "a", "control": "c", "turn_id": "t", "events": "e"});
        let running = json!({"key": "k", "invocation": "inv", "place": place});
        let asks = json!([{"awakeable": "prom_1", "id": "t/0", "kind": "command", "command": "make\u{1b}[2J", "request": {}}]);
        let totals = json!({"a": {"turns": 3, "continued": 1, "failed": 0, "tokens": 120}});
        let state = |thread: &str, key: &str, value: &Value| json!({"service_key": thread, "key": key, "value_utf8": value.to_string()});
        let states = [
            state("x", RUNNING, &running),
            state("x", ASKS, &asks),
            state("x", TOTALS, &totals),
            state("y", TOTALS, &totals),
        ];
        let fleet = assemble("CodexThread", &states, &[json!({"status": "backing-off", "number": 2})]);
        assert_eq!((fleet.threads, fleet.retrying), (2, 2));
        let row = &fleet.workers["a"];
        assert_eq!((row.running, row.waiting, row.totals.turns, row.totals.tokens), (1, 1, 6, 240));
        let table = fleet.to_string();
        assert!(table.contains("prom_1"), "{table}");
        assert!(!table.contains('\u{1b}'), "{table}");
    }
}

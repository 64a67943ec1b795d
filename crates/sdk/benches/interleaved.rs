//! How many deltas a second reach their consumers when many turns share a connection, relative to a single turn.
//!
//! `cargo bench --bench interleaved`
//!
//! A scripted server process sends the same number of text deltas to 1, 10, 100 and 1,000 turns, which take them in
//! rotation. One task per turn reads them, all on one thread. The result is the rate relative to a single turn in the
//! same round, and the cost of starting and ending a turn.

use std::time::{Duration, Instant};

use openai_codex::{AsyncCodex, CodexConfig, Notification, coalesced_count};
use openai_codex_testkit::app_server::{AppServer, Burst, Script, messages};
use serde_json::json;
use tokio::task::JoinSet;

const DELTAS: u64 = 1_000_000;
const LINE: usize = 224;
const ROUNDS: usize = 5;
const TURNS: [usize; 4] = [1, 10, 100, 1_000];

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Ids of the usual length.
fn thread(number: usize) -> String {
    format!("019aa6c2-0000-7000-8000-{number:012}")
}

fn turn(number: usize) -> String {
    format!("019aa6c2-0000-7000-9000-{number:012}")
}

/// A server that bursts into this many turns, a thread each.
fn server(turns: usize, deltas: u64) -> Outcome<AppServer> {
    let mut script = Script::standard();
    for number in 0..turns {
        script = script.start_thread(&thread(number));
    }
    for number in 0..turns {
        let name = format!("turn {number}");
        let response = json!({"turn": messages::turn(&turn(number), "inProgress")});
        script = script
            .expect_as(&name, "turn/start")
            .respond_to(&name, openai_codex_testkit::app_server::Response::Result(response))
            .send(messages::turn_started(&thread(number), &turn(number)));
    }
    let bursts = (0..turns)
        .map(|number| Burst::deltas(deltas / turns as u64, &thread(number), &turn(number), "msg_1", LINE));
    script = script.burst(Burst::interleaved(bursts));
    for number in 0..turns {
        script = script.complete_turn(&thread(number), &turn(number));
    }
    Ok(AppServer::new(script)?)
}

/// How long all deltas took from the last start to the last end, and how long the starts took.
fn measure(server: &AppServer, turns: usize, deltas: u64) -> Outcome<(Duration, Duration)> {
    tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
        let config: CodexConfig = server.config().coalesce_above(usize::MAX).stream_limit(usize::MAX);
        let codex = AsyncCodex::with_config(config);
        let mut threads = Vec::new();
        for _ in 0..turns {
            threads.push(codex.thread_start().send().await?);
        }
        let begin = Instant::now();
        let mut handles = Vec::new();
        for thread in &threads {
            handles.push(thread.turn("go").send().await?);
        }
        let started = begin.elapsed();
        let begin = Instant::now();
        let mut consumers = JoinSet::new();
        for handle in handles {
            consumers.spawn(async move {
                let mut events = handle.stream();
                let mut seen = 0;
                while let Some(event) = events.next().await {
                    let event = event?;
                    if let Notification::AgentMessageDelta(_) = &event {
                        seen += coalesced_count(&event);
                    }
                }
                Ok::<u64, openai_codex::Error>(seen)
            });
        }
        let mut seen = 0;
        for drained in consumers.join_all().await {
            seen += drained?;
        }
        let took = begin.elapsed();
        assert_eq!(seen, deltas);
        codex.close().await?;
        Ok((took, started))
    })
}

fn main() -> Outcome<()> {
    println!("{DELTAS} deltas of {LINE} bytes in all, {ROUNDS} rounds");
    let servers = TURNS.map(|turns| server(turns, DELTAS));
    let mut best = [Duration::MAX; TURNS.len()];
    for _ in 0..ROUNDS {
        for (index, turns) in TURNS.into_iter().enumerate() {
            let server = servers[index].as_ref().map_err(ToString::to_string)?;
            best[index] = best[index].min(measure(server, turns, DELTAS)?.0);
        }
    }
    for (turns, best_of) in TURNS.into_iter().zip(best) {
        let rate = DELTAS as f64 / best_of.as_secs_f64();
        println!(
            "{turns:>5} turns  {rate:>10.0}/s  of one turn's {:.2}",
            best[0].as_secs_f64() / best_of.as_secs_f64()
        );
    }
    println!("turns of no deltas, started one after the other, until the last has ended");
    for turns in [10, 100, 1_000] {
        let server = server(turns, 0)?;
        let mut best = Duration::MAX;
        for _ in 0..ROUNDS {
            let (drained, started) = measure(&server, turns, 0)?;
            best = best.min(drained + started);
        }
        println!("{turns:>5} turns  {:>8.1} µs a turn", best.as_secs_f64() * 1e6 / turns as f64);
    }
    Ok(())
}

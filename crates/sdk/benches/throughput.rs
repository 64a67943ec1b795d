//! How fast one turn's events reach their consumer, relative to a floor measured in the same run.
//!
//! `cargo bench --bench throughput`
//!
//! A scripted server process sends 1,000,000 text deltas of 224 bytes to one turn. The floor is a loop that reads lines
//! from the same process and decodes them with serde_json into a struct, the minimum for any client. Five rounds, each
//! with its own floor; the best of each counts, because other load only slows them.

use std::borrow::Cow;
use std::io::{BufRead, BufReader, Write};
use std::process::ChildStdin;
use std::time::{Duration, Instant};

use openai_codex::{AsyncCodex, Codex, CodexConfig, Notification};
use openai_codex_testkit::app_server::{AppServer, Burst, Script};
use serde::Deserialize;

const DELTAS: u64 = 1_000_000;
const LINE: usize = 224;
const ROUNDS: usize = 5;
const THREAD: &str = "019aa6c2-0000-7000-8000-000000000001";
const TURN: &str = "019aa6c2-0000-7000-8000-000000000002";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let burst = Burst::deltas(DELTAS, THREAD, TURN, "msg_1", LINE);
    let script = Script::standard()
        .start_thread(THREAD)
        .start_turn(THREAD, TURN)
        .burst(burst)
        .complete_turn(THREAD, TURN);
    let server = AppServer::new(script)?;
    println!("{DELTAS} deltas of {LINE} bytes into one turn, {ROUNDS} rounds");
    type Measure = fn(&AppServer) -> Result<Duration, Box<dyn std::error::Error>>;
    let clients: [(&str, Measure); 2] = [("blocking", blocking), ("async", asynchronous)];
    for (name, client) in clients {
        let (mut floors, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (floor, own) = (floor(&server)?, client(&server)?);
            println!(
                "  {name:8}  floor {:>10}/s  client {:>10}/s  ratio {:.2}",
                rate(floor),
                rate(own),
                ratio(floor, own)
            );
            floors.push(floor);
            ours.push(own);
        }
        // Other load only slows them, so the best of each is closest to the real limit.
        let (floor, own) = (floors.into_iter().min(), ours.into_iter().min());
        if let (Some(floor), Some(own)) = (floor, own) {
            println!(
                "{name:8}  floor {:>10}/s  client {:>10}/s  best over best {:.2}",
                rate(floor),
                rate(own),
                ratio(floor, own)
            );
        }
    }
    Ok(())
}

fn ratio(floor: Duration, own: Duration) -> f64 {
    floor.as_secs_f64() / own.as_secs_f64()
}

fn rate(took: Duration) -> u64 {
    (DELTAS as f64 / took.as_secs_f64()) as u64
}

/// Turns coalescing off: every delta is an event, however slow its consumer.
fn every_delta(server: &AppServer) -> CodexConfig {
    server.config().coalesce_above(usize::MAX).stream_limit(usize::MAX)
}

fn blocking(server: &AppServer) -> Result<Duration, Box<dyn std::error::Error>> {
    let codex = Codex::with_config(every_delta(server))?;
    let thread = codex.thread_start().send()?;
    let start = Instant::now();
    let turn = thread.turn("go").send()?;
    let (mut seen, mut text) = (0, 0);
    for event in turn.stream() {
        if let Notification::AgentMessageDelta(delta) = event? {
            seen += 1;
            text += delta.delta.len();
        }
    }
    let took = start.elapsed();
    assert_eq!((seen, text % DELTAS as usize), (DELTAS, 0));
    codex.close()?;
    Ok(took)
}

fn asynchronous(server: &AppServer) -> Result<Duration, Box<dyn std::error::Error>> {
    tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
        let codex = AsyncCodex::with_config(every_delta(server));
        let thread = codex.thread_start().send().await?;
        let start = Instant::now();
        let turn = thread.turn("go").send().await?;
        let mut events = turn.stream();
        let (mut seen, mut text) = (0, 0);
        while let Some(event) = events.next().await {
            if let Notification::AgentMessageDelta(delta) = event? {
                seen += 1;
                text += delta.delta.len();
            }
        }
        let took = start.elapsed();
        assert_eq!((seen, text % DELTAS as usize), (DELTAS, 0));
        codex.close().await?;
        Ok(took)
    })
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    params: Delta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "decoded, as a client would")]
struct Delta {
    thread_id: String,
    turn_id: String,
    item_id: String,
    delta: String,
}

fn floor(server: &AppServer) -> Result<Duration, Box<dyn std::error::Error>> {
    let mut child = server.command().spawn()?;
    let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err("no pipes".into());
    };
    let mut lines = BufReader::with_capacity(64 * 1024, output);
    let mut line = String::new();
    let ask = |input: &mut ChildStdin, method: &str, id: u32, params: &str| {
        writeln!(input, r#"{{"method":"{method}","id":{id},"params":{params}}}"#)
    };
    ask(&mut input, "initialize", 1, r#"{"clientInfo":{"name":"floor","version":"0"}}"#)?;
    lines.read_line(&mut line)?;
    writeln!(input, r#"{{"method":"initialized"}}"#)?;
    ask(&mut input, "thread/start", 2, "{}")?;
    lines.read_line(&mut line)?;
    let start = Instant::now();
    ask(&mut input, "turn/start", 3, &format!(r#"{{"threadId":"{THREAD}","input":[]}}"#))?;
    let (mut seen, mut text) = (0, 0);
    while seen < DELTAS {
        line.clear();
        lines.read_line(&mut line)?;
        if let Ok(Line { method, params }) = serde_json::from_str::<Line<'_>>(&line) {
            assert_eq!(method, "item/agentMessage/delta");
            seen += 1;
            text += params.delta.len();
        }
    }
    let took = start.elapsed();
    assert!(text > 0);
    drop(input);
    std::io::copy(&mut lines, &mut std::io::sink())?;
    child.wait()?;
    Ok(took)
}

//! 200 threads of one real runtime, each with a turn, all at once through one client.
//!
//! `cargo bench --bench scale`
//!
//! The scripted model runs on loopback, so the benchmark measures the runtime and the SDK. It reports the time, the
//! number of delivered events, and the peak memory of this process and of the runtime (Linux).

use std::time::Instant;

use openai_codex::types::TurnStatus;
use openai_codex::{ApprovalMode, AsyncCodex, Sandbox, coalesced_count};
use openai_codex_testkit::{ModelReply, ScriptedModel};
use tokio::task::JoinSet;

const THREADS: usize = 200;
const DELTAS: usize = 100;

/// The peak memory of a process, in MiB.
fn peak(process: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib / 1024)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = ScriptedModel::start()?;
    let gate = model.gate();
    for number in 0..THREADS {
        let reply = (0..DELTAS)
            .fold(ModelReply::new().pause(&gate), |reply, delta| reply.delta(format!("{number} {delta} ")));
        model.reply(reply);
    }
    let runtime = openai_codex::runtime::install()?;
    let codex = AsyncCodex::with_config(model.config().codex_bin(runtime.program()));
    let begin = Instant::now();
    let mut threads = Vec::new();
    for _ in 0..THREADS {
        let options = codex.thread_start().approval_mode(ApprovalMode::DenyAll).sandbox(Sandbox::ReadOnly);
        threads.push(options.ephemeral(true).send().await?);
    }
    let opened = begin.elapsed();
    let begin = Instant::now();
    let mut starts = JoinSet::new();
    for thread in threads {
        // All at once: the client sends a few at a time.
        starts.spawn(async move { thread.turn("go").send().await });
    }
    let mut turns = JoinSet::new();
    while let Some(turn) = starts.join_next().await {
        let turn = turn??;
        turns.spawn(async move {
            let mut events = turn.stream();
            let (mut seen, mut text) = (0, String::new());
            while let Some(event) = events.next().await {
                let event = event?;
                seen += coalesced_count(&event);
                if let openai_codex::Notification::AgentMessageDelta(delta) = event {
                    text += &delta.delta;
                }
            }
            let result = turn.run().await?;
            assert_eq!(result.turn.status, TurnStatus::Completed);
            // Each turn has one reply, complete and in order.
            assert_eq!(result.final_response.as_deref(), Some(text.as_str()));
            assert_eq!(text.split(' ').count(), 2 * DELTAS + 1);
            Ok::<u64, openai_codex::Error>(seen)
        });
    }
    // All of them run.
    let started = begin.elapsed();
    let begin = Instant::now();
    gate.release();
    let mut events = 0;
    while let Some(turn) = turns.join_next().await {
        events += turn??;
    }
    let took = begin.elapsed();
    println!(
        "{THREADS} threads opened in {opened:.2?}, their turns started in {started:.2?}, and all of them run to the end in {took:.2?}"
    );
    println!("{events} events, {:.0} a second", events as f64 / took.as_secs_f64());
    let runtimes = openai_codex_testkit::leaks::processes(model.home());
    let of_runtime = runtimes.iter().filter_map(|process| peak(&process.to_string())).max();
    println!("at most {:?} MiB in this process, {of_runtime:?} MiB in the runtime", peak("self"));
    codex.close().await?;
    Ok(())
}

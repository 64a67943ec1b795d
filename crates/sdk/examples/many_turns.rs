//! Many concurrent turns over one client, each on its own thread, with their progress.
//!
//! `cargo run --example many_turns`, with a runtime (`cargo xtask runtime`) and an account (`codex login`). In a
//! terminal, the display is redrawn in place; elsewhere, each step is a line.

use std::io::{IsTerminal, Write, stdout};
use std::sync::{Arc, Mutex, PoisonError};

use openai_codex::{ApprovalMode, AsyncCodex, Notification, Result, RunResult, Sandbox};
use tokio::task::JoinSet;

const COLOURS: [&str; 4] = ["red", "yellow", "green", "blue"];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let codex = AsyncCodex::new();
    let progress = Arc::new(Progress::default());
    let mut turns = JoinSet::new();
    for (row, colour) in COLOURS.into_iter().enumerate() {
        let (codex, progress) = (codex.clone(), progress.clone());
        turns.spawn(async move {
            let result = describe(&codex, colour, |step| progress.show(row, step)).await;
            progress.show(row, if result.is_ok() { "done" } else { "failed" });
            (colour, result)
        });
    }
    let mut results = turns.join_all().await; // in the order of their ends
    results.sort_by_key(|(colour, _)| COLOURS.iter().position(|other| other == colour));
    for (colour, result) in results {
        match result {
            Ok(result) => println!("{colour}: {}", result.final_response.unwrap_or_default()),
            Err(error) => println!("{colour}: {error}"),
        }
    }
    codex.close().await
}

async fn describe(codex: &AsyncCodex, colour: &str, mut show: impl FnMut(&'static str)) -> Result<RunResult> {
    show("waiting");
    let thread = codex
        .thread_start()
        .approval_mode(ApprovalMode::DenyAll)
        .sandbox(Sandbox::ReadOnly)
        .ephemeral(true)
        .send()
        .await?;
    let turn = thread.turn(format!("Describe {colour} in one sentence.")).send().await?;
    show("thinking");
    let mut events = turn.stream();
    let mut writing = false;
    while let Some(event) = events.next().await {
        if let Notification::AgentMessageDelta(_) = event?
            && !std::mem::replace(&mut writing, true)
        {
            show("writing");
        }
    }
    turn.run().await
}

/// The progress of each turn, one row each.
#[derive(Default)]
struct Progress {
    rows: Mutex<[&'static str; COLOURS.len()]>,
}

impl Progress {
    fn show(&self, row: usize, step: &'static str) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let drawn = rows.iter().any(|step| !step.is_empty());
        rows[row] = step;
        if !stdout().is_terminal() {
            println!("{}: {step}", COLOURS[row]);
            return;
        }
        let mut screen = String::new();
        if drawn {
            screen += &format!("\x1b[{}A", rows.len()); // up to the first row
        }
        for (colour, step) in COLOURS.iter().zip(&*rows) {
            screen += &format!("\x1b[2K{colour:>8}  {step}\n"); // over the old text
        }
        print!("{screen}");
        let _ = stdout().flush();
    }
}

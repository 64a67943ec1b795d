//! One client runs a turn, and another client of the same server decides about its commands. Here both are in one program; they can
//! as well be in two, on two machines.
//!
//! `cargo run --example approve_elsewhere -- "Create the folder ~/from-the-agent."`, with a runtime (`cargo xtask runtime`) and an
//! account (`codex login`). The server goes on after the program, until it receives SIGTERM.

use std::io::{self, BufRead, Write};
use std::time::Duration;

use openai_codex::types::CommandExecutionApprovalDecision as Decision;
use openai_codex::{Codex, CodexConfig, CommandApproval, Endpoint, Reply, Result, Sandbox};

fn server() -> CodexConfig {
    CodexConfig::new()
        .connect(Endpoint::control_socket().or_start())
        .handler_timeout(Duration::from_secs(86_400))
}

/// Waits until the other client has decided. The first response to a request counts, so this one has no effect.
fn leave_to_the_other(request: CommandApproval) -> Reply<Decision> {
    Reply::future(async move {
        request.cancellation().cancelled().await;
        Decision::Decline
    })
}

fn ask(request: CommandApproval) -> io::Result<Decision> {
    print!("run `{}`? [y/N] ", request.command.as_deref().unwrap_or("(unknown)"));
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(if answer.trim().eq_ignore_ascii_case("y") { Decision::Accept } else { Decision::Decline })
}

fn main() -> Result<()> {
    let prompt = std::env::args().nth(1).unwrap_or_else(|| "Create the folder ~/from-the-agent.".into());
    let worker = Codex::with_config(server().on_command_approval(leave_to_the_other))?;
    let folder = std::env::current_dir().unwrap_or_default().display().to_string();
    let thread = worker.thread_start().cwd(folder).sandbox(Sandbox::ReadOnly).send()?;
    let turn = thread.turn(prompt).send()?;

    // The other client opens the thread by its id. A request that waits already is sent to it again.
    let approver = Codex::with_config(server().on_command_approval(ask))?;
    let watched = approver.thread_resume(thread.id()).send()?;
    if let Some(turn) = watched.follow()? {
        println!("watching turn {}", turn.id());
    }
    println!("{}", turn.run()?.final_response.unwrap_or_default());
    approver.close()?;
    worker.close()
}

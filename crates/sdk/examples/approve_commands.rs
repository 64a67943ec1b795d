//! Asks at the terminal before a command runs outside the sandbox.
//!
//! `cargo run --example approve_commands -- "Create the folder ~/from-the-agent."`, with a runtime (`cargo xtask
//! runtime`) and an account (`codex login`).

use std::io::{self, BufRead, Write};
use std::time::Duration;

use openai_codex::types::{CommandExecutionApprovalDecision as Decision, FileChangeApprovalDecision};
use openai_codex::{Codex, CodexConfig, CommandApproval, Sandbox};

fn ask(question: &str) -> io::Result<bool> {
    print!("{question} [y/N] ");
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}

/// Runs on its own thread, so it may wait for the user.
fn approve(request: CommandApproval) -> io::Result<Decision> {
    if let Some(reason) = &request.reason {
        println!("The agent says: {reason}");
    }
    let command = request.command.as_deref().unwrap_or("(unknown)");
    let accepted = ask(&format!("Run `{command}` outside the sandbox?"))?;
    // If the turn was interrupted meanwhile, do not run the command.
    let wanted = accepted && !request.cancellation().is_cancelled();
    Ok(if wanted { Decision::Accept } else { Decision::Decline })
}

fn main() -> openai_codex::Result<()> {
    let prompt = std::env::args().nth(1).unwrap_or_else(|| "Create the folder ~/from-the-agent.".into());
    let config = CodexConfig::new()
        .handler_timeout(Duration::from_secs(300))
        .on_command_approval(approve)
        .on_file_change_approval(|_| FileChangeApprovalDecision::Decline);
    let codex = Codex::with_config(config)?;
    // An approval handler selects `ApprovalMode::Ask`.
    let thread = codex.thread_start().sandbox(Sandbox::ReadOnly).ephemeral(true).send()?;
    let result = thread.run(prompt)?;
    println!("{}", result.final_response.unwrap_or_default());
    codex.close()
}

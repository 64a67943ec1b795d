//! A turn goes on at the server while its program is gone, and another program takes it up. Here one program does both, with two
//! connections.
//!
//! `cargo run --example reattach -- "What is in this folder?"`, with a runtime (`cargo xtask runtime`) and an account (`codex login`).
//! The server goes on after the program, until it receives SIGTERM.

use openai_codex::{ApprovalMode, Codex, CodexConfig, Endpoint, Result, Sandbox};

fn connect() -> Result<Codex> {
    Codex::with_config(CodexConfig::new().connect(Endpoint::control_socket().or_start()))
}

fn main() -> Result<()> {
    let prompt = std::env::args().nth(1).unwrap_or_else(|| "What is in this folder?".into());
    let codex = connect()?;
    let folder = std::env::current_dir().unwrap_or_default().display().to_string();
    let start = codex.thread_start().cwd(folder).approval_mode(ApprovalMode::DenyAll);
    let thread = start.sandbox(Sandbox::ReadOnly).send()?;
    let turn = thread.turn(prompt).client_message_id("the-question").send()?;
    println!("started {}", turn.id());
    codex.close()?; // ends the connection; the turn goes on

    let codex = connect()?;
    let thread = codex.thread_resume(thread.id()).send()?;
    if let Some(turn) = thread.follow()? {
        println!("it still runs");
        turn.run()?;
    }
    // The turn is found by the id of its message, whether it still ran or not.
    let found = thread.find_turn("the-question")?;
    println!("{}", found.and_then(|turn| turn.final_response).unwrap_or_default());
    codex.close()
}

//! Streams a turn, blocking: its text while the model writes, then its usage.
//!
//! `cargo run --example stream_blocking`, with a runtime (`cargo xtask runtime`) and an account (`codex login`).

use std::error::Error;
use std::io::Write;

use openai_codex::{ApprovalMode, Codex, Sandbox};

fn main() -> Result<(), Box<dyn Error>> {
    let codex = Codex::new()?;
    let thread = codex
        .thread_start()
        .approval_mode(ApprovalMode::DenyAll)
        .sandbox(Sandbox::ReadOnly)
        .ephemeral(true) // never stored
        .send()?;

    let turn = thread.turn("Count to three.").send()?;
    for piece in turn.stream_text() {
        print!("{}", piece?);
        std::io::stdout().flush()?;
    }
    println!();

    let result = turn.run()?; // still complete after the stream
    if let Some(usage) = result.turn_usage {
        println!("{} tokens in, {} out", usage.input_tokens, usage.output_tokens);
    }
    codex.close()?;
    Ok(())
}

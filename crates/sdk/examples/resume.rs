//! Continues a thread of an earlier run.
//!
//! `cargo run --example resume` starts a thread and prints its id; `cargo run --example resume -- ID` continues it.
//! Both need a runtime (`cargo xtask runtime`) and an account (`codex login`).

use openai_codex::{ApprovalMode, Codex, Result, Sandbox};

fn main() -> Result<()> {
    let codex = Codex::new()?;
    let (thread, message) = match std::env::args().nth(1) {
        None => {
            let start = codex.thread_start().approval_mode(ApprovalMode::DenyAll).sandbox(Sandbox::ReadOnly);
            (start.send()?, "Remember the number 42.")
        }
        Some(id) => {
            let resume = codex.thread_resume(id); // the thread keeps everything else
            (resume.send()?, "Which number was it?")
        }
    };
    let result = thread.run(message)?; // a thread is stored after its first turn
    println!("{}", result.final_response.unwrap_or_default());
    println!("go on with: cargo run --example resume -- {}", thread.id());
    codex.close()
}

//! The shortest program: one question, one answer.
//!
//! `cargo run --example hello`, with a runtime (`cargo xtask runtime`) and an account (`codex login`).

use openai_codex::{Codex, Result};

fn main() -> Result<()> {
    let codex = Codex::new()?; // starts and initializes the runtime
    let thread = codex.thread_start().model("gpt-5.4").config("model_reasoning_effort", "high").send()?;
    let result = thread.run("Say hello in one sentence.")?; // RunResult
    println!("{}", result.final_response.unwrap_or_default());
    codex.close()
}

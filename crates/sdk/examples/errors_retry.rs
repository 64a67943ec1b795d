//! Kinds of errors, and retries when the server is overloaded.
//!
//! `cargo run --example errors_retry`, with a runtime (`cargo xtask runtime`) and an account (`codex login`).

use std::time::Duration;

use openai_codex::types::CodexErrorInfo;
use openai_codex::{ApprovalMode, Codex, Error, ErrorKind, Result, RetryPolicy, Sandbox, retry_on_overload};

fn main() -> Result<()> {
    let codex = Codex::new()?;

    // Programs match on an error's kind; people read its text.
    match codex.thread_resume("00000000-0000-0000-0000-000000000000").send() {
        Err(error) if error.kind() == ErrorKind::ThreadNotFound => println!("no such thread: {error}"),
        Err(error) => return Err(error),
        Ok(thread) => println!("there is a thread {}", thread.id()),
    }

    // The client never retries by itself. The program may retry what an overloaded server refuses, because the server
    // has not started it.
    let policy = RetryPolicy::new().max_attempts(5).initial_delay(Duration::from_millis(100));
    let mut attempts = 0;
    let thread = retry_on_overload(policy, || {
        attempts += 1;
        let start = codex.thread_start().approval_mode(ApprovalMode::DenyAll).sandbox(Sandbox::ReadOnly);
        start.ephemeral(true).send()
    })?;
    println!("started a thread at attempt {attempts}");

    // A failed turn may have done half of its work, so the program decides.
    match thread.turn("Say hello.").model("no-such-model").run() {
        Err(error) if error.kind() == ErrorKind::TurnFailed => println!("{}", advice(&error)),
        Err(error) => return Err(error),
        Ok(result) => println!("{}", result.final_response.unwrap_or_default()),
    }
    codex.close()
}

fn advice(error: &Error) -> String {
    let done = error.turn().map_or(0, |partial| partial.items.len()); // done and paid for
    let advice = match error.turn_error_info() {
        Some(CodexErrorInfo::ServerOverloaded) => "wait a minute",
        Some(CodexErrorInfo::UsageLimitExceeded) => "wait for the next window, or buy more",
        Some(CodexErrorInfo::ContextWindowExceeded) => "compact the thread, or start another",
        _ => "read the message",
    };
    format!("the turn failed ({error}); items done: {done}; advice: {advice}")
}

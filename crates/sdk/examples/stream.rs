//! Streams a turn, async.
//!
//! `cargo run --example stream`, with a runtime (`cargo xtask runtime`) and an account (`codex login`).

use openai_codex::{ApprovalMode, AsyncCodex, Notification, types::ReasoningEffort};

#[tokio::main(flavor = "current_thread")]
async fn main() -> openai_codex::Result<()> {
    let codex = AsyncCodex::new(); // lazy: nothing runs yet
    codex.start().await?; // idempotent; any first call starts it too
    let thread = codex.thread_start().approval_mode(ApprovalMode::DenyAll).ephemeral(true).send().await?;

    let turn = thread.turn("Count to three.").effort(ReasoningEffort::High).send().await?;
    let mut events = turn.stream();
    while let Some(event) = events.next().await {
        match event? {
            Notification::AgentMessageDelta(delta) => print!("{}", delta.delta),
            Notification::TurnCompleted(done) => println!("\n{}", done.turn.status),
            _ => {}
        }
    }
    let result = turn.run().await?; // still complete after the stream
    println!("{} items, final response: {}", result.items.len(), result.final_response.unwrap_or_default());
    codex.close().await
}

//! Changes a running turn, and ends one early.
//!
//! `cargo run --example steer_interrupt`, with a runtime (`cargo xtask runtime`) and an account (`codex login`).

use openai_codex::{ApprovalMode, Codex, Notification, Result, Sandbox, TurnHandle};

fn main() -> Result<()> {
    let codex = Codex::new()?;
    let thread = codex
        .thread_start()
        .approval_mode(ApprovalMode::DenyAll)
        .sandbox(Sandbox::ReadOnly)
        .ephemeral(true)
        .send()?;

    let turn = thread.turn("Write a long story about a lighthouse.").send()?;
    wait_for_text(&turn)?;
    turn.steer("Make it two sentences, and about a windmill.")?; // joins the turn; the model sees it as soon as it can
    println!("steered");
    let result = turn.run()?;
    println!("{}: {:?}", result.turn.status, result.final_response);

    let turn = thread.turn("Now the long story about the lighthouse.").send()?;
    wait_for_text(&turn)?;
    turn.interrupt()?; // returns when the runtime accepts it
    let result = turn.run()?; // not an error: the program wanted it
    println!("{}: {:?}", result.turn.status, result.final_response);
    codex.close()
}

/// Waits until the model writes.
fn wait_for_text(turn: &TurnHandle) -> Result<()> {
    for event in turn.stream() {
        if let Notification::AgentMessageDelta(_) = event? {
            break;
        }
    }
    Ok(())
}

//! Sends two images to the model: one by URL, here a `data:` URL with its content, and one by path.
//!
//! `cargo run --example images -- picture.png`, with a runtime (`cargo xtask runtime`) and an account (`codex login`).
//! Without a path, the second image is a blue square.

use openai_codex::{ApprovalMode, Codex, ImageInput, LocalImageInput, Result, Sandbox, TextInput};

/// A red square.
const RED: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAACAAAAAgCAIAAAD8GO2jAAAAJ0lEQVR42u3NsQkAAAjAsP7/tF7hIASyp6lTCQQCgUAgEAgEgi/BAjLD/C5w/SM9AAAAAElFTkSuQmCC";
const BLUE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/blue.png");

fn main() -> Result<()> {
    let path = std::env::args().nth(1).unwrap_or_else(|| BLUE.to_owned());
    let codex = Codex::new()?;
    let thread = codex
        .thread_start()
        .approval_mode(ApprovalMode::DenyAll)
        .sandbox(Sandbox::ReadOnly)
        .ephemeral(true)
        .send()?;
    let result = thread.run([
        TextInput::new("What do these pictures show? One line each.").into(),
        ImageInput::new(RED).into(),
        LocalImageInput::new(path).into(), // must exist; the runtime reads it
    ])?;
    println!("{}", result.final_response.unwrap_or_default());
    codex.close()
}

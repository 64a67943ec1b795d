//! Lists the models, and sets options of a single turn: model, effort, summary, schema, time limit.
//!
//! `cargo run --example turn_options`, with a runtime (`cargo xtask runtime`) and an account (`codex login`).

use std::error::Error;
use std::time::Duration;

use openai_codex::types::ReasoningSummary;
use openai_codex::{ApprovalMode, Codex, Sandbox};
use serde::Deserialize;
use serde_json::json;

/// The form of the answer.
#[derive(Debug, Deserialize)]
struct Mountain {
    name: String,
    metres: u32,
}

fn main() -> Result<(), Box<dyn Error>> {
    let codex = Codex::new()?;
    let models = codex.models().all().collect::<openai_codex::Result<Vec<_>>>()?;
    for model in &models {
        let default = if model.is_default { " (default)" } else { "" };
        println!("{}{default}: {}", model.model, model.description);
    }
    let model = models.iter().find(|model| model.is_default).ok_or("no default model")?;
    let effort = model.supported_reasoning_efforts.first().ok_or("a model without efforts")?;

    let thread = codex
        .thread_start()
        .approval_mode(ApprovalMode::DenyAll)
        .sandbox(Sandbox::ReadOnly)
        .ephemeral(true)
        .send()?;
    let result = thread
        .turn("Which mountain is the highest on earth?")
        .model(&model.model) // like the others, stays with the thread for later turns
        .effort(effort.reasoning_effort.clone())
        .summary(ReasoningSummary::Concise)
        .output_schema(json!({
            "type": "object",
            "properties": {"name": {"type": "string"}, "metres": {"type": "integer"}},
            "required": ["name", "metres"],
            "additionalProperties": false,
        }))
        .timeout(Duration::from_secs(120)) // after it, the client interrupts the turn and this is an error
        .run()?;

    let mountain: Mountain = serde_json::from_str(&result.final_response.unwrap_or_default())?;
    println!("{} has {} m", mountain.name, mountain.metres);
    codex.close()?;
    Ok(())
}

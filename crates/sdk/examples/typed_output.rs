//! Typed output: the final response is a value of a Rust type, whose schema the model has to follow.
//!
//! `cargo run --example typed_output`, with a runtime (`cargo xtask runtime`) and an account (`codex login`).

use std::time::Duration;

use openai_codex::schemars::{self, JsonSchema};
use openai_codex::{ApprovalMode, Codex, ErrorKind, Result, Sandbox};
use serde::Deserialize;

// The model reads the names and the comments, and writes the fields in this order.
#[derive(Debug, Deserialize, JsonSchema)]
struct Review {
    /// One sentence.
    summary: String,
    findings: Vec<Finding>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Finding {
    file: String,
    /// Where it is, if it is in one place.
    line: Option<u32>,
    severity: Severity,
    text: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Severity {
    High,
    Low,
}

fn main() -> Result<()> {
    let codex = Codex::new()?;
    let thread = codex
        .thread_start()
        .approval_mode(ApprovalMode::DenyAll)
        .sandbox(Sandbox::ReadOnly)
        .ephemeral(true)
        .send()?;

    let review = thread
        .turn("Review the code in this folder: at most three findings.")
        .timeout(Duration::from_secs(600))
        .run_as::<Review>();
    match review {
        Ok(review) => {
            println!("{}", review.value.summary);
            for Finding { file, line, severity, text } in &review.value.findings {
                let line = line.map(|line| format!(":{line}")).unwrap_or_default();
                println!("{severity:?} {file}{line}: {text}");
            }
        }
        // The error holds the text and the cost of the turn.
        Err(error) if error.kind() == ErrorKind::OutputMismatch => println!("{error}"),
        Err(error) => return Err(error),
    }

    // Types other than structs work too: they are wrapped in an object with one field.
    let names = thread.run_as::<Vec<String>>("Which files have you read?")?.into_value();
    println!("read: {}", names.join(", "));
    codex.close()
}

//! Runs one turn on the real runtime, without any setup.
//!
//! `cargo run --release --example quickstart -- "prompt"`
//!
//! Installs the pinned runtime if it is missing. With an account the real model answers. Without one, a scripted model
//! on loopback drives the same real runtime. The turn works in a temporary folder, in a read-only sandbox.

use std::error::Error;
use std::io::Write;

use openai_codex::types::{SandboxMode, ThreadItem};
use openai_codex::{ApprovalMode, Codex, Notification, runtime};
use openai_codex_testkit::{ModelReply, ScriptedModel, Usage};

const PROMPT: &str =
    "Run one shell command that shows the file in this folder, and say in one sentence what it holds.";

fn main() -> Result<(), Box<dyn Error>> {
    let prompt = std::env::args().nth(1).unwrap_or_else(|| PROMPT.to_owned());
    runtime::install()?;

    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("note.txt"), "The answer is 42.\n")?;

    let mut codex = Codex::new()?;
    let mut scripted = None;
    if !has_account(&codex)? {
        println!("No account is set up (`codex login` does that), so a scripted model answers.");
        codex.close()?;
        let model = script()?;
        codex = Codex::with_config(model.config())?;
        scripted = Some(model);
    }

    let thread = codex
        .thread_start()
        .approval_mode(ApprovalMode::DenyAll)
        .cwd(folder.path())
        .sandbox(SandboxMode::ReadOnly)
        .ephemeral(true)
        .send()?;
    println!("> {prompt}");
    let turn = thread.turn(prompt).send()?;
    for event in turn.stream() {
        match event? {
            Notification::AgentMessageDelta(delta) => {
                print!("{}", delta.delta);
                std::io::stdout().flush()?;
            }
            Notification::ItemCompleted(done) => match done.item {
                ThreadItem::CommandExecution(ran) => {
                    println!("$ {}", ran.command);
                    print!("{}", ran.aggregated_output.unwrap_or_default());
                }
                ThreadItem::AgentMessage(_) => println!(),
                _ => {}
            },
            _ => {}
        }
    }

    let result = turn.run()?;
    println!("\nfinal response: {}", result.final_response.unwrap_or_default());
    if let Some(turn) = result.turn_usage {
        println!(
            "tokens: {} in ({} cached), {} out ({} reasoning), {} in all",
            turn.input_tokens,
            turn.cached_input_tokens,
            turn.output_tokens,
            turn.reasoning_output_tokens,
            turn.total_tokens
        );
    }
    codex.close()?;
    drop(scripted);
    Ok(())
}

/// Whether the runtime can use a model: it has an account, or a provider that needs none.
fn has_account(codex: &Codex) -> openai_codex::Result<bool> {
    let response = codex.account().send()?;
    Ok(response.account.is_some() || !response.requires_openai_auth)
}

/// A model that prints the file with a command and then reports its content.
fn script() -> std::io::Result<ScriptedModel> {
    let model = ScriptedModel::start()?;
    model.reply(ModelReply::exec_command("cat note.txt").usage(Usage {
        input: 812,
        cached: 640,
        output: 21,
        reasoning: 0,
    }));
    model.reply(
        ["The file ", "holds the answer, ", "which is 42."]
            .into_iter()
            .fold(ModelReply::new(), ModelReply::delta)
            .usage(Usage { input: 903, cached: 812, output: 17, reasoning: 0 }),
    );
    Ok(model)
}

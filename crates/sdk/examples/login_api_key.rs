//! Logs in with an API key, runs a turn, and logs out.
//!
//! `cargo run --example login_api_key`, with a runtime (`cargo xtask runtime`) and a key: in `OPENAI_API_KEY`, or as a
//! line on standard input, for example from a password manager. `read -rs OPENAI_API_KEY && export OPENAI_API_KEY`
//! reads one from the keyboard without showing it.

use std::error::Error;
use std::io::{IsTerminal, stdin};

use openai_codex::types::Account;
use openai_codex::{ApprovalMode, Codex, Sandbox};

fn main() -> Result<(), Box<dyn Error>> {
    let codex = Codex::new()?;

    // A login replaces the previous one, so stop if one exists.
    if codex.account().send()?.account.is_some() {
        return Err("an account is logged in already; set CODEX_HOME to an empty folder to try this".into());
    }
    codex.login_api_key(key()?)?;
    match codex.account().send()?.account {
        Some(Account::ApiKey(_)) => println!("logged in with an API key"),
        Some(_) => println!("logged in"),
        None => println!("the model needs no account"),
    }

    // The first request to the model checks the key.
    let start = codex.thread_start().approval_mode(ApprovalMode::DenyAll).sandbox(Sandbox::ReadOnly);
    let result = start.ephemeral(true).send()?.run("Say hello in one sentence.");

    codex.logout()?; // even if the turn failed
    println!("{}", result?.final_response.unwrap_or_default());
    println!("logged out");
    codex.close()?;
    Ok(())
}

fn key() -> Result<String, Box<dyn Error>> {
    if let Ok(key) = std::env::var("OPENAI_API_KEY") {
        return Ok(key);
    }
    if stdin().is_terminal() {
        // A key typed here would be visible.
        return Err("set OPENAI_API_KEY, or pass the key on standard input".into());
    }
    let mut line = String::new();
    stdin().read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

//! Several programs, one server. Each run connects to the server of the user's home; the first run starts it.
//!
//! `cargo run --example shared_server` starts a thread and prints its id; `cargo run --example shared_server -- ID` continues it,
//! also while another program uses it. Both need a runtime (`cargo xtask runtime`) and an account (`codex login`). The server goes on
//! after the last run, until it receives SIGTERM.

use openai_codex::{ApprovalMode, Codex, CodexConfig, Endpoint, Result, Sandbox};

fn main() -> Result<()> {
    let endpoint = Endpoint::control_socket().or_start();
    let codex = Codex::with_config(CodexConfig::new().connect(endpoint))?;
    let thread = match std::env::args().nth(1) {
        // The server works in the folder in which it was started, so the thread names its own.
        None => {
            let folder = std::env::current_dir().unwrap_or_default().display().to_string();
            let start = codex.thread_start().cwd(folder);
            start.approval_mode(ApprovalMode::DenyAll).sandbox(Sandbox::ReadOnly).send()?
        }
        Some(id) => codex.thread_resume(id).send()?,
    };
    println!("go on with: cargo run --example shared_server -- {}", thread.id());
    let turn = thread.turn("Name one file of this folder.").send()?;
    // If this program ended here, the turn would go on at the server.
    for text in turn.stream_text() {
        print!("{}", text?);
    }
    println!();
    codex.close() // ends the connection, not the server
}

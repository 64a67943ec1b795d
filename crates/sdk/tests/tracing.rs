//! What the spans of a program hold, and what they do not.
#![cfg(feature = "tracing")]

use std::io;
use std::sync::{Arc, Mutex};

use openai_codex::types::{ApiKeyLoginAccountParams, CommandExecutionApprovalDecision, LoginAccountParams};
use openai_codex::{Codex, CodexConfig, methods};
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::messages;
use serde_json::json;
use tracing_subscriber::fmt::format::FmtSpan;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One test: the subscriber is the process's, since spans are made on threads of the client too.
#[test]
fn spans_tell_what_was_done_and_nothing_that_was_said() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(FmtSpan::CLOSE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let ask = json!({"threadId": "thread-1", "turnId": "turn-1", "itemId": "i", "startedAtMs": 1, "command": "said-command"});
    let usage = openai_codex_testkit::Usage::default();
    let script = Script::standard()
        .expect("account/login/start")
        .respond_error(-32600, "refused: sk-secret")
        .start_thread("thread-1")
        .start_turn("thread-1", "turn-1")
        .ask("a", "item/commandExecution/requestApproval", ask)
        .notify(
            "thread/tokenUsage/updated",
            messages::token_usage("thread-1", "turn-1", usage)["params"].clone(),
        )
        .agent_message("thread-1", "turn-1", "m", ["said-answer"])
        .complete_turn("thread-1", "turn-1");
    let (transport, playing) = script.connect().unwrap();
    let config = CodexConfig::new()
        .env("OPENAI_API_KEY", "sk-secret")
        .on_command_approval(|_| Err::<CommandExecutionApprovalDecision, _>("said-reason"));
    let codex = Codex::with_transport(config, transport).unwrap();
    let login = LoginAccountParams::ApiKey(ApiKeyLoginAccountParams::new("sk-secret"));
    codex.request::<methods::AccountLoginStart>(login).unwrap_err();
    let thread = codex.thread_start().send().unwrap();
    thread.run("said-prompt").unwrap();
    codex.close().unwrap();
    playing.finish().unwrap();

    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let line = |name: &str, more: &str| {
        let found = text.lines().find(|line| line.contains(name) && line.contains(more));
        found.unwrap_or_else(|| panic!("no {name} with {more} in {text}")).to_owned()
    };
    line("codex.client.start", "close");
    line("codex.thread.open", "gen_ai.conversation.id=thread-1");
    let turn = line("invoke_agent codex", "gen_ai.operation.name=\"invoke_agent\"");
    for field in ["codex.turn.id=turn-1", "codex.turn.status=completed", "gen_ai.usage.input_tokens="] {
        assert!(turn.contains(field), "{field} in {turn}");
    }
    line("codex.request", "rpc.method=\"turn/start\"");
    let refused = line("codex.request", "rpc.method=\"account/login/start\"");
    assert!(refused.contains("error.type=InvalidRequest"), "{refused}");
    let served = line("codex.server_request", "rpc.method=\"item/commandExecution/requestApproval\"");
    assert!(served.contains("error.type=HandlerFailed"), "{served}");
    assert!(served.contains("codex.turn.id=\"turn-1\""), "{served}");
    for said in ["sk-secret", "said-"] {
        assert!(!text.contains(said), "{said} in {text}");
    }
}

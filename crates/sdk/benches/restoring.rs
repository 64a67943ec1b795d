//! How long 100 threads with running turns take to be restored after their connection was lost.
//!
//! `cargo bench --bench restoring`
//!
//! The real runtime with a scripted model. `OPENAI_CODEX_TEST_RUNTIME` names another runtime program. Each turn is in the middle of a message when the connection is cut. The time is from the
//! cut to the last turn's next event, and to the last turn's end. Several rounds, each with new threads.

use std::time::{Duration, Instant};

use openai_codex::types::TurnStatus;
use openai_codex::{ApprovalMode, Codex, CodexConfig, ConnectionPolicy, Endpoint, Event, Sandbox};
use openai_codex_testkit::proxy::FaultyProxy;
use openai_codex_testkit::{ModelReply, ScriptedModel};

const THREADS: usize = 100;
const ROUNDS: usize = 3;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = ScriptedModel::start()?;
    let socket = model.home().join("server.sock");
    let config = match std::env::var_os("OPENAI_CODEX_TEST_RUNTIME") {
        Some(program) => model.config().codex_bin(program),
        None => model.config(),
    };
    // It starts the server, which outlives it.
    let starting = Codex::with_config(config.connect(Endpoint::unix(&socket).or_start()))?;
    println!("{}", starting.metadata().user_agent);
    starting.close()?;
    let measured = (0..ROUNDS).try_for_each(|_| measure(&model, &socket));
    for id in openai_codex_testkit::leaks::processes(model.home()) {
        std::process::Command::new("kill").arg(id.to_string()).status()?;
    }
    measured
}

fn measure(model: &ScriptedModel, socket: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
    let proxy = FaultyProxy::to_socket(socket)?;
    let policy = ConnectionPolicy::new().initial_delay(Duration::from_millis(5));
    let codex = Codex::with_config(
        CodexConfig::new().connect(Endpoint::unix(proxy.socket())).connection_policy(policy),
    )?;
    let mut events = codex.events();
    let gate = model.gate();
    let mut turns = Vec::new();
    for number in 0..THREADS {
        model.reply(ModelReply::new().delta(format!("{number} ")).pause(&gate).delta("end"));
        let options = codex.thread_start().approval_mode(ApprovalMode::DenyAll).sandbox(Sandbox::ReadOnly);
        let turn = options.send()?.turn("go").send()?;
        // The message is being written.
        let mut stream = turn.stream();
        while !matches!(stream.next(), Some(Ok(openai_codex::Notification::AgentMessageDelta(_)))) {}
        turns.push(turn);
    }
    let begin = Instant::now();
    proxy.cut();
    while !matches!(events.next(), Some(Ok(Event::Reconnected { .. }))) {}
    let restored = begin.elapsed();
    gate.release();
    for turn in turns {
        let result = turn.run()?;
        assert_eq!(result.turn.status, TurnStatus::Completed);
        assert!(result.final_response.is_some_and(|text| text.ends_with(" end")));
    }
    println!(
        "{THREADS} threads restored in {restored:.2?}, and their turns ended after {:.2?}",
        begin.elapsed()
    );
    codex.close()?;
    Ok(())
}

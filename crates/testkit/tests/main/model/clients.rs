//! The SDK's clients, the real runtime, and the scripted model.

use openai_codex::types::{MessagePhase, SandboxMode, ThreadItem, TurnStatus};
use openai_codex::{ApprovalMode, AsyncCodex, Codex, CodexConfig, ErrorKind, Notification};
use openai_codex_testkit::{ModelReply, ModelToolCall, Phase, ScriptedModel, Usage};

use crate::support::codex_bin;

fn config(model: &ScriptedModel) -> CodexConfig {
    model.config().codex_bin(codex_bin()).cwd(std::env::temp_dir())
}

fn texts(items: &[ThreadItem]) -> Vec<(&str, Option<&MessagePhase>)> {
    let messages = items.iter().filter_map(|item| match item {
        ThreadItem::AgentMessage(message) => Some((message.text.as_str(), message.phase.as_ref())),
        _ => None,
    });
    messages.collect()
}

#[test]
fn a_blocking_client_gets_text_phases_and_usage() {
    let model = ScriptedModel::start().unwrap();
    let usage = Usage::new(11, 7).cached(3).reasoning(5);
    let reply =
        ModelReply::new().message("thinking aloud", Phase::Commentary).message("done", Phase::FinalAnswer);
    model.reply(reply.usage(usage));
    let codex = Codex::with_config(config(&model)).unwrap();
    let thread = codex.thread_start().sandbox(SandboxMode::ReadOnly).send().unwrap();
    let result = thread.run("go").unwrap();
    assert_eq!(result.final_response.as_deref(), Some("done"));
    let expected =
        [("thinking aloud", Some(&MessagePhase::Commentary)), ("done", Some(&MessagePhase::FinalAnswer))];
    assert_eq!(texts(&result.items), expected);
    let last = result.usage.unwrap().last;
    let counts =
        [last.input_tokens, last.cached_input_tokens, last.output_tokens, last.reasoning_output_tokens];
    assert_eq!((counts, last.total_tokens), ([11, 3, 7, 5], 18));
    let request = model.last_request().unwrap();
    assert_eq!((request.model(), request.last_user_text()), (Some("mock-model"), Some("go")));
    assert_eq!(request.body["stream"], true);
    codex.close().unwrap();
}

#[test]
fn failures_of_the_model_fail_the_turn() {
    let model = ScriptedModel::start().unwrap();
    model.reply(ModelReply::failed("boom from mock model"));
    model.reply(ModelReply::http_error(429, "slow down"));
    let codex = Codex::with_config(config(&model)).unwrap();
    let thread = codex.thread_start().sandbox(SandboxMode::ReadOnly).send().unwrap();
    for expected in ["boom from mock model", "429", "no reply queued for request number 3"] {
        let error = thread.run("go").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TurnFailed);
        assert!(error.to_string().contains(expected), "{error}");
    }
    assert_eq!((model.requests().len(), model.unanswered().len()), (3, 1));
    codex.close().unwrap();
}

#[test]
fn commands_run_and_their_output_goes_to_the_model() {
    let model = ScriptedModel::start().unwrap();
    model.reply(ModelToolCall::exec_command("echo $((40 + 2))").call_id("sum"));
    model.reply("done");
    let codex = Codex::with_config(config(&model)).unwrap();
    let thread = codex.thread_start().approval_mode(ApprovalMode::DenyAll).sandbox(SandboxMode::ReadOnly);
    let result = thread.send().unwrap().run("go").unwrap();
    let command = result.items.iter().find_map(|item| match item {
        ThreadItem::CommandExecution(command) => Some(command),
        _ => None,
    });
    let command = command.unwrap();
    assert_eq!((command.id.as_str(), command.exit_code), ("sum", Some(0)));
    // The user's shell may print something first.
    assert!(command.aggregated_output.as_deref().unwrap().ends_with("42\n"));
    let request = model.last_request().unwrap();
    assert_eq!(request.function_calls()[0]["name"], "exec_command");
    assert_eq!(request.function_call_outputs()[0]["call_id"], "sum");
    assert!(request.last_output().unwrap().ends_with("42\n"));
    codex.close().unwrap();
}

#[tokio::test]
async fn an_async_client_streams_up_to_a_gate_and_on() {
    let model = ScriptedModel::start().unwrap();
    let gate = model.gate();
    model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
    let codex = AsyncCodex::with_config(config(&model));
    let thread = codex.thread_start().sandbox(SandboxMode::ReadOnly).send().await.unwrap();
    let turn = thread.turn("go").send().await.unwrap();
    gate.reached().await.unwrap();
    let mut events = turn.stream();
    let mut deltas = Vec::new();
    let mut end = None;
    while let Some(event) = events.next().await {
        match event.unwrap() {
            Notification::AgentMessageDelta(delta) => {
                deltas.push(delta.delta);
                gate.release();
            }
            Notification::TurnCompleted(done) => end = Some(done.turn.status),
            _ => {}
        }
    }
    assert_eq!((deltas.concat().as_str(), end), ("hello", Some(TurnStatus::Completed)));
    codex.close().await.unwrap();
}

#[tokio::test]
async fn turns_of_several_threads_get_their_own_replies() {
    let model = ScriptedModel::start().unwrap();
    let gate = model.gate();
    model.reply_when(
        |request| request.last_user_text() == Some("left"),
        ModelReply::text("port").pause(&gate),
    );
    model.reply_when(|request| request.last_user_text() == Some("right"), "starboard");
    let codex = AsyncCodex::with_config(config(&model));
    let left = codex.thread_start().sandbox(SandboxMode::ReadOnly).send().await.unwrap();
    let right = codex.thread_start().sandbox(SandboxMode::ReadOnly).send().await.unwrap();
    let held = left.turn("left").send().await.unwrap();
    gate.reached().await.unwrap();
    // The other turn runs from start to end while the first waits.
    assert_eq!(right.run("right").await.unwrap().final_response.as_deref(), Some("starboard"));
    gate.release();
    assert_eq!(held.run().await.unwrap().final_response.as_deref(), Some("port"));
    codex.close().await.unwrap();
}

#[test]
fn a_runtime_with_retries_retries() {
    let model = ScriptedModel::start().unwrap();
    model.reply(ModelReply::http_error(429, "slow down").header("retry-after", "0"));
    model.reply("done");
    let retries = "model_providers.scripted.stream_max_retries";
    let codex = Codex::with_config(config(&model).config_override(retries, 1)).unwrap();
    let thread = codex.thread_start().sandbox(SandboxMode::ReadOnly).send().unwrap();
    assert_eq!(thread.run("go").unwrap().final_response.as_deref(), Some("done"));
    assert_eq!(model.requests().len(), 2);
    codex.close().unwrap();
}

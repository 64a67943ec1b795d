//! The SDK's clients with misbehaving servers.

use std::time::Duration;

use openai_codex::{AsyncCodex, Codex, CodexConfig, ErrorKind, Event};
use openai_codex_testkit::app_server::{Chunks, messages};
use openai_codex_testkit::leaks::Trace;
use openai_codex_testkit::{AppServer, Script};
use serde_json::{Value, json};

fn one_turn(script: Script) -> Script {
    script
        .start_thread("t")
        .start_turn("t", "u")
        .agent_message("t", "u", "i", ["hé", "llo"])
        .complete_turn("t", "u")
}

/// Plays a script in memory, to a started client.
fn connect(script: Script) -> (Codex, openai_codex_testkit::app_server::RunningScript) {
    let (transport, running) = script.connect().unwrap();
    (Codex::with_transport(CodexConfig::new(), transport).unwrap(), running)
}

fn ask(codex: &Codex, method: &str) -> openai_codex::Result<Value> {
    codex.request_raw(method, json!({}))
}

#[test]
fn pieces_of_lines_are_joined() {
    for seed in 0..4 {
        let chunks = Chunks::Seeded { seed, max: 40 };
        let server = AppServer::new(one_turn(Script::standard().chunked(chunks))).unwrap();
        let codex = Codex::with_config(server.config()).unwrap();
        let result = codex.thread_start().send().unwrap().run("hi").unwrap();
        assert_eq!(result.final_response.as_deref(), Some("héllo"), "seed {seed}");
        codex.close().unwrap();
    }
}

#[test]
fn a_line_of_many_megabytes_and_a_flood_on_stderr_are_handled() {
    let long = messages::item_completed("t", "u", messages::agent_message("j", ""));
    let script = Script::standard().flood_stderr(4 << 20).send_padded(long, 20 << 20);
    let server = AppServer::new(one_turn(script)).unwrap();
    let codex = Codex::with_config(server.config()).unwrap();
    let result = codex.thread_start().send().unwrap().run("hi").unwrap();
    assert_eq!(result.final_response.as_deref(), Some("héllo"));
    codex.close().unwrap();
}

#[test]
fn a_malformed_line_is_reported_and_the_rest_goes_on() {
    let spoil: [fn(Script) -> Script; 3] = [
        |script| script.truncate(messages::turn_started("t", "u"), 20),
        |script| script.corrupt(messages::turn_started("t", "u"), 20),
        |script| script.garbage(1, 100),
    ];
    for spoil in spoil {
        let script = spoil(Script::standard().expect("test/go")).respond(json!(1));
        let (codex, running) = connect(script);
        let mut events = codex.events();
        assert_eq!(ask(&codex, "test/go").unwrap(), 1);
        let event = events.next().unwrap().unwrap();
        assert!(matches!(event, Event::Malformed { .. }), "{event:?}");
        codex.close().unwrap();
        running.finish().unwrap();
    }
}

async fn runs_into_its_deadline(codex: AsyncCodex) {
    let thread = codex.thread_start().send().await.unwrap();
    let error = thread.turn("hi").timeout(Duration::from_millis(100)).run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    codex.close().await.unwrap();
}

#[tokio::test]
async fn a_stall_times_out() {
    let end = messages::turn_completed("t", messages::turn("u", "completed"));
    let script = Script::standard().start_thread("t").start_turn("t", "u").stall(end, 30);
    let server = AppServer::new(script.clone()).unwrap();
    let trace = Trace::new(server.dir());
    runs_into_its_deadline(AsyncCodex::with_config(server.config())).await;
    trace.wait_gone(&[]);
    let (transport, _playing) = script.connect().unwrap();
    runs_into_its_deadline(AsyncCodex::with_transport(CodexConfig::new(), transport)).await;
}

#[test]
fn an_exit_within_a_message_ends_the_connection() {
    let half = messages::turn_started("t", "u");
    let server = AppServer::new(Script::standard().expect("test/go").exit_within(half, 20, 3)).unwrap();
    let codex = Codex::with_config(server.config()).unwrap();
    let error = ask(&codex, "test/go").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TransportClosed, "{error}");
    codex.close().unwrap();
}

#[test]
fn a_request_to_a_server_that_stopped_reading_times_out() {
    let script = Script::standard().expect("test/go").close_stdin().respond(json!(1));
    let (codex, _playing) = connect(script);
    assert_eq!(ask(&codex, "test/go").unwrap(), 1);
    let error = ask(&codex, "test/more").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TransportClosed, "{error}");
    codex.close().unwrap();
}

#[tokio::test]
async fn responses_in_any_order_reach_their_callers() {
    let responses = [("test/a", json!("a")), ("test/b", json!("b")), ("test/c", json!("c"))];
    let (transport, running) = Script::standard().respond_in_reverse(responses).connect().unwrap();
    let codex = AsyncCodex::with_transport(CodexConfig::new(), transport);
    let ask = async |method: &str| codex.request_raw(method, json!({})).await.unwrap();
    let (a, b, c) = tokio::join!(ask("test/a"), ask("test/b"), ask("test/c"));
    assert_eq!([a, b, c], ["a", "b", "c"]);
    codex.close().await.unwrap();
    running.finished().await.unwrap();
}

#[test]
fn unknown_responses_are_ignored() {
    let script = Script::standard()
        .expect("test/a")
        .respond_twice(json!("first"), json!("second"))
        .respond_to_unknown(4_711, json!("who?"))
        .respond_to_unknown("x", json!("who?"))
        .expect("test/b")
        .respond(json!("b"));
    let (codex, running) = connect(script);
    assert_eq!(ask(&codex, "test/a").unwrap(), "first");
    assert_eq!(ask(&codex, "test/b").unwrap(), "b");
    codex.close().unwrap();
    running.finish().unwrap();
}

#[test]
fn an_empty_response_is_an_error_at_once() {
    let script = Script::standard().expect("test/a").respond_with_nothing();
    let (codex, running) = connect(script);
    let error = ask(&codex, "test/a").unwrap_err();
    assert_eq!((error.kind(), error.method()), (ErrorKind::Decode, Some("test/a")), "{error}");
    codex.close().unwrap();
    running.finish().unwrap();
}

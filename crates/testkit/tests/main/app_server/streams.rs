//! Scripts played in memory.

use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::{Burst, Response, ScriptError, ScriptResult, Unexpected};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex, split};

/// Plays a script to a client that sends all these lines at once, closes its side, and reads everything.
async fn exchange(script: &Script, lines: &[Value]) -> (Result<ScriptResult, ScriptError>, String) {
    let (client, server) = duplex(1 << 20);
    let (mut from_server, mut to_server) = split(client);
    for line in lines {
        to_server.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }
    to_server.shutdown().await.unwrap();
    let play = async move {
        let (reader, writer) = split(server);
        script.play(reader, writer).await
    };
    let mut response = Vec::new();
    let (played, read) = tokio::join!(play, from_server.read_to_end(&mut response));
    read.unwrap();
    (played, String::from_utf8_lossy(&response).into_owned())
}

async fn responses(script: &Script, lines: &[Value]) -> Vec<Value> {
    let (played, text) = exchange(script, lines).await;
    played.unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn request(id: impl Into<Value>, method: &str) -> Value {
    json!({"id": id.into(), "method": method, "params": {"threadId": "t"}})
}

fn result(id: impl Into<Value>, text: &str) -> Value {
    json!({"id": id.into(), "result": text})
}

#[tokio::test]
async fn a_turn_from_handshake_to_end() {
    let script = Script::standard()
        .start_thread("t")
        .start_turn("t", "u")
        .agent_message("t", "u", "i", ["he", "llo"])
        .complete_turn("t", "u");
    let lines = [
        request(1, "initialize"),
        json!({"method": "initialized"}),
        request("two", "thread/start"),
        request(3, "turn/start"),
    ];
    let responses = responses(&script, &lines).await;
    let shape: Vec<_> =
        responses.iter().map(|m| m["method"].as_str().map_or(m["id"].clone(), Into::into)).collect();
    assert_eq!(
        shape,
        [
            json!(1),
            json!("two"),
            json!(3),
            json!("turn/started"),
            json!("item/started"),
            json!("item/agentMessage/delta"),
            json!("item/agentMessage/delta"),
            json!("item/completed"),
            json!("turn/completed"),
        ]
    );
    assert_eq!(responses[1]["result"]["thread"]["id"], "t");
    assert_eq!(responses[7]["params"]["item"]["text"], "hello");
}

#[tokio::test]
async fn early_requests_wait_for_their_step() {
    let script = Script::new()
        .expect_as("slow", "a")
        .expect("b")
        .respond(json!("for b"))
        .respond_to("slow", Response::Result(json!("for a")));
    let lines = [request(1, "b"), request(2, "a")];
    assert_eq!(responses(&script, &lines).await, [result(1, "for b"), result(2, "for a")]);
}

#[tokio::test]
async fn two_requests_of_a_method_go_to_two_steps_in_order() {
    let script = Script::new().expect("a").respond(json!("one")).expect("a").respond_error(-32001, "busy");
    let responses = responses(&script, &[request(1, "a"), request(2, "a"), request(3, "a")]).await;
    assert_eq!(responses[0], result(1, "one"));
    assert_eq!(responses[1], json!({"id": 2, "error": {"code": -32001, "message": "busy"}}));
    assert_eq!((&responses[2]["id"], &responses[2]["error"]["code"]), (&json!(3), &json!(-32601)));
}

#[tokio::test]
async fn unexpected_requests_get_the_standing_response_or_the_default() {
    let lines = [request(1, "known"), request(2, "mute"), request(3, "unknown"), json!({"method": "note"})];
    let script = Script::new().always("known", json!("yes")).always_respond("mute", Response::Silence);
    let all = responses(&script, &lines).await;
    assert_eq!(all[0], result(1, "yes"));
    assert_eq!((&all[1]["id"], &all[1]["error"]["code"], all.len()), (&json!(3), &json!(-32601), 2));
    let ignoring = script.clone().unexpected(Unexpected::Ignore);
    assert_eq!(responses(&ignoring, &lines).await, [result(1, "yes")]);
    let (failed, _) = exchange(&script.unexpected(Unexpected::Fail), &lines).await;
    assert!(matches!(failed, Err(ScriptError::Mismatch { step: 0, .. })), "{failed:?}");
}

#[tokio::test]
async fn expected_params_are_a_subset() {
    let script = Script::new().expect_with("a", json!({"threadId": "other"})).respond(json!("no"));
    let (played, text) = exchange(&script, &[request(1, "a")]).await;
    let error = played.unwrap_err().to_string();
    assert_eq!(
        error,
        r#"step 0 of the script: the client closed its side before it sent the request a with {"threadId":"other"}"#
    );
    assert!(text.contains("-32601"));
}

#[tokio::test]
async fn the_server_sends_a_request_and_checks_the_response() {
    let ask = || Script::new().ask_expecting("q", "item/tool/call", json!({}), json!({"ok": true}));
    let script = ask().notify("done", json!({}));
    let mut lines = vec![json!({"id": "q", "result": {"ok": true, "more": 1}})];
    let received = responses(&script, &lines).await;
    assert_eq!((&received[0]["id"], &received[0]["method"]), (&json!("q"), &json!("item/tool/call")));
    assert_eq!(received[1]["method"], "done");
    lines[0]["result"] = json!({"ok": false});
    let (failed, _) = exchange(&script, &lines).await;
    assert!(failed.unwrap_err().to_string().contains("the client responded"));
    // A client request with the same id is not a response.
    let script = Script::new().ask("q", "x", json!({})).always("a", json!(1));
    let received = responses(&script, &[request("q", "a"), json!({"id": "q", "error": {}})]).await;
    assert_eq!(received.len(), 2);
}

#[tokio::test]
async fn any_message_can_be_sent() {
    let script = Script::new()
        .line("no json")
        .line(b"\xff\xfe")
        .stderr("trouble")
        .raw("half a li")
        .close_stdout()
        .line("lost")
        .expect_end()
        .exit(3);
    let (played, text) = exchange(&script, &[json!({"method": "note"})]).await;
    let played = played.unwrap();
    assert_eq!(text, "no json\n\u{fffd}\u{fffd}\nhalf a li");
    assert_eq!((played.exit_code, played.stderr.as_str()), (Some(3), "trouble\n"));
    assert_eq!(played.messages(), [json!({"method": "note"})]);
}

#[tokio::test]
async fn a_pour_is_complete() {
    let bursts = ["u", "v"].map(|turn| Burst::deltas(10_000, "t", turn, "i", 192));
    let script = Script::new().burst(Burst::interleaved(bursts));
    let (played, text) = exchange(&script, &[]).await;
    played.unwrap();
    assert_eq!((text.lines().count(), text.len()), (20_000, 20_000 * 192));
    assert_eq!(text.matches("\"turnId\":\"v\"").count(), 10_000);
}

#[tokio::test]
async fn scripts_survive_serialization() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("script.json");
    let script = Script::standard()
        .expect_as("n", "m")
        .respond_to("n", Response::Silence)
        .ask(1, "q", json!({}))
        .raw([0, 255])
        .burst(Burst::deltas(2, "t", "u", "i", 0))
        .stderr("e")
        .await_file("f")
        .close_stdout()
        .hang()
        .exit(1)
        .always("a", json!({}))
        .unexpected(Unexpected::Ignore)
        .record("r");
    script.save(&file).unwrap();
    assert_eq!(Script::load(&file).unwrap(), script);
    std::fs::write(&file, r#"{"steps": [{"step": "expect", "method": "m"}]}"#).unwrap();
    assert_eq!(Script::load(&file).unwrap(), Script::new().expect("m"));
}

#[tokio::test]
async fn responding_without_a_request_is_an_error_of_the_script() {
    let (failed, _) = exchange(&Script::new().respond(json!({})), &[]).await;
    assert!(matches!(failed, Err(ScriptError::NothingToRespondTo { step: 0 })));
    let (failed, _) = exchange(&Script::new().expect("m"), &[json!({"id": 1})]).await;
    assert!(matches!(failed, Err(ScriptError::Ended { step: 0, .. })));
}

//! Events, results and responses as JSON text, which fronts in other languages use.

use std::future::poll_fn;

use openai_codex::raw::{self, RawStream};
use openai_codex::{AsyncCodex, CodexConfig, ErrorKind};
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::messages;
use serde_json::{Value, json};

fn begin() -> Script {
    Script::standard().start_thread("t").start_turn("t", "u")
}

/// All events of a stream: their methods and parameters.
async fn drain(stream: &mut RawStream) -> Vec<(String, Option<Value>)> {
    let mut events = Vec::new();
    loop {
        while let Some(event) = stream.pop(|event| {
            (event.method.into_owned(), event.params.map(|text| serde_json::from_str(text).unwrap()))
        }) {
            events.push(event);
        }
        match poll_fn(|context| stream.poll_take(context)).await {
            Some(taken) => taken.unwrap(),
            None => return events,
        }
    }
}

#[tokio::test]
async fn events_keep_the_text_of_the_server() {
    let usage = json!({"threadId": "t", "turnId": "u", "tokenUsage": 7});
    let script = begin()
        .notify("turn/ofTomorrow", json!({"turnId": "u", "new": [1]}))
        .notify("thread/tokenUsage/updated", usage.clone())
        .agent_message("t", "u", "i", ["hello"])
        .complete_turn("t", "u");
    let (transport, running) = script.connect().unwrap();
    let codex = AsyncCodex::with_transport(CodexConfig::new(), transport);
    let thread = codex.thread_start().send().await.unwrap();
    let turn = raw::start(thread.turn("go"), true).await.unwrap();
    let events = drain(&mut RawStream::open(&turn)).await;
    assert!(events.contains(&("turn/ofTomorrow".into(), Some(json!({"turnId": "u", "new": [1]})))));
    assert!(events.contains(&("thread/tokenUsage/updated".into(), Some(usage.clone()))));
    assert_eq!(events.last().unwrap().0, "turn/completed");
    let result = raw::run(&turn).await;
    assert_eq!(result.final_response.as_deref(), Some("hello"));
    assert_eq!(serde_json::from_str::<Value>(&result.usage.unwrap()).unwrap(), usage);
    assert!(result.items[0].contains("hello") && result.completed.unwrap().contains("completed"));
    assert!(result.started.unwrap().contains("inProgress") && result.error.is_none());
    codex.close().await.unwrap();
    running.finish().unwrap();
}

#[tokio::test]
async fn the_result_of_a_failed_turn_has_its_error_and_its_items() {
    let script = begin().agent_message("t", "u", "i", ["half"]).fail_turn("t", "u", "broken");
    let (transport, running) = script.connect().unwrap();
    let codex = AsyncCodex::with_transport(CodexConfig::new(), transport);
    let thread = codex.thread_start().send().await.unwrap();
    let result = raw::run(&raw::start(thread.turn("go"), false).await.unwrap()).await;
    assert_eq!(result.error.unwrap().kind(), ErrorKind::TurnFailed);
    assert!(result.items[0].contains("half") && result.completed.unwrap().contains("broken"));
    assert_eq!(result.final_response.as_deref(), Some("half"));
    codex.close().await.unwrap();
    running.finish().unwrap();
}

#[tokio::test]
async fn a_turn_is_interrupted_by_its_drop_unless_it_is_kept() {
    for kept in [false, true] {
        let script = begin()
            .send(messages::turn_started("t", "u"))
            .always("turn/interrupt", json!({}))
            .always("thread/backgroundTerminals/list", json!({"data": []}));
        let script = if kept { script } else { script.expect("turn/interrupt").respond(json!({})) };
        let script = script.expect("test/after").respond(json!({"a": 1})).complete_turn("t", "u");
        let (transport, running) = script.connect().unwrap();
        let codex = AsyncCodex::with_transport(CodexConfig::new(), transport);
        let thread = codex.thread_start().send().await.unwrap();
        let turn = raw::start(thread.turn("go"), false).await.unwrap();
        if kept {
            raw::keep_on_drop(&turn);
        }
        drop(turn);
        let response = raw::request(&codex, "test/after", None).await.unwrap();
        assert_eq!(serde_json::from_str::<Value>(&response).unwrap(), json!({"a": 1}));
        codex.close().await.unwrap();
        let played = running.finish().unwrap();
        let interrupts =
            played.received.iter().filter(|message| message.contains("\"turn/interrupt\"")).count();
        assert_eq!(interrupts, usize::from(!kept));
    }
}

#[tokio::test]
async fn pages_come_one_by_one_as_json() {
    let script = Script::standard()
        .expect("model/list")
        .respond(json!({"data": [], "nextCursor": "second", "new": 1}))
        .expect("model/list")
        .respond(json!({"data": []}));
    let (transport, running) = script.connect().unwrap();
    let codex = AsyncCodex::with_transport(CodexConfig::new(), transport);
    assert!(raw::pages(&codex, None, "model/list", json!({"limit": "no"})).is_err());
    assert!(raw::pages(&codex, None, "turn/start", json!({})).is_err());
    let mut pages = raw::pages(&codex, None, "model/list", json!({"limit": 1})).unwrap();
    let mut texts = Vec::new();
    while let Some(page) = poll_fn(|context| pages.poll_next(context)).await {
        texts.push(serde_json::from_str::<Value>(&page.unwrap()).unwrap());
    }
    assert_eq!(texts.len(), 2);
    assert_eq!((&texts[0]["nextCursor"], &texts[0]["new"]), (&json!("second"), &json!(1)));
    codex.close().await.unwrap();
    running.finish().unwrap();
}

#[tokio::test]
async fn a_turn_without_a_handle_of_its_thread_streams_all_its_events() {
    let script = Script::standard().start_turn("t", "u").agent_message("t", "u", "i", ["hello"]);
    let (transport, running) = script.complete_turn("t", "u").connect().unwrap();
    let codex = AsyncCodex::with_transport(CodexConfig::new(), transport);
    let params = |value: Value| serde_json::value::to_raw_value(&value).unwrap();
    let error = raw::start_turn(&codex, &params(json!({"input": []}))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let turn = raw::start_turn(&codex, &params(json!({"threadId": "t", "input": []}))).await.unwrap();
    assert!(turn.response().contains("inProgress"));
    let mut stream = turn.stream();
    drop(turn);
    let events = drain(&mut stream).await;
    assert!(events.iter().any(|(method, _)| method == "item/agentMessage/delta"));
    assert_eq!(events.last().unwrap().0, "turn/completed");
    codex.close().await.unwrap();
    running.finish().unwrap();
}

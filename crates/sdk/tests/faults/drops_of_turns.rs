//! Futures of a thread and its turns, dropped at every point at which they wait; see [`drops`](crate::drops).

use openai_codex::schemars::{self, JsonSchema};
use openai_codex::types::CommandExecutionApprovalDecision;
use openai_codex::{AsyncCodex, AsyncThread, AsyncTurnHandle, Notification};
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::messages;
use serde::Deserialize;
use serde_json::json;

use crate::drops::{at_every_point, dropped_after, until_the_end, works};
use crate::support::{Model, Server, answering, awaited, bounded_async, works_and_closes};

#[derive(Debug, Deserialize, JsonSchema, PartialEq)]
struct ModelReply {
    said: String,
}

/// A server that responds to each turn with a value.
fn turns() -> Script {
    (0..40).fold(answering().always("turn/interrupt", json!({})), |script, n| {
        let turn = format!("u{n}");
        script
            .start_turn("t", &turn)
            .agent_message("t", &turn, "i", [r#"{"said":"#, r#""done"}"#])
            .complete_turn("t", &turn)
    })
}

/// Drops a call of a thread at every point. Afterwards the thread still runs turns.
async fn on_a_thread<T>(script: Script, call: impl AsyncFn(&AsyncThread) -> openai_codex::Result<T>) -> T {
    let server = Server::new(script);
    let codex = AsyncCodex::with_config(server.config());
    let thread = codex.thread_start().send().await.unwrap();
    let outcome =
        at_every_point(async |polls| dropped_after(polls, call(&thread)).await, async || works(&codex).await)
            .await;
    assert_eq!(thread.run_as::<ModelReply>("and now?").await.unwrap().value.said, "done");
    works_and_closes!(codex, awaited, server);
    outcome.unwrap()
}

#[test]
fn requests_about_a_thread() {
    bounded_async(async || {
        let item = json!({"turnId": "u", "item": messages::agent_message("i", "hello")});
        let script = turns()
            .always("thread/name/set", json!({}))
            .always("thread/read", json!({"thread": messages::thread("t")}))
            .always("thread/turns/list", json!({"data": [messages::turn("u", "completed")]}))
            .always("thread/items/list", json!({"data": [item]}));
        on_a_thread(script.clone(), async |thread| thread.set_name("name").await).await;
        let read = on_a_thread(script.clone(), async |thread| thread.read().send().await).await;
        assert_eq!(read.thread.id, "t");
        let turns = on_a_thread(script.clone(), async |thread| thread.turns().send().await).await;
        assert_eq!(turns.data[0].id, "u");
        let items = on_a_thread(script, async |thread| thread.items().send().await).await;
        assert_eq!(items.data[0].turn_id, "u");
    });
}

#[test]
fn unsubscribing() {
    bounded_async(async || {
        let server = Server::new(turns().always("thread/unsubscribe", json!({"status": "unsubscribed"})));
        let codex = AsyncCodex::with_config(server.config());
        let unsubscribe = async |polls| {
            let thread = codex.thread_start().send().await.unwrap();
            let outcome = dropped_after(polls, thread.unsubscribe()).await;
            if polls > 0 {
                // The server may have received it: then a turn would have no follower.
                let error = thread.run("is anybody there?").await.unwrap_err();
                assert!(error.to_string().contains("unsubscribed"), "{error}");
            }
            outcome
        };
        at_every_point(unsubscribe, async || works(&codex).await).await.unwrap();
        // The thread is available again after a resume.
        let thread = codex.thread_resume("t").send().await.unwrap();
        assert_eq!(thread.run_as::<ModelReply>("and now?").await.unwrap().value.said, "done");
        works_and_closes!(codex, awaited, server);
    });
}

#[test]
fn waits_for_a_cancellation() {
    bounded_async(async || {
        let ask = json!({"threadId": "t", "turnId": "u", "itemId": "i", "startedAtMs": 1});
        let script = answering()
            .start_turn("t", "u")
            .request("ask", "item/commandExecution/requestApproval", ask)
            .expect("test/end")
            .respond(json!({}))
            .complete_turn("t", "u");
        let server = Server::new(script);
        let (sender, mut cancellations) = tokio::sync::mpsc::unbounded_channel();
        let config = server.config().on_command_approval(move |request| {
            sender.send(request.cancellation().clone()).unwrap();
            async move {
                request.cancellation().cancelled().await;
                CommandExecutionApprovalDecision::Accept
            }
        });
        let codex = AsyncCodex::with_config(config);
        let turn = codex.thread_start().send().await.unwrap().turn("go").send().await.unwrap();
        let cancellation = cancellations.recv().await.unwrap();
        until_the_end(&codex, async || cancellation.cancelled().await).await;
        assert!(cancellation.is_cancelled());
        turn.run().await.unwrap();
        works_and_closes!(codex, awaited, server);
        // The late response is ignored: only the one from the end of the turn counts.
        let received = server.received().unwrap();
        let responses: Vec<_> = received.iter().filter(|message| message["id"] == "ask").collect();
        assert!(matches!(responses[..], [response] if response["error"].is_object()), "{responses:?}");
    });
}

#[test]
fn turns_and_their_results() {
    bounded_async(async || {
        let turn = on_a_thread(turns(), async |thread| thread.turn("go").send().await).await;
        assert_eq!(turn.thread_id(), "t");
        drop(turn);
        let result = on_a_thread(turns(), async |thread| thread.run("go").await).await;
        assert_eq!(result.items.len(), 1);
        let result = on_a_thread(turns(), async |thread| thread.turn("go").run().await).await;
        assert_eq!(result.items.len(), 1);
        let result = on_a_thread(turns(), async |thread| thread.run_as::<ModelReply>("go").await).await;
        assert_eq!(result.value.said, "done");
    });
}

#[test]
fn runs_on_the_real_runtime() {
    bounded_async(async || {
        let model = Model::start();
        model.fallback(r#"{"said":"done"}"#);
        let codex = AsyncCodex::with_config(model.config());
        let mut events = codex.events();
        let thread = codex.thread_start().send().await.unwrap();
        let check = async || assert!(!codex.models().send().await.unwrap().data.is_empty());
        at_every_point(async |polls| dropped_after(polls, thread.run("go")).await, check).await.unwrap();
        at_every_point(async |polls| dropped_after(polls, thread.run_as::<ModelReply>("go")).await, check)
            .await
            .unwrap();
        at_every_point(async |polls| dropped_after(polls, thread.turn("go").send()).await, check)
            .await
            .unwrap();
        at_every_point(async |polls| dropped_after(polls, codex.thread_start().send()).await, check)
            .await
            .unwrap();
        // A dropped turn is interrupted or has ended. A turn that begins now is a new one.
        let other = codex.thread_start().send().await.unwrap();
        assert_eq!(other.run_as::<ModelReply>("and now?").await.unwrap().value.said, "done");
        codex.close().await.unwrap();
        assert!(model.trace.processes().is_empty());
        while let Some(event) = events.next().await {
            event.unwrap();
        }
    });
}

/// Drops a call of a running turn at every point. Afterwards the turn still ends.
async fn on_a_turn<T>(script: Script, call: impl AsyncFn(&AsyncTurnHandle) -> openai_codex::Result<T>) {
    let script = script.start_turn("t", "u").expect("test/end").respond(json!({}));
    let server = Server::new(script.agent_message("t", "u", "i", ["done"]).complete_turn("t", "u"));
    let codex = AsyncCodex::with_config(server.config());
    let turn = codex.thread_start().send().await.unwrap().turn("go").send().await.unwrap();
    let check = async || works(&codex).await;
    at_every_point(async |polls| dropped_after(polls, call(&turn)).await, check).await.unwrap();
    codex.request_raw("test/end", json!({})).await.unwrap();
    assert_eq!(turn.run().await.unwrap().final_response.as_deref(), Some("done"));
    works_and_closes!(codex, awaited, server);
}

#[test]
fn interrupting_and_steering() {
    bounded_async(async || {
        let script =
            answering().always("turn/interrupt", json!({})).always("turn/steer", json!({"turnId": "u"}));
        on_a_turn(script.clone(), async |turn| turn.interrupt().await.map(drop)).await;
        on_a_turn(script, async |turn| turn.steer("more").await.map(drop)).await;
    });
}

#[test]
fn compactions() {
    bounded_async(async || {
        let compactions = (0..40).fold(answering(), |script, n| {
            let turn = format!("c{n}");
            script
                .expect("thread/compact/start")
                .respond(json!({}))
                .send(messages::turn_started("t", &turn))
                .complete_turn("t", &turn)
        });
        let server = Server::new(compactions);
        let codex = AsyncCodex::with_config(server.config());
        let thread = codex.thread_start().send().await.unwrap();
        let check = async || works(&codex).await;
        at_every_point(
            async |polls| {
                let turn = dropped_after(polls, thread.compact()).await?;
                Some(turn.unwrap().run().await.unwrap())
            },
            check,
        )
        .await;
        thread.compact().await.unwrap().run().await.unwrap();
        works_and_closes!(codex, awaited, server);
    });
}

#[test]
fn waits_for_events_lose_none_and_repeat_none() {
    bounded_async(async || {
        let pieces: Vec<String> = (0..20).map(|n| format!("{n} ")).collect();
        // Each piece arrives on request, so that the stream has to wait for it.
        let script = pieces.iter().fold(answering().start_turn("t", "u"), |script, piece| {
            script.expect("test/next").respond(json!({})).send(messages::delta("t", "u", "i", piece))
        });
        let server = Server::new(script.complete_turn("t", "u"));
        let codex = AsyncCodex::with_config(server.config());
        let turn = codex.thread_start().send().await.unwrap().turn("go").send().await.unwrap();
        let (mut stream, mut text) = (turn.stream(), turn.stream_text());
        let mut seen = String::new();
        assert!(matches!(stream.next().await, Some(Ok(Notification::TurnStarted(_)))));
        for piece in &pieces {
            // Nothing has arrived yet: these waits are dropped while they wait.
            assert!(dropped_after(1, stream.next()).await.is_none());
            assert!(dropped_after(1, text.next()).await.is_none());
            assert!(dropped_after(1, turn.run()).await.is_none());
            codex.request_raw("test/next", json!({})).await.unwrap();
            let polled =
                at_every_point(async |polls| dropped_after(polls, stream.next()).await, async || {}).await;
            let Some(Ok(Notification::AgentMessageDelta(delta))) = polled else { panic!("{polled:?}") };
            assert_eq!(text.next().await.unwrap().unwrap(), *piece);
            seen.push_str(&delta.delta);
        }
        assert_eq!(seen, pieces.concat());
        assert!(matches!(stream.next().await, Some(Ok(Notification::TurnCompleted(_)))));
        assert!(stream.next().await.is_none());
        assert!(text.next().await.is_none());
        turn.run().await.unwrap();
        works_and_closes!(codex, awaited, server);
    });
}

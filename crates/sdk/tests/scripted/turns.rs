//! Turns: their options, concurrent turns, steering, interrupting, and external messages.

use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use openai_codex::types::{
    InputTextFunctionCallOutputContentItem, Personality, ReadOnlySandboxPolicy, ReasoningEffort,
    ReasoningSummary,
};
use openai_codex::{
    AsyncCodex, CodexConfig, ErrorKind, ExternalMessage, Input, InputItem, MentionInput, MethodClass,
    Sandbox, TextInput,
};
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::{Response, messages};
use serde_json::json;

use crate::support::{
    Server, bounded_async, count, one_step, params, sent, texts, with_both_clients, without_client_id,
};

with_both_clients! {
    fn a_plain_turn_sends_thread_and_input_alone(start, wait) {
        let script = Script::standard().start_thread("t").start_turn("t", "u").complete_turn("t", "u");
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("hello").send()).unwrap();
        assert_eq!((turn.id(), turn.thread_id()), ("u", "t"));
        wait!(turn.run()).unwrap();
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        let expected = json!({"threadId": "t", "input": [{"type": "text", "text": "hello"}]});
        assert_eq!(without_client_id(&sent(&received, "turn/start")["params"]), expected);
    }

    fn every_option_has_its_key(start, wait) {
        let script = Script::standard().start_thread("t").start_turn("t", "u").complete_turn("t", "u");
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let options = thread
            .turn("hello")
            .cwd("/repo")
            .effort(ReasoningEffort::High)
            .model("m")
            .output_schema(json!({"type": "object"}))
            .personality(Personality::Friendly)
            .sandbox_policy(ReadOnlySandboxPolicy::new().network_access(false))
            .service_tier("fast")
            .summary(ReasoningSummary::Concise);
        wait!(options.run()).unwrap();
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        let expected = json!({
            "threadId": "t", "input": [{"type": "text", "text": "hello"}], "cwd": "/repo", "effort": "high",
            "model": "m", "outputSchema": {"type": "object"}, "personality": "friendly",
            "sandboxPolicy": {"type": "readOnly", "networkAccess": false}, "serviceTier": "fast",
            "summary": "concise",
        });
        assert_eq!(without_client_id(&sent(&received, "turn/start")["params"]), expected);
    }

    fn unknown_efforts_are_sent_unchanged(start, wait) {
        let script = Script::standard().start_thread("t").start_turn("t", "u").complete_turn("t", "u");
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.turn("hello").effort("superb").run()).unwrap();
        wait!(codex.close()).unwrap();
        assert_eq!(sent(&running.finish().unwrap().messages(), "turn/start")["params"]["effort"], "superb");
    }

    fn interleaved_turns_get_their_own_events_in_order(start, wait) {
        let script = Script::standard()
            .start_thread("a")
            .start_thread("b")
            .start_turn("a", "ua")
            .start_turn("b", "ub")
            .send(messages::delta("b", "ub", "ib", "1"))
            .send(messages::delta("a", "ua", "ia", "1"))
            .send(messages::delta("a", "ua", "ia", "2"))
            .send(messages::item_completed("b", "ub", messages::agent_message("ib", "12")))
            .send(messages::delta("b", "ub", "ib", "late"))
            .complete_turn("b", "ub")
            .send(messages::item_completed("a", "ua", messages::agent_message("ia", "12")))
            .complete_turn("a", "ua");
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let left = wait!(codex.thread_start().send()).unwrap();
        let right = wait!(codex.thread_start().send()).unwrap();
        let left = wait!(left.turn("l").send()).unwrap();
        let right = wait!(right.turn("r").send()).unwrap();
        let (mut of_left, mut of_right) = (left.stream(), right.stream());
        let mut seen = [String::new(), String::new()];
        loop {
            let events = [wait!(of_left.next()), wait!(of_right.next())];
            if events.iter().all(Option::is_none) {
                break;
            }
            for (seen, event) in seen.iter_mut().zip(events) {
                let Some(event) = event else { continue };
                seen.push_str(match &event.unwrap() {
                    openai_codex::Notification::TurnStarted(event) => &event.turn.id,
                    openai_codex::Notification::AgentMessageDelta(event) => &event.delta,
                    openai_codex::Notification::ItemCompleted(_) => "item",
                    openai_codex::Notification::TurnCompleted(_) => "end",
                    other => panic!("{other:?}"),
                });
            }
        }
        assert_eq!(seen, ["ua12itemend", "ub1itemlateend"]);
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }
}

#[test]
fn two_requests_are_on_the_wire_before_either_response() {
    bounded_async(async || {
        let script = Script::standard()
            .expect_as("first", "test/first")
            .expect_as("second", "test/second")
            .respond_to("second", Response::Result(json!(2)))
            .respond_to("first", Response::Result(json!(1)));
        let (transport, running) = script.connect().unwrap();
        let codex = AsyncCodex::with_transport(CodexConfig::new(), transport);
        let (first, second) = tokio::join!(
            codex.request_raw("test/first", json!({})),
            codex.request_raw("test/second", json!({})),
        );
        assert_eq!((first.unwrap(), second.unwrap()), (json!(1), json!(2)));
        codex.close().await.unwrap();
        running.finished().await.unwrap();
    });
}

#[test]
fn a_turn_whose_timeout_passes_while_the_settings_change_is_not_sent() {
    bounded_async(async || {
        // It never responds to the resume.
        let server = Server::new(Script::standard().start_thread("t").expect("thread/resume"));
        let codex = AsyncCodex::with_config(server.config());
        let thread = codex.thread_start().send().await.unwrap();
        let mut resume = pin!(codex.thread_resume("t").sandbox(Sandbox::ReadOnly).send());
        assert!(one_step(resume.as_mut()).await.is_none());
        let error = thread.turn("go").timeout(Duration::from_millis(100)).send().await.unwrap_err();
        assert_eq!((error.kind(), error.method()), (ErrorKind::Timeout, Some("turn/start")));
        assert_eq!(error.thread_id(), Some("t"));
        assert!(error.to_string().contains("must poll or drop"), "{error}");
        codex.close().await.unwrap();
        assert_eq!(count(&server.received().unwrap(), "turn/start"), 0);
    });
}

#[test]
fn a_turn_whose_timeout_passes_while_its_unloaded_thread_is_resumed_is_not_sent() {
    bounded_async(async || {
        let script = Script::standard().start_thread("t").expect("test/unload");
        let script = script.notify("thread/closed", json!({"threadId": "t"})).respond(json!({}));
        let server = Server::new(script.expect("thread/resume"));
        let codex = AsyncCodex::with_config(server.config());
        let thread = codex.thread_start().send().await.unwrap();
        codex.request_raw("test/unload", json!({})).await.unwrap();
        let mut resume = pin!(codex.thread_resume("t").send());
        assert!(one_step(resume.as_mut()).await.is_none());
        let error = thread.turn("go").timeout(Duration::from_millis(100)).send().await.unwrap_err();
        assert_eq!((error.kind(), error.thread_id()), (ErrorKind::Timeout, Some("t")));
        assert!(error.to_string().contains("must poll or drop"), "{error}");
        codex.close().await.unwrap();
        assert_eq!(count(&server.received().unwrap(), "turn/start"), 0);
    });
}

#[test]
fn calls_behind_a_resume_that_is_held_and_not_polled_end() {
    bounded_async(async || {
        let server = Server::new(Script::standard().start_thread("t").expect("thread/resume"));
        let config = server.config().class_timeout(MethodClass::Slow, Duration::from_secs(2));
        let codex = AsyncCodex::with_config(config);
        let thread = codex.thread_start().send().await.unwrap();
        let mut resume = pin!(codex.thread_resume("t").sandbox(Sandbox::ReadOnly).send());
        assert!(one_step(resume.as_mut()).await.is_none());
        let (turn, other) = tokio::join!(thread.run("go"), codex.thread_resume("t").send());
        let (turn, other) = (turn.unwrap_err(), other.unwrap_err());
        assert_eq!((turn.kind(), turn.method()), (ErrorKind::Timeout, Some("turn/start")));
        assert_eq!((other.kind(), other.method()), (ErrorKind::Timeout, Some("thread/resume")));
        assert!(turn.to_string().contains("must poll or drop"), "{turn}");
        codex.close().await.unwrap();
        let received = server.received().unwrap();
        assert_eq!((count(&received, "turn/start"), count(&received, "thread/resume")), (0, 1));
    });
}

/// A server that reads a start, responds to it later, and ends the turn when the client interrupts it.
fn responds_late(gate: &Path) -> Script {
    let interrupted = json!({"threadId": "t", "turn": messages::turn("u", "interrupted")});
    Script::standard()
        .start_thread("t")
        .expect_as("start", "turn/start")
        .await_file(gate)
        .respond_to("start", Response::Result(json!({"turn": messages::turn("u", "inProgress")})))
        .notify("turn/started", json!({"threadId": "t", "turn": messages::turn("u", "inProgress")}))
        .expect("turn/interrupt")
        .respond(json!({}))
        .notify("turn/completed", interrupted)
        .expect("thread/resume")
        .respond(messages::thread_start_response("t"))
}

#[test]
fn a_resume_waits_for_a_dropped_start_and_for_the_end_of_its_turn() {
    bounded_async(async || {
        let folder = tempfile::tempdir().unwrap();
        let gate = folder.path().join("gate");
        let server = Server::new(responds_late(&gate));
        let codex = AsyncCodex::with_config(server.config());
        let thread = codex.thread_start().send().await.unwrap();
        {
            let mut run = pin!(thread.run("go"));
            assert!(one_step(run.as_mut()).await.is_none());
            server.wait_received("turn/start");
        }
        let mut resume = pin!(codex.thread_resume("t").sandbox(Sandbox::ReadOnly).send());
        assert!(one_step(resume.as_mut()).await.is_none());
        std::fs::write(&gate, "").unwrap();
        resume.await.unwrap();
        codex.close().await.unwrap();
        let received = server.received().unwrap();
        let methods = received.iter().filter_map(|message| message["method"].as_str());
        let methods: Vec<_> = methods.filter(|method| !method.starts_with("initialize")).collect();
        assert_eq!(methods[..4], ["thread/start", "turn/start", "turn/interrupt", "thread/resume"]);
    });
}

#[test]
fn an_unread_turn_blocks_no_request() {
    bounded_async(async || {
        const DELTAS: u64 = 20_000;
        let burst = openai_codex_testkit::app_server::Burst::deltas(DELTAS, "t", "u", "i", 192);
        let script = Script::standard()
            .start_thread("t")
            .start_turn("t", "u")
            .burst(burst)
            .expect("test/between")
            .respond(json!("still here"))
            .send(messages::item_completed("t", "u", messages::agent_message("i", "done")))
            .complete_turn("t", "u");
        let (transport, running) = script.connect().unwrap();
        let codex = AsyncCodex::with_transport(CodexConfig::new(), transport);
        let thread = codex.thread_start().send().await.unwrap();
        let turn = thread.turn("go").send().await.unwrap();
        let _unread = turn.stream();
        assert_eq!(codex.request_raw("test/between", json!({})).await.unwrap(), "still here");
        assert_eq!(texts(&turn.run().await.unwrap().items), ["done"]);
        codex.close().await.unwrap();
        running.finished().await.unwrap();
    });
}

fn runs_turns() -> Script {
    Script::standard()
        .always("thread/start", messages::thread_start_response("t"))
        .always("turn/start", json!({"turn": messages::turn("u", "inProgress")}))
}

with_both_clients! {
    fn steer_and_interrupt_name_the_thread_and_the_turn(start, wait) {
        let script = runs_turns().always("turn/steer", json!({"turnId": "u"})).always("turn/interrupt", json!({}));
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        assert_eq!(wait!(turn.steer("left")).unwrap().turn_id, "u");
        let items = [TextInput::new("look").into(), MentionInput::new("lib", "/l").into()];
        wait!(turn.steer(items)).unwrap();
        wait!(turn.interrupt()).unwrap();
        let empty = wait!(turn.steer(Vec::<InputItem>::new())).unwrap_err();
        assert_eq!(empty.kind(), ErrorKind::InvalidInput);
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        let text = |text: &str| json!({"type": "text", "text": text});
        let mention = json!({"type": "mention", "name": "lib", "path": "/l"});
        let steers = params(&received, "turn/steer");
        let [first, second] = steers[..] else { panic!("{steers:?}") };
        assert_ne!(first["clientUserMessageId"], second["clientUserMessageId"]);
        for (steer, input) in [(first, json!([text("left")])), (second, json!([text("look"), mention]))] {
            let id = steer["clientUserMessageId"].as_str().unwrap();
            let expected = json!({"threadId": "t", "expectedTurnId": "u", "input": input, "clientUserMessageId": id});
            assert_eq!(steer, &expected);
        }
        assert_eq!(sent(&received, "turn/interrupt")["params"], json!({"threadId": "t", "turnId": "u"}));
    }

    fn options_of_a_turn_have_their_keys(start, wait) {
        let script = (0..6).fold(Script::standard().start_thread("t"), |script, turn| {
            let turn = format!("u{turn}");
            script.start_turn("t", &turn).complete_turn("t", &turn)
        });
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        for sandbox in [Sandbox::ReadOnly, Sandbox::WorkspaceWrite, Sandbox::FullAccess] {
            wait!(thread.turn("go").sandbox(sandbox).run()).unwrap();
        }
        let network = ReadOnlySandboxPolicy::new().network_access(true);
        wait!(thread.turn("go").sandbox_policy(network).run()).unwrap();
        wait!(thread.turn("go").sandbox_policy(Sandbox::FullAccess).run()).unwrap();
        wait!(thread.turn("go").service_tier_for_turn("flex").turn_trigger("cron").run()).unwrap();
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        let turns = params(&received, "turn/start");
        let policies: Vec<_> = turns[..5].iter().map(|params| params["sandboxPolicy"].clone()).collect();
        let expected = [
            json!({"type": "readOnly", "networkAccess": false}),
            json!({
                "type": "workspaceWrite", "networkAccess": false, "writableRoots": [],
                "excludeSlashTmp": false, "excludeTmpdirEnvVar": false,
            }),
            json!({"type": "dangerFullAccess"}),
            json!({"type": "readOnly", "networkAccess": true}),
            json!({"type": "dangerFullAccess"}),
        ];
        assert_eq!(policies, expected);
        let expected = json!({
            "threadId": "t", "input": [{"type": "text", "text": "go"}],
            "serviceTierForTurn": "flex", "turnTrigger": "cron",
        });
        assert_eq!(without_client_id(turns[5]), expected);
    }

    fn an_external_message_is_not_sent_as_input(start, wait) {
        let script = Script::standard().start_thread("t").start_turn("t", "u").complete_turn("t", "u");
        let (transport, running) = script.start_turn("t", "v").complete_turn("t", "v").connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.turn(ExternalMessage::new("ci").text("red")).run()).unwrap();
        let items = [InputTextFunctionCallOutputContentItem::new("red")];
        let listed = ExternalMessage::new("ci").namespace("acme").items(items);
        wait!(thread.turn(listed).model("m").run()).unwrap();
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        let output = json!([{"type": "input_text", "text": "red"}]);
        let expected = [
            json!({"threadId": "t", "input": [], "toolOutput": {"name": "ci", "output": "red"}}),
            json!({
                "threadId": "t", "input": [], "model": "m",
                "toolOutput": {"name": "ci", "namespace": "acme", "output": output},
            }),
        ];
        assert_eq!(params(&received, "turn/start"), expected.iter().collect::<Vec<_>>());
    }

    fn blank_and_empty_messages_are_not_sent(start, wait) {
        let (transport, running) = runs_turns().connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let blank = wait!(thread.run(ExternalMessage::new(" ").text("x"))).unwrap_err();
        assert_eq!(blank.kind(), ErrorKind::InvalidInput);
        assert!(blank.to_string().contains("tool_name"), "{blank}");
        let empty = wait!(thread.turn(ExternalMessage::new("ci")).send()).unwrap_err();
        assert_eq!(empty.kind(), ErrorKind::InvalidInput);
        let empty = wait!(thread.run(Input::from(Vec::new()))).unwrap_err();
        assert_eq!(empty.kind(), ErrorKind::InvalidInput);
        wait!(codex.close()).unwrap();
        assert_eq!(count(&running.finish().unwrap().messages(), "turn/start"), 0);
    }
}

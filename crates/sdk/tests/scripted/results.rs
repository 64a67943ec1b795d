//! The result of a turn.

use openai_codex::types::{ThreadItem, TurnStatus};
use openai_codex::{CodexConfig, ErrorKind};
use openai_codex_testkit::app_server::messages;
use openai_codex_testkit::{Script, Usage};
use serde_json::{Value, json};

use crate::support::{texts, with_both_clients};

fn begin() -> Script {
    Script::standard().start_thread("t").start_turn("t", "u")
}

fn message(script: Script, id: &str, text: &str, phase: Option<&str>) -> Script {
    let mut item = messages::agent_message(id, text);
    item["phase"] = phase.map_or(Value::Null, Value::from);
    script.send(messages::item_completed("t", "u", item))
}

/// Phases and texts of messages, and the expected final response.
type Case = (&'static [(Option<&'static str>, &'static str)], Option<&'static str>);

const CASES: &[Case] = &[
    (&[], None),
    (&[(None, "one"), (None, "two")], Some("two")),
    (&[(None, "one"), (None, "")], Some("")),
    (&[(Some("commentary"), "one")], None),
    (&[(Some("commentary"), "one"), (Some("final_answer"), "two")], Some("two")),
    (&[(Some("final_answer"), "one"), (Some("commentary"), "two")], Some("one")),
    (&[(Some("final_answer"), "one"), (None, "two")], Some("one")),
    (&[(Some("final_answer"), "one"), (Some("final_answer"), "two")], Some("two")),
    (&[(None, "one"), (Some("commentary"), "two")], Some("one")),
    (&[(Some("phase_of_tomorrow"), "one")], None),
];

with_both_clients! {
    fn the_final_response_is_the_last_final_answer_or_the_last_without_a_phase(start, wait) {
        for (phases, expected) in CASES {
            let script = phases.iter().enumerate().fold(begin(), |script, (number, (phase, text))| {
                message(script, &format!("i{number}"), text, *phase)
            });
            let (transport, running) = script.complete_turn("t", "u").connect().unwrap();
            let codex = start!(CodexConfig::new(), transport).unwrap();
            let result = wait!(wait!(codex.thread_start().send()).unwrap().run("go")).unwrap();
            assert_eq!(result.final_response.as_deref(), *expected, "{phases:?}");
            let all: Vec<_> = phases.iter().map(|(_, text)| *text).collect();
            assert_eq!(texts(&result.items), all, "{phases:?}");
            wait!(codex.close()).unwrap();
            running.finish().unwrap();
        }
    }

    fn an_input_that_came_too_late_for_the_model_is_unused(start, wait) {
        let message = json!({"type": "userMessage", "id": "m", "clientId": "k", "content": []});
        let message = |script: Script| script.send(messages::item_completed("t", "u", message.clone()));
        let usage = |script: Script| script.send(messages::token_usage("t", "u", Usage::new(1, 1)));
        let said = |script: Script| script.send(messages::item_completed("t", "u", messages::agent_message("i", "done")));
        let cases: [(&dyn Fn(Script) -> Script, usize); 4] = [
            (&|script| message(usage(said(script))), 1),
            (&|script| message(said(script)), 1),
            // The model has been asked again.
            (&|script| said(message(usage(said(script)))), 0),
            (&|script| usage(message(usage(said(script)))), 0),
        ];
        for (number, (events, unused)) in cases.into_iter().enumerate() {
            let script = begin().expect("turn/start").respond(json!({"turn": messages::turn("u", "inProgress")}));
            let (transport, running) = events(script).complete_turn("t", "u").connect().unwrap();
            let codex = start!(CodexConfig::new(), transport).unwrap();
            let thread = wait!(codex.thread_start().send()).unwrap();
            let first = wait!(thread.turn("go").send()).unwrap();
            let joined = wait!(thread.turn("more").client_message_id("k").send()).unwrap();
            assert_eq!(joined.id(), first.id());
            let (first, joined) = (wait!(first.run()).unwrap(), wait!(joined.run()).unwrap());
            assert_eq!((first.unused_inputs.len(), joined.unused_inputs.len()), (0, unused), "case {number}");
            wait!(codex.close()).unwrap();
            running.finish().unwrap();
        }
    }

    fn an_input_whose_item_has_begun_before_the_interrupt_is_not_unused(start, wait) {
        for begins in [true, false] {
            let item = json!({"type": "userMessage", "id": "m", "clientId": "k", "content": []});
            let script = begin().expect("turn/start").respond(json!({"turn": messages::turn("u", "inProgress")}));
            let script = match begins {
                true => script.send(messages::item_started("t", "u", item)),
                false => script,
            };
            let end = messages::turn_completed("t", messages::turn("u", "interrupted"));
            let (transport, running) = script.send(end).connect().unwrap();
            let codex = start!(CodexConfig::new(), transport).unwrap();
            let thread = wait!(codex.thread_start().send()).unwrap();
            let first = wait!(thread.turn("go").send()).unwrap();
            let joined = wait!(thread.turn("more").client_message_id("k").send()).unwrap();
            assert_eq!(joined.id(), first.id());
            let result = wait!(joined.run()).unwrap();
            assert_eq!((result.is_interrupted(), result.unused_inputs.is_empty()), (true, begins));
            wait!(codex.close()).unwrap();
            running.finish().unwrap();
        }
    }

    fn items_and_usage_are_those_of_this_turn(start, wait) {
        let script = begin()
            .send(messages::item_completed("t", "other", messages::agent_message("x", "not mine")))
            .send(messages::item_completed("other", "v", messages::agent_message("y", "nor this")))
            .agent_message("t", "u", "i", ["mine"])
            .send(messages::token_usage("t", "u", Usage::new(1, 1)))
            .send(messages::token_usage("t", "other", Usage::new(1000, 1000)))
            .send(messages::token_usage("t", "u", Usage::new(11, 7).cached(3).reasoning(5)))
            .complete_turn("t", "u");
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let result = wait!(wait!(codex.thread_start().send()).unwrap().run("go")).unwrap();
        assert_eq!(texts(&result.items), ["mine"]);
        let usage = result.usage.unwrap();
        for counts in [&usage.last, &usage.total] {
            let numbers = [
                counts.input_tokens, counts.cached_input_tokens, counts.output_tokens,
                counts.reasoning_output_tokens, counts.total_tokens,
            ];
            assert_eq!(numbers, [11, 3, 7, 5, 18]);
        }
        assert_eq!((result.turn.id.as_str(), &result.turn.status), ("u", &TurnStatus::Completed));
        assert_eq!((result.turn.started_at, result.turn.duration_ms), (Some(1_700_000_000), Some(1_000)));
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }

    fn a_turn_without_usage_has_none(start, wait) {
        let (transport, running) = begin().complete_turn("t", "u").connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let result = wait!(wait!(codex.thread_start().send()).unwrap().run("go")).unwrap();
        assert!(result.usage.is_none() && result.items.is_empty() && result.final_response.is_none());
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }

    fn a_failed_turn_keeps_its_message_and_its_usage(start, wait) {
        for (message, shown) in [
            ("boom from mock model", "the turn failed: boom from mock model"),
            ("", "the turn failed, and the server gave no reason"),
            ("  ", "the turn failed, and the server gave no reason"),
        ] {
            let script = begin()
                .agent_message("t", "u", "i", ["half"])
                .send(messages::token_usage("t", "u", Usage::new(11, 7)))
                .fail_turn("t", "u", message);
            let (transport, running) = script.connect().unwrap();
            let codex = start!(CodexConfig::new(), transport).unwrap();
            let thread = wait!(codex.thread_start().send()).unwrap();
            let error = wait!(thread.run("go")).unwrap_err();
            assert_eq!((error.kind(), error.thread_id()), (ErrorKind::TurnFailed, Some("t")));
            assert!(error.to_string().contains(shown), "{error}");
            let result = error.turn().unwrap();
            assert_eq!(texts(&result.items), ["half"]);
            assert_eq!(result.usage.as_ref().unwrap().last.total_tokens, 18);
            assert_eq!(result.turn.status, TurnStatus::Failed);
            assert_eq!(result.turn.error.as_ref().unwrap().message, message);
            wait!(codex.close()).unwrap();
            running.finish().unwrap();
        }
    }

    fn an_interrupted_turn_is_a_result(start, wait) {
        let script = begin()
            .agent_message("t", "u", "i", ["half"])
            .send(messages::turn_completed("t", messages::turn("u", "interrupted")));
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let result = wait!(wait!(codex.thread_start().send()).unwrap().run("go")).unwrap();
        assert!(result.is_interrupted());
        assert_eq!(texts(&result.items), ["half"]);
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }

    fn an_error_with_will_retry_does_not_end_the_turn(start, wait) {
        let retried = json!({
            "threadId": "t", "turnId": "u", "willRetry": true,
            "error": {"message": "reconnecting", "codexErrorInfo": null, "additionalDetails": null},
        });
        let script =
            begin().notify("error", retried).agent_message("t", "u", "i", ["ok"]).complete_turn("t", "u");
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let result = wait!(wait!(codex.thread_start().send()).unwrap().run("go")).unwrap();
        assert_eq!(result.final_response.as_deref(), Some("ok"));
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }

    fn a_handles_result_is_that_of_run_every_time(start, wait) {
        let script = begin().agent_message("t", "u", "i", ["he", "llo"]).complete_turn("t", "u");
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let turn = wait!(wait!(codex.thread_start().send()).unwrap().turn("go").send()).unwrap();
        let first = wait!(turn.run()).unwrap();
        assert_eq!((first.turn.id.as_str(), first.final_response.as_deref()), (turn.id(), Some("hello")));
        let mut stream = turn.stream();
        while let Some(event) = wait!(stream.next()) {
            event.unwrap();
        }
        assert_eq!(wait!(turn.run()).unwrap(), first);
        assert_eq!(wait!(turn.clone().run()).unwrap(), first);
        wait!(codex.close()).unwrap();
        // Closed or not: the turn has ended.
        assert_eq!(wait!(turn.run()).unwrap(), first);
        running.finish().unwrap();
    }

    fn an_item_that_cannot_be_read_is_kept_apart(start, wait) {
        let bad = json!({"type": "agentMessage", "id": "i", "text": {"not": "text"}});
        let future = json!({"type": "itemOfTomorrow", "id": "j", "what": 1});
        let script = begin()
            .send(messages::item_completed("t", "u", bad))
            .send(messages::item_completed("t", "u", future.clone()))
            .agent_message("t", "u", "k", ["fine"])
            .complete_turn("t", "u");
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let result = wait!(wait!(codex.thread_start().send()).unwrap().run("go")).unwrap();
        assert_eq!(result.final_response.as_deref(), Some("fine"));
        assert_eq!(result.items[0], ThreadItem::Unrecognized(future));
        assert_eq!(result.unreadable.len(), 1);
        assert!(result.unreadable[0].error.to_string().contains("text"), "{}", result.unreadable[0].error);
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }
}

//! Typed output: the request, and the parsing of the response.

use std::time::Duration;

use openai_codex::schemars::{self, JsonSchema};
use openai_codex::{ApprovalMode, CodexConfig, ErrorKind, ExternalMessage, Sandbox};
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::messages;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{count, params, sent, with_both_clients, without_client_id};

#[derive(JsonSchema, Deserialize, Debug, PartialEq)]
struct Review {
    verdict: Verdict,
    remarks: Vec<Remark>,
}

#[derive(JsonSchema, Deserialize, Debug, PartialEq)]
enum Verdict {
    Good,
    Bad,
}

#[derive(JsonSchema, Deserialize, Debug, PartialEq)]
struct Remark {
    line: u32,
    text: Option<String>,
}

#[derive(JsonSchema, Deserialize, Debug)]
#[allow(dead_code, reason = "used as a schema only")]
struct Counts {
    by_file: std::collections::HashMap<String, u32>,
}

fn answers(text: &str) -> Script {
    Script::standard()
        .start_thread("t")
        .start_turn("t", "u")
        .agent_message("t", "u", "m", [text])
        .complete_turn("t", "u")
}

with_both_clients! {
    fn the_schema_goes_out_in_strict_form_and_a_value_comes_back(start, wait) {
        let script = answers(r#"{"verdict": "Bad", "remarks": [{"line": 7, "text": null}]}"#);
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let typed = wait!(thread.run_as::<Review>("review it")).unwrap();
        assert!(typed.result.final_response.as_deref().unwrap().contains("Bad"));
        assert_eq!(typed.result.turn.id, "u");
        let expected = Review { verdict: Verdict::Bad, remarks: vec![Remark { line: 7, text: None }] };
        assert_eq!(typed.into_value(), expected);
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        let schema = json!({
            "type": "object",
            "properties": {
                "verdict": {"$ref": "#/$defs/Verdict"},
                "remarks": {"type": "array", "items": {"$ref": "#/$defs/Remark"}},
            },
            "required": ["verdict", "remarks"],
            "additionalProperties": false,
            "$defs": {
                "Verdict": {"type": "string", "enum": ["Good", "Bad"]},
                "Remark": {
                    "type": "object",
                    "properties": {
                        "line": {"type": "integer", "minimum": 0, "maximum": u32::MAX},
                        "text": {"type": ["string", "null"]},
                    },
                    "required": ["line", "text"],
                    "additionalProperties": false,
                },
            },
        });
        let expected = json!({
            "threadId": "t", "input": [{"type": "text", "text": "review it"}], "outputSchema": schema,
        });
        assert_eq!(without_client_id(&sent(&received, "turn/start")["params"]), expected);
    }

    fn a_value_that_is_not_an_object_is_wrapped_in_one(start, wait) {
        let (transport, running) = answers(r#"{"value": ["Good", "Bad"]}"#).connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = thread.turn("judge them").model("m").output_schema(json!({"replaced": true}));
        let verdicts = wait!(turn.run_as::<Vec<Verdict>>()).unwrap().value;
        assert_eq!(verdicts, [Verdict::Good, Verdict::Bad]);
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        let params = &sent(&received, "turn/start")["params"];
        assert_eq!(params["model"], "m");
        assert_eq!(params["outputSchema"]["properties"]["value"]["type"], "array");
        assert!(params["outputSchema"].get("replaced").is_none());
    }

    fn a_handles_result_can_be_parsed(start, wait) {
        let (transport, running) = answers(r#"{"line": 1, "text": "long"}"#).connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("judge them").output_schema_of::<Remark>().send()).unwrap();
        let result = wait!(turn.run()).unwrap();
        let remark = result.typed::<Remark>().unwrap().value;
        assert_eq!(remark, Remark { line: 1, text: Some("long".into()) });
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }

    fn json_in_one_markdown_fence_is_read(start, wait) {
        let json = "{\"line\": 1, \"text\": \"```\"}";
        for text in [
            format!("```json\n{json}\n```"),
            format!("\n  ```JSON \r\n\n{json}\n\n``` \n"),
            format!("```\n{json}```"),
        ] {
            let (transport, running) = answers(&text).connect().unwrap();
            let codex = start!(CodexConfig::new(), transport).unwrap();
            let thread = wait!(codex.thread_start().send()).unwrap();
            let remark = wait!(thread.run_as::<Remark>("review it")).unwrap();
            assert_eq!(remark.value, Remark { line: 1, text: Some("```".into()) }, "{text}");
            assert_eq!(remark.result.final_response, Some(text));
            wait!(codex.close()).unwrap();
            running.finish().unwrap();
        }
    }

    fn json_in_prose_or_in_another_fence_is_not_a_value(start, wait) {
        let json = "{\"line\": 1, \"text\": null}";
        for text in [
            format!("Here it is:\n```json\n{json}\n```"),
            format!("```json\n{json}\n```\nThat is all."),
            format!("```json\n{json}\n```\n```json\n{json}\n```"),
            format!("```rust\n{json}\n```"),
            format!("```json\n{json}\n"),
            "```".to_owned(),
            "``````".to_owned(),
        ] {
            let (transport, running) = answers(&text).connect().unwrap();
            let codex = start!(CodexConfig::new(), transport).unwrap();
            let thread = wait!(codex.thread_start().send()).unwrap();
            let error = wait!(thread.run_as::<Remark>("review it")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::OutputMismatch, "{text}");
            assert_eq!(error.output_mismatch().unwrap().text, text);
            wait!(codex.close()).unwrap();
            running.finish().unwrap();
        }
    }

    fn a_mismatch_in_a_fence_is_placed_in_the_whole_text(start, wait) {
        let text = "\n```json\n{\"line\": -1,\n \"text\": null}\n```";
        let (transport, running) = answers(text).connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let error = wait!(thread.run_as::<Remark>("review it")).unwrap_err();
        let mismatch = error.output_mismatch().unwrap();
        assert_eq!((mismatch.text.as_str(), mismatch.path.as_str()), (text, "line"));
        assert_eq!((mismatch.line, mismatch.column), (3, 11));
        assert!(mismatch.reason.ends_with("at line 3 column 11"), "{}", mismatch.reason);
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }

    fn a_time_limit_covers_all_attempts(start, wait) {
        // The second turn never ends.
        let script = answers("no JSON").start_turn("t", "v").expect("turn/interrupt").respond(json!({}));
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = thread.turn("review it").retry_on_mismatch(1).timeout(Duration::from_secs(2));
        let error = wait!(turn.run_as::<Remark>()).unwrap_err();
        assert_eq!((error.kind(), error.thread_id()), (ErrorKind::Timeout, Some("t")));
        let attempts: Vec<_> = error.failed_attempts().iter().map(|turn| turn.result.turn.id.as_str()).collect();
        assert_eq!(attempts, ["u"]);
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        assert_eq!(sent(&received, "turn/interrupt")["params"], json!({"threadId": "t", "turnId": "v"}));
    }

    fn a_retry_after_an_external_message_is_an_input(start, wait) {
        let script = answers("no JSON").start_turn("t", "v");
        let script = script.agent_message("t", "v", "m", [r#"{"line": 1, "text": null}"#]).complete_turn("t", "v");
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let message = ExternalMessage::new("ci").text("red");
        let turn = thread.turn(message).model("m").turn_trigger("cron").retry_on_mismatch(1).cwd("/");
        let turn = turn.sandbox(Sandbox::FullAccess).approval_mode(ApprovalMode::DenyAll);
        wait!(turn.run_as::<Remark>()).unwrap();
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        let [first, second] = params(&received, "turn/start")[..] else { panic!("{received:?}") };
        assert_eq!((&first["input"], &first["toolOutput"]["name"]), (&json!([]), &json!("ci")));
        assert!(second["input"][0]["text"].as_str().unwrap().contains("expected ident at line 1 column 2"));
        assert!(second.get("toolOutput").is_none());
        for same in ["turnTrigger", "outputSchema"] {
            assert!(first[same] == second[same] && !first[same].is_null(), "{same}");
        }
        for stays in ["model", "cwd", "sandboxPolicy", "approvalPolicy"] {
            // It stays with the thread. Another call can have replaced it since, by a narrower sandbox for example.
            assert!(!first[stays].is_null() && second.get(stays).is_none(), "{stays}");
        }
    }

    fn retries_are_refused_where_the_final_response_is_not_read(start, wait) {
        let (transport, running) = Script::standard().start_thread("t").connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let errors = [
            wait!(thread.turn("go").retry_on_mismatch(1).send()).unwrap_err(),
            wait!(thread.turn("go").retry_on_mismatch(1).run()).unwrap_err(),
        ];
        for error in errors {
            assert_eq!((error.kind(), error.thread_id()), (ErrorKind::InvalidInput, Some("t")));
            assert!(error.to_string().contains("run_as"), "{error}");
        }
        wait!(codex.close()).unwrap();
        assert_eq!(count(&running.finish().unwrap().messages(), "turn/start"), 0);
    }

    fn a_mismatch_has_its_position(start, wait) {
        let text = "{\"verdict\": \"Bad\",\n \"remarks\": [{\"line\": 7, \"text\": null}, {\"line\": -1, \"text\": null}]}";
        let (transport, running) = answers(text).connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let error = wait!(thread.run_as::<Review>("review it")).unwrap_err();
        assert_eq!((error.kind(), error.thread_id()), (ErrorKind::OutputMismatch, Some("t")));
        let mismatch = error.output_mismatch().unwrap();
        assert_eq!((mismatch.text.as_str(), mismatch.path.as_str()), (text, "remarks[1].line"));
        assert_eq!((mismatch.line, mismatch.column), (2, 51));
        let words = error.to_string();
        assert!(words.contains("not a valid `Review`: `remarks[1].line`: invalid value: integer `-1`"), "{words}");
        assert_eq!(error.turn().unwrap().turn.id, "u");
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }

    fn a_text_that_is_not_json_is_reported_as_such(start, wait) {
        for (text, place) in [("The code is good.", (1, 1)), ("", (1, 0)), ("{\"line\": 1, \"text\": null} and", (1, 27))] {
            let (transport, running) = answers(text).connect().unwrap();
            let codex = start!(CodexConfig::new(), transport).unwrap();
            let thread = wait!(codex.thread_start().send()).unwrap();
            let error = wait!(thread.run_as::<Remark>("review it")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::OutputMismatch);
            let mismatch = error.output_mismatch().unwrap();
            assert_eq!((mismatch.path.as_str(), mismatch.line, mismatch.column), ("", place.0, place.1), "{text}");
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
            wait!(codex.close()).unwrap();
            running.finish().unwrap();
        }
    }

    fn an_error_holds_a_long_text_in_full_and_quotes_a_part(start, wait) {
        let text = "é".repeat(10_000);
        let (transport, running) = answers(&text).connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let error = wait!(thread.run_as::<Remark>("review it")).unwrap_err();
        assert_eq!(error.output_mismatch().unwrap().text, text);
        assert!(error.to_string().chars().count() < 500, "{error}");
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }

    fn a_turn_without_an_output_is_an_error(start, wait) {
        let interrupted = Script::standard()
            .start_thread("t")
            .start_turn("t", "u")
            .agent_message("t", "u", "m", [r#"{"line": 1, "text": null}"#])
            .send(messages::turn_completed("t", messages::turn("u", "interrupted")));
        let silent = Script::standard().start_thread("t").start_turn("t", "u").complete_turn("t", "u");
        for (script, why) in [(interrupted, "interrupted"), (silent, "without a final response")] {
            let (transport, running) = script.connect().unwrap();
            let codex = start!(CodexConfig::new(), transport).unwrap();
            let thread = wait!(codex.thread_start().send()).unwrap();
            let error = wait!(thread.run_as::<Remark>("review it")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NoOutput);
            assert!(error.to_string().contains(why), "{error}");
            assert_eq!(error.turn().unwrap().turn.id, "u");
            assert!(error.output_mismatch().is_none());
            wait!(codex.close()).unwrap();
            running.finish().unwrap();
        }
    }

    fn a_failed_turn_stays_failed(start, wait) {
        let script = Script::standard().start_thread("t").start_turn("t", "u").fail_turn("t", "u", "gone");
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let error = wait!(thread.run_as::<Remark>("review it")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TurnFailed);
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }

    fn a_type_without_a_strict_form_is_refused_unsent(start, wait) {
        let (transport, running) = Script::standard().start_thread("t").connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let error = wait!(thread.run_as::<Counts>("count")).unwrap_err();
        assert_eq!((error.kind(), error.thread_id()), (ErrorKind::InvalidInput, Some("t")));
        assert!(error.to_string().contains("`Counts` cannot be an output type: `by_file` is a map"), "{error}");
        let error = wait!(thread.turn("count").output_schema_of::<Value>().send()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        wait!(codex.close()).unwrap();
        assert_eq!(count(&running.finish().unwrap().messages(), "turn/start"), 0);
    }

    fn a_later_schema_replaces_an_impossible_one(start, wait) {
        let (transport, running) = answers(r#"{"by_file": {"a.rs": 1}}"#).connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = thread.turn("count").output_schema_of::<Counts>().output_schema(json!({"type": "object"}));
        let counts = wait!(turn.run()).unwrap().typed::<Counts>().unwrap().value;
        assert_eq!(counts.by_file["a.rs"], 1);
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        assert_eq!(sent(&received, "turn/start")["params"]["outputSchema"], json!({"type": "object"}));
    }
}

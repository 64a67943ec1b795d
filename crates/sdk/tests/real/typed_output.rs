//! Typed output, and the schema that the model receives.

use openai_codex::ErrorKind;
use openai_codex::schemars::{self, JsonSchema};
use openai_codex_testkit::{ModelReply, Usage};
use serde::Deserialize;
use serde_json::json;

use crate::support::{Model, with_both_clients};

#[derive(JsonSchema, Deserialize, Debug, PartialEq)]
struct Mountain {
    /// As the locals call it.
    name: String,
    metres: u32,
    first_climbed: Option<u16>,
}

with_both_clients! {
    fn the_schema_reaches_the_model_as_a_strict_one(start, wait) {
        let model = Model::start();
        model.reply(r#"{"name": "Sagarmatha", "metres": 8849, "first_climbed": 1953}"#);
        model.reply("You are welcome.");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let mountain = wait!(thread.run_as::<Mountain>("the highest?")).unwrap();
        let expected = Mountain { name: "Sagarmatha".into(), metres: 8849, first_climbed: Some(1953) };
        assert_eq!(mountain.value, expected);
        let format = model.last_request().unwrap().body["text"]["format"].clone();
        assert_eq!(format["type"], "json_schema");
        assert_eq!(format["strict"], true);
        let schema = json!({
            "type": "object",
            "properties": {
                "name": {"type": "string", "description": "As the locals call it."},
                "metres": {"type": "integer", "minimum": 0, "maximum": u32::MAX},
                "first_climbed": {"type": ["integer", "null"], "minimum": 0, "maximum": u16::MAX},
            },
            "required": ["name", "metres", "first_climbed"],
            "additionalProperties": false,
        });
        assert_eq!(format["schema"], schema);
        // In the order of the type: neither the client nor the runtime sorts them.
        let order: Vec<_> = format["schema"]["properties"].as_object().unwrap().keys().collect();
        assert_eq!(order, ["name", "metres", "first_climbed"]);

        // The schema applies to that turn only.
        wait!(thread.run("thank you")).unwrap();
        assert!(model.last_request().unwrap().body["text"].get("format").is_none());
        wait!(codex.close()).unwrap();
    }

    fn a_response_that_does_not_fit_the_schema_is_an_error(start, wait) {
        let model = Model::start();
        model.reply(r#"{"name": "Sagarmatha", "metres": "high", "first_climbed": null}"#);
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let error = wait!(thread.run_as::<Mountain>("the highest?")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutputMismatch);
        assert_eq!(error.output_mismatch().unwrap().path, "metres");
        assert!(error.turn().unwrap().final_response.is_some());
        assert!(error.failed_attempts().is_empty());
        assert_eq!(model.requests().len(), 1, "nothing is tried again unless the program says so");
        wait!(codex.close()).unwrap();
    }

    fn retry_on_mismatch_sends_the_error_back_to_the_model(start, wait) {
        let model = Model::start();
        let reply = |text: &str| ModelReply::text(text).usage(Usage::new(10, 1));
        model.reply(reply(r#"{"name": "Sagarmatha", "metres": "high", "first_climbed": null}"#));
        model.reply(reply("Sorry."));
        model.reply(reply("```json\n{\"name\": \"Sagarmatha\", \"metres\": 8849, \"first_climbed\": null}\n```"));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = thread.turn("the highest?").model("model-of-the-turn").retry_on_mismatch(5);
        let mountain = wait!(turn.run_as::<Mountain>()).unwrap();
        assert_eq!(mountain.value.metres, 8849);

        let requests = model.requests();
        assert_eq!(requests.len(), 3);
        for request in &requests {
            assert_eq!(request.model(), Some("model-of-the-turn"));
            assert_eq!(request.body["text"]["format"]["type"], "json_schema");
        }
        let corrections = [
            "`metres`: invalid type: string \"high\", expected u32 at line 1 column 39",
            "schema: expected value at line 1 column 1",
        ];
        for (request, correction) in requests[1..].iter().zip(corrections) {
            let message = request.last_user_text().unwrap();
            assert!(message.contains(correction), "{message}");
        }
        // The cost of the failed attempts.
        assert_eq!(mountain.failed_attempts.len(), 2);
        assert_eq!(mountain.failed_attempts[1].mismatch.text, "Sorry.");
        for attempt in &mountain.failed_attempts {
            assert_ne!(attempt.result.turn.id, mountain.result.turn.id);
            assert_eq!(attempt.result.turn_usage.as_ref().unwrap().total_tokens, 11);
        }
        wait!(codex.close()).unwrap();
    }

    fn attempts_that_never_fit_end_with_the_last_mismatch(start, wait) {
        let model = Model::start();
        model.reply("first");
        model.reply("second");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let error = wait!(thread.turn("the highest?").retry_on_mismatch(1).run_as::<Mountain>()).unwrap_err();
        assert_eq!((error.kind(), error.thread_id()), (ErrorKind::OutputMismatch, Some(thread.id())));
        assert_eq!(error.output_mismatch().unwrap().text, "second");
        assert_eq!(error.turn().unwrap().final_response.as_deref(), Some("second"));
        let texts: Vec<_> = error.failed_attempts().iter().map(|attempt| attempt.mismatch.text.as_str()).collect();
        assert_eq!(texts, ["first"]);
        assert_eq!(model.requests().len(), 2);
        wait!(codex.close()).unwrap();
    }

    fn a_turn_that_fails_after_a_mismatch_is_not_followed_by_another(start, wait) {
        let model = Model::start();
        model.reply("first");
        model.reply(ModelReply::failed("out of paper"));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let error = wait!(thread.turn("the highest?").retry_on_mismatch(5).run_as::<Mountain>()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TurnFailed);
        assert_eq!(error.failed_attempts().len(), 1);
        assert_eq!(model.requests().len(), 2);
        wait!(codex.close()).unwrap();
    }

    fn an_interrupted_turn_has_no_output(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("{\"name\": ").pause(&gate));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("the highest?").output_schema_of::<Mountain>().send()).unwrap();
        gate.wait_reached().unwrap();
        wait!(turn.interrupt()).unwrap();
        let error = wait!(turn.run()).unwrap().typed::<Mountain>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoOutput);
        assert!(error.to_string().contains("interrupted"), "{error}");
        wait!(codex.close()).unwrap();
    }
}

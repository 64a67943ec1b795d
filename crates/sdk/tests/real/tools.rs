//! Functions of the program that the scripted model calls.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use openai_codex::schemars::{self, JsonSchema};
use openai_codex::types::{DynamicToolCallStatus, ThreadItem, TurnInterruptParams};
use openai_codex::{CodexConfig, ErrorKind, Json, RunResult, Tool, ToolOutput, methods};
use openai_codex_testkit::{ModelReply, ModelToolCall};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{Model, with_both_clients};

#[derive(Deserialize, JsonSchema)]
struct Lookup {
    part_number: String,
}

fn lookup() -> Tool {
    Tool::new("lookup", "How many of a part are in stock", |part: Lookup| async move {
        match part.part_number.as_str() {
            "AB-12" => Ok("7 pieces"),
            other => Err(format!("there is no part {other}")),
        }
    })
}

fn calls(name: &str, arguments: Value) -> ModelToolCall {
    ModelToolCall::new(name, arguments)
}

/// The tool outputs that the model received, in order.
fn outputs(model: &Model) -> Vec<String> {
    let requests = model.requests();
    let last = requests.last().unwrap();
    let outputs = last.function_call_outputs().into_iter().map(|item| match &item["output"] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    outputs.collect()
}

fn statuses(result: &RunResult) -> Vec<DynamicToolCallStatus> {
    let calls = result.items.iter().filter_map(|item| match item {
        ThreadItem::DynamicToolCall(call) => Some(call.status.clone()),
        _ => None,
    });
    calls.collect()
}

with_both_clients! {
    fn the_model_gets_the_output_of_a_tool(start, wait) {
        let model = Model::start();
        model.reply(calls("lookup", json!({"part_number": "AB-12"})));
        model.reply(calls("count", json!({})));
        model.reply("there are 7");
        let codex = start!(model.config()).unwrap();
        let counted = Arc::new(AtomicUsize::new(0));
        let counter = counted.clone();
        let count = Tool::new("count", "How often it was called", move |(): ()| {
            Json(json!({"times": counter.fetch_add(1, Ordering::SeqCst) + 1}))
        });
        let thread = wait!(codex.thread_start().tools([lookup(), count]).send()).unwrap();
        let result = wait!(thread.run("how many?")).unwrap();
        assert_eq!(result.final_response.as_deref(), Some("there are 7"));
        assert_eq!(outputs(&model), ["7 pieces", r#"{"times":1}"#]);
        assert_eq!(counted.load(Ordering::SeqCst), 1);
        assert_eq!(statuses(&result), [DynamicToolCallStatus::Completed, DynamicToolCallStatus::Completed]);
        wait!(codex.close()).unwrap();
    }

    fn the_model_gets_images(start, wait) {
        const PIXEL: &str =
            "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
        let model = Model::start();
        model.reply(calls("look", json!({})));
        model.reply("a pixel");
        let codex = start!(model.config()).unwrap();
        let look = Tool::new("look", "A picture", |(): ()| ToolOutput::new().text("here").image_url(PIXEL));
        let thread = wait!(codex.thread_start().tools([look]).send()).unwrap();
        wait!(thread.run("look")).unwrap();
        let outputs = outputs(&model).concat();
        assert!(outputs.contains("here") && outputs.contains("input_image"), "{outputs}");
        wait!(codex.close()).unwrap();
    }

    fn a_tool_that_fails_is_a_failed_call_whose_message_the_model_reads(start, wait) {
        let model = Model::start();
        model.reply(calls("lookup", json!({"part_number": "none"})));
        model.reply(calls("lookup", json!({"part_number": 7})));
        model.reply(calls("panics", json!({})));
        model.reply(calls("late", json!({})));
        model.reply("sorry");
        let codex = start!(model.config()).unwrap();
        let panics = Tool::new("panics", "Has a bug", |(): ()| -> String { panic!("a bug") });
        let late = Tool::new("late", "Takes its time", |(): ()| std::future::pending::<String>());
        let tools = [lookup(), panics, late.timeout(Duration::from_millis(1))];
        let thread = wait!(codex.thread_start().tools(tools).send()).unwrap();
        let result = wait!(thread.run("how many?")).unwrap();
        assert_eq!(statuses(&result), vec![DynamicToolCallStatus::Failed; 4]);
        let outputs = outputs(&model);
        assert_eq!(outputs[0], "there is no part none");
        assert!(outputs[1].contains("part_number"), "{}", outputs[1]);
        assert!(outputs[2].contains("a bug"), "{}", outputs[2]);
        assert!(outputs[3].contains("did not respond within 1ms"), "{}", outputs[3]);
        wait!(codex.close()).unwrap();
    }

    fn several_calls_of_one_response_are_all_answered(start, wait) {
        let model = Model::start();
        let both = ModelReply::new()
            .call(calls("lookup", json!({"part_number": "AB-12"})))
            .call(calls("lookup", json!({"part_number": "CD-34"})));
        model.reply(both);
        model.reply("done");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().tools([lookup()]).send()).unwrap();
        wait!(thread.run("how many?")).unwrap();
        assert_eq!(outputs(&model), ["7 pieces", "there is no part CD-34"]);
        wait!(codex.close()).unwrap();
    }

    fn tools_of_a_resumed_thread_bind_again_by_name(start, wait) {
        let model = Model::start();
        model.reply("started");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().tools([lookup().namespace("stock")]).send()).unwrap();
        wait!(thread.run("hello")).unwrap();
        let id = thread.id().to_owned();
        wait!(codex.close()).unwrap();

        // Another runtime process: the runtime stored the tool, and this client supplies the closure.
        model.reply(calls("lookup", json!({"part_number": "AB-12"})).namespace("stock"));
        model.reply("there are 7");
        let codex = start!(model.config()).unwrap();
        let resumed = codex.thread_resume(id).tools([lookup().namespace("stock")]);
        let thread = wait!(resumed.send()).unwrap();
        wait!(thread.run("how many?")).unwrap();
        assert_eq!(outputs(&model), ["7 pieces"]);
        wait!(codex.close()).unwrap();
    }

    fn a_tool_can_call_its_client_and_is_canceled_with_its_turn(start, wait) {
        let model = Model::start();
        model.reply(calls("stop", json!({})));
        let (cancelled_tx, cancelled_rx) = mpsc::channel();
        let stop = Tool::with_context("stop", "Ends the turn", move |(): (), call: openai_codex::ToolCall| {
            let interrupt = TurnInterruptParams::new(call.thread_id(), call.turn_id());
            call.codex().unwrap().request::<methods::TurnInterrupt>(interrupt).unwrap();
            cancelled_tx.send(call.cancellation().wait_timeout(Duration::from_secs(30))).unwrap();
        });
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().tools([stop]).send()).unwrap();
        assert!(wait!(thread.run("stop")).unwrap().is_interrupted());
        assert!(cancelled_rx.recv().unwrap());
        wait!(codex.close()).unwrap();
    }

    fn invalid_tools_are_refused_before_anything_is_sent(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        let twice = codex.thread_start().tools([lookup(), lookup()]);
        assert_eq!(wait!(twice.send()).unwrap_err().kind(), ErrorKind::InvalidInput);
        wait!(codex.close()).unwrap();
        let codex = start!(CodexConfig::experimental_api(model.config(), false)).unwrap();
        let error = wait!(codex.thread_start().tools([lookup()]).send()).unwrap_err();
        assert!(error.to_string().contains("experimental_api"), "{error}");
        wait!(codex.close()).unwrap();
    }
}

//! Functions under `#[tool]` that the scripted model calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use openai_codex::types::{DynamicToolCallStatus, ThreadItem};
use openai_codex::{Json, RunResult, Tool, ToolCall, ToolOutput, tool};
use openai_codex_testkit::{ModelReply, ModelToolCall};
use serde_json::{Value, json};

use crate::support::{Model, with_both_clients};

/// How many pieces of a part are in stock.
///
/// Only parts that have
/// a label.
#[tool]
fn look_up(
    /// As it is on the label.
    part_number: String,
    #[serde(default = "all")] warehouse: String,
    pieces: Option<u32>,
) -> Result<String, String> {
    match part_number.as_str() {
        "AB-12" => Ok(format!("{} of {pieces:?} in {warehouse}", 7)),
        other => Err(format!("there is no part {other}")),
    }
}

fn all() -> String {
    "all".to_owned()
}

/// Adds.
#[tool(name = "sum")]
async fn add(r#type: String, mut terms: Vec<i32>) -> Json<Value> {
    terms.push(1);
    Json(json!({r#type: terms.iter().sum::<i32>()}))
}

#[tool(description = "Which thread this is.")]
fn who_am_i(
    /// Not for the model.
    call: ToolCall,
) -> ToolOutput {
    ToolOutput::new().text(format!("{} in {}", call.tool(), call.thread_id()))
}

/// Does nothing.
#[tool]
async fn nothing() {}

struct Stock {
    pieces: AtomicU32,
}

impl Stock {
    /// Takes pieces of a part.
    #[tool]
    fn take(&self, pieces: u32) -> Result<String, std::num::TryFromIntError> {
        let pieces = u8::try_from(pieces)?;
        Ok(format!("{} left", self.pieces.fetch_sub(pieces.into(), Ordering::SeqCst) - u32::from(pieces)))
    }

    /// Puts pieces of a part back.
    #[tool]
    async fn clone(&self, call: ToolCall, pieces: u32) -> String {
        format!("{}: {}", call.tool(), self.pieces.fetch_add(pieces, Ordering::SeqCst) + pieces)
    }
}

/// The outputs of the tools as the model got them, in order.
fn outputs(model: &Model) -> Vec<String> {
    let requests = model.requests();
    let outputs = requests.last().unwrap().function_call_outputs();
    outputs.iter().map(|item| item["output"].as_str().unwrap().to_owned()).collect()
}

fn statuses(result: &RunResult) -> Vec<DynamicToolCallStatus> {
    let calls = result.items.iter().filter_map(|item| match item {
        ThreadItem::DynamicToolCall(call) => Some(call.status.clone()),
        _ => None,
    });
    calls.collect()
}

with_both_clients! {
    fn the_model_calls_functions(start, wait) {
        let model = Model::start();
        let calls = ModelReply::new()
            .call(ModelToolCall::new("look_up", json!({"part_number": "AB-12", "pieces": 3})))
            .call(ModelToolCall::new("sum", json!({"type": "total", "terms": [1, 2]})))
            .call(ModelToolCall::new("who_am_i", json!({})))
            .call(ModelToolCall::new("nothing", json!({})));
        model.reply(calls);
        model.reply("done");
        let codex = start!(model.config()).unwrap();
        let tools = [look_up_tool(), add_tool(), who_am_i_tool(), nothing_tool()];
        let thread = wait!(codex.thread_start().tools(tools).send()).unwrap();
        let result = wait!(thread.run("work")).unwrap();
        assert_eq!(result.final_response.as_deref(), Some("done"));
        assert_eq!(statuses(&result), vec![DynamicToolCallStatus::Completed; 4]);
        let thread = format!("who_am_i in {}", thread.id());
        assert_eq!(outputs(&model), ["7 of Some(3) in all", r#"{"total":4}"#, &thread, "done"]);
        wait!(codex.close()).unwrap();
    }

    fn the_model_is_offered_names_comments_and_schemas(start, wait) {
        let model = Model::start();
        model.reply("none needed");
        let codex = start!(model.config()).unwrap();
        let tools = [look_up_tool(), add_tool(), who_am_i_tool()];
        let thread = wait!(codex.thread_start().tools(tools).send()).unwrap();
        wait!(thread.run("work")).unwrap();
        let request = model.last_request().unwrap();
        let offered = |name: &str| request.tools().iter().find(|tool| tool["name"] == name).unwrap().clone();
        let look_up = offered("look_up");
        let description = "How many pieces of a part are in stock.\n\nOnly parts that have\na label.";
        assert_eq!(look_up["description"], description);
        let arguments = &look_up["parameters"];
        assert_eq!(arguments["properties"]["part_number"]["description"], "As it is on the label.");
        assert_eq!(arguments["required"], json!(["part_number"]));
        assert_eq!(offered("sum")["parameters"]["required"], json!(["type", "terms"]));
        assert_eq!(offered("who_am_i")["description"], "Which thread this is.");
        assert_eq!(offered("who_am_i")["parameters"]["properties"], json!({}));
        wait!(codex.close()).unwrap();
    }

    fn methods_share_the_state_of_their_tools(start, wait) {
        let model = Model::start();
        model.reply(ModelToolCall::new("take", json!({"pieces": 2})));
        model.reply(ModelToolCall::new("clone", json!({"pieces": 1})));
        model.reply("done");
        let codex = start!(model.config()).unwrap();
        let stock = Arc::new(Stock { pieces: AtomicU32::new(7) });
        let tools: [Tool; 2] = [stock.take_tool(), stock.clone_tool()];
        let thread = wait!(codex.thread_start().tools(tools).send()).unwrap();
        wait!(thread.run("work")).unwrap();
        assert_eq!(outputs(&model), ["5 left", "clone: 6"]);
        assert_eq!(stock.pieces.load(Ordering::SeqCst), 6);
        wait!(codex.close()).unwrap();
    }

    fn an_error_is_a_failed_call_whose_message_the_model_reads(start, wait) {
        let model = Model::start();
        model.reply(ModelToolCall::new("look_up", json!({"part_number": "none"})));
        model.reply(ModelToolCall::new("look_up", json!({"part_number": 7})));
        model.reply(ModelToolCall::new("take", json!({"pieces": 300})));
        model.reply("sorry");
        let codex = start!(model.config()).unwrap();
        let stock = Arc::new(Stock { pieces: AtomicU32::new(7) });
        let tools = [look_up_tool(), stock.take_tool()];
        let thread = wait!(codex.thread_start().tools(tools).send()).unwrap();
        let result = wait!(thread.run("work")).unwrap();
        assert_eq!(statuses(&result), vec![DynamicToolCallStatus::Failed; 3]);
        let outputs = outputs(&model);
        assert_eq!(outputs[0], "there is no part none");
        assert!(outputs[1].contains("at `part_number`"), "{}", outputs[1]);
        assert!(outputs[2].contains("out of range"), "{}", outputs[2]);
        wait!(codex.close()).unwrap();
    }
}

//! A reply as the server-sent events of the Responses API.

use std::time::Duration;

use serde_json::{Value, json};

use super::gate::Barrier;
use super::message::{Phase, Usage};
use super::reasoning::{Piece, Reasoning};
use super::reply::{End, ModelReply, Part};
use super::tool::{Kind, ModelToolCall};

/// The next step of a response body.
#[derive(Debug)]
pub(crate) enum Step {
    Send(String),
    Pause(Barrier),
    Delay(Duration),
    /// Breaks the connection.
    Cut,
}

/// The steps of a reply. `number` makes the ids of different replies distinct.
pub(crate) fn steps(reply: ModelReply, number: usize) -> Vec<Step> {
    let (parts, usage, end) = reply.into_parts();
    let mut writer = Writer { number, steps: Vec::new(), items: 0, message: None };
    writer.send(json!({"type": "response.created", "response": {"id": writer.response_id()}}));
    for part in parts {
        writer.part(part);
    }
    writer.end(usage, end);
    writer.steps
}

struct Writer {
    number: usize,
    steps: Vec<Step>,
    items: usize,
    message: Option<Message>,
}

/// A message in progress.
struct Message {
    id: String,
    index: usize,
    phase: Option<Phase>,
    text: String,
}

impl Message {
    fn item(&self, done: bool) -> Value {
        let content = if done {
            json!([{"type": "output_text", "text": self.text, "annotations": []}])
        } else {
            json!([])
        };
        let status = if done { "completed" } else { "in_progress" };
        let mut item = json!({
            "type": "message", "id": self.id, "role": "assistant", "status": status, "content": content,
        });
        if let Some(phase) = self.phase {
            item["phase"] = phase.wire().into();
        }
        item
    }
}

impl Writer {
    fn send(&mut self, event: Value) {
        let name = event["type"].as_str().unwrap_or_default();
        self.steps.push(Step::Send(format!("event: {name}\ndata: {event}\n\n")));
    }

    fn response_id(&self) -> String {
        format!("resp_{}", self.number)
    }

    fn next_index(&mut self) -> usize {
        self.items += 1;
        self.items - 1
    }

    fn part(&mut self, part: Part) {
        match part {
            Part::Open(phase) => {
                let index = self.next_index();
                let id = format!("msg_{}_{index}", self.number);
                let message = Message { id, index, phase, text: String::new() };
                self.send(json!({
                    "type": "response.output_item.added", "output_index": index, "item": message.item(false),
                }));
                self.message = Some(message);
            }
            Part::Delta(text) => {
                let Some(message) = &mut self.message else { return };
                message.text.push_str(&text);
                let event = json!({
                    "type": "response.output_text.delta", "item_id": message.id,
                    "output_index": message.index, "content_index": 0, "delta": text,
                });
                self.send(event);
            }
            Part::Close => {
                let Some(message) = self.message.take() else { return };
                self.send(json!({
                    "type": "response.output_item.done", "output_index": message.index,
                    "item": message.item(true),
                }));
            }
            Part::Call(call) => self.call(call),
            Part::Reasoning(reasoning) => self.reasoning(reasoning),
            Part::Pause(barrier) => self.steps.push(Step::Pause(barrier)),
            Part::Delay(time) => self.steps.push(Step::Delay(time)),
            Part::Raw(text) => self.steps.push(Step::Send(text)),
        }
    }

    fn call(&mut self, call: ModelToolCall) {
        let index = self.next_index();
        let call_id = call.call_id.unwrap_or_else(|| format!("call_{}_{index}", self.number));
        // Arguments are sent as a string of JSON. A plain string is taken as that text.
        let arguments = match call.arguments {
            Value::String(text) => text,
            other => other.to_string(),
        };
        let (kind, prefix, member) = match call.kind {
            Kind::Function => ("function_call", "fc", "arguments"),
            Kind::Custom => ("custom_tool_call", "ctc", "input"),
        };
        let mut item = json!({
            "type": kind, "id": format!("{prefix}_{}_{index}", self.number), "status": "completed",
            "call_id": call_id, "name": call.name, member: arguments,
        });
        if let Some(namespace) = call.namespace {
            item["namespace"] = namespace.into();
        }
        self.send(json!({"type": "response.output_item.done", "output_index": index, "item": item}));
    }

    fn reasoning(&mut self, reasoning: Reasoning) {
        let index = self.next_index();
        let id = format!("rs_{}_{index}", self.number);
        let item = |summary: &[String], content: &Value| {
            let summary: Vec<_> =
                summary.iter().map(|text| json!({"type": "summary_text", "text": text})).collect();
            json!({
                "type": "reasoning", "id": id, "summary": summary, "content": content,
                "encrypted_content": reasoning.encrypted,
            })
        };
        let (mut summary, mut text): (Vec<String>, String) = Default::default();
        self.send(json!({
            "type": "response.output_item.added", "output_index": index, "item": item(&[], &Value::Null),
        }));
        for piece in reasoning.pieces {
            let part = summary.len().saturating_sub(1);
            let event = match piece {
                Piece::SummaryPart => {
                    summary.push(String::new());
                    json!({
                        "type": "response.reasoning_summary_part.added", "item_id": id, "output_index": index,
                        "summary_index": summary.len() - 1, "part": {"type": "summary_text", "text": ""},
                    })
                }
                Piece::SummaryDelta(delta) => {
                    // A delta always follows the start of its part.
                    summary[part].push_str(&delta);
                    json!({
                        "type": "response.reasoning_summary_text.delta", "item_id": id, "output_index": index,
                        "summary_index": part, "delta": delta,
                    })
                }
                Piece::TextDelta(delta) => {
                    text.push_str(&delta);
                    json!({
                        "type": "response.reasoning_text.delta", "item_id": id, "output_index": index,
                        "content_index": 0, "delta": delta,
                    })
                }
                Piece::Pause(barrier) => {
                    self.steps.push(Step::Pause(barrier));
                    continue;
                }
            };
            self.send(event);
        }
        let content =
            if text.is_empty() { Value::Null } else { json!([{"type": "reasoning_text", "text": text}]) };
        self.send(json!({
            "type": "response.output_item.done", "output_index": index, "item": item(&summary, &content),
        }));
    }

    fn end(&mut self, usage: Usage, end: End) {
        let id = self.response_id();
        match end {
            End::Completed => self.send(json!({
                "type": "response.completed",
                "response": {
                    "id": id,
                    "usage": {
                        "input_tokens": usage.input,
                        "input_tokens_details": {"cached_tokens": usage.cached},
                        "output_tokens": usage.output,
                        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
                        "total_tokens": usage.input + usage.output,
                    },
                },
            })),
            End::Failed { code, message } => self.send(json!({
                "type": "response.failed",
                "response": {"id": id, "error": {"code": code, "message": message}},
            })),
            End::Incomplete { reason } => self.send(json!({
                "type": "response.incomplete",
                "response": {"id": id, "incomplete_details": {"reason": reason}},
            })),
            End::Cut { mid_event } => {
                if mid_event {
                    let half = "event: response.output_text.delta\ndata: {\"type\": \"response.output_te";
                    self.steps.push(Step::Send(half.into()));
                }
                self.steps.push(Step::Cut);
            }
            End::Http { .. } | End::Silent => {}
        }
    }
}

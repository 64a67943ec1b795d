//! Closures of all kinds as tools: what the runtime gets, and what the model gets.

use std::collections::HashMap;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use openai_codex_protocol::types::DynamicToolCallParams;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::ErrorKind;
use crate::handler::request::HandlerRequest;
use crate::tool::call::ToolCall;
use crate::tool::definition::Tool;
use crate::tool::output::{Json, ToolOutput};
use crate::tool::reply::Reply;
use crate::tool::specs::specs;

#[derive(JsonSchema, Deserialize)]
struct Lookup {
    /// As it is on the label.
    part: String,
    amount: Option<u8>,
}

fn at(part: &Lookup) -> String {
    format!("{} of {}", part.amount.unwrap_or(1), part.part)
}

fn params(arguments: Value) -> DynamicToolCallParams {
    let params = json!({
        "threadId": "t", "turnId": "u", "callId": "c", "tool": "look", "namespace": "n", "arguments": arguments,
    });
    serde_json::from_value(params).unwrap()
}

/// The model's result. Futures in these tests are ready at the first poll.
#[track_caller]
fn response(tool: &Tool, arguments: Value) -> Value {
    let (arguments, call) = ToolCall::take(HandlerRequest::detached("item/tool/call", params(arguments)));
    let response = match tool.call(arguments, call).0 {
        Reply::Now(response) => response,
        Reply::Later(future) => {
            let Poll::Ready(response) = pin!(future).poll(&mut Context::from_waker(Waker::noop())) else {
                panic!("not ready")
            };
            response
        }
    };
    serde_json::to_value(response).unwrap()
}

fn text(success: bool, text: &str) -> Value {
    json!({"contentItems": [{"type": "inputText", "text": text}], "success": success})
}

fn spec(tool: Tool) -> Value {
    let specs = specs(&[tool]).unwrap();
    assert_eq!(specs.len(), 1);
    serde_json::to_value(&specs[0]).unwrap()
}

#[track_caller]
fn refused(tools: &[Tool]) -> String {
    let error = specs(tools).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    error.to_string()
}

fn named(name: &str) -> Tool {
    Tool::new(name, "", |(): ()| ())
}

#[derive(Debug)]
struct Outer(std::num::ParseIntError);

impl std::fmt::Display for Outer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no number")
    }
}

impl std::error::Error for Outer {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn a_closure_returns_its_result_or_a_future_of_it() {
    let arguments = json!({"part": "AB", "amount": 2});
    for tool in
        [
            Tool::new("look", "", |part: Lookup| at(&part)),
            Tool::new("look", "", |part: Lookup| async move { at(&part) }),
            Tool::new("look", "", |part: Lookup| std::future::ready(at(&part))),
            Tool::new("look", "", |part: Lookup| Box::pin(async move { at(&part) })),
            Tool::new("look", "", |part: Lookup| std::borrow::Cow::<str>::Owned(at(&part))),
            Tool::new("look", "", |part: Lookup| Ok::<_, std::io::Error>(at(&part))),
            Tool::new("look", "", |part: Lookup| async move { Ok::<_, crate::error::Error>(at(&part)) }),
            Tool::new("look", "", |part: Lookup| ToolOutput::new().text(at(&part))),
            Tool::raw("look", "", json!({}), |part| format!("2 of {}", part["part"].as_str().unwrap())),
            Tool::raw("look", "", json!({}), |part| async move {
                format!("2 of {}", part["part"].as_str().unwrap())
            }),
            Tool::with_context("look", "", |part: Lookup, _| at(&part)),
            Tool::with_context("look", "", |part: Lookup, _: ToolCall| async move { at(&part) }),
        ]
    {
        assert_eq!(response(&tool, arguments.clone()), text(true, "2 of AB"));
        assert_eq!(response(&tool.clone(), arguments.clone()), text(true, "2 of AB"), "each call");
    }
}

#[test]
fn a_function_can_be_a_tool() {
    fn blocking(part: Lookup) -> &'static str {
        drop(part);
        "blocking"
    }
    async fn asynchronous(part: Lookup) -> Result<String, String> {
        Ok(at(&part))
    }
    assert_eq!(response(&Tool::new("look", "", blocking), json!({"part": "AB"})), text(true, "blocking"));
    assert_eq!(response(&Tool::new("look", "", asynchronous), json!({"part": "AB"})), text(true, "1 of AB"));
}

#[test]
fn a_call_does_not_wait_for_its_future() {
    let tool = Tool::new("look", "", |(): ()| std::future::pending::<String>());
    let (arguments, call) = ToolCall::take(HandlerRequest::detached("item/tool/call", params(json!({}))));
    assert!(matches!(tool.call(arguments, call).0, Reply::Later(_)));
    let tool = Tool::new("look", "", |(): ()| "now");
    let (arguments, call) = ToolCall::take(HandlerRequest::detached("item/tool/call", params(json!({}))));
    assert!(matches!(tool.call(arguments, call).0, Reply::Now(_)));
}

#[test]
fn results_of_all_kinds_become_content() {
    #[derive(Serialize)]
    struct Stock {
        pieces: u8,
    }
    let of = |tool: Tool| response(&tool, json!({}));
    assert_eq!(of(Tool::new("t", "", |(): ()| "text")), text(true, "text"));
    assert_eq!(of(Tool::new("t", "", |(): ()| ())), text(true, "done"));
    assert_eq!(of(Tool::new("t", "", |(): ()| async {})), text(true, "done"));
    assert_eq!(of(Tool::new("t", "", |(): ()| Json(Stock { pieces: 7 }))), text(true, r#"{"pieces":7}"#));
    let tool = Tool::new("t", "", |(): ()| async { Ok::<_, String>(Json([Stock { pieces: 7 }])) });
    assert_eq!(of(tool), text(true, r#"[{"pieces":7}]"#));
    let unwritable = HashMap::from([((1, 2), 3)]);
    let tool = Tool::new("t", "", move |(): ()| Json(unwritable.clone()));
    assert_eq!(of(tool), text(false, "the result cannot be encoded as JSON: key must be a string"));
    let tool = Tool::new("t", "", |(): ()| {
        ToolOutput::new().text("see").image_url("https://x/y.png").image_bytes("image/png", [0x89, b'P'])
    });
    let parts = json!([
        {"type": "inputText", "text": "see"},
        {"type": "inputImage", "imageUrl": "https://x/y.png"},
        {"type": "inputImage", "imageUrl": "data:image/png;base64,iVA="},
    ]);
    assert_eq!(of(tool), json!({"contentItems": parts, "success": true}));
}

#[test]
fn image_bytes_are_encoded_in_base64() {
    for (bytes, expected) in [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
        ("\u{3ff}\u{3f}", "z78/"),
    ] {
        let tool = Tool::new("t", "", move |(): ()| ToolOutput::new().image_bytes("a/b", bytes));
        let url = &response(&tool, json!({}))["contentItems"][0]["imageUrl"];
        assert_eq!(*url, format!("data:a/b;base64,{expected}"));
    }
}

#[test]
fn an_error_is_a_failed_call_with_its_causes() {
    let of = |tool: Tool| response(&tool, json!({"part": "x"}));
    assert_eq!(of(Tool::new("t", "", |_: Lookup| Err::<(), _>("no such part"))), text(false, "no such part"));
    let parse = |part: Lookup| part.part.parse::<u8>().map(|_| ()).map_err(Outer);
    assert_eq!(of(Tool::new("t", "", parse)), text(false, "no number: invalid digit found in string"));
    let tool = Tool::new("t", "", move |part: Lookup| async move {
        parse(part).map_err(Box::<dyn std::error::Error + Send + Sync>::from)
    });
    assert_eq!(of(tool), text(false, "no number: invalid digit found in string"));
    assert_eq!(of(Tool::new("t", "", |_: Lookup| ToolOutput::failed("so"))), text(false, "so"));
}

#[test]
fn unfitting_arguments_are_a_failed_call_that_names_their_location() {
    #[derive(JsonSchema, Deserialize)]
    struct Order {
        parts: Vec<Lookup>,
    }
    let tool = Tool::new("order", "", |order: Order| order.parts.len().to_string());
    assert_eq!(response(&tool, json!({"parts": [{"part": "a"}]})), text(true, "1"));
    let failure = |arguments: Value| {
        let response = response(&tool, arguments);
        assert_eq!(response["success"], false);
        response["contentItems"][0]["text"].as_str().unwrap().to_owned()
    };
    let words = failure(json!({"parts": [{"part": "a"}, {"part": "b", "amount": 300}]}));
    assert!(words.contains("at `parts[1].amount`: invalid value: integer `300`, expected u8"), "{words}");
    let words = failure(json!({"parts": [{"amount": 3}]}));
    assert!(words.contains("at `parts[0]`: missing field `part`"), "{words}");
    assert_eq!(failure(json!({})), "the arguments do not fit the tool's schema: missing field `parts`");
    assert_eq!(failure(Value::Null), "the arguments do not fit the tool's schema: missing field `parts`");
    assert!(failure(json!("text")).contains("invalid type: string"), "{}", failure(json!("text")));
}

#[test]
fn the_context_names_the_call() {
    let tool = Tool::with_context("look", "", |part: Lookup, call: ToolCall| {
        let of = (call.thread_id(), call.turn_id(), call.call_id(), call.namespace(), call.tool());
        format!("{of:?} {}", part.part)
    });
    assert_eq!(response(&tool, json!({"part": "x"})), text(true, r#"("t", "u", "c", Some("n"), "look") x"#));
}

#[test]
fn the_spec_of_a_tool_has_the_schema_of_its_arguments() {
    let tool = Tool::new("look", "Looks it up", |part: Lookup| at(&part));
    let expected = json!({
        "type": "function", "name": "look", "description": "Looks it up",
        "inputSchema": {
            "type": "object",
            "properties": {
                "part": {"description": "As it is on the label.", "type": "string"},
                "amount": {"description": "(maximum: 255)", "type": ["integer", "null"]},
            },
            "required": ["part"],
            "additionalProperties": false,
        },
    });
    assert_eq!(spec(tool), expected);
    let schema = json!({"type": "object", "x": true});
    let raw = Tool::raw("raw", "as it is", schema.clone(), |_| ());
    assert_eq!(spec(raw)["inputSchema"], schema);
}

#[test]
fn a_type_that_is_not_a_struct_becomes_one_argument() {
    #[derive(JsonSchema, Deserialize)]
    enum Shape {
        Circle(f64),
        Square { side: f64 },
    }
    let tool = Tool::new("area", "", |shape: Shape| match shape {
        Shape::Circle(radius) => format!("circle {radius}"),
        Shape::Square { side } => format!("square {side}"),
    });
    let schema = &spec(tool.clone())["inputSchema"];
    assert_eq!((&schema["type"], &schema["required"]), (&json!("object"), &json!(["value"])));
    assert_eq!(response(&tool, json!({"value": {"Square": {"side": 2.0}}})), text(true, "square 2"));
    assert_eq!(response(&tool, json!({"value": {"Circle": 1.5}})), text(true, "circle 1.5"));
    let words = response(&tool, json!({"value": {"Circle": "big"}}))["contentItems"][0]["text"].clone();
    assert!(words.as_str().unwrap().contains("at `value.Circle`"), "{words}");

    let add = Tool::new("add", "", |(a, b): (u8, u8)| (a + b).to_string());
    assert_eq!(response(&add, json!({"value": [1, 2]})), text(true, "3"));
    let none = named("none");
    assert_eq!(spec(none.clone())["inputSchema"], json!({"type": "object", "properties": {}}));
    for arguments in [json!({}), Value::Null, json!({"unexpected": 1})] {
        assert_eq!(response(&none, arguments), text(true, "done"));
    }
    let any = Tool::new("any", "", |any: Value| any.to_string());
    assert_eq!(spec(any.clone())["inputSchema"], json!({"type": "object"}));
    assert_eq!(response(&any, json!({"a": 1})), text(true, r#"{"a":1}"#));
}

#[test]
fn arguments_can_have_types_that_an_output_cannot() {
    #[derive(JsonSchema, Deserialize)]
    #[allow(dead_code, reason = "only its schema is used")]
    struct Wide {
        map: HashMap<String, u16>,
        any: Value,
        pair: (String, u8),
        more: Vec<Value>,
        object: serde_json::Map<String, Value>,
        inner: Option<Box<Wide>>,
        #[serde(flatten)]
        rest: HashMap<String, Value>,
    }
    let schema = spec(Tool::new("wide", "", |_: Wide| ()))["inputSchema"].clone();
    let of = |name: &str| schema["properties"][name].clone();
    let small = json!({"description": "(maximum: 65535)", "type": "integer"});
    assert_eq!(of("map")["additionalProperties"], small);
    // `true` would become a text.
    assert_eq!(of("any"), json!({}));
    assert_eq!(of("more")["items"], json!({}));
    assert_eq!(of("object")["additionalProperties"], json!({}));
    // A tuple would become a list of texts.
    let pair = of("pair");
    let parts = json!({"anyOf": [{"type": "string"}, {"description": "(maximum: 255)", "type": "integer"}]});
    assert_eq!(pair["items"], parts);
    assert_eq!(pair["description"], "(minItems: 2)\n(maxItems: 2)");
    assert_eq!(of("inner"), json!({"anyOf": [{"$ref": "#"}, {"type": "null"}]}));
    assert_eq!(schema["additionalProperties"], json!({}));
    assert_eq!(schema["required"], json!(["map", "any", "pair", "more", "object"]));
}

#[test]
fn the_specs_name_each_namespace_once() {
    let tools = [
        named("a").namespace("n"),
        named("a"),
        named("b").namespace("n").defer_loading(true),
        named("a").namespace("m"),
    ];
    let specs = serde_json::to_value(specs(&tools).unwrap()).unwrap();
    let summary: Vec<_> = specs
        .as_array()
        .unwrap()
        .iter()
        .map(|spec| {
            let inside = spec["tools"].as_array().into_iter().flatten();
            let inside: Vec<_> = inside.map(|tool| json!([tool["name"], tool["deferLoading"]])).collect();
            json!([spec["type"], spec["name"], inside])
        })
        .collect();
    let expected = [
        json!(["namespace", "n", [["a", null], ["b", true]]]),
        json!(["function", "a", []]),
        json!(["namespace", "m", [["a", null]]]),
    ];
    assert_eq!(summary, expected);
    assert!(!specs.to_string().contains(r#""deferLoading":false"#) && !specs.to_string().contains("null,"));
}

#[test]
fn names_that_the_runtime_refuses_are_errors() {
    assert!(specs(&[named(&"a".repeat(128)), named("Ab_C-d9"), named("-")]).is_ok());
    assert!(specs(&[named("a").namespace("n".repeat(64))]).is_ok());
    for (name, why) in [
        ("", "is empty"),
        ("a.b", "characters other than"),
        ("ä", "characters other than"),
        ("a b", "characters other than"),
        (&*"a".repeat(129), "more than 128"),
        ("mcp", "reserved"),
        ("mcp__x", "reserved"),
    ] {
        let words = refused(&[named(name)]);
        assert!(words.contains("the tool") && words.contains(why), "{words}");
        let words = refused(&[named("a").namespace(name)]);
        let why = if why == "more than 128" { "more than 64" } else { why };
        assert!(words.contains("the namespace") && words.contains(why), "{words}");
    }
    assert!(refused(&[named("a").namespace("n".repeat(65))]).contains("more than 64"));
    assert!(refused(&[named("a"), named("b"), named("a")]).contains("two tools have the name `a`"));
    let twice = named("a").namespace("n");
    assert!(refused(&[twice.clone(), twice]).contains("two tools have the name `a` in the namespace `n`"));
    assert!(refused(&[named("a").defer_loading(true)]).contains("needs a namespace"));
}

#[test]
fn an_error_for_arguments_without_a_schema_names_the_tool() {
    struct Broken;
    impl JsonSchema for Broken {
        fn schema_name() -> std::borrow::Cow<'static, str> {
            "Broken".into()
        }
        fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
            schemars::json_schema!({"type": "object", "properties": {"a": false}})
        }
    }
    impl<'de> Deserialize<'de> for Broken {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Ok(Self)
        }
    }
    let words = refused(&[Tool::new("bad", "", |_: Broken| ())]);
    assert!(words.contains("the tool `bad`") && words.contains("`a` has no possible value"), "{words}");
}

#[test]
fn a_tool_is_send_and_its_debug_form_is_only_its_name() {
    fn anywhere<T: Clone + Send + Sync + 'static>() {}
    anywhere::<Tool>();
    anywhere::<ToolCall>();
    let tool = named("a").namespace("n").timeout(Duration::from_secs(1));
    assert_eq!((tool.name(), tool.namespace_name()), ("a", Some("n")));
    assert_eq!(tool.timeout, Some(Duration::from_secs(1)));
    assert_eq!(format!("{tool:?}"), r#"Tool { namespace: Some("n"), name: "a", .. }"#);
}

//! Tests of the generator, and a check that the committed files are its output.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::extract::extract;
use super::facts::{Facts, Shape};
use super::plan::Plan;
use super::python::expression::Expression;
use super::python::facts::attribute as python_attribute;
use super::ty::Type;
use super::{Ask, naming, run_with};

#[test]
fn generated_files_are_fresh() {
    run_with(Ask::None, true).expect("the checked-in files are what the generator makes");
}

#[test]
fn names_follow_the_wire() {
    for (wire, rust) in [
        ("thread/goal/set", "ThreadGoalSet"),
        ("thread/increment_elicitation", "ThreadIncrementElicitation"),
        ("account/gatewayOAuth/read", "AccountGatewayOAuthRead"),
        ("on-request", "OnRequest"),
        ("DISABLED_BY_ADMIN", "DisabledByAdmin"),
    ] {
        assert_eq!(naming::upper_camel(wire), rust);
    }
    for (wire, rust) in [
        ("threadId", "thread_id"),
        ("_meta", "meta"),
        ("$schema", "schema"),
        ("type", "r#type"),
        ("PreToolUse", "pre_tool_use"),
        ("deltaBase64", "delta_base64"),
        ("extra", "extra_"),
        ("already_snake", "already_snake"),
        ("someURLPath", "some_url_path"),
    ] {
        assert_eq!(naming::field(wire), rust);
    }
    assert_ne!(naming::variant("openai/form"), naming::variant("openaiForm"));
}

#[test]
fn type_expressions_read_back() {
    for text in ["string", "[UserInput]", "{[string]}", "{string?}", "any", "Thread?"] {
        assert_eq!(text.parse::<Type>().expect("a type").to_string(), text);
    }
    "thing".parse::<Type>().expect_err("neither a primitive nor a name");
}

/// A schema with one request and the definitions of its types.
fn schema(method: &str, definitions: Json) -> Json {
    let request = json!({ "properties": {
        "method": { "enum": [method], "type": "string" },
        "params": { "$ref": "#/definitions/v2/PingParams" },
    }});
    let none = json!({ "oneOf": [] });
    json!({ "definitions": {
        "ClientRequest": { "oneOf": [request] },
        "ClientNotification": none, "ServerRequest": none, "ServerNotification": none,
        "v2": definitions,
    }})
}

fn facts(full: &Json, stable: &Json, doubles: &[(&str, &str)]) -> super::Result<Facts> {
    let doubles: BTreeSet<_> =
        doubles.iter().map(|(ty, field)| ((*ty).to_owned(), (*field).to_owned())).collect();
    extract("1.2.3", full, stable, &doubles)
}

#[test]
fn items_missing_in_the_stable_schema_are_experimental() {
    let text = json!({ "type": ["string", "null"], "description": "prose" });
    let params = |fields: &[&str]| {
        let properties: serde_json::Map<_, _> =
            fields.iter().map(|field| ((*field).to_owned(), text.clone())).collect();
        json!({ "PingParams": { "type": "object", "properties": properties } })
    };
    let full = schema("ping", params(&["new", "old"]));
    let stable = schema("other", params(&["old"]));
    let facts = facts(&full, &stable, &[("PingParams", "old")]).expect("facts");
    assert!(facts.methods.client_requests[0].experimental);
    let Shape::Object(object) = &facts.types["PingParams"].shape else { panic!("an object") };
    let flags: Vec<_> =
        object.fields.iter().map(|field| (&*field.name, field.experimental, field.double)).collect();
    assert_eq!(flags, [("new", true, false), ("old", false, true)]);
    assert!(!serde_json::to_string(&facts.types).expect("JSON").contains("prose"));
}

#[test]
fn a_double_option_for_an_unknown_field_is_an_error() {
    let full = schema("ping", json!({ "PingParams": { "type": "object" } }));
    let error = facts(&full, &full, &[("PingParams", "gone")]).expect_err("no such field");
    assert!(error.to_string().contains("gone"), "{error}");
}

#[test]
fn a_missing_response_type_and_an_unused_one_are_errors() {
    let reasoning = json!({ "type": "string" });
    let plan = |definitions: Json| {
        let full = schema("ping", definitions);
        Plan::new(facts(&full, &full, &[]).expect("facts")).err().map(|error| error.to_string())
    };
    let object = json!({ "type": "object" });
    let error = plan(json!({ "PingParams": object, "ReasoningEffort": reasoning })).expect("no answer");
    assert!(error.contains("`ping` has no response type"), "{error}");
    let error = plan(json!({
        "PingParams": object, "PingResponse": object, "PongResponse": object, "ReasoningEffort": reasoning,
    }));
    assert!(error.is_some_and(|error| error.contains("PongResponse")));
    assert_eq!(
        plan(json!({ "PingParams": object, "PingResponse": object, "ReasoningEffort": reasoning })),
        None
    );
}

#[test]
fn python_type_expressions_are_read() {
    for (text, python) in [
        ("string", "str"),
        ("int>=0?", "int | None"),
        ("[Thread]?", "list[Thread] | None"),
        ("{[string]}", "dict[str, list[str]]"),
        ("[]", "list[Any]"),
        ("Mode | 'none'", "Mode | Literal[\"none\"]"),
        ("(string | int)?", "str | int | None"),
        ("null", "None"),
    ] {
        let expression: Expression = text.parse().expect("a type");
        assert_eq!(expression.python(), python);
    }
    "thing".parse::<Expression>().expect_err("neither a word of the notation nor a class");
}

#[test]
fn python_attributes_follow_the_wire() {
    for (wire, attribute) in [
        ("threadId", "thread_id"),
        ("_meta", "field_meta"),
        ("async", "async_"),
        ("NO_CONSTRAINT", "no_constraint"),
        ("on-request", "on_request"),
        ("serverOverloaded", "server_overloaded"),
    ] {
        assert_eq!(python_attribute(wire), attribute);
    }
}

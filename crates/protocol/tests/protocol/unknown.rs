//! Unknown content is kept; invalid content is an error.

use openai_codex_protocol::types::{
    AskForApproval, CodexErrorInfo, McpElicitationPrimitiveSchema, PermissionProfileSummary, RequestId,
    ThreadItem, ThreadStatus, ToolRequestUserInputParams, Turn, TurnCompletedNotification, TurnStatus,
    UserInput,
};
use openai_codex_protocol::{Notification, NotificationKind, ServerRequest, decode_response, methods};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};

fn read<T: DeserializeOwned>(value: &Value) -> T {
    serde_json::from_str(&value.to_string()).expect("the value can be read")
}

fn written(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("our types can be written")
}

fn frame(value: &Value) -> Notification {
    Notification::decode_frame(&value.to_string())
}

#[test]
fn an_unknown_field_is_kept_and_written_back() {
    let json = json!({"id": "t", "items": [], "status": "completed", "tomorrow": {"n": [1, 18_446_744_073_709_551_615_u64]}});
    let turn: Turn = read(&json);
    assert_eq!(turn.extra.len(), 1);
    assert_eq!(turn.extra.get("tomorrow"), Some(&json["tomorrow"]));
    assert_eq!(written(&turn), json);
    assert_eq!(size_of_val(&turn.extra), size_of::<usize>());
}

#[test]
fn an_unknown_value_is_kept() {
    let status: TurnStatus = read(&json!("paused"));
    assert_eq!(status, TurnStatus::Unrecognized("paused".to_owned()));
    assert_eq!(status.as_str(), "paused");
    assert_eq!(written(&status), "paused");
    assert_eq!(TurnStatus::from("completed"), TurnStatus::Completed);
    assert_eq!(TurnStatus::Completed.to_string(), "completed");
    assert_eq!(written(&read::<AskForApproval>(&json!("sometimes"))), "sometimes");
}

#[test]
fn an_unknown_tag_is_kept_with_its_json() {
    for json in
        [json!({"type": "hologram", "id": "1", "rays": [1.5]}), json!({"id": "1", "type": "hologram"})]
    {
        let item: ThreadItem = read(&json);
        assert!(matches!(&item, ThreadItem::Unrecognized(value) if *value == json), "{item:?}");
        assert_eq!(item.tag(), "hologram");
        assert_eq!(written(&item), json);
    }
    let json = json!({"somethingNew": {"code": 7}});
    let info: CodexErrorInfo = read(&json);
    assert!(matches!(&info, CodexErrorInfo::Unrecognized(value) if *value == json));
    assert_eq!(written(&info), json);
}

#[test]
fn an_unknown_method_is_kept_with_its_parameters() {
    let json = json!({"method": "thread/dreamed", "params": {"b": 1, "a": 2}});
    let notification = frame(&json);
    assert_eq!(notification.method(), "thread/dreamed");
    assert_eq!(notification.kind(), None);
    assert_eq!(written(&notification), json);
    let Notification::Unknown(unknown) = &notification else { panic!("{notification:?}") };
    assert_eq!(unknown.value(), Some(json["params"].clone()));

    let raw = RawValue::from_string(r#"{ "spaces" : "stay" }"#.to_owned()).expect("JSON");
    let Notification::Unknown(unknown) = Notification::decode("x/y", Some(&raw)) else {
        panic!("it is unknown")
    };
    assert_eq!(unknown.params.as_ref().map(|params| params.get()), Some(raw.get()));

    let request = ServerRequest::decode("item/oracle/ask", Some(&raw));
    assert_eq!(request.method(), "item/oracle/ask");
    assert_eq!(written(&request), json!({"method": "item/oracle/ask", "params": {"spaces": "stay"}}));
    assert!(matches!(request, ServerRequest::Unknown(_)));
}

#[test]
fn a_bad_payload_under_a_known_tag_is_an_error_in_a_response() {
    let text = r#"{"turn":{"id":"t","status":"completed","items":[
        {"id":"0","text":"","type":"plan"},{"id":"1","text":7,"type":"agentMessage"}]}}"#;
    // The tag is last, so the item is buffered. The path inside it is in the message.
    let error = decode_response::<methods::TurnStart>(text).expect_err("the text is a number");
    assert_eq!(error.subject(), "turn/start");
    assert_eq!(error.path(), "result.turn.items[1]");
    assert!(error.message().contains("invalid type: integer `7`, expected a string"), "{error}");
    assert!(error.message().contains("`text`"), "{error}");

    let text =
        r#"{"turn":{"id":"t","status":"completed","items":[{"type":"agentMessage","id":"1","text":7}]}}"#;
    let error = decode_response::<methods::TurnStart>(text).expect_err("the text is a number");
    assert_eq!(error.path(), "result.turn.items[0].text");
    assert_eq!(
        error.to_string(),
        "cannot read `turn/start` at `result.turn.items[0].text`: invalid type: integer `7`, expected a string"
    );
    let text = r#"{"turn":{"id":"t","status":"completed","items":[{"type":"agentMessage","id":"1"}]}}"#;
    let error = decode_response::<methods::TurnStart>(text).expect_err("the text is missing");
    assert_eq!(error.path(), "result.turn.items[0]");
    assert_eq!(error.message(), "missing field `text`");
}

/// Each is a message of that runtime, by its own schema.
#[test]
fn fields_that_another_runtime_omits_are_optional() {
    let of_0_133 = json!({"threadId": "T", "turnId": "t", "itemId": "i", "questions": []});
    assert_eq!(read::<ToolRequestUserInputParams>(&of_0_133).is_blocking, None);
    assert_eq!(read::<PermissionProfileSummary>(&json!({"id": "p"})).allowed, None);
    let of_0_169 =
        json!({"type": "imageGeneration", "id": "i", "status": "completed", "fileId": "f", "later": 1});
    let ThreadItem::ImageGeneration(image) = read(&of_0_169) else { panic!("an image generation") };
    assert_eq!((image.result.as_deref(), image.file_id.as_deref(), image.extra.len()), (None, Some("f"), 1));
}

#[test]
fn a_bad_payload_of_a_known_method_is_undecodable() {
    let json = json!({
        "method": "turn/completed",
        "params": {"threadId": "T", "turn": {"id": "t", "status": "completed", "items": [{"type": "plan"}]}},
        "emittedAtMs": 5,
    });
    let notification = frame(&json);
    let Notification::Undecodable(bad) = &notification else { panic!("{notification:?}") };
    assert_eq!(bad.error.subject(), "turn/completed");
    assert_eq!(bad.error.path(), "params.turn.items[0]");
    assert_eq!(bad.value(), Some(json["params"].clone()));
    assert_eq!(notification.method(), "turn/completed");
    assert_eq!(notification.kind(), Some(NotificationKind::TurnCompleted));
    assert_eq!(written(&notification)["params"], json["params"]);

    let raw = RawValue::from_string(json["params"].to_string()).expect("JSON");
    assert_eq!(Notification::decode("turn/completed", Some(&raw)), notification);

    let Notification::Undecodable(bad) = Notification::decode("turn/completed", None) else {
        panic!("no parameters")
    };
    assert_eq!(bad.error.path(), "params");

    for broken in ["", "{", "[]", "7", "{}", &format!("{} x", json["params"])] {
        let notification = Notification::decode_params(NotificationKind::TurnCompleted, broken);
        assert!(matches!(notification, Notification::Undecodable(_)), "{broken}: {notification:?}");
        assert_eq!(notification.method(), "turn/completed");
    }

    let raw = RawValue::from_string(r#"{"threadId":7}"#.to_owned()).expect("JSON");
    let ServerRequest::Undecodable(bad) = ServerRequest::decode("currentTime/read", Some(&raw)) else {
        panic!("the id is a number");
    };
    assert_eq!(bad.error.path(), "params.threadId");
}

#[test]
fn the_tag_need_not_come_first() {
    for text in [
        r#"{"type":"agentMessage","id":"1","text":"hi","new":{"a":[1]}}"#,
        r#"{"id":"1","text":"hi","new":{"a":[1]},"type":"agentMessage"}"#,
        r#"{"id":"1","type":"agentMessage","new":{"a":[1]},"text":"hi"}"#,
    ] {
        let item: ThreadItem = serde_json::from_str(text).expect("an item");
        let ThreadItem::AgentMessage(message) = &item else { panic!("{item:?}") };
        assert_eq!((message.id.as_str(), message.text.as_str()), ("1", "hi"));
        assert_eq!(message.extra.get("new"), Some(&json!({"a": [1]})));
        assert_eq!(written(&item), serde_json::from_str::<Value>(text).expect("JSON"));
        let by_value: ThreadItem = serde_json::from_value(written(&item)).expect("an item");
        assert_eq!(by_value, item);
    }
}

#[test]
fn a_union_without_a_tag_is_an_error() {
    for text in
        ["{}", r#"{"id":"1"}"#, r#"{"type":7}"#, r#"{"id":"1","type":null}"#, "[]", "\"idle\"", "null"]
    {
        serde_json::from_str::<ThreadItem>(text).expect_err(text);
        serde_json::from_str::<ThreadStatus>(text).expect_err(text);
    }
}

#[test]
fn at_least_one_of_several_fields_is_required() {
    read::<UserInput>(&json!({"type": "image", "url": "data:"}));
    read::<UserInput>(&json!({"type": "image", "fileId": "f"}));
    let error =
        serde_json::from_str::<UserInput>(r#"{"type":"image","detail":"low"}"#).expect_err("no image");
    assert!(error.to_string().contains("url"), "{error}");
}

#[test]
fn a_keyed_variant_has_one_key() {
    let text = r#"{"activeTurnNotSteerable":{"turnKind":"review"},"second":1}"#;
    serde_json::from_str::<CodexErrorInfo>(text).expect_err("two keys");
    serde_json::from_str::<CodexErrorInfo>(r#"{"activeTurnNotSteerable":{}}"#).expect_err("a bad payload");
}

#[test]
fn elicitation_schemas_are_distinguished() {
    use openai_codex_protocol::types::{
        McpElicitationEnumSchema as Enum, McpElicitationMultiSelectEnumSchema as Multi,
        McpElicitationPrimitiveSchema as Primitive, McpElicitationSingleSelectEnumSchema as Single,
    };
    type Check = fn(&Primitive) -> bool;
    let cases: [(Value, Check); 9] = [
        (json!({"type": "string", "minLength": 1}), |s| matches!(s, Primitive::StringSchema(_))),
        (json!({"type": "integer"}), |s| matches!(s, Primitive::NumberSchema(_))),
        (json!({"type": "boolean", "default": true}), |s| matches!(s, Primitive::BooleanSchema(_))),
        (json!({"type": "string", "enum": ["a"]}), |s| {
            matches!(
                s,
                Primitive::EnumSchema(Enum::SingleSelectEnumSchema(Single::UntitledSingleSelectEnumSchema(
                    _
                )))
            )
        }),
        (json!({"type": "string", "oneOf": [{"const": "a", "title": "A"}]}), |s| {
            matches!(
                s,
                Primitive::EnumSchema(Enum::SingleSelectEnumSchema(Single::TitledSingleSelectEnumSchema(_)))
            )
        }),
        (json!({"type": "array", "items": {"type": "string", "enum": ["a"]}}), |s| {
            matches!(
                s,
                Primitive::EnumSchema(Enum::MultiSelectEnumSchema(Multi::UntitledMultiSelectEnumSchema(_)))
            )
        }),
        (json!({"type": "array", "items": {"anyOf": [{"const": "a", "title": "A"}]}}), |s| {
            matches!(
                s,
                Primitive::EnumSchema(Enum::MultiSelectEnumSchema(Multi::TitledMultiSelectEnumSchema(_)))
            )
        }),
        (json!({"type": "string", "enum": ["a"], "enumNames": ["A"]}), |s| {
            matches!(s, Primitive::EnumSchema(Enum::LegacyTitledEnumSchema(_)))
        }),
        (json!({"type": "color"}), |s| matches!(s, Primitive::Unrecognized(_))),
    ];
    for (json, is_it) in cases {
        let schema: McpElicitationPrimitiveSchema = read(&json);
        assert!(is_it(&schema), "{json} is {schema:?}");
        assert_eq!(written(&schema), json);
    }
    serde_json::from_str::<Primitive>(r#"{"type":"number","minimum":"low"}"#).expect_err("a bad payload");
}

#[test]
fn request_ids_are_strings_or_integers() {
    for id in [json!("a"), json!(7), json!(-7)] {
        assert_eq!(written(&read::<RequestId>(&id)), id);
    }
    for id in ["null", "1.5", "{}", "true"] {
        serde_json::from_str::<RequestId>(id).expect_err(id);
    }
}

#[test]
fn secrets_are_not_shown() {
    use openai_codex_protocol::types::{ApiKeyLoginAccountParams, LoginAccountParams};
    let params = LoginAccountParams::from(ApiKeyLoginAccountParams::new("sk-secret"));
    assert!(!format!("{params:?}").contains("sk-secret"), "{params:?}");
    assert_eq!(written(&params), json!({"type": "apiKey", "apiKey": "sk-secret"}));
}

#[test]
fn numbers_keep_their_precision() {
    let text = r#"{"threadId":"T","turn":{"id":"t","status":"completed","items":[],"x":18446744073709551615,"y":-9223372036854775808}}"#;
    let payload: TurnCompletedNotification = serde_json::from_str(text).expect("a payload");
    let again = serde_json::to_string(&payload).expect("it can be written");
    assert!(again.contains("18446744073709551615") && again.contains("-9223372036854775808"), "{again}");
}

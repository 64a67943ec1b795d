//! Builders send only what the program sets.

use openai_codex_protocol::types::{
    AskForApproval, ClientInfo, GranularAskForApproval, ImageUserInput, InitializeParams, ReasoningEffort,
    SandboxMode, TextUserInput, ThreadResumeParams, ThreadStartParams, TurnInterruptParams, TurnStartParams,
    UserInput,
};
use openai_codex_protocol::{ClientRequest, Params, methods};
use serde::Serialize;
use serde_json::{Value, json};

fn written(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("our types can be written")
}

#[test]
fn unset_fields_are_not_on_the_wire() {
    assert_eq!(serde_json::to_string(&ThreadStartParams::new()).expect("JSON"), "{}");
    assert_eq!(ThreadStartParams::new(), ThreadStartParams::default());
    let resume = ThreadResumeParams::new("t");
    assert_eq!(serde_json::to_string(&resume).expect("JSON"), r#"{"threadId":"t"}"#);
    assert_eq!(
        written(&TurnInterruptParams::new("thread", "turn")),
        json!({"threadId": "thread", "turnId": "turn"})
    );
}

#[test]
fn setters_are_named_like_the_fields() {
    let params = ThreadStartParams::new()
        .model("gpt-5.4")
        .cwd("/repo")
        .ephemeral(true)
        .sandbox(SandboxMode::ReadOnly)
        .approval_policy(GranularAskForApproval::new(true, false, true))
        .config(json!({"model_reasoning_effort": "high"}).as_object().cloned().expect("an object"));
    assert_eq!(
        written(&params),
        json!({
            "model": "gpt-5.4",
            "cwd": "/repo",
            "ephemeral": true,
            "sandbox": "read-only",
            "approvalPolicy": {"granular": {"mcp_elicitations": true, "rules": false, "sandbox_approval": true}},
            "config": {"model_reasoning_effort": "high"},
        })
    );
    let input = [UserInput::from(TextUserInput::new("hi")), ImageUserInput::new().url("data:x").into()];
    let turn = TurnStartParams::new("t", input).effort(ReasoningEffort::High);
    assert_eq!(
        written(&turn),
        json!({
            "threadId": "t",
            "input": [{"type": "text", "text": "hi"}, {"type": "image", "url": "data:x"}],
            "effort": "high",
        })
    );
    assert_eq!(
        written(&TurnStartParams::new("t", Vec::<UserInput>::new()).effort("ultra"))["effort"],
        "ultra"
    );
    assert_eq!(written(&AskForApproval::OnRequest), "on-request");
    let initialize = InitializeParams::new(ClientInfo::new("me", "1"));
    assert_eq!(written(&initialize), json!({"clientInfo": {"name": "me", "version": "1"}}));
}

#[test]
fn null_and_missing_differ_where_the_server_distinguishes_them() {
    let nothing = ThreadStartParams::new();
    let null = ThreadStartParams::new().clear_service_tier();
    let fast = ThreadStartParams::new().service_tier("fast");
    assert_eq!(written(&nothing), json!({}));
    assert_eq!(written(&null), json!({"serviceTier": null}));
    assert_eq!(written(&fast), json!({"serviceTier": "fast"}));
    for params in [nothing, null, fast] {
        let again: ThreadStartParams = serde_json::from_value(written(&params)).expect("our own JSON");
        assert_eq!(again, params);
    }
    // Elsewhere null means missing.
    let params: ThreadStartParams =
        serde_json::from_str(r#"{"model":null,"ephemeral":null}"#).expect("nulls");
    assert_eq!(params, ThreadStartParams::new());
}

#[test]
fn methods_without_parameters_omit_the_key() {
    fn omitted<M: ClientRequest>(params: &M::Params) -> bool {
        params.is_omitted()
    }
    assert!(omitted::<methods::MemoryReset>(&()));
    assert!(omitted::<methods::AccountRateLimitsRead>(&None));
    assert!(!omitted::<methods::AccountRateLimitsRead>(&Some(Default::default())));
    assert!(!omitted::<methods::ThreadStart>(&ThreadStartParams::new()));
}

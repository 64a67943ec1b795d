//! Common server messages, complete enough for a strict client.
//!
//! They have the form of runtime 0.163.0 with sample values. Change the members that a test needs:
//!
//! ```
//! use openai_codex_testkit::app_server::messages;
//!
//! let mut response = messages::thread_start_response("thread-1");
//! response["model"] = "other-model".into();
//! ```

use serde_json::{Value, json};

/// A timestamp, in seconds.
const NOW: u64 = 1_700_000_000;

/// The response to `initialize`.
pub fn initialize_response() -> Value {
    json!({
        "userAgent": "codex_rust_sdk/0.163.0 (Scripted 1.0; x86_64) scripted-app-server",
        "codexHome": "/scripted/codex-home",
        "platformFamily": "unix",
        "platformOs": "linux",
    })
}

/// A thread without turns.
pub fn thread(id: &str) -> Value {
    json!({
        "id": id, "sessionId": id, "forkedFromId": null, "parentThreadId": null, "preview": "", "name": null,
        "environments": [{"environmentId": "local", "cwd": "/scripted", "runtimeWorkspaceRoots": ["/scripted"]}],
        "extra": null, "ephemeral": false, "section": null, "sectionEnteredAt": null, "projectId": null,
        "historyMode": "paginated", "modelProvider": "scripted", "model": crate::model::MODEL,
        "reasoningEffort": null, "createdAt": NOW, "updatedAt": NOW, "recencyAt": NOW, "status": {"type": "idle"},
        "path": format!("/scripted/codex-home/sessions/{id}.jsonl"), "cwd": "/scripted", "cliVersion": "0.163.0",
        "originator": "codex_rust_sdk", "source": "vscode", "canAcceptDirectInput": true, "threadSource": null,
        "agentNickname": null, "agentRole": null, "gitInfo": null, "daybreakEnabled": null, "turns": [],
    })
}

/// The response to `config/read` for a user without settings.
pub fn config_read_response() -> Value {
    json!({"config": {}, "origins": {}, "layers": []})
}

/// The response to `thread/start`, `thread/resume` and `thread/fork`.
pub fn thread_start_response(id: &str) -> Value {
    json!({
        "thread": thread(id), "model": crate::model::MODEL, "modelProvider": "scripted", "serviceTier": null,
        "disabledPluginIds": [], "cwd": "/scripted", "runtimeWorkspaceRoots": ["/scripted"],
        "instructionSources": [], "approvalPolicy": "on-request", "approvalsReviewer": "user",
        "sandbox": {"type": "readOnly", "networkAccess": false}, "activePermissionProfile": null,
        "reasoningEffort": null, "multiAgentMode": "explicitRequestOnly",
    })
}

/// Copies the options of a request into a response that opens a thread.
pub(super) fn take_options(response: &mut Value, params: &Value) {
    let kept = ["approvalPolicy", "approvalsReviewer", "cwd", "model", "modelProvider", "serviceTier"];
    for option in kept.into_iter().filter(|option| !params[option].is_null()) {
        response[option] = params[option].clone();
    }
    if let Some(effort) = params["config"].get("model_reasoning_effort") {
        response["reasoningEffort"] = effort.clone();
    }
    let sandbox = match params["sandbox"].as_str() {
        Some("read-only") => json!({"type": "readOnly", "networkAccess": false}),
        Some("workspace-write") => json!({
            "type": "workspaceWrite", "writableRoots": [], "networkAccess": false,
            "excludeTmpdirEnvVar": false, "excludeSlashTmp": false,
        }),
        Some("danger-full-access") => json!({"type": "dangerFullAccess"}),
        _ => return,
    };
    response["sandbox"] = sandbox;
}

/// A turn with this status: `inProgress`, `completed`, `interrupted` or `failed`.
pub fn turn(id: &str, status: &str) -> Value {
    let running = status == "inProgress";
    json!({
        "id": id, "rootTurnId": id, "items": [], "itemsView": "notLoaded", "status": status, "error": null,
        "startedAt": NOW,
        "completedAt": if running { Value::Null } else { json!(NOW + 1) },
        "durationMs": if running { Value::Null } else { json!(1_000) },
    })
}

/// A turn that failed with this message.
pub fn failed_turn(id: &str, message: &str) -> Value {
    let mut turn = turn(id, "failed");
    turn["error"] = json!({
        "message": message, "codexErrorInfo": "other", "additionalDetails": null, "misalignment": null,
    });
    turn
}

/// An item: an agent message without a phase.
pub fn agent_message(id: &str, text: &str) -> Value {
    json!({
        "type": "agentMessage", "id": id, "text": text, "phase": null,
        "memoryCitation": null, "delivery": null, "questions": null,
    })
}

/// The notification `turn/started`.
pub fn turn_started(thread: &str, turn_id: &str) -> Value {
    notification("turn/started", json!({"threadId": thread, "turn": turn(turn_id, "inProgress")}))
}

/// The notification `turn/completed`, with a finished [`turn`].
pub fn turn_completed(thread: &str, turn: Value) -> Value {
    notification("turn/completed", json!({"threadId": thread, "turn": turn}))
}

/// The notification `item/started`.
pub fn item_started(thread: &str, turn: &str, item: Value) -> Value {
    let params = json!({"item": item, "threadId": thread, "turnId": turn, "startedAtMs": NOW * 1_000});
    notification("item/started", params)
}

/// The notification `item/completed`.
pub fn item_completed(thread: &str, turn: &str, item: Value) -> Value {
    let params = json!({"item": item, "threadId": thread, "turnId": turn, "completedAtMs": NOW * 1_000});
    notification("item/completed", params)
}

/// The notification `item/agentMessage/delta`.
pub fn delta(thread: &str, turn: &str, item: &str, text: &str) -> Value {
    let params = json!({"threadId": thread, "turnId": turn, "itemId": item, "delta": text});
    notification("item/agentMessage/delta", params)
}

/// The notification `thread/tokenUsage/updated`, for the thread's first turn.
pub fn token_usage(thread: &str, turn: &str, usage: crate::Usage) -> Value {
    let counts = json!({
        "totalTokens": usage.input + usage.output, "inputTokens": usage.input, "cachedInputTokens": usage.cached,
        "cacheWriteInputTokens": 0, "outputTokens": usage.output, "reasoningOutputTokens": usage.reasoning,
    });
    let usage = json!({"total": counts, "last": counts, "modelContextWindow": 258_400});
    notification(
        "thread/tokenUsage/updated",
        json!({"threadId": thread, "turnId": turn, "tokenUsage": usage}),
    )
}

fn notification(method: &str, params: Value) -> Value {
    json!({"method": method, "params": params, "emittedAtMs": NOW * 1_000})
}

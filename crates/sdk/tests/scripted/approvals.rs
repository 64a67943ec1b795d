//! Approval modes on the wire.

use openai_codex::{ApprovalMode, CodexConfig};
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::{Response, messages};
use serde_json::{Value, json};

use crate::support::with_both_clients;

const MODES: [ApprovalMode; 3] = [ApprovalMode::AutoReview, ApprovalMode::DenyAll, ApprovalMode::Ask];

/// The wire form of each of [`MODES`]. A missing key is null here.
fn expected() -> [Value; 3] {
    [json!(["on-request", "auto_review"]), json!(["never", null]), json!(["on-request", "user"])]
}

fn approval_keys(message: &Value) -> Value {
    let params = &message["params"];
    for key in ["approvalPolicy", "approvalsReviewer"] {
        assert_ne!(params.get(key), Some(&Value::Null), "left out, never null");
    }
    json!([params["approvalPolicy"], params["approvalsReviewer"]])
}

fn of_method(messages: &[Value], method: &str) -> Vec<Value> {
    messages.iter().filter(|message| message["method"] == method).map(approval_keys).collect()
}

with_both_clients! {
    fn a_thread_gets_the_requested_mode(start, wait) {
        let script = Script::standard().always_respond("thread/start", Response::Opens(messages::thread_start_response("t")));
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        for mode in MODES {
            wait!(codex.thread_start().approval_mode(mode).send()).unwrap();
        }
        wait!(codex.close()).unwrap();
        assert_eq!(of_method(&running.finish().unwrap().messages(), "thread/start"), expected());
    }

    fn a_turn_sends_a_mode_only_if_it_is_set(start, wait) {
        let turns = ["u1", "u2", "u3", "u4"];
        let script = turns.into_iter().fold(Script::standard().start_thread("t"), |script, turn| {
            script.start_turn("t", turn).complete_turn("t", turn)
        });
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.turn("plain").run()).unwrap();
        for mode in MODES {
            wait!(thread.turn("set").approval_mode(mode).run()).unwrap();
        }
        wait!(codex.close()).unwrap();
        let modes = of_method(&running.finish().unwrap().messages(), "turn/start");
        assert_eq!(modes[0], json!([null, null]));
        assert_eq!(modes[1..], expected());
    }
}

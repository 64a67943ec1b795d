//! `thread/start` and `thread/read` on the wire.

use openai_codex::types::{Personality, SandboxMode, ThreadStartSource};
use openai_codex::{ApprovalMode, CodexConfig};
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::{Answer, messages};
use serde_json::json;

use crate::support::{sent, with_both_clients};

fn starts_any_thread() -> Script {
    Script::standard().always_answer("thread/start", Answer::Opens(messages::thread_start_response("t")))
}

with_both_clients! {
    fn a_plain_start_sends_the_approval_mode_alone(start, wait) {
        let (transport, playing) = starts_any_thread().connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        assert_eq!(thread.id(), "t");
        wait!(codex.close()).unwrap();
        let received = playing.finish().unwrap().messages();
        let expected = json!({"approvalPolicy": "on-request", "approvalsReviewer": "auto_review"});
        assert_eq!(sent(&received, "thread/start")["params"], expected);
    }

    fn every_option_has_its_key(start, wait) {
        let (transport, playing) = starts_any_thread().connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let options = codex
            .thread_start()
            .approval_mode(ApprovalMode::DenyAll)
            .base_instructions("base")
            .config("model_reasoning_effort", "high")
            .config("a.b", json!([1]))
            .cwd("/repo")
            .developer_instructions("dev")
            .ephemeral(true)
            .model("m")
            .model_provider("p")
            .personality(Personality::Pragmatic)
            .sandbox(SandboxMode::WorkspaceWrite)
            .service_name("s")
            .service_tier("fast")
            .session_start_source(ThreadStartSource::Clear)
            .thread_source("subagent");
        wait!(options.send()).unwrap();
        wait!(codex.close()).unwrap();
        let received = playing.finish().unwrap().messages();
        // The folder has no trust decision.
        let projects = json!({"/repo": {"trust_level": "untrusted"}});
        let expected = json!({
            "approvalPolicy": "never", "baseInstructions": "base",
            "config": {"model_reasoning_effort": "high", "a.b": [1], "projects": projects},
            "cwd": "/repo", "developerInstructions": "dev", "ephemeral": true, "model": "m", "modelProvider": "p",
            "personality": "pragmatic", "sandbox": "workspace-write", "serviceName": "s", "serviceTier": "fast",
            "sessionStartSource": "clear", "threadSource": "subagent",
        });
        assert_eq!(sent(&received, "thread/start")["params"], expected);
    }

    fn unknown_values_are_sent_unchanged(start, wait) {
        let (transport, playing) = starts_any_thread().connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let sandbox = SandboxMode::from("new-sandbox");
        wait!(codex.thread_start().thread_source("of_tomorrow").sandbox(sandbox).send()).unwrap();
        wait!(codex.close()).unwrap();
        let received = playing.finish().unwrap().messages();
        let params = &sent(&received, "thread/start")["params"];
        assert_eq!((&params["threadSource"], &params["sandbox"]), (&json!("of_tomorrow"), &json!("new-sandbox")));
    }

    fn a_relative_cwd_is_taken_from_this_process(start, wait) {
        let (transport, playing) = starts_any_thread().connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        wait!(codex.thread_start().cwd("src").send()).unwrap();
        wait!(codex.close()).unwrap();
        let received = playing.finish().unwrap().messages();
        let expected = std::env::current_dir().unwrap().join("src");
        assert_eq!(sent(&received, "thread/start")["params"]["cwd"], json!(expected));
    }

    fn reading_always_says_whether_turns_are_wanted(start, wait) {
        let answer = json!({"thread": messages::thread("t")});
        let (transport, playing) = starts_any_thread().always("thread/read", answer).connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        assert_eq!(wait!(thread.read().send()).unwrap().thread.id, "t");
        wait!(thread.read().include_turns(true).send()).unwrap();
        wait!(codex.close()).unwrap();
        let received = playing.finish().unwrap().messages();
        let reads: Vec<_> = received.iter().filter(|message| message["method"] == "thread/read").collect();
        assert_eq!(reads[0]["params"], json!({"threadId": "t", "includeTurns": false}));
        assert_eq!(reads[1]["params"], json!({"threadId": "t", "includeTurns": true}));
    }
}

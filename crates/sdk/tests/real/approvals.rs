//! Approval modes, and commands that need more than the sandbox allows.

use openai_codex::types::{AskForApproval, CommandExecutionStatus, SandboxMode};
use openai_codex::{ApprovalMode, Event};
use openai_codex_testkit::ModelToolCall;
use serde_json::json;

use super::commands::command;
use crate::support::{Model, with_both_clients};

with_both_clients! {
    fn without_a_handler_requests_are_declined_and_the_turn_ends(start, wait) {
        let model = Model::start();
        let target = model.folder().join("written");
        let line = format!("echo x > {}", target.display());
        model.reply(ModelToolCall::exec_command(line).escalate("because"));
        model.reply("as you wish");
        let codex = start!(model.config()).unwrap();
        let mut events = codex.events();
        let options = codex.thread_start().approval_mode(ApprovalMode::Ask).sandbox(SandboxMode::ReadOnly);
        let thread = wait!(options.send()).unwrap();
        let result = wait!(thread.run("go")).unwrap();
        assert_eq!(result.final_response.as_deref(), Some("as you wish"));
        assert_eq!(command(&result).status, CommandExecutionStatus::Declined);
        assert!(!target.exists());
        loop {
            let event = wait!(events.next()).unwrap().unwrap();
            if let Event::AnsweredByDefault { method, declined, .. } = event {
                assert_eq!((method.as_str(), declined), ("item/commandExecution/requestApproval", true));
                break;
            }
        }
        wait!(codex.close()).unwrap();
    }

    fn deny_all_requests_no_approval_and_writes_nothing(start, wait) {
        let model = Model::start();
        let target = model.folder().join("written");
        let line = format!("echo x > {}", target.display());
        model.reply(ModelToolCall::exec_command(line).escalate("because"));
        model.reply("as you wish");
        let codex = start!(model.config()).unwrap();
        let options = codex.thread_start().approval_mode(ApprovalMode::DenyAll).sandbox(SandboxMode::ReadOnly);
        let mut events = codex.events();
        let thread = wait!(options.send()).unwrap();
        assert_eq!(wait!(thread.run("go")).unwrap().final_response.as_deref(), Some("as you wish"));
        assert!(!target.exists());
        wait!(codex.close()).unwrap();
        while let Some(event) = wait!(events.next()) {
            assert!(!matches!(event.unwrap(), Event::AnsweredByDefault { .. }));
        }
    }

    fn the_default_of_a_start_wins_over_the_users_configuration(start, wait) {
        use openai_codex::{methods, types::ThreadStartParams};
        let model = Model::start();
        model.add_config("approval_policy = \"never\"\n").unwrap();
        let codex = start!(model.config()).unwrap();
        // The settings that the configuration alone gives a thread.
        let bare = wait!(codex.request::<methods::ThreadStart>(ThreadStartParams::new())).unwrap();
        assert_eq!(bare.approval_policy, AskForApproval::Never);
        let params = ThreadStartParams::new().approval_policy(AskForApproval::OnRequest);
        let response = wait!(codex.request::<methods::ThreadStart>(params)).unwrap();
        assert_eq!(response.approval_policy, AskForApproval::OnRequest);
        wait!(codex.close()).unwrap();
    }

    fn the_approval_mode_of_a_turn_stays_with_the_thread(start, wait) {
        let model = Model::with_fallback("ok");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        macro_rules! policy {
            () => {{
                let response =
                    wait!(codex.request_raw("thread/resume", json!({"threadId": thread.id()}))).unwrap();
                response["approvalPolicy"].as_str().unwrap().to_owned()
            }};
        }
        wait!(thread.run("default")).unwrap();
        assert_eq!(policy!(), "on-request");
        wait!(thread.turn("deny").approval_mode(ApprovalMode::DenyAll).run()).unwrap();
        assert_eq!(policy!(), "never");
        wait!(thread.run("nothing said")).unwrap();
        assert_eq!(policy!(), "never");
        wait!(thread.turn("review").approval_mode(ApprovalMode::AutoReview).run()).unwrap();
        assert_eq!(policy!(), "on-request");
        wait!(codex.close()).unwrap();
    }
}

//! With `ApprovalMode::AutoReview` a model decides whether a command may leave the sandbox.

use std::path::Path;
use std::sync::atomic::Ordering;

use openai_codex::types::{
    CommandExecutionApprovalDecision as Decision, CommandExecutionStatus, SandboxMode,
};
use openai_codex::{ApprovalMode, Event, Notification};
use openai_codex_testkit::{ModelToolCall, Verdict};

use super::commands::command;
use crate::support::{Model, counted, with_both_clients};

/// A model that tries to write a file from a read-only sandbox, and reports the outcome.
fn model_that_wants_out(verdict: Verdict) -> (Model, std::path::PathBuf) {
    let model = Model::start();
    let target = model.folder().join("written");
    model.review_with(verdict);
    model.reply(ModelToolCall::exec_command(line(&target)).escalate("because"));
    model.reply("done");
    (model, target)
}

fn line(target: &Path) -> String {
    format!("echo x > {}", target.display())
}

/// The requests for approval, as far as this client can see.
#[derive(Debug, Default, PartialEq)]
struct ApprovalRequests {
    /// Requests to this client.
    client: usize,
    /// Reviews by a model.
    reviews: usize,
}

impl ApprovalRequests {
    fn see(&mut self, event: &Event) {
        match event {
            Event::AnsweredByDefault { .. } => self.client += 1,
            Event::Notification(Notification::ItemGuardianApprovalReviewCompleted(_)) => self.reviews += 1,
            _ => {}
        }
    }
}

with_both_clients! {
    fn an_allowed_command_runs_outside_the_sandbox_without_a_request_to_the_client(start, wait) {
        let (model, target) = model_that_wants_out(Verdict::allow());
        let codex = start!(model.config()).unwrap();
        let mut events = codex.events();
        // A new thread's default.
        let options = codex.thread_start().approval_mode(ApprovalMode::AutoReview);
        let thread = wait!(options.sandbox(SandboxMode::ReadOnly).send()).unwrap();
        let result = wait!(thread.run("go")).unwrap();
        assert_eq!(result.final_response.as_deref(), Some("done"));
        assert_eq!(command(&result).status, CommandExecutionStatus::Completed);
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "x\n");
        wait!(codex.close()).unwrap();
        let mut requests = ApprovalRequests::default();
        while let Some(Ok(event)) = wait!(events.next()) {
            requests.see(&event);
        }
        assert_eq!(requests, ApprovalRequests { client: 0, reviews: 1 });
        // The runtime chooses the reviewing model: 0.169.0 uses that of the thread.
        let reviews = model.reviews();
        assert_eq!(reviews.len(), 1);
        assert!(["codex-auto-review", "mock-model"].contains(&reviews[0].model().unwrap()));
        let action = reviews[0].reviewed_action().unwrap();
        assert_eq!(action["command"][2], line(&target));
        assert_eq!(action["justification"], "because");
    }

    fn the_handler_of_a_client_decides_in_threads_that_were_started_without_it(start, wait) {
        for opening in ["resume", "fork", "unarchive"] {
            let model = Model::start();
            let target = model.folder().join("written");
            model.review_with(Verdict::allow());
            let codex = start!(model.config()).unwrap();
            let thread = wait!(codex.thread_start().sandbox(SandboxMode::ReadOnly).send()).unwrap();
            model.reply("ready");
            wait!(thread.run("first")).unwrap();
            model.reply(ModelToolCall::exec_command(line(&target)).escalate("because"));
            model.reply("done");
            if opening == "unarchive" {
                wait!(codex.thread_archive(thread.id())).unwrap();
            }
            wait!(codex.close()).unwrap();

            let (decide, calls) = counted(Decision::Decline);
            let codex = start!(model.config().on_command_approval(decide)).unwrap();
            let thread = match opening {
                "resume" => wait!(codex.thread_resume(thread.id()).send()),
                "fork" => wait!(codex.thread_fork(thread.id()).send()),
                _ => wait!(codex.thread_unarchive(thread.id())),
            };
            let thread = thread.unwrap();
            let result = wait!(thread.run("go")).unwrap();
            assert_eq!(command(&result).status, CommandExecutionStatus::Declined, "{opening}");
            assert_eq!(calls.load(Ordering::Relaxed), 1, "{opening}");
            assert!(!target.exists(), "{opening}");
            wait!(codex.close()).unwrap();
        }
    }

    fn a_denied_command_does_not_run_and_the_model_gets_the_reason(start, wait) {
        let (model, target) = model_that_wants_out(Verdict::deny("too much is at stake"));
        let codex = start!(model.config()).unwrap();
        let mut events = codex.events();
        let options = codex.thread_start().sandbox(SandboxMode::ReadOnly);
        let thread = wait!(options.send()).unwrap();
        let result = wait!(thread.run("go")).unwrap();
        assert_eq!(result.final_response.as_deref(), Some("done"));
        assert_eq!(command(&result).status, CommandExecutionStatus::Declined);
        assert!(!target.exists());
        wait!(codex.close()).unwrap();
        let mut requests = ApprovalRequests::default();
        while let Some(Ok(event)) = wait!(events.next()) {
            requests.see(&event);
        }
        assert_eq!(requests, ApprovalRequests { client: 0, reviews: 1 });
        assert!(model.last_request().unwrap().last_output().unwrap().contains("too much is at stake"));
    }

    fn without_a_verdict_nothing_runs(start, wait) {
        let model = Model::start();
        let target = model.folder().join("written");
        model.reply(ModelToolCall::exec_command(line(&target)).escalate("because"));
        model.reply("done");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().sandbox(SandboxMode::ReadOnly).send()).unwrap();
        let result = wait!(thread.run("go")).unwrap();
        // The review took nothing from the queue.
        assert_eq!(result.final_response.as_deref(), Some("done"));
        assert_eq!(command(&result).status, CommandExecutionStatus::Declined);
        assert!(!target.exists());
        assert!(model.unanswered().iter().all(|request| request.is_review()) && !model.unanswered().is_empty());
        wait!(codex.close()).unwrap();
    }

    fn commands_inside_the_sandbox_are_not_reviewed(start, wait) {
        let model = Model::start();
        model.review_with(Verdict::allow());
        model.reply(ModelToolCall::exec_command("echo hi"));
        model.reply("done");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().sandbox(SandboxMode::ReadOnly).send()).unwrap();
        wait!(thread.run("go")).unwrap();
        assert_eq!((model.requests().len(), model.reviews().len()), (2, 0));
        wait!(codex.close()).unwrap();
    }
}

//! The decisions of handlers take effect.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use openai_codex::types::{
    CommandExecutionApprovalDecision as Decision, CommandExecutionStatus, ThreadListParams,
    TurnInterruptParams,
};
use openai_codex::{
    AcceptEveryApproval, ApprovalMode, CommandApproval, Event, Reply, RequestHandler, Responder, Sandbox,
    methods,
};
use openai_codex_testkit::{ModelReply, ModelToolCall, RecordedRequest};

use super::commands::command;
use crate::support::{Model, spawn_subagent, with_both_clients};

const METHOD: &str = "item/commandExecution/requestApproval";

/// A model that writes a file outside the sandbox, and that file.
fn wants_out() -> (Model, PathBuf) {
    let model = Model::start();
    let target = model.folder().join("written");
    model.reply(write(&target));
    model.reply("done");
    (model, target)
}

fn write(target: &Path) -> ModelToolCall {
    ModelToolCall::exec_command(format!("echo x > {}", target.display())).escalate("because")
}

fn says(text: &'static str) -> impl Fn(&RecordedRequest) -> bool + Send {
    move |request| request.last_user_text() == Some(text)
}

/// The requests that the handlers of the client and of the thread received.
struct Note(mpsc::Sender<String>, Decision);

impl RequestHandler for Note {
    fn command_approval(&self, request: CommandApproval) -> Reply<Decision> {
        self.0.send(request.thread_id().unwrap().to_owned()).unwrap();
        Reply::now(self.1.clone())
    }
}

with_both_clients! {
    fn a_command_that_a_closure_accepts_runs(start, wait) {
        let (model, target) = wants_out();
        let config = model.config().on_command_approval(|request| {
            assert_eq!(request.reason.as_deref(), Some("because"));
            assert!(request.available_decisions().contains(&Decision::Accept));
            assert!(request.turn_id().is_some());
            Decision::Accept
        });
        let codex = start!(config).unwrap();
        let thread = wait!(codex.thread_start().sandbox(Sandbox::ReadOnly).send()).unwrap();
        let result = wait!(thread.run("go")).unwrap();
        assert_eq!(command(&result).status, CommandExecutionStatus::Completed);
        assert!(target.exists());
        wait!(codex.close()).unwrap();
    }

    fn the_documented_handler_accepts_the_exact_command_only(start, wait) {
        let model = Model::start();
        let shell = |shell: &str| ModelToolCall::exec_command("git status").escalate("because").arg("shell", shell);
        let others = [
            "git status; touch x", "touch x; git status", "git status && touch x", "git status | sh", "git status\ntouch x",
            "git status > x", "git status --porcelain", "GIT_DIR=x git status", "echo git status",
        ];
        model.reply(shell("bash"));
        for line in others {
            model.reply(ModelToolCall::exec_command(line).escalate("because"));
        }
        model.reply(shell("sh"));
        model.reply("done");

        let (note, requests) = mpsc::channel();
        let config = model.config().on_command_approval(move |request| {
            let decision = match request.shell_command().as_deref() {
                Some("git status") => Decision::Accept,
                _ => Decision::Decline,
            };
            note.send((request, decision.clone())).unwrap();
            decision
        });
        let codex = start!(config).unwrap();
        let thread = wait!(codex.thread_start().sandbox(Sandbox::ReadOnly).send()).unwrap();
        let result = wait!(thread.run("go")).unwrap();
        assert!(!model.folder().join("x").exists());
        wait!(codex.close()).unwrap();

        let requests: Vec<_> = requests.try_iter().collect();
        assert_eq!(requests.len(), 1 + others.len() + 1);
        let (first, accepted) = &requests[0];
        assert_eq!(*accepted, Decision::Accept);
        assert_ne!(command(&result).status, CommandExecutionStatus::Declined);
        let amendment = |request: &CommandApproval| request.proposed_execpolicy_amendment.clone();
        assert_eq!(amendment(first).unwrap(), ["git", "status"]);
        // Another shell of the system, with the same script.
        assert_eq!(requests.last().unwrap().1, Decision::Accept);
        for (request, decision) in &requests[1..=others.len()] {
            assert_eq!(*decision, Decision::Decline, "{:?}", request.command);
        }
        // Why the amendment is not a basis for a decision: a line that does more has the same one.
        assert_eq!(amendment(&requests[1].0), amendment(first));
        // Nor are the actions: they do not contain the shell.
        assert_eq!(requests.last().unwrap().0.command_actions, first.command_actions);
    }

    fn a_command_that_a_future_accepts_runs(start, wait) {
        let (model, target) = wants_out();
        let config = model.config().on_command_approval(|request| async move {
            // A timer of its executor.
            tokio::time::sleep(Duration::from_millis(1)).await;
            match request.command.as_deref() {
                Some(command) if command.contains("echo x") => Ok(Decision::Accept),
                other => Err(format!("unexpected: {other:?}")),
            }
        });
        let codex = start!(config).unwrap();
        let thread = wait!(codex.thread_start().sandbox(Sandbox::ReadOnly).send()).unwrap();
        wait!(thread.run("go")).unwrap();
        assert!(target.exists());
        wait!(codex.close()).unwrap();
    }

    fn a_declined_command_does_not_run(start, wait) {
        let (model, target) = wants_out();
        let codex = start!(model.config()).unwrap();
        let options = codex.thread_start().sandbox(Sandbox::ReadOnly).on_command_approval(|_| Decision::Decline);
        let thread = wait!(options.send()).unwrap();
        let result = wait!(thread.run("go")).unwrap();
        assert_eq!(result.final_response.as_deref(), Some("done"));
        assert_eq!(command(&result).status, CommandExecutionStatus::Declined);
        assert!(!target.exists());
        wait!(codex.close()).unwrap();
    }

    fn a_failing_handler_allows_nothing_and_the_turn_ends(start, wait) {
        type Failing = fn(CommandApproval) -> Reply<Decision>;
        let ways: [(Failing, &str); 4] = [
            (|_| Reply::error("the database is gone"), "the database is gone"),
            (|_| panic!("a bug"), "a bug"),
            (|_| Reply::future(async { panic!("a bug of the future") as Decision }), "a bug of the future"),
            (|_| Reply::later().1, "without a response"),
        ];
        for (failing, expected) in ways {
            let (model, target) = wants_out();
            let codex = start!(model.config().on_command_approval(failing)).unwrap();
            let mut events = codex.events();
            let thread = wait!(codex.thread_start().sandbox(Sandbox::ReadOnly).send()).unwrap();
            let result = wait!(thread.run("go")).unwrap();
            assert_eq!(result.final_response.as_deref(), Some("done"), "{expected}");
            assert!(!target.exists(), "{expected}");
            loop {
                let event = wait!(events.next()).unwrap().unwrap();
                if let Event::HandlerFailed { method, message, .. } = event {
                    assert_eq!(method, METHOD);
                    assert!(message.contains(expected), "{message}");
                    break;
                }
            }
            wait!(codex.close()).unwrap();
        }
    }

    fn a_reply_can_be_completed_from_another_thread(start, wait) {
        let (model, target) = wants_out();
        let (request_tx, request_rx) = mpsc::channel::<(CommandApproval, Responder<Decision>)>();
        let config = model.config().on_command_approval(move |request| {
            let (responder, reply) = Reply::later();
            request_tx.send((request, responder)).unwrap();
            reply
        });
        let codex = start!(config).unwrap();
        let thread = wait!(codex.thread_start().sandbox(Sandbox::ReadOnly).send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        let (request, responder) = request_rx.recv().unwrap();
        assert_eq!(request.turn_id(), Some(turn.id()));
        responder.respond(Decision::Accept);
        wait!(turn.run()).unwrap();
        assert!(target.exists());
        wait!(codex.close()).unwrap();
    }

    fn a_handler_can_call_its_client_and_interrupt_its_turn(start, wait) {
        let (model, target) = wants_out();
        let config = model.config().on_command_approval(|request| {
            let codex = request.codex()?;
            codex.request::<methods::ThreadList>(ThreadListParams::new())?;
            let interrupt = TurnInterruptParams::new(&*request.thread_id, &*request.turn_id);
            codex.request::<methods::TurnInterrupt>(interrupt)?;
            assert!(request.cancellation().wait_timeout(Duration::from_secs(30)), "the turn has ended");
            Ok::<_, openai_codex::Error>(Decision::Accept)
        });
        let codex = start!(config).unwrap();
        let thread = wait!(codex.thread_start().sandbox(Sandbox::ReadOnly).send()).unwrap();
        assert!(wait!(thread.run("go")).unwrap().is_interrupted());
        assert!(!target.exists(), "an answer that is no longer wanted goes nowhere");
        wait!(codex.close()).unwrap();
    }

    fn an_async_handler_can_call_its_client_during_a_turn(start, wait) {
        let (model, target) = wants_out();
        let config = model.config().on_command_approval(|request| async move {
            let codex = request.async_codex()?;
            codex.request::<methods::ThreadList>(ThreadListParams::new()).await?;
            let interrupt = TurnInterruptParams::new(&*request.thread_id, &*request.turn_id);
            codex.request::<methods::TurnInterrupt>(interrupt).await?;
            request.cancellation().cancelled().await;
            Ok::<_, openai_codex::Error>(Decision::Accept)
        });
        let codex = start!(config).unwrap();
        let thread = wait!(codex.thread_start().sandbox(Sandbox::ReadOnly).send()).unwrap();
        assert!(wait!(thread.run("go")).unwrap().is_interrupted());
        assert!(!target.exists());
        wait!(codex.close()).unwrap();
    }

    fn accept_every_approval_accepts_everything(start, wait) {
        let (model, target) = wants_out();
        let codex = start!(model.config().handler(AcceptEveryApproval)).unwrap();
        let thread = wait!(codex.thread_start().sandbox(Sandbox::ReadOnly).send()).unwrap();
        wait!(thread.run("go")).unwrap();
        assert!(target.exists());
        wait!(codex.close()).unwrap();
    }

    fn a_sub_agents_request_finds_the_handler_of_the_thread_that_spawned_it(start, wait) {
        let model = Model::start();
        let target = model.folder().join("written");
        model.reply_when(says("delegate"), spawn_subagent());
        model.reply_when(says("help"), write(&target));
        let gate = model.gate();
        model.reply_when(says("help"), "helped");
        model.reply_when(says("delegate"), ModelReply::new().pause(&gate).delta("delegated"));
        model.reply_when(|request| request.last_user_text() != Some("help"), ", and noted");

        let (of_client, client) = mpsc::channel();
        let (of_thread, thread_ids) = mpsc::channel();
        let codex = start!(model.config().handler(Note(of_client, Decision::Decline))).unwrap();
        let options = codex.thread_start().sandbox(Sandbox::ReadOnly).handler(Note(of_thread, Decision::Accept));
        let thread = wait!(options.send()).unwrap();
        let turn = wait!(thread.turn("delegate").send()).unwrap();
        let mut events = turn.stream().with_children();
        while let Some(event) = wait!(events.next()) {
            if let openai_codex::Notification::TurnCompleted(_) = event.unwrap() {
                gate.release();
            }
        }
        assert_ne!(thread_ids.recv().unwrap(), thread.id(), "the child asks under its own id");
        assert!(client.try_recv().is_err());
        assert!(target.exists());
        wait!(codex.close()).unwrap();
    }

    fn a_handler_beside_auto_review_is_an_error_before_anything_is_sent(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        let options = codex.thread_start().approval_mode(ApprovalMode::AutoReview);
        let error = wait!(options.on_command_approval(|_| Decision::Decline).send()).unwrap_err();
        assert!(error.to_string().contains("receives none"), "{error}");
        wait!(codex.close()).unwrap();
    }
}

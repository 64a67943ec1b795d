//! Restarts of a lost runtime.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use openai_codex::types::{CommandExecutionApprovalDecision as Decision, WorkspaceWriteSandboxPolicy};
use openai_codex::{
    ApprovalMode, AsyncCodex, AsyncEvents, Codex, CodexConfig, Error, ErrorKind, Event, Notification,
    RestartPolicy, Sandbox, WireLog,
};
use openai_codex_testkit::app_server::{Response, messages};
use openai_codex_testkit::{AppServer, Script};
use serde_json::{Value, json};

use crate::support::{Server, bounded, bounded_async, count, params, program, sent, with_both_clients};

/// A program that plays another script at each start. Without a further script it fails to start.
struct Lives {
    server: Server,
    program: PathBuf,
}

impl Lives {
    fn new(scripts: impl IntoIterator<Item = Option<Script>>) -> Self {
        let server = Server::new(Script::new());
        let dir = server.dir();
        for (life, script) in scripts.into_iter().enumerate() {
            if let Some(script) = script {
                let script = script.record(dir.join("received.jsonl"));
                script.save(dir.join(format!("script.{}", life + 1))).unwrap();
            }
        }
        let text = format!(
            "#!/bin/sh\n\
             life=1\n\
             while ! mkdir {dir}/life.$life 2>/dev/null; do life=$((life + 1)); done\n\
             [ -e {dir}/script.$life ] || {{ echo 'not yet' >&2; exit 3; }}\n\
             SCRIPTED_APP_SERVER={dir}/script.$life exec {real}\n",
            dir = dir.display(),
            real = AppServer::program().unwrap().display(),
        );
        let program = program(dir, "codex", &text);
        Self { server, program }
    }

    fn config(&self, policy: RestartPolicy) -> CodexConfig {
        self.server.config().codex_bin(&self.program).restart(policy)
    }

    /// How often the program was started.
    fn starts(&self) -> usize {
        let entries = std::fs::read_dir(self.server.dir()).unwrap();
        entries
            .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with("life."))
            .count()
    }

    fn received(&self) -> Vec<Value> {
        self.server.received().unwrap()
    }
}

/// A pause that is too short for a test to notice.
fn at_once() -> RestartPolicy {
    RestartPolicy::new().initial_delay(Duration::from_millis(1)).max_delay(Duration::from_millis(1))
}

/// A pause before the second attempt that no test waits for.
fn later() -> RestartPolicy {
    RestartPolicy::new().initial_delay(Duration::from_secs(3600)).max_delay(Duration::from_secs(3600))
}

/// A runtime with the thread `t` that dies on request.
fn mortal() -> Script {
    dies(Script::standard().start_thread("t").expect("test/die"))
}

fn dies(script: Script) -> Script {
    script.stderr("last words").exit(7)
}

/// The response to a resume: the thread has the approval mode that a start sets.
fn resumed() -> Value {
    let mut answer = messages::thread_start_response("t");
    answer["approvalsReviewer"] = "auto_review".into();
    answer
}

/// A runtime that resumes the thread `t`.
fn resumes() -> Script {
    Script::standard().expect("thread/resume").respond(resumed())
}

/// A runtime with a version that identifies it.
fn named(name: &str) -> Script {
    let mut answer = messages::initialize_response();
    answer["userAgent"] = format!("{name}/0.163.0 (x)").into();
    Script::new().expect("initialize").respond(answer).expect_notification("initialized")
}

fn runs(script: Script, turn: &str) -> Script {
    script.start_turn("t", turn).agent_message("t", turn, "m", ["done"]).complete_turn("t", turn)
}

#[track_caller]
fn assert_lost(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::TransportClosed, "{error}");
    assert!(error.to_string().contains("exit status: 7"), "{error}");
}

/// Checks the error of a turn that was running.
#[track_caller]
fn assert_turn_lost(error: &Error) {
    assert_lost(error);
    assert_eq!(error.thread_id(), Some("t"));
    let text = error.to_string();
    assert!(text.contains("may have had effects") && text.contains("starts a new runtime"), "{text}");
}

/// A name for an event about restarts.
fn kind_of(event: &Event) -> String {
    match event {
        Event::RuntimeLost(error) => {
            assert_lost(error);
            "lost".into()
        }
        Event::Restarting { attempt, reason, .. } => format!("restarting {attempt} {:?}", reason.kind()),
        Event::Restarted { attempt } => format!("restarted {attempt}"),
        Event::Notification(Notification::TurnStarted(started)) => format!("turn {}", started.turn.id),
        Event::Notification(_) => "notification".into(),
        other => panic!("{other:?}"),
    }
}

/// The messages to the runtimes, without the handshakes.
fn methods(received: &[Value]) -> Vec<&str> {
    let all = received.iter().filter_map(|message| message["method"].as_str());
    all.filter(|method| !method.starts_with("initialize")).collect()
}

with_both_clients! {
    fn a_restart_goes_on_with_the_wire_log(start, wait) {
        let lives = Lives::new([Some(mortal()), Some(runs(resumes(), "u"))]);
        let path = lives.server.dir().join("wire.jsonl");
        let codex = start!(lives.config(at_once()).wire_log(WireLog::new(&path))).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        assert_lost(&wait!(codex.request_raw("test/die", Value::Null)).unwrap_err());
        wait!(thread.run("go")).unwrap();
        wait!(codex.close()).unwrap();
        let log = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let sent: Vec<_> = lines.iter().map(|line| line["sent"].clone()).collect();
        assert_eq!((count(&sent, "initialize"), count(&sent, "test/die"), count(&sent, "turn/start")), (2, 1, 1));
        // The log records where the first runtime ended, and plays back as that one.
        let ended = lines.iter().position(|line| line["ended"] == true).unwrap();
        assert_eq!((count(&sent[..ended], "test/die"), count(&sent[..ended], "initialize")), (1, 1));
        assert!(lines[ended + 1..].iter().all(|line| line.get("ended").is_none()), "{log}");
        let (transport, running) = Script::from_wire_log(&path).unwrap().connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        wait!(codex.thread_start().send()).unwrap();
        let error = wait!(codex.request_raw("test/die", Value::Null)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TransportClosed);
        wait!(codex.close()).unwrap();
        assert_eq!(running.finish().unwrap().exit_code, Some(1));
    }

    fn a_death_during_a_turn_fails_it_and_the_next_call_restarts(start, wait) {
        let first = named("first").start_thread("t").start_turn("t", "u");
        let first = dies(first.send(messages::delta("t", "u", "i", "he")).expect("test/go"));
        let second = named("second").expect("thread/resume").respond(resumed());
        let lives = Lives::new([Some(first), Some(runs(second, "v").always("test/any", json!("yes")))]);
        let codex = start!(lives.config(at_once())).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        let mut stream = turn.stream();
        let error = wait!(codex.request_raw("test/go", json!({}))).unwrap_err();
        assert_lost(&error);
        assert!(!error.to_string().contains("effects"), "{error}");
        assert!(matches!(wait!(stream.next()), Some(Ok(Notification::TurnStarted(_)))));
        assert!(matches!(wait!(stream.next()), Some(Ok(Notification::AgentMessageDelta(_)))));
        assert_turn_lost(&wait!(stream.next()).unwrap().unwrap_err());
        assert!(wait!(stream.next()).is_none());
        assert_turn_lost(&wait!(turn.run()).unwrap_err());

        // The turn is gone, even after a restart.
        let gone = |error: Error| assert!(error.to_string().contains("the turn was lost with its runtime"), "{error}");
        gone(wait!(turn.interrupt()).unwrap_err());
        assert_eq!(lives.starts(), 1, "a turn that is lost starts nothing");
        let result = wait!(thread.run("again")).unwrap();
        assert_eq!((result.turn.id.as_str(), result.final_response.as_deref()), ("v", Some("done")));
        gone(wait!(turn.steer("left")).unwrap_err());
        assert_turn_lost(&wait!(turn.run()).unwrap_err());
        assert_eq!(wait!(codex.request_raw("test/any", json!({}))).unwrap(), "yes");
        let metadata = format!("{:?}", codex.metadata());
        assert!(metadata.contains("second/") && !metadata.contains("first/"), "{metadata}");
        wait!(codex.close()).unwrap();

        let received = lives.received();
        let in_order = ["thread/start", "turn/start", "test/go", "thread/resume", "turn/start", "test/any"];
        assert_eq!(methods(&received), in_order);
        assert_eq!(sent(&received, "thread/resume")["params"], json!({"threadId": "t"}));
        assert_eq!(lives.starts(), 2);
    }

    fn a_death_before_the_turn_response_does_not_repeat_the_turn(start, wait) {
        let first = dies(Script::standard().start_thread("t").expect("turn/start"));
        let lives = Lives::new([Some(first), Some(runs(resumes(), "v"))]);
        let codex = start!(lives.config(at_once())).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let error = wait!(thread.run("go")).unwrap_err();
        assert_turn_lost(&error);
        assert_eq!(error.method(), Some("turn/start"));
        assert_eq!(count(&lives.received(), "turn/start"), 1, "it is never made again unasked");
        wait!(thread.run("again")).unwrap();
        wait!(codex.close()).unwrap();
        let texts: Vec<_> = lives.received().iter().filter(|message| message["method"] == "turn/start")
            .map(|message| message["params"]["input"][0]["text"].clone()).collect();
        assert_eq!(texts, ["go", "again"]);
    }

    fn a_client_restarts_twice(start, wait) {
        let second = dies(resumes().start_turn("t", "v"));
        let first = dies(Script::standard().start_thread("t").start_turn("t", "u"));
        let lives = Lives::new([Some(first), Some(second), Some(runs(resumes(), "w"))]);
        let codex = start!(lives.config(at_once())).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        assert_turn_lost(&wait!(thread.run("one")).unwrap_err());
        assert_turn_lost(&wait!(thread.run("two")).unwrap_err());
        assert_eq!(wait!(thread.run("three")).unwrap().turn.id, "w");
        wait!(codex.close()).unwrap();
        assert_eq!((lives.starts(), count(&lives.received(), "thread/resume")), (3, 2));
    }

    fn a_failed_restart_is_retried(start, wait) {
        let lives = Lives::new([Some(mortal()), None, None, Some(runs(resumes(), "u"))]);
        let codex = start!(lives.config(at_once())).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let mut events = codex.events();
        assert_lost(&wait!(codex.request_raw("test/die", json!({}))).unwrap_err());
        assert_eq!(wait!(thread.run("go")).unwrap().turn.id, "u");
        let mut seen = Vec::new();
        while seen.last().is_none_or(|last| last != "turn u") {
            seen.push(kind_of(&wait!(events.next()).unwrap().unwrap()));
        }
        let restarts = [
            "lost", "restarting 1 TransportClosed", "restarting 2 Handshake", "restarting 3 Handshake", "restarted 3",
        ];
        assert_eq!(seen, [&restarts[..], &["turn u"]].concat());
        wait!(codex.close()).unwrap();
        while let Some(event) = wait!(events.next()) {
            assert_eq!(kind_of(&event.unwrap()), "notification");
        }
        assert_eq!(lives.starts(), 4);
    }

    fn attempts_are_used_up(start, wait) {
        let lives = Lives::new([Some(mortal())]);
        let codex = start!(lives.config(at_once().max_attempts(3))).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        assert_lost(&wait!(codex.request_raw("test/die", json!({}))).unwrap_err());
        for _ in 0..2 {
            let error = wait!(thread.run("go")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::RestartsExhausted);
            let text = error.to_string();
            assert!(text.contains("all 3 attempts") && text.contains("600s") && text.contains("not yet"), "{text}");
            let source = std::error::Error::source(&error).unwrap().downcast_ref::<Error>().unwrap();
            assert_eq!(source.kind(), ErrorKind::Handshake);
            assert_eq!(lives.starts(), 4, "the second use makes no attempt");
        }
        // The metadata of the last runtime is still available, and closing is not an error.
        assert!(format!("{:?}", codex.metadata()).contains("scripted-app-server"));
        wait!(codex.close()).unwrap();
        assert_eq!(wait!(thread.run("go")).unwrap_err().kind(), ErrorKind::Closed);
    }

    fn attempts_are_available_again_after_the_window(start, wait) {
        let lives = Lives::new([Some(mortal()), None, Some(runs(resumes(), "u"))]);
        // A window of zero length has always passed. Attempts within one call still count.
        let codex = start!(lives.config(at_once().max_attempts(1).window(Duration::ZERO))).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        assert_lost(&wait!(codex.request_raw("test/die", json!({}))).unwrap_err());
        assert_eq!(wait!(thread.run("go")).unwrap_err().kind(), ErrorKind::RestartsExhausted);
        assert_eq!(lives.starts(), 2);
        assert_eq!(wait!(thread.run("go")).unwrap().turn.id, "u");
        wait!(codex.close()).unwrap();
    }

    fn a_failed_first_start_is_not_retried(start, wait) {
        let lives = Lives::new([None, Some(Script::standard())]);
        let error = start!(lives.config(at_once())).err().unwrap();
        assert_eq!((error.kind(), lives.starts()), (ErrorKind::Handshake, 1));
        assert!(!error.to_string().contains("new runtime"), "{error}");
    }

    fn an_unused_client_does_not_restart(start, wait) {
        let lives = Lives::new([Some(mortal()), Some(Script::standard())]);
        let codex = start!(lives.config(at_once())).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let (mut all, mut of_thread) = (codex.events(), thread.events());
        let running = lives.server.trace.processes();
        assert_lost(&wait!(codex.request_raw("test/die", json!({}))).unwrap_err());
        assert_eq!(kind_of(&wait!(all.next()).unwrap().unwrap()), "lost");
        assert_eq!(kind_of(&wait!(of_thread.next()).unwrap().unwrap()), "lost");
        lives.server.trace.wait_gone(&running);
        assert_eq!(lives.starts(), 1);
        wait!(codex.close()).unwrap();
        assert!(wait!(all.next()).is_none() && wait!(of_thread.next()).is_none());
        assert_eq!((lives.starts(), wait!(thread.run("go")).unwrap_err().kind()), (1, ErrorKind::Closed));
    }

    fn every_use_of_a_thread_resumes_it_first(start, wait) {
        let uses = ["thread/read", "thread/name/set", "thread/turns/list", "thread/items/list", "thread/compact/start"];
        let refuses = |script: Script, method: &&str| script.always_respond(*method, Response::error(-32600, "no"));
        let second = uses.iter().fold(resumes(), refuses);
        for method in uses {
            let lives = Lives::new([Some(mortal()), Some(second.clone())]);
            let codex = start!(lives.config(at_once())).unwrap();
            let thread = wait!(codex.thread_start().send()).unwrap();
            assert_lost(&wait!(codex.request_raw("test/die", json!({}))).unwrap_err());
            let mut made = Vec::new();
            for used in [method, method] {
                made.push(match used {
                    "thread/read" => wait!(thread.read().send()).err(),
                    "thread/name/set" => wait!(thread.set_name("n")).err(),
                    "thread/turns/list" => wait!(thread.turns().send()).err(),
                    "thread/items/list" => wait!(thread.items().send()).err(),
                    _ => wait!(thread.compact()).err(),
                });
            }
            assert!(made.iter().all(|error| error.as_ref().is_some_and(|error| error.method() == Some(method))));
            wait!(codex.close()).unwrap();
            assert_eq!(methods(&lives.received())[2..], ["thread/resume", method, method]);
        }
    }

    fn a_thread_that_cannot_be_resumed_is_an_error(start, wait) {
        let refuses = "no rollout found for thread id t";
        let second = Script::standard().expect("thread/resume").respond_error(-32600, refuses);
        let second = runs(second.then(Script::new().expect("thread/resume").respond(resumed())), "u");
        let lives = Lives::new([Some(mortal()), Some(second)]);
        let codex = start!(lives.config(at_once())).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        assert_lost(&wait!(codex.request_raw("test/die", json!({}))).unwrap_err());
        let error = wait!(thread.run("go")).unwrap_err();
        assert_eq!((error.kind(), error.method()), (ErrorKind::ThreadLost, Some("thread/resume")));
        let text = error.to_string();
        assert!(text.contains(refuses) && text.contains("was lost"), "{text}");
        // The next use tries again.
        assert_eq!(wait!(thread.run("go")).unwrap().turn.id, "u");
        wait!(codex.close()).unwrap();
        assert_eq!(count(&lives.received(), "turn/start"), 1);
    }

    fn an_ephemeral_thread_is_lost(start, wait) {
        let mut opened = messages::thread_start_response("t");
        opened["thread"]["ephemeral"] = true.into();
        let first = dies(Script::standard().expect("thread/start").respond(opened).expect("test/die"));
        let lives = Lives::new([Some(first), Some(Script::standard())]);
        let codex = start!(lives.config(at_once())).unwrap();
        let thread = wait!(codex.thread_start().ephemeral(true).send()).unwrap();
        assert_lost(&wait!(codex.request_raw("test/die", json!({}))).unwrap_err());
        let error = wait!(thread.run("go")).unwrap_err();
        assert_eq!((error.kind(), error.thread_id()), (ErrorKind::ThreadLost, Some("t")));
        assert!(error.to_string().contains("ephemeral"), "{error}");
        wait!(codex.close()).unwrap();
        assert_eq!(count(&lives.received(), "thread/resume"), 0);
    }

    fn a_threads_settings_are_restored_before_anything_runs_in_it(start, wait) {
        let with = |policy: Value| {
            let mut opened = messages::thread_start_response("t");
            opened["sandbox"] = policy;
            opened
        };
        let read_only = json!({"type": "readOnly", "networkAccess": false});
        let first = Script::standard().expect("thread/start").respond(with(read_only));
        let first = runs(first, "u").expect("test/die");
        // The runtime does not store it, and has another default.
        let second = Script::standard().expect("thread/resume").respond(with(json!({"type": "dangerFullAccess"})));
        let second = second.then(Script::new().expect("thread/settings/update"));
        let network = json!({"type": "workspaceWrite", "networkAccess": true});
        let restored = second.clone().respond(json!({})).expect("thread/resume").respond(with(network.clone()));
        let restored = runs(restored, "v");
        let refused = second.respond_error(-32600, "not that");
        for (second, refuses) in [(restored, false), (refused, true)] {
            let lives = Lives::new([Some(dies(first.clone())), Some(second)]);
            let codex = start!(lives.config(at_once())).unwrap();
            let thread = wait!(codex.thread_start().config("a.b", 1).send()).unwrap();
            // What a turn sets stays with the thread.
            let policy = WorkspaceWriteSandboxPolicy::new().network_access(true);
            wait!(thread.turn("one").sandbox_policy(policy).run()).unwrap();
            assert_lost(&wait!(codex.request_raw("test/die", json!({}))).unwrap_err());
            let run = wait!(thread.run("two"));
            assert_eq!(run.is_err(), refuses, "{run:?}");
            wait!(codex.close()).unwrap();
            let received = lives.received();
            let bounds = json!({"threadId": "t", "sandboxPolicy": network.clone()});
            assert_eq!(sent(&received, "thread/settings/update")["params"], bounds);
            assert_eq!(sent(&received, "thread/resume")["params"], json!({"threadId": "t", "config": {"a.b": 1}}));
            // The second resume checks whether they apply.
            let rest = ["thread/resume", "thread/settings/update", "thread/resume", "turn/start"];
            assert_eq!(methods(&received)[3..], rest[..if refuses { 2 } else { 4 }]);
        }
    }

    fn a_restart_restores_the_settings_of_the_last_accepted_turn(start, wait) {
        let with = |policy: &Value, approvals: &str| {
            let mut opened = messages::thread_start_response("t");
            opened["sandbox"] = policy.clone();
            opened["approvalPolicy"] = json!(approvals);
            opened
        };
        let read_only = json!({"type": "readOnly", "networkAccess": false});
        let first = Script::standard().expect("thread/start").respond(with(&read_only, "on-request"));
        let first = runs(first, "u").expect("turn/start").respond_error(-32600, "not that").expect("test/die");
        let accepted = json!({"type": "workspaceWrite", "networkAccess": true});
        let second = Script::standard().expect("thread/resume").respond(with(&read_only, "on-request"));
        let second = second.expect("thread/settings/update").respond(json!({}));
        let second = second.expect("thread/resume").respond(with(&accepted, "never"));
        let lives = Lives::new([Some(dies(first)), Some(runs(second, "v"))]);
        let codex = start!(lives.config(at_once())).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let policy = WorkspaceWriteSandboxPolicy::new().network_access(true);
        let turn = thread.turn("one").sandbox_policy(policy).approval_mode(ApprovalMode::DenyAll);
        wait!(turn.run()).unwrap();
        let refused = thread.turn("two").sandbox(Sandbox::FullAccess).approval_mode(ApprovalMode::Ask);
        assert_eq!(wait!(refused.run()).unwrap_err().kind(), ErrorKind::InvalidRequest);
        assert_lost(&wait!(codex.request_raw("test/die", json!({}))).unwrap_err());
        wait!(thread.run("three")).unwrap();
        wait!(codex.close()).unwrap();
        let received = lives.received();
        let settings = json!({"threadId": "t", "sandboxPolicy": accepted, "approvalPolicy": "never"});
        assert_eq!(sent(&received, "thread/settings/update")["params"], settings);
    }

    fn a_thread_keeps_its_handlers(start, wait) {
        let approval = json!({"threadId": "t", "turnId": "u", "itemId": "i", "command": "ls", "cwd": "/", "startedAtMs": 0});
        let method = "item/commandExecution/requestApproval";
        let second = Script::standard().expect("thread/resume").respond(messages::thread_start_response("t"));
        let second = second.start_turn("t", "u").ask_expecting("a", method, approval, json!({"decision": "accept"}));
        let lives = Lives::new([Some(mortal()), Some(second.complete_turn("t", "u"))]);
        let codex = start!(lives.config(at_once())).unwrap();
        let thread = wait!(codex.thread_start().on_command_approval(|_| Decision::Accept).send()).unwrap();
        assert_lost(&wait!(codex.request_raw("test/die", json!({}))).unwrap_err());
        wait!(thread.run("go")).unwrap();
        wait!(codex.close()).unwrap();
    }

    fn a_client_of_a_transport_does_not_restart(start, wait) {
        let (transport, running) = Script::standard().start_thread("t").exit(0).connect().unwrap();
        let codex = start!(CodexConfig::new().restart(at_once()), transport).unwrap();
        let mut events = codex.events();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let mut last = None;
        while let Some(event) = wait!(events.next()) {
            last = Some(event);
        }
        assert_eq!(last.unwrap().unwrap_err().kind(), ErrorKind::TransportClosed);
        let error = wait!(thread.run("go")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TransportClosed);
        assert!(!error.to_string().contains("new runtime"), "{error}");
        wait!(codex.close()).unwrap();
        drop(running);
    }

    fn an_invalid_policy_is_refused_before_the_start(start, wait) {
        let lives = Lives::new([Some(Script::standard())]);
        let error = start!(lives.config(at_once().max_attempts(0))).err().unwrap();
        assert_eq!((error.kind(), lives.starts()), (ErrorKind::InvalidConfig, 0));
    }
}

/// Reads events until the client waits before an attempt.
async fn waits(events: &mut AsyncEvents) {
    loop {
        if let Event::Restarting { attempt: 2, pause, .. } = events.next().await.unwrap().unwrap() {
            assert!(pause > Duration::from_secs(60));
            return;
        }
    }
}

#[test]
fn concurrent_first_uses_start_one_runtime_and_resume_once() {
    bounded_async(async || {
        let second =
            resumes().expect("thread/read").respond_error(-32600, "no").always("thread/read", json!({}));
        let lives = Lives::new([Some(mortal()), Some(second)]);
        let codex = AsyncCodex::with_config(lives.config(at_once()));
        let thread = codex.thread_start().send().await.unwrap();
        assert_lost(&codex.request_raw("test/die", json!({})).await.unwrap_err());
        let other = thread.clone();
        let _ = tokio::join!(thread.read().send(), other.read().send(), thread.read().send());
        codex.close().await.unwrap();
        let received = lives.received();
        assert_eq!(methods(&received)[2], "thread/resume");
        assert_eq!((params(&received, "thread/resume").len(), lives.starts()), (1, 2));
    });
}

#[test]
fn a_dropped_resume_is_repeated_by_the_next_use() {
    bounded_async(async || {
        let signs = tempfile::tempdir().unwrap();
        let go = signs.path().join("go");
        let answer = resumed();
        let second = Script::standard().expect("thread/resume").await_file(&go).respond(answer.clone());
        let second = runs(second.expect("thread/resume").respond(answer), "u");
        let lives = Lives::new([Some(mortal()), Some(second)]);
        let codex = AsyncCodex::with_config(lives.config(at_once()));
        let thread = codex.thread_start().send().await.unwrap();
        assert_lost(&codex.request_raw("test/die", json!({})).await.unwrap_err());
        {
            let mut run = pin!(thread.run("go"));
            tokio::select! {
                result = &mut run => panic!("{result:?}"),
                () = async {
                    while count(&lives.received(), "thread/resume") == 0 {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                } => {}
            }
        }
        std::fs::File::create(&go).unwrap();
        assert_eq!(thread.run("go").await.unwrap().turn.id, "u");
        codex.close().await.unwrap();
    });
}

#[test]
fn a_close_ends_the_pause_before_an_attempt() {
    bounded_async(async || {
        let lives = Lives::new([Some(mortal())]);
        let codex = AsyncCodex::with_config(lives.config(later()));
        let thread = codex.thread_start().send().await.unwrap();
        let mut events = codex.events();
        assert_lost(&codex.request_raw("test/die", json!({})).await.unwrap_err());
        let (run, closed) = tokio::join!(thread.run("go"), async {
            waits(&mut events).await;
            codex.close().await
        });
        assert_eq!(run.unwrap_err().kind(), ErrorKind::Closed);
        closed.unwrap();
        assert!(events.next().await.is_none());
        assert_eq!(lives.starts(), 2);
    });
}

#[test]
fn a_close_ends_the_pause_of_a_call_that_blocks() {
    bounded(|| {
        let lives = Lives::new([Some(mortal())]);
        let codex = Codex::with_config(lives.config(later())).unwrap();
        let thread = codex.thread_start().send().unwrap();
        let mut events = codex.events();
        assert_lost(&codex.request_raw("test/die", json!({})).unwrap_err());
        std::thread::scope(|scope| {
            let run = scope.spawn(|| thread.run("go"));
            while !matches!(events.next().unwrap().unwrap(), Event::Restarting { attempt: 2, .. }) {}
            codex.close().unwrap();
            assert_eq!(run.join().unwrap().unwrap_err().kind(), ErrorKind::Closed);
        });
    });
}

#[test]
fn a_drop_during_the_pause_leaves_nothing() {
    bounded_async(async || {
        let lives = Lives::new([Some(mortal())]);
        // Held by the client, as long as there is anything of it.
        let held = Arc::new(());
        let holder = held.clone();
        let config = lives.config(later()).on_command_approval(move |_| {
            let _ = &holder;
            Decision::Decline
        });
        let codex = AsyncCodex::with_config(config);
        let thread = codex.thread_start().send().await.unwrap();
        let mut events = codex.events();
        assert_lost(&codex.request_raw("test/die", json!({})).await.unwrap_err());
        {
            let mut run = pin!(thread.run("go"));
            tokio::select! {
                result = &mut run => panic!("{result:?}"),
                () = waits(&mut events) => {}
            }
        }
        drop((codex, thread, events));
        while Arc::strong_count(&held) > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        lives.server.trace.wait_gone(&[]);
        assert_eq!(lives.starts(), 2);
    });
}

//! Clients that lose the connection to a server of the real runtime, and connect again.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openai_codex::types::{
    CommandExecutionApprovalDecision as Decision, SandboxMode, ThreadItem, TurnStatus,
};
use openai_codex::{
    ApprovalMode, AsyncCodex, CodexConfig, ConnectionPolicy, Endpoint, ErrorKind, Event, Notification,
    Sandbox, WireLog,
};
use openai_codex_testkit::proxy::{Fault, FaultyProxy, Flow, Place, Plan};
use openai_codex_testkit::{ModelReply, ModelToolCall};
use serde_json::json;

use crate::support::{Model, RunningServer, bounded_async, has_user_text, spawn_subagent, with_both_clients};

/// Pauses of some milliseconds, and attempts for a whole test.
fn policy() -> ConnectionPolicy {
    ConnectionPolicy::new()
        .max_attempts(10_000)
        .initial_delay(Duration::from_millis(5))
        .max_delay(Duration::from_millis(50))
}

fn config(proxy: &FaultyProxy) -> CodexConfig {
    CodexConfig::new().connect(Endpoint::unix(proxy.socket())).connection_policy(policy())
}

/// An endpoint whose first attempt succeeds at once. Each further one waits for the test, because the token is not there before.
fn gated(socket: impl Into<PathBuf>) -> (Endpoint, Sender<()>) {
    let (open, opened) = channel();
    let (calls, opened) = (AtomicUsize::new(0), Mutex::new(opened));
    let endpoint = Endpoint::unix(socket).bearer(move || {
        if calls.fetch_add(1, Ordering::SeqCst) > 0 {
            opened.lock().unwrap().recv().map_err(std::io::Error::other)?;
        }
        Ok("token".into())
    });
    (endpoint, open)
}

/// Waits for an event of an observer.
macro_rules! until {
    ($wait:ident, $events:ident, $pattern:pat) => {
        while !matches!($wait!($events.next()).unwrap().unwrap(), $pattern) {}
    };
}

with_both_clients! {
    fn a_turn_goes_on_after_its_connection_was_cut(start, wait) {
        let model = Model::start();
        let server = RunningServer::on_socket(&model);
        let proxy = FaultyProxy::to_socket(server.socket()).unwrap();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let codex = start!(config(&proxy)).unwrap();
        let mut events = codex.events();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        let mut stream = turn.stream();
        while !matches!(wait!(stream.next()).unwrap().unwrap(), Notification::AgentMessageDelta(_)) {}
        proxy.cut();
        until!(wait, events, Event::ConnectionLost(_));
        until!(wait, events, Event::Reconnecting { attempt: 1, .. });
        until!(wait, events, Event::Reconnected { attempt: 1 });
        gate.release();
        let result = wait!(turn.run()).unwrap();
        assert_eq!(result.final_response.as_deref(), Some("hello"));
        assert_eq!(result.turn.status, TurnStatus::Completed);
        let mut last = None;
        while let Some(event) = wait!(stream.next()) {
            last = Some(event.unwrap());
        }
        assert!(matches!(last, Some(Notification::TurnCompleted(_))), "{last:?}");
        // The thread is usable as before.
        model.reply("more");
        assert_eq!(wait!(thread.run("again")).unwrap().final_response.as_deref(), Some("more"));
        assert_eq!(proxy.connections(), 2);
        wait!(codex.close()).unwrap();
    }

    fn a_thread_that_has_not_run_can_be_used_after_its_connection_was_cut(start, wait) {
        let model = Model::start();
        let server = RunningServer::on_socket(&model);
        let proxy = FaultyProxy::to_socket(server.socket()).unwrap();
        let codex = start!(config(&proxy)).unwrap();
        let mut events = codex.events();
        let start = model.sandboxed(codex.thread_start(), Sandbox::ReadOnly);
        let thread = wait!(start.send()).unwrap();
        proxy.cut();
        until!(wait, events, Event::Reconnected { .. });
        let file = model.folder().join("written");
        model.reply(ModelReply::exec_command(format!("echo x > {}", file.display())));
        model.reply("done");
        assert_eq!(wait!(thread.run("go")).unwrap().final_response.as_deref(), Some("done"));
        assert!(!file.exists());
        wait!(codex.close()).unwrap();
    }

    fn a_thread_in_which_nothing_runs_stays_loaded_after_its_connection_was_cut(start, wait) {
        let model = Model::start();
        // It must be longer than a reconnect and a resume take.
        model.add_config("thread_unload_delay_secs = 10\n").unwrap();
        model.fallback("done");
        let server = RunningServer::on_socket(&model);
        let proxy = FaultyProxy::to_socket(server.socket()).unwrap();
        let codex = start!(config(&proxy)).unwrap();
        let used = wait!(codex.thread_start().send()).unwrap();
        wait!(used.run("go")).unwrap();
        let unused = wait!(codex.thread_start().send()).unwrap();
        proxy.cut();
        // It waits for the reconnect.
        wait!(codex.models().send()).unwrap();
        // The server loses the subscription of this thread later, and unloads it later.
        let other = start!(server.config()).unwrap();
        let unsubscribed = wait!(other.thread_start().send()).unwrap();
        wait!(other.close()).unwrap();
        let loaded = || codex.request_raw("thread/loaded/list", json!({}));
        let ids = loop {
            let ids = wait!(loaded()).unwrap()["data"].clone();
            if !ids.as_array().unwrap().contains(&json!(unsubscribed.id())) {
                break ids;
            }
        };
        for thread in [&used, &unused] {
            assert!(ids.as_array().unwrap().contains(&json!(thread.id())), "{ids}");
        }
        assert_eq!(wait!(unused.run("go")).unwrap().final_response.as_deref(), Some("done"));
        wait!(codex.close()).unwrap();
    }

    fn an_interrupted_goal_is_not_continued_after_a_cut(start, wait) {
        let model = Model::start();
        let server = RunningServer::on_socket(&model);
        let proxy = FaultyProxy::to_socket(server.socket()).unwrap();
        model.fallback(ModelReply::exec_command("true"));
        let log = model.folder().join("wire.log");
        let codex = start!(config(&proxy).wire_log(WireLog::new(&log))).unwrap();
        let thread = wait!(model.sandboxed(codex.thread_start(), Sandbox::ReadOnly).send()).unwrap();
        wait!(thread.set_name("a goal")).unwrap();
        let goal = json!({"threadId": thread.id(), "objective": "go on"});
        wait!(codex.request_raw("thread/goal/set", goal)).unwrap();
        model.wait_requested(1).unwrap();
        let turn = wait!(thread.follow()).unwrap().unwrap();
        wait!(turn.interrupt()).unwrap();
        wait!(turn.run()).unwrap();
        let sent = |method: &str| {
            let lines = std::fs::read_to_string(&log).unwrap_or_default();
            lines.matches(&format!("\"sent\":{{\"method\":\"{method}\"")).count()
        };
        let (resumes, reads) = (sent("thread/resume"), sent("thread/read"));
        proxy.cut();
        // The client looks at the goal, and then at the thread.
        while sent("thread/read") == reads {
            wait!(codex.models().send()).unwrap();
        }
        let requests = model.requests().len();
        for _ in 0..20 {
            let turns = wait!(codex.request_raw("thread/turns/list", json!({"threadId": thread.id()}))).unwrap();
            assert_eq!(turns["data"][0]["status"], "interrupted", "{turns}");
        }
        assert_eq!((model.requests().len(), sent("thread/resume")), (requests, resumes));
        wait!(codex.close()).unwrap();
    }

    fn a_review_that_is_followed_goes_on_after_its_connection_was_cut(start, wait) {
        for ends_meanwhile in [false, true] {
            let model = Model::start();
            let server = RunningServer::on_socket(&model);
            let proxy = FaultyProxy::to_socket(server.socket()).unwrap();
            let (endpoint, open) = gated(proxy.socket());
            let gate = model.gate();
            model.reply("done");
            let other = start!(server.config()).unwrap();
            let started = wait!(other.thread_start().cwd(model.folder()).send()).unwrap();
            wait!(started.run("go")).unwrap();
            let mut seen = other.events();
            model.reply(ModelReply::new().pause(&gate).delta("{\"findings\": []}"));
            let target = json!({"type": "custom", "instructions": "look"});
            let params = json!({"threadId": started.id(), "delivery": "inline", "target": target});
            wait!(other.request_raw("review/start", params)).unwrap();
            gate.wait_reached().unwrap();
            let codex = start!(CodexConfig::new().connect(endpoint).connection_policy(policy())).unwrap();
            let thread = wait!(codex.thread_resume(started.id()).send()).unwrap();
            let turn = wait!(thread.follow()).unwrap().unwrap();
            proxy.cut();
            if ends_meanwhile {
                gate.release();
                until!(wait, seen, Event::Notification(Notification::TurnCompleted(_)));
            }
            open.send(()).unwrap();
            wait!(codex.models().send()).unwrap();
            gate.release();
            assert_eq!(wait!(turn.run()).unwrap().turn.status, TurnStatus::Completed);
            wait!(codex.close()).unwrap();
            wait!(other.close()).unwrap();
        }
    }

    fn a_turn_that_ends_while_the_connection_is_lost_has_its_result(start, wait) {
        let model = Model::start();
        let server = RunningServer::on_socket(&model);
        let proxy = FaultyProxy::to_socket(server.socket()).unwrap();
        let (endpoint, open) = gated(proxy.socket());
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let codex = start!(CodexConfig::new().connect(endpoint).connection_policy(policy())).unwrap();
        let mut events = codex.events();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        let mut stream = turn.stream();
        while !matches!(wait!(stream.next()).unwrap().unwrap(), Notification::AgentMessageDelta(_)) {}
        let other = start!(server.config()).unwrap();
        let mut seen = other.events();
        wait!(other.thread_resume(thread.id()).send()).unwrap();
        proxy.cut();
        until!(wait, events, Event::ConnectionLost(_));
        gate.release();
        until!(wait, seen, Event::Notification(Notification::TurnCompleted(_)));
        open.send(()).unwrap();
        let result = wait!(turn.run()).unwrap();
        assert_eq!((result.turn.status.clone(), result.final_response.as_deref()), (TurnStatus::Completed, Some("hello")));
        let messages = result.items.iter().filter(|item| matches!(item, ThreadItem::AgentMessage(_)));
        assert_eq!(messages.count(), 1);
        wait!(other.close()).unwrap();
        wait!(codex.close()).unwrap();
    }

    fn a_turn_whose_server_died_is_lost_with_its_items(start, wait) {
        let model = Model::start();
        let mut server = RunningServer::on_socket(&model);
        let proxy = FaultyProxy::to_socket(server.socket()).unwrap();
        let (endpoint, open) = gated(proxy.socket());
        let gate = model.gate();
        model.reply(ModelToolCall::exec_command("echo 42"));
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let codex = start!(CodexConfig::new().connect(endpoint).connection_policy(policy())).unwrap();
        let thread = wait!(codex.thread_start().cwd(model.folder().display().to_string()).send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        let mut stream = turn.stream();
        while !matches!(wait!(stream.next()).unwrap().unwrap(), Notification::AgentMessageDelta(_)) {}
        server.kill();
        let server = RunningServer::on_socket(&model);
        open.send(()).unwrap();
        let error = wait!(turn.run()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TurnLost, "{error}");
        let items = &error.turn().unwrap().items;
        assert!(items.iter().any(|item| matches!(item, ThreadItem::CommandExecution(_))), "{items:?}");
        model.reply("again");
        assert_eq!(wait!(thread.run("more")).unwrap().final_response.as_deref(), Some("again"));
        wait!(codex.close()).unwrap();
        drop(server);
    }

    fn a_turn_whose_server_died_is_lost_although_another_client_has_loaded_its_thread(start, wait) {
        let model = Model::start();
        let mut server = RunningServer::on_socket(&model);
        let (endpoint, open) = gated(server.socket());
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let codex = start!(CodexConfig::new().connect(endpoint).connection_policy(policy())).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        let mut stream = turn.stream();
        while !matches!(wait!(stream.next()).unwrap().unwrap(), Notification::AgentMessageDelta(_)) {}
        server.kill();
        let server = RunningServer::on_socket(&model);
        let other = start!(server.config()).unwrap();
        wait!(other.thread_resume(thread.id()).send()).unwrap();
        open.send(()).unwrap();
        let error = wait!(turn.run()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TurnLost, "{error}");
        wait!(other.close()).unwrap();
        wait!(codex.close()).unwrap();
    }

    fn a_turn_that_the_old_server_finishes_has_its_result(start, wait) {
        let model = Model::start();
        let old = RunningServer::on_socket_named(&model, "old.sock");
        let socket = model.folder().join("server.sock");
        std::os::unix::fs::symlink(old.socket(), &socket).unwrap();
        let proxy = FaultyProxy::to_socket(&socket).unwrap();
        let (endpoint, open) = gated(proxy.socket());
        let gate = model.gate();
        model.reply(ModelToolCall::exec_command("echo 42"));
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let codex = start!(CodexConfig::new().connect(endpoint).connection_policy(policy())).unwrap();
        let mut events = codex.events();
        let thread = wait!(codex.thread_start().cwd(model.folder().display().to_string()).send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        let mut stream = turn.stream();
        while !matches!(wait!(stream.next()).unwrap().unwrap(), Notification::AgentMessageDelta(_)) {}
        // It ends its connections when its turns are over, or before.
        old.terminate();
        proxy.cut();
        until!(wait, events, Event::ConnectionLost(_));
        let new = RunningServer::on_socket_named(&model, "new.sock");
        std::fs::remove_file(&socket).unwrap();
        std::os::unix::fs::symlink(new.socket(), &socket).unwrap();
        open.send(()).unwrap();
        until!(wait, events, Event::Reconnected { .. });
        // The old server still runs the turn, so the new one cannot open the thread.
        assert_eq!(wait!(codex.thread_resume(thread.id()).send()).unwrap_err().kind(), ErrorKind::ThreadInUse);
        gate.release();
        let result = wait!(turn.run()).unwrap();
        assert_eq!((result.turn.status, result.final_response.as_deref()), (TurnStatus::Completed, Some("hello")));
        let commands = result.items.iter().filter(|item| matches!(item, ThreadItem::CommandExecution(_)));
        assert_eq!(commands.count(), 1);
        model.reply("again");
        assert_eq!(wait!(thread.run("more")).unwrap().final_response.as_deref(), Some("again"));
        wait!(codex.close()).unwrap();
        drop((old, new));
    }

    fn a_thread_that_the_old_server_keeps_loaded_is_usable_when_that_has_ended(start, wait) {
        let model = Model::start();
        let old = RunningServer::on_socket_named(&model, "old.sock");
        let socket = model.folder().join("server.sock");
        std::os::unix::fs::symlink(old.socket(), &socket).unwrap();
        let proxy = Arc::new(FaultyProxy::to_socket(&socket).unwrap());
        let (endpoint, open) = gated(proxy.socket());
        let codex = start!(CodexConfig::new().connect(endpoint).connection_policy(policy())).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        model.reply("one");
        wait!(thread.run("1")).unwrap();
        // The old server finishes this turn first, and keeps all its threads until then.
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let other = start!(old.config()).unwrap();
        let theirs = wait!(wait!(other.thread_start().send()).unwrap().turn("theirs").send()).unwrap();
        let mut stream = theirs.stream();
        while !matches!(wait!(stream.next()).unwrap().unwrap(), Notification::AgentMessageDelta(_)) {}
        old.terminate();
        let new = RunningServer::on_socket_named(&model, "new.sock");
        std::fs::remove_file(&socket).unwrap();
        std::os::unix::fs::symlink(new.socket(), &socket).unwrap();
        let delay = Fault::Delay(Duration::ZERO);
        proxy.plan(Plan::new().at(Place::method(Flow::ToServer, "thread/resume").after(), delay));
        let mut events = codex.events();
        proxy.cut();
        until!(wait, events, Event::ConnectionLost(_));
        // Without an observer, only a use of the thread resumes it.
        drop(events);
        open.send(()).unwrap();
        model.reply("two");
        let released = std::thread::spawn(move || {
            proxy.wait_faults(1).unwrap();
            gate.release();
            proxy
        });
        assert_eq!(wait!(thread.run("2")).unwrap().final_response.as_deref(), Some("two"));
        released.join().unwrap();
        wait!(codex.close()).unwrap();
        drop((stream, theirs, other, old, new));
    }

    fn a_start_whose_response_is_lost_has_its_turn(start, wait) {
        let model = Model::start();
        let server = RunningServer::on_socket(&model);
        let proxy = FaultyProxy::to_socket(server.socket()).unwrap();
        model.reply("first");
        let codex = start!(config(&proxy)).unwrap();
        let mut events = codex.events();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.run("one")).unwrap();
        proxy.plan(Plan::new().at(Place::method(Flow::ToServer, "turn/start").after(), Fault::Cut));
        proxy.cut();
        until!(wait, events, Event::Reconnected { .. });
        model.reply("hello");
        match wait!(thread.turn("go").send()) {
            Ok(turn) => {
                assert_eq!(wait!(turn.run()).unwrap().final_response.as_deref(), Some("hello"));
                let found = wait!(thread.find_turn(turn.client_message_id().unwrap())).unwrap().unwrap();
                assert_eq!(found.turn.id, turn.id());
            }
            // The server did not take it.
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Uncertain, "{error}");
                assert!(wait!(thread.find_turn(error.client_message_id().unwrap())).unwrap().is_none());
            }
        }
        assert!(model.requests().len() <= 2);
        wait!(codex.close()).unwrap();
    }

    fn a_start_that_did_not_arrive_is_uncertain(start, wait) {
        let model = Model::start();
        let server = RunningServer::on_socket(&model);
        let proxy = FaultyProxy::to_socket(server.socket()).unwrap();
        model.reply("first");
        let codex = start!(config(&proxy).connection_policy(policy().start_grace(Duration::from_millis(300)))).unwrap();
        let mut events = codex.events();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.run("one")).unwrap();
        proxy.plan(Plan::new().at(Place::method(Flow::ToServer, "turn/start").inside(), Fault::Cut));
        proxy.cut();
        until!(wait, events, Event::Reconnected { .. });
        let error = wait!(thread.turn("two").client_message_id("the-key").send()).unwrap_err();
        assert_eq!((error.kind(), error.method()), (ErrorKind::Uncertain, Some("turn/start")), "{error}");
        assert_eq!((error.client_message_id(), error.thread_id()), (Some("the-key"), Some(thread.id())));
        assert!(wait!(thread.find_turn("the-key")).unwrap().is_none());
        assert_eq!(model.requests().len(), 1);
        model.reply("second");
        assert_eq!(wait!(thread.run("three")).unwrap().final_response.as_deref(), Some("second"));
        wait!(codex.close()).unwrap();
    }

    fn a_start_that_was_prepared_before_a_loss_runs_with_the_bounds_of_its_handle(start, wait) {
        let model = Arc::new(Model::start());
        // A server that loads the thread again without options gives it these settings.
        let config = model.home().join("config.toml");
        let others = std::fs::read_to_string(&config).unwrap_or_default();
        std::fs::write(&config, format!("sandbox_mode = \"danger-full-access\"\n{others}")).unwrap();
        let (inside, outside) = (model.folder().join("inside"), model.folder().join("written"));
        std::fs::create_dir(&inside).unwrap();
        let mut server = RunningServer::on_socket(&model);
        let proxy = Arc::new(FaultyProxy::to_socket(server.socket()).unwrap());
        let (endpoint, open) = gated(proxy.socket());
        proxy.plan(Plan::new().at(Place::method(Flow::ToServer, "thread/resume"), Fault::Cut));
        let codex = start!(CodexConfig::new().connect(endpoint).connection_policy(policy())).unwrap();
        let mut events = codex.events();
        // Not in /tmp, where the folders of tests are.
        let options = codex.thread_start().cwd(&inside).sandbox(Sandbox::WorkspaceWrite).approval_mode(ApprovalMode::DenyAll);
        let options = options.config("sandbox_workspace_write.exclude_slash_tmp", true);
        let options = options.config("sandbox_workspace_write.exclude_tmpdir_env_var", true);
        let thread = wait!(options.send()).unwrap();
        model.reply("one");
        wait!(thread.run("1")).unwrap();
        until!(wait, events, Event::Notification(Notification::TurnCompleted(_)));
        // While a turn of another client runs, a start first asks the server for the settings of the thread.
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let other = start!(server.config()).unwrap();
        let theirs = wait!(wait!(other.thread_resume(thread.id()).send()).unwrap().turn("2").send()).unwrap();
        until!(wait, events, Event::Notification(Notification::AgentMessageDelta(_)));
        model.reply(ModelReply::exec_command(format!("echo x > '{}'", outside.display())));
        model.reply("three");
        // The server is replaced before it has the question.
        let replaced = std::thread::spawn({
            let (proxy, model) = (proxy.clone(), model.clone());
            move || {
                proxy.wait_faults(1).unwrap();
                server.kill();
                let server = RunningServer::on_socket(&model);
                open.send(()).unwrap();
                server
            }
        });
        // The model has got the output of its command.
        assert_eq!(wait!(thread.run("3")).unwrap().final_response.as_deref(), Some("three"));
        assert!(!outside.exists(), "the command has written outside of the sandbox of the handle");
        let server = replaced.join().unwrap();
        drop((theirs, gate));
        wait!(codex.close()).unwrap();
        drop((other, server));
    }

    fn an_ensured_turn_is_uncertain_if_the_client_gives_up_before_its_response(start, wait) {
        let model = Model::start();
        let server = RunningServer::on_socket(&model);
        let proxy = FaultyProxy::to_socket(server.socket()).unwrap();
        let (endpoint, open) = gated(proxy.socket());
        // No attempt succeeds.
        drop(open);
        proxy.plan(Plan::new().at(Place::method(Flow::ToServer, "turn/start"), Fault::Cut));
        let policy = policy().max_attempts(1);
        let codex = start!(CodexConfig::new().connect(endpoint).connection_policy(policy)).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let error = wait!(thread.ensure("the-key", "go").run()).unwrap_err();
        assert_eq!((error.kind(), error.client_message_id()), (ErrorKind::Uncertain, Some("the-key")), "{error}");
        wait!(codex.close()).unwrap();
    }

    fn a_read_is_sent_again(start, wait) {
        let model = Model::start();
        let server = RunningServer::on_socket(&model);
        let proxy = FaultyProxy::to_socket(server.socket()).unwrap();
        for method in ["thread/list", "thread/start"] {
            proxy.plan(Plan::new().at(Place::method(Flow::ToServer, method).after(), Fault::Cut));
        }
        let codex = start!(config(&proxy)).unwrap();
        wait!(codex.thread_list().send()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        model.reply("hello");
        assert_eq!(wait!(thread.run("go")).unwrap().final_response.as_deref(), Some("hello"));
        assert_eq!(proxy.faults(), 2);
        wait!(codex.close()).unwrap();
    }

    fn an_approval_is_decided_once_although_the_connection_is_lost(start, wait) {
        let model = Model::start();
        let server = RunningServer::on_socket(&model);
        let proxy = FaultyProxy::to_socket(server.socket()).unwrap();
        let touched = model.folder().join("touched");
        model.reply(ModelToolCall::exec_command(format!("echo once >> {}", touched.display())).escalate("I need to write"));
        model.reply("done");
        let (asked, decide) = (channel(), channel::<()>());
        let (tell, decided) = (asked.0, Mutex::new(decide.1));
        let calls = Arc::new(AtomicUsize::new(0));
        let counting = calls.clone();
        let codex = start!(config(&proxy).on_command_approval(move |_| {
            counting.fetch_add(1, Ordering::SeqCst);
            tell.send(()).unwrap();
            decided.lock().unwrap().recv().unwrap();
            Decision::Accept
        }))
        .unwrap();
        let mut events = codex.events();
        let options = codex.thread_start().cwd(model.folder().display().to_string());
        let thread = wait!(options.sandbox(SandboxMode::ReadOnly).send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        asked.1.recv().unwrap();
        for _ in 0..2 {
            proxy.cut();
            until!(wait, events, Event::Reconnected { .. });
        }
        decide.0.send(()).unwrap();
        let result = wait!(turn.run()).unwrap();
        assert_eq!(result.final_response.as_deref(), Some("done"));
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        assert_eq!(std::fs::read_to_string(&touched).unwrap(), "once\n");
        wait!(codex.close()).unwrap();
    }

    fn a_subagent_that_began_while_the_connection_was_lost_is_heard(start, wait) {
        let model = Model::start();
        let server = RunningServer::on_socket(&model);
        let proxy = FaultyProxy::to_socket(server.socket()).unwrap();
        let (endpoint, open) = gated(proxy.socket());
        let touched = model.folder().join("touched");
        let (spawning, helping, ending) = (model.gate(), model.gate(), model.gate());
        let spawn = ModelReply::new().delta("I ").pause(&spawning).delta("delegate").call(spawn_subagent());
        model.reply_when(has_user_text("delegate"), spawn);
        let touch = ModelToolCall::exec_command(format!("echo once >> {}", touched.display())).escalate("I need to write");
        model.reply_when(has_user_text("help"), ModelReply::new().delta("I ").pause(&helping).delta("write").call(touch));
        model.reply_when(has_user_text("help"), "helped");
        model.reply_when(has_user_text("delegate"), ModelReply::new().pause(&ending).delta("delegated"));
        model.fallback(", and noted");
        let base = CodexConfig::new().connect(endpoint).connection_policy(policy());
        let (asked, threads) = channel();
        let codex = start!(base.on_command_approval(move |request| {
            asked.send(request.thread_id.clone()).unwrap();
            Decision::Accept
        }))
        .unwrap();
        let mut events = codex.events();
        let options = codex.thread_start().cwd(model.folder().display().to_string());
        let thread = wait!(options.sandbox(SandboxMode::ReadOnly).send()).unwrap();
        let turn = wait!(thread.turn("delegate").send()).unwrap();
        let mut stream = turn.stream().with_children();
        while !matches!(wait!(stream.next()).unwrap().unwrap(), Notification::AgentMessageDelta(_)) {}
        proxy.cut();
        until!(wait, events, Event::ConnectionLost(_));
        spawning.release();
        helping.wait_reached().unwrap();
        open.send(()).unwrap();
        until!(wait, events, Event::Reconnected { .. });
        helping.release();
        assert_ne!(threads.recv().unwrap(), thread.id());
        let is_message_of_subagent = |event: &Notification| {
            let Notification::ItemCompleted(done) = event else { return false };
            done.thread_id != thread.id() && matches!(&done.item, ThreadItem::AgentMessage(message) if message.text == "helped")
        };
        while !is_message_of_subagent(&wait!(stream.next()).unwrap().unwrap()) {}
        ending.release();
        assert_eq!(wait!(turn.run()).unwrap().turn.status, TurnStatus::Completed);
        assert_eq!(std::fs::read_to_string(&touched).unwrap(), "once\n");
        wait!(codex.close()).unwrap();
    }

    fn a_response_that_was_lost_is_sent_again(start, wait) {
        let model = Model::start();
        let server = RunningServer::on_socket(&model);
        let proxy = FaultyProxy::to_socket(server.socket()).unwrap();
        let (endpoint, open) = gated(proxy.socket());
        let touched = model.folder().join("touched");
        model.reply(ModelToolCall::exec_command(format!("echo once >> {}", touched.display())).escalate("I need to write"));
        model.reply("done");
        let (asked, decide) = (channel(), channel::<()>());
        let (tell, decided) = (asked.0, Mutex::new(decide.1));
        let calls = Arc::new(AtomicUsize::new(0));
        let counting = calls.clone();
        let base = CodexConfig::new().connect(endpoint).connection_policy(policy());
        let codex = start!(base.on_command_approval(move |_| {
            counting.fetch_add(1, Ordering::SeqCst);
            tell.send(()).unwrap();
            decided.lock().unwrap().recv().unwrap();
            Decision::Accept
        }))
        .unwrap();
        let mut events = codex.events();
        let options = codex.thread_start().cwd(model.folder().display().to_string());
        let thread = wait!(options.sandbox(SandboxMode::ReadOnly).send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        asked.1.recv().unwrap();
        proxy.cut();
        until!(wait, events, Event::ConnectionLost(_));
        // The handler responds while no connection is there.
        decide.0.send(()).unwrap();
        open.send(()).unwrap();
        let result = wait!(turn.run()).unwrap();
        assert_eq!(result.final_response.as_deref(), Some("done"));
        assert_eq!((calls.load(Ordering::SeqCst), std::fs::read_to_string(&touched).unwrap().as_str()), (1, "once\n"));
        wait!(codex.close()).unwrap();
    }

    fn a_client_that_gives_up_ends_the_turn_with_what_it_has_produced(start, wait) {
        let model = Model::start();
        let mut server = RunningServer::on_socket(&model);
        let gate = model.gate();
        model.reply(ModelToolCall::exec_command("echo 42"));
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let codex = start!(server.config().connection_policy(policy().max_attempts(3))).unwrap();
        let mut events = codex.events();
        let thread = wait!(codex.thread_start().cwd(model.folder().display().to_string()).send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        let mut stream = turn.stream();
        while !matches!(wait!(stream.next()).unwrap().unwrap(), Notification::AgentMessageDelta(_)) {}
        server.kill();
        let error = wait!(turn.run()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TransportClosed);
        assert!(error.to_string().contains("all 3 attempts"), "{error}");
        let items = &error.turn().unwrap().items;
        assert!(items.iter().any(|item| matches!(item, ThreadItem::CommandExecution(_))), "{items:?}");
        assert_eq!(wait!(thread.run("more")).unwrap_err().kind(), ErrorKind::TransportClosed);
        let last = loop {
            if let Err(error) = wait!(events.next()).unwrap() {
                break error;
            }
        };
        assert_eq!(last.kind(), ErrorKind::TransportClosed);
        wait!(codex.close()).unwrap();
    }

    fn an_interrupt_right_before_a_close_takes_effect_although_the_connection_is_lost(start, wait) {
        let model = Model::start();
        let server = RunningServer::on_socket(&model);
        let proxy = FaultyProxy::to_socket(server.socket()).unwrap();
        let (endpoint, open) = gated(proxy.socket());
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let codex = start!(CodexConfig::new().connect(endpoint).connection_policy(policy())).unwrap();
        let mut events = codex.events();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").interrupt_on_drop(true).send()).unwrap();
        until!(wait, events, Event::Notification(Notification::AgentMessageDelta(_)));
        let other = start!(server.config()).unwrap();
        let mut seen = other.events();
        wait!(other.thread_resume(thread.id()).send()).unwrap();
        proxy.cut();
        until!(wait, events, Event::ConnectionLost(_));
        drop(turn);
        open.send(()).unwrap();
        wait!(codex.close()).unwrap();
        let ended = loop {
            if let Event::Notification(Notification::TurnCompleted(ended)) = wait!(seen.next()).unwrap().unwrap() {
                break ended;
            }
        };
        assert_eq!(ended.turn.status, TurnStatus::Interrupted);
        wait!(other.close()).unwrap();
    }

    fn a_close_does_not_wait_for_a_reconnect(start, wait) {
        let model = Model::start();
        let mut server = RunningServer::on_socket(&model);
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let patient = policy().initial_delay(Duration::from_secs(3600)).max_delay(Duration::from_secs(3600));
        let codex = start!(server.config().connection_policy(patient)).unwrap();
        let mut events = codex.events();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        server.kill();
        until!(wait, events, Event::Reconnecting { attempt: 2, .. });
        wait!(codex.close()).unwrap();
        assert_eq!(wait!(turn.run()).unwrap_err().kind(), ErrorKind::Closed);
    }
}

/// Two starts, because one must not keep the other from asking.
#[test]
fn starts_whose_timeout_passes_while_the_old_server_has_their_thread_say_so() {
    bounded_async(async || {
        let model = Model::start();
        let old = RunningServer::on_socket_named(&model, "old.sock");
        let socket = model.folder().join("server.sock");
        std::os::unix::fs::symlink(old.socket(), &socket).unwrap();
        let proxy = FaultyProxy::to_socket(&socket).unwrap();
        let (endpoint, open) = gated(proxy.socket());
        let codex = AsyncCodex::with_config(CodexConfig::new().connect(endpoint).connection_policy(policy()));
        let thread = codex.thread_start().send().await.unwrap();
        model.reply("one");
        thread.run("1").await.unwrap();
        // The old server finishes this turn first, and keeps all its threads until then.
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let other = AsyncCodex::with_config(old.config());
        let theirs = other.thread_start().send().await.unwrap().turn("theirs").send().await.unwrap();
        let mut stream = theirs.stream();
        while !matches!(stream.next().await.unwrap().unwrap(), Notification::AgentMessageDelta(_)) {}
        old.terminate();
        let new = RunningServer::on_socket_named(&model, "new.sock");
        std::fs::remove_file(&socket).unwrap();
        std::os::unix::fs::symlink(new.socket(), &socket).unwrap();
        let mut events = codex.events();
        proxy.cut();
        while !matches!(events.next().await.unwrap().unwrap(), Event::ConnectionLost(_)) {}
        drop(events);
        open.send(()).unwrap();
        let start = || thread.turn("2").timeout(Duration::from_secs(4));
        let (first, second, ensured) =
            tokio::join!(start().run(), start().run(), start().ensure("key").run());
        for error in [first.unwrap_err(), second.unwrap_err(), ensured.unwrap_err()] {
            assert_eq!(
                (error.kind(), error.thread_id()),
                (ErrorKind::ThreadInUse, Some(thread.id())),
                "{error}"
            );
        }
        gate.release();
        model.reply("three");
        assert_eq!(thread.run("3").await.unwrap().final_response.as_deref(), Some("three"));
        codex.close().await.unwrap();
        drop((stream, theirs, other, old, new));
    });
}

// A server that unloads the thread finds neither it nor its file for a moment. When that is depends on the moments of the drop and the
// cut. Under load, runtime 0.163.0 may then not respond at all: that is not what this test is about.
#[test]
fn a_thread_that_its_server_lacks_for_a_moment_is_not_given_up() {
    bounded_async(async || {
        let model = Model::with_fallback("done");
        model.add_config("thread_unload_delay_secs = 0\n").unwrap();
        let server = RunningServer::on_socket(&model);
        let proxy = FaultyProxy::to_socket(server.socket()).unwrap();
        let codex = AsyncCodex::with_config(config(&proxy).request_timeout(Duration::from_secs(20)));
        let other = AsyncCodex::with_config(server.config());
        for moment in 0..4 {
            let thread = model.sandboxed(codex.thread_start(), Sandbox::ReadOnly).send().await.unwrap();
            thread.run("one").await.unwrap();
            other.thread_archive(thread.id()).await.unwrap();
            let theirs = other.thread_unarchive(thread.id()).await.unwrap();
            if moment % 2 == 0 {
                theirs.unsubscribe().await.unwrap();
            }
            let dropped = thread.run("two").into_future();
            let _ = tokio::time::timeout(Duration::from_millis(moment * 7), dropped).await;
            proxy.cut();
            tokio::time::sleep(Duration::from_millis(moment * 5)).await;
            match thread.run("three").await {
                Ok(result) => assert_eq!(result.turn.status, TurnStatus::Completed),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Timeout, "{error}"),
            }
        }
        codex.close().await.unwrap();
        other.close().await.unwrap();
    });
}

//! Clients that lose the connection to a server of the real runtime, and connect again.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use openai_codex::types::{
    CommandExecutionApprovalDecision as Decision, SandboxMode, ThreadItem, TurnStatus,
};
use openai_codex::{
    AsyncCodex, CodexConfig, ConnectionPolicy, Endpoint, ErrorKind, Event, Notification, Sandbox, WireLog,
};
use openai_codex_testkit::proxy::{Fault, FaultyProxy, Flow, Place, Plan};
use openai_codex_testkit::{ModelReply, ModelToolCall};
use serde_json::json;

use crate::support::{Model, RunningServer, bounded_async, has_user_text, spawn_subagent, with_both_clients};

/// Pauses of some milliseconds, and attempts for a whole test.
pub(crate) fn policy() -> ConnectionPolicy {
    ConnectionPolicy::new()
        .max_attempts(10_000)
        .initial_delay(Duration::from_millis(5))
        .max_delay(Duration::from_millis(50))
}

pub(crate) fn config(proxy: &FaultyProxy) -> CodexConfig {
    CodexConfig::new().connect(Endpoint::unix(proxy.socket())).connection_policy(policy())
}

/// An endpoint whose first attempt succeeds at once. Each further one waits for the test, because the token is not there before.
pub(crate) fn gated(socket: impl Into<PathBuf>) -> (Endpoint, Sender<()>) {
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

/// Replaces the server when the proxy has done its first fault, and lets the clients of [`gated`] connect to the new one.
pub(crate) fn replace_at_fault(
    mut server: RunningServer,
    model: &Arc<Model>,
    proxy: &Arc<FaultyProxy>,
    open: Sender<()>,
) -> JoinHandle<RunningServer> {
    let (model, proxy) = (model.clone(), proxy.clone());
    std::thread::spawn(move || {
        proxy.wait_faults(1).unwrap();
        server.kill();
        let server = RunningServer::on_socket(&model);
        open.send(()).unwrap();
        server
    })
}

/// Waits for an event of an observer.
macro_rules! until {
    ($wait:ident, $events:ident, $pattern:pat) => {
        while !matches!($wait!($events.next()).unwrap().unwrap(), $pattern) {}
    };
}

pub(crate) use until;

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

    fn an_interrupt_reaches_a_subagent_that_began_while_the_connection_was_lost(start, wait) {
        let model = Model::start();
        let server = RunningServer::on_socket(&model);
        let proxy = FaultyProxy::to_socket(server.socket()).unwrap();
        let (endpoint, open) = gated(proxy.socket());
        let (spawning, helping, ending) = (model.gate(), model.gate(), model.gate());
        let spawn = ModelReply::new().delta("I ").pause(&spawning).delta("delegate").call(spawn_subagent());
        model.reply_when(has_user_text("delegate"), spawn);
        model.reply_when(has_user_text("help"), ModelReply::new().delta("I ").pause(&helping).delta("help"));
        model.reply_when(has_user_text("delegate"), ModelReply::new().pause(&ending).delta("delegated"));
        // The server goes on with the turn while another client is there.
        let other = start!(server.config()).unwrap();
        let codex = start!(CodexConfig::new().connect(endpoint).connection_policy(policy())).unwrap();
        let mut events = codex.events();
        let thread = wait!(codex.thread_start().cwd(model.folder().display().to_string()).send()).unwrap();
        let turn = wait!(thread.turn("delegate").interrupt_on_drop(true).send()).unwrap();
        let mut stream = turn.stream();
        while !matches!(wait!(stream.next()).unwrap().unwrap(), Notification::AgentMessageDelta(_)) {}
        proxy.cut();
        until!(wait, events, Event::ConnectionLost(_));
        spawning.release();
        helping.wait_reached().unwrap();
        ending.wait_reached().unwrap();
        drop((stream, turn));
        open.send(()).unwrap();
        loop {
            if let Event::Notification(Notification::TurnCompleted(done)) = wait!(events.next()).unwrap().unwrap()
                && done.thread_id != thread.id()
            {
                assert_eq!(done.turn.status, TurnStatus::Interrupted);
                break;
            }
        }
        wait!(codex.close()).unwrap();
        wait!(other.close()).unwrap();
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

    fn a_close_that_cannot_interrupt_a_turn_says_so(start, wait) {
        let model = Model::start();
        let server = RunningServer::on_socket(&model);
        let proxy = FaultyProxy::to_socket(server.socket()).unwrap();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let codex = start!(config(&proxy)).unwrap();
        let mut events = codex.events();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").interrupt_on_drop(true).send()).unwrap();
        until!(wait, events, Event::Notification(Notification::AgentMessageDelta(_)));
        proxy.swallow();
        let id = turn.id().to_owned();
        drop(turn);
        let error = wait!(codex.close()).unwrap_err();
        assert_eq!((error.kind(), error.method()), (ErrorKind::Timeout, Some("turn/interrupt")), "{error}");
        assert!(error.to_string().contains(&format!("turn {id} of thread {}", thread.id())), "{error}");
        let failed = loop {
            if let Event::InterruptFailed { turn_id, .. } = wait!(events.next()).unwrap().unwrap() {
                break turn_id;
            }
        };
        assert!(wait!(events.next()).is_none());
        assert_eq!(failed, id);
        assert!(wait!(codex.close()).is_err());
        drop(gate);
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

// The program does not poll the future of `thread_start` while its response comes and the connection is lost.
#[test]
fn a_thread_whose_connection_is_lost_before_its_call_returns_is_resumed_before_its_first_turn() {
    bounded_async(async || {
        let model = Model::start();
        model.fallback(ModelReply::exec_command("true"));
        let server = RunningServer::on_socket(&model);
        let proxy = FaultyProxy::to_socket(server.socket()).unwrap();
        for ephemeral in [false, true] {
            let (faults, requests) = (proxy.faults(), model.requests().len());
            let start = Place::method(Flow::ToServer, "thread/start");
            let started = Place::method(Flow::ToClient, "thread/started");
            proxy.plan(Plan::new().at(start, Fault::Stall).at(started, Fault::Cut));
            let codex = AsyncCodex::with_config(config(&proxy));
            let options = model.sandboxed(codex.thread_start(), Sandbox::FullAccess).ephemeral(ephemeral);
            let mut starting = pin!(options.send());
            tokio::select! {
                biased;
                stalled = proxy.faulted(faults + 1) => stalled.unwrap(),
                thread = &mut starting => panic!("the server has not got the request: {thread:?}"),
            }
            proxy.resume();
            proxy.faulted(faults + 2).await.unwrap();
            // A read whose response comes over the new connection: the client has restored its threads by then.
            codex.thread_list().send().await.unwrap();
            let thread = starting.await.unwrap();
            let error = thread.turn("go").max_model_requests(1).run().await.unwrap_err();
            let made = model.requests().len() - requests;
            if ephemeral {
                assert_eq!((error.kind(), made), (ErrorKind::ThreadLost, 0), "{error}");
            } else {
                assert_eq!(error.kind(), ErrorKind::BudgetExceeded, "{error}");
                assert!(made <= 2, "{made} model requests");
            }
            codex.close().await.unwrap();
        }
    });
}

//! Servers of the real runtime that die or are restarted while clients are connected: what becomes of turns and threads.

use std::sync::Arc;
use std::time::Duration;

use openai_codex::types::{ThreadItem, TurnStatus};
use openai_codex::{
    AsyncCodex, CodexConfig, ConnectionPolicy, EnsureOutcome, ErrorKind, Event, Notification, Sandbox,
};
use openai_codex_testkit::proxy::{Fault, FaultyProxy, Flow, Place, Plan};
use openai_codex_testkit::{ModelReply, ModelToolCall};
use serde_json::json;

use crate::reconnects::{gated, policy, replace_at_fault, until};
use crate::support::{Model, RunningServer, bounded_async, has_user_text, with_both_clients};

with_both_clients! {
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

    fn a_resume_whose_server_dies_keeps_the_entries_of_the_configuration(start, wait) {
        for arrives in [false, true] {
            let model = Arc::new(Model::with_fallback("done"));
            let server = RunningServer::on_socket(&model);
            let proxy = Arc::new(FaultyProxy::to_socket(server.socket()).unwrap());
            let (endpoint, open) = gated(proxy.socket());
            let place = Place::method(Flow::ToServer, "thread/resume");
            proxy.plan(Plan::new().at(if arrives { place.after() } else { place.inside() }, Fault::Cut));
            let codex = start!(CodexConfig::new().connect(endpoint).connection_policy(policy())).unwrap();
            let options = codex.thread_start().config("shell_environment_policy.set", json!({"NAMED": "yes"}));
            let thread = wait!(model.sandboxed(options, Sandbox::ReadOnly).send()).unwrap();
            wait!(thread.run("one")).unwrap();
            let replaced = replace_at_fault(server, &model, &proxy, open);
            let resumed = wait!(codex.thread_resume(thread.id()).send()).unwrap();
            let server = replaced.join().unwrap();
            model.reply_when(has_user_text("two"), ModelToolCall::exec_command("echo NAMED=$NAMED"));
            wait!(resumed.run("two")).unwrap();
            let request = model.last_request().unwrap();
            let output = request.last_output().unwrap();
            assert!(output.contains("NAMED=yes"), "{output}");
            wait!(codex.close()).unwrap();
            drop(server);
        }
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

    // A server that runs a turn calls every turn without an end in progress.
    fn a_turn_whose_server_died_is_lost_although_the_next_server_runs_another_turn_of_its_thread(start, wait) {
        let model = Model::start();
        let mut server = RunningServer::on_socket(&model);
        let (endpoint, open) = gated(server.socket());
        let (first, second) = (model.gate(), model.gate());
        let before = start!(server.config().connection_policy(ConnectionPolicy::never())).unwrap();
        let thread = wait!(before.thread_start().send()).unwrap();
        model.reply(ModelReply::new().delta("he").pause(&first).delta("llo"));
        wait!(thread.turn("one").send()).unwrap();
        first.wait_reached().unwrap();
        let codex = start!(CodexConfig::new().connect(endpoint).connection_policy(policy())).unwrap();
        let mut events = codex.events();
        let thread = wait!(codex.thread_resume(thread.id()).send()).unwrap();
        let lost = wait!(thread.follow()).unwrap().unwrap();
        server.kill();
        let server = RunningServer::on_socket(&model);
        let after = start!(server.config()).unwrap();
        let same = wait!(after.thread_resume(thread.id()).send()).unwrap();
        model.reply(ModelReply::new().delta("he").pause(&second).delta("llo"));
        let running = wait!(same.turn("two").send()).unwrap();
        second.wait_reached().unwrap();
        open.send(()).unwrap();
        let error = wait!(lost.run()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TurnLost, "{error}");
        until!(wait, events, Event::Reconnected { .. });
        assert_eq!(wait!(thread.follow()).unwrap().unwrap().id(), running.id());
        second.release();
        wait!(running.run()).unwrap();
        model.reply("done");
        assert_eq!(wait!(thread.ensure("k", "three").run()).unwrap().outcome, EnsureOutcome::Ran);
        assert!(wait!(thread.follow()).unwrap().is_none());
        wait!(before.close()).unwrap();
        wait!(after.close()).unwrap();
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

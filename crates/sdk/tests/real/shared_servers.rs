//! Several clients at one server of the real runtime: turns, settings and approvals of the others, and clients that close.

use std::sync::Arc;
use std::time::Duration;

use openai_codex::types::{
    CommandExecutionApprovalDecision as Decision, SandboxMode, ThreadItem, TurnStatus,
};
use openai_codex::{CodexConfig, Endpoint, ErrorKind, Event, Notification, Reply, Sandbox};
use openai_codex_testkit::proxy::{Fault, FaultyProxy, Flow, Place, Plan};
use openai_codex_testkit::{ModelReply, ModelToolCall};
use serde_json::json;

use crate::support::{Model, RunningServer, has_user_text, with_both_clients};

with_both_clients! {
    fn a_turn_goes_on_at_the_server_after_its_client_has_closed(start, wait) {
        let model = Model::start();
        let mut server = RunningServer::on_socket(&model);
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let codex = start!(server.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        let mut stream = turn.stream();
        while !matches!(wait!(stream.next()).unwrap().unwrap(), Notification::AgentMessageDelta(_)) {}
        wait!(codex.close()).unwrap();
        assert_eq!(wait!(turn.run()).unwrap_err().kind(), ErrorKind::Closed);
        assert!(server.is_running());

        let other = start!(server.config()).unwrap();
        let mut events = other.events();
        let again = wait!(other.thread_resume(thread.id()).send()).unwrap();
        gate.release();
        while !matches!(wait!(events.next()).unwrap().unwrap(), Event::Notification(Notification::TurnCompleted(_))) {}
        let read = wait!(again.read().include_turns(true).send()).unwrap();
        assert_eq!(read.thread.turns.last().unwrap().status, TurnStatus::Completed);
        wait!(other.close()).unwrap();
    }

    fn a_thread_that_has_not_run_runs_for_another_client_after_its_own_has_closed(start, wait) {
        let model = Model::start();
        let server = RunningServer::on_socket(&model);
        let (codex, other) = (start!(server.config()).unwrap(), start!(server.config()).unwrap());
        let thread = wait!(model.sandboxed(codex.thread_start(), Sandbox::FullAccess).send()).unwrap();
        wait!(codex.close()).unwrap();
        let thread = wait!(other.thread_resume(thread.id()).sandbox(Sandbox::ReadOnly).send()).unwrap();
        let file = model.folder().join("written");
        model.reply(ModelReply::exec_command(format!("echo x > {}", file.display())));
        model.reply("done");
        assert_eq!(wait!(thread.run("go")).unwrap().final_response.as_deref(), Some("done"));
        assert!(!file.exists());
        wait!(other.close()).unwrap();
    }

    fn an_entry_of_the_configuration_that_another_client_has_undone_is_applied_again_or_an_error(start, wait) {
        for replaces_server in [false, true] {
            let model = Model::with_fallback("done");
            let mut server = RunningServer::on_socket(&model);
            let (codex, first) = (start!(server.config()).unwrap(), start!(server.config()).unwrap());
            let value = json!({"NAMED": "yes"});
            let options = codex.thread_start().config("shell_environment_policy.set", value.clone());
            let thread = wait!(model.sandboxed(options, Sandbox::ReadOnly).send()).unwrap();
            wait!(thread.run("one")).unwrap();
            let other = match replaces_server {
                true => {
                    server.kill();
                    server = RunningServer::on_socket(&model);
                    start!(server.config()).unwrap()
                }
                false => {
                    wait!(first.thread_archive(thread.id())).unwrap();
                    wait!(first.thread_unarchive(thread.id())).unwrap();
                    first
                }
            };
            let theirs = wait!(other.thread_resume(thread.id()).send()).unwrap();
            wait!(theirs.run("two")).unwrap();
            let again = codex.thread_resume(thread.id()).config("shell_environment_policy.set", value);
            for error in [wait!(thread.run("three")).unwrap_err(), wait!(again.send()).map(drop).unwrap_err()] {
                assert_eq!((error.kind(), error.thread_id()), (ErrorKind::OptionNotApplied, Some(thread.id())));
                assert!(error.to_string().contains("`shell_environment_policy.set`"), "{error}");
            }
            let runs = |text: &'static str| {
                model.reply_when(has_user_text(text), ModelToolCall::exec_command("echo NAMED=$NAMED"));
            };
            let printed = || model.last_request().unwrap().last_output().unwrap().to_owned();
            // A handle that does not name the entry takes the thread as it is.
            let plain = wait!(codex.thread_resume(thread.id()).send()).unwrap();
            runs("four");
            wait!(plain.run("four")).unwrap();
            assert!(!printed().contains("NAMED=yes"), "{}", printed());
            // The server loads the thread again when no other client has subscribed to it.
            wait!(theirs.unsubscribe()).unwrap();
            runs("five");
            wait!(thread.run("five")).unwrap();
            assert!(printed().contains("NAMED=yes"), "{}", printed());
            wait!(codex.close()).unwrap();
            wait!(other.close()).unwrap();
        }
    }

    fn a_turn_does_not_join_a_turn_of_another_client_that_may_do_more(start, wait) {
        let model = Model::start();
        let server = RunningServer::on_socket(&model);
        let (codex, other) = (start!(server.config()).unwrap(), start!(server.config()).unwrap());
        for sandboxed in [true, false] {
            model.reply("ready");
            let thread = wait!(model.sandboxed(codex.thread_start(), Sandbox::ReadOnly).send()).unwrap();
            wait!(thread.run("one")).unwrap();
            let of_other = wait!(other.thread_resume(thread.id()).send()).unwrap();
            let mut events = thread.events();
            let gate = model.gate();
            model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
            let running = wait!(of_other.turn("two").sandbox(Sandbox::FullAccess).send()).unwrap();
            while !matches!(wait!(events.next()).unwrap().unwrap(), Event::Notification(Notification::TurnStarted(_))) {}
            let turn = thread.turn("three");
            let error = wait!(if sandboxed { turn.sandbox(Sandbox::ReadOnly) } else { turn }.send()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::OptionNotApplied, "{error}");
            assert!(error.to_string().contains("`sandbox`"), "{error}");
            // A turn with the sandbox of the running one joins it. The model has its request, so that this input makes another one.
            gate.wait_reached().unwrap();
            model.reply("done");
            let joined = wait!(thread.turn("four").sandbox(Sandbox::FullAccess).send()).unwrap();
            assert_eq!(joined.id(), running.id());
            gate.release();
            assert_eq!(wait!(running.run()).unwrap().turn.status, TurnStatus::Completed);
            assert!(!model.requests().iter().any(|request| request.user_texts().contains(&"three")));
        }
        wait!(codex.close()).unwrap();
        wait!(other.close()).unwrap();
    }

    // The client does not receive the start of the running turn.
    fn a_turn_that_names_a_narrower_sandbox_does_not_join_one_that_began_before_its_client_subscribed(start, wait) {
        for cuts in [false, true] {
            let model = Model::start();
            let server = RunningServer::on_socket(&model);
            let (other, proxy) = (start!(server.config()).unwrap(), FaultyProxy::to_socket(server.socket()).unwrap());
            model.reply("ready");
            let theirs = wait!(model.sandboxed(other.thread_start(), Sandbox::FullAccess).send()).unwrap();
            wait!(theirs.run("one")).unwrap();
            let codex = start!(CodexConfig::new().connect(Endpoint::unix(proxy.socket()))).unwrap();
            let opened = if cuts { Some(wait!(codex.thread_resume(theirs.id()).send()).unwrap()) } else { None };
            proxy.plan(Plan::new().at(Place::method(Flow::ToClient, "turn/started"), Fault::Cut));
            let gate = model.gate();
            model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
            let running = wait!(theirs.turn("two").send()).unwrap();
            gate.wait_reached().unwrap();
            let thread = match opened {
                Some(thread) => thread,
                None => wait!(codex.thread_resume(theirs.id()).send()).unwrap(),
            };
            let error = wait!(thread.turn("three").sandbox(Sandbox::ReadOnly).send()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::OptionNotApplied, "{error}");
            gate.release();
            // The input was not sent.
            assert_eq!(wait!(running.run()).unwrap().final_response.as_deref(), Some("hello"));
            model.reply("done");
            wait!(thread.turn("four").sandbox(Sandbox::ReadOnly).run()).unwrap();
            assert!(!model.last_request().unwrap().user_texts().contains(&"three"));
            wait!(codex.close()).unwrap();
            wait!(other.close()).unwrap();
        }
    }

    // The server has reported the start of the running turn to the other client only.
    fn a_call_that_has_joined_a_turn_of_another_client_ends_without_interrupting_it(start, wait) {
        for has_handle in [false, true] {
            let model = Model::start();
            let server = RunningServer::on_socket(&model);
            let other = start!(server.config()).unwrap();
            // A model decides about approvals in a turn of the other client.
            let codex = start!(server.config().on_command_approval(|_| Decision::Decline)).unwrap();
            let theirs = wait!(other.thread_start().send()).unwrap();
            model.reply("ready");
            wait!(theirs.run("one")).unwrap();
            let opened = if has_handle { Some(wait!(codex.thread_resume(theirs.id()).send()).unwrap()) } else { None };
            if has_handle {
                // The server loads the thread for the other client only.
                wait!(other.thread_archive(theirs.id())).unwrap();
                wait!(other.thread_unarchive(theirs.id())).unwrap();
            }
            let go_on = model.folder().join("go on");
            model.reply(ModelReply::exec_command(format!("while [ ! -e '{}' ]; do sleep 0.02; done", go_on.display())));
            model.reply("done");
            let running = wait!(theirs.turn("two").send()).unwrap();
            let mut stream = running.stream();
            let is_command = |seen| matches!(seen, Notification::ItemStarted(started) if matches!(started.item, ThreadItem::CommandExecution(_)));
            while !is_command(wait!(stream.next()).unwrap().unwrap()) {}
            let thread = match opened {
                Some(thread) => thread,
                None => wait!(codex.thread_resume(theirs.id()).send()).unwrap(),
            };
            // The call returns before the model reads its input.
            let joined = thread.turn("three").timeout(Duration::from_secs(20)).interrupt_on_drop(true);
            let joined = wait!(joined.send()).unwrap();
            assert_eq!(joined.id(), running.id());
            drop(joined);
            std::fs::write(go_on, "").unwrap();
            let theirs = wait!(running.run()).unwrap();
            assert_eq!((theirs.turn.status, theirs.final_response.as_deref()), (TurnStatus::Completed, Some("done")));
            wait!(codex.close()).unwrap();
            wait!(other.close()).unwrap();
        }
    }

    fn a_turn_that_has_joined_one_of_another_client_unknowingly_fails_if_that_may_do_more(start, wait) {
        for (wide, named, fails) in [(true, true, true), (true, false, true), (false, false, false)] {
            let model = Model::start();
            let server = RunningServer::on_socket(&model);
            let (other, proxy) = (start!(server.config()).unwrap(), Arc::new(FaultyProxy::to_socket(server.socket()).unwrap()));
            model.reply("ready");
            let theirs = wait!(model.sandboxed(other.thread_start(), Sandbox::ReadOnly).send()).unwrap();
            wait!(theirs.run("one")).unwrap();
            // The client does not see the turn of the other one before it has sent its own start.
            let sent = Place::method(Flow::ToServer, "turn/start").after();
            let started = Place::method(Flow::ToClient, "turn/started");
            proxy.plan(Plan::new().at(started, Fault::Stall).at(sent, Fault::Delay(Duration::ZERO)));
            let codex = start!(CodexConfig::new().connect(Endpoint::unix(proxy.socket()))).unwrap();
            let thread = wait!(codex.thread_resume(theirs.id()).send()).unwrap();
            let gate = model.gate();
            model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
            let turn = theirs.turn("two");
            let turn = if wide { turn.sandbox(Sandbox::FullAccess) } else { turn };
            let running = wait!(turn.send()).unwrap();
            let mut stream = running.stream();
            while !matches!(wait!(stream.next()).unwrap().unwrap(), Notification::AgentMessageDelta(_)) {}
            let resumed = std::thread::spawn({
                let proxy = proxy.clone();
                move || proxy.wait_faults(2).map(|()| proxy.resume())
            });
            if !fails {
                // The runtime can read the input before the model has said all.
                model.fallback("done");
            }
            let turn = thread.turn("three");
            let turn = if named { turn.sandbox(Sandbox::ReadOnly) } else { turn };
            let joined = wait!(turn.send());
            resumed.join().unwrap().unwrap();
            if fails {
                assert_eq!(joined.unwrap_err().kind(), ErrorKind::OptionNotApplied);
                let theirs = wait!(running.run()).unwrap();
                assert_eq!(theirs.turn.status, TurnStatus::Interrupted);
            } else {
                let joined = joined.unwrap();
                assert_eq!(joined.id(), running.id());
                gate.release();
                assert_eq!(wait!(joined.run()).unwrap().final_response.as_deref(), Some("done"));
            }
            drop((stream, gate));
            wait!(codex.close()).unwrap();
            wait!(other.close()).unwrap();
        }
    }

    fn a_turn_that_is_dropped_right_before_its_client_ends_at_the_server(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        // The interrupt can come before the request.
        model.fallback(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let server = RunningServer::on_socket(&model);
        let other = start!(server.config()).unwrap();
        let mut events = other.events();
        for closes in [true, false] {
            model.reply("ready");
            let codex = start!(server.config()).unwrap();
            let thread = wait!(codex.thread_start().send()).unwrap();
            wait!(thread.run("one")).unwrap();
            let seen = wait!(other.thread_resume(thread.id()).send()).unwrap();
            drop(wait!(thread.turn("go").interrupt_on_drop(true).send()).unwrap());
            drop(thread);
            if closes {
                wait!(codex.close()).unwrap();
            }
            drop(codex);
            let status = loop {
                if let Event::Notification(Notification::TurnCompleted(done)) = wait!(events.next()).unwrap().unwrap() {
                    break done.turn.status;
                }
            };
            assert_eq!(status, TurnStatus::Interrupted, "closes: {closes}");
            drop(seen);
        }
        wait!(other.close()).unwrap();
    }

    fn a_dropped_client_leaves_the_server_running(start, wait) {
        let model = Model::start();
        let mut server = RunningServer::on_socket(&model);
        drop(start!(server.config()).unwrap());
        let codex = start!(server.config()).unwrap();
        assert!(server.is_running());
        wait!(codex.close()).unwrap();
    }

    fn a_clients_own_turn_is_declined_without_a_handler(start, wait) {
        let model = Model::start();
        let server = RunningServer::on_socket(&model);
        let touched = model.folder().join("touched");
        model.reply(ModelToolCall::exec_command(format!("touch {}", touched.display())).escalate("I need to write"));
        model.reply("done");
        // With a handler the runtime asks the client, and this one passes.
        let codex = start!(server.config().on_command_approval(|_| Reply::<Decision>::pass())).unwrap();
        let options = codex.thread_start().cwd(model.folder().display().to_string());
        let thread = wait!(options.sandbox(SandboxMode::ReadOnly).send()).unwrap();
        let result = wait!(thread.run("go")).unwrap();
        assert_eq!(result.final_response.as_deref(), Some("done"));
        assert!(!touched.exists());
        wait!(codex.close()).unwrap();
    }

    fn a_request_about_another_clients_turn_is_left_to_that_client(start, wait) {
        let model = Model::start();
        let server = RunningServer::on_socket(&model);
        let touched = model.folder().join("touched");
        model.reply("first");
        model.reply(ModelToolCall::exec_command(format!("touch {}", touched.display())).escalate("I need to write"));
        model.reply("done");
        let (asked, decide) = (std::sync::mpsc::channel(), std::sync::mpsc::channel::<()>());
        let (tell, decided) = (asked.0, std::sync::Mutex::new(decide.1));
        let owner = start!(server.config().on_command_approval(move |_| {
            tell.send(()).unwrap();
            decided.lock().unwrap().recv().unwrap();
            Decision::Accept
        }))
        .unwrap();
        let options = owner.thread_start().cwd(model.folder().display().to_string());
        let thread = wait!(options.sandbox(SandboxMode::ReadOnly).send()).unwrap();
        // Older runtimes resume a thread only after its first turn.
        wait!(thread.run("one")).unwrap();
        let other = start!(server.config()).unwrap();
        let mut events = other.events();
        wait!(other.thread_resume(thread.id()).send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        asked.1.recv().unwrap();
        let left = loop {
            match wait!(events.next()).unwrap().unwrap() {
                Event::LeftUnanswered { method, turn_id, .. } => break (method, turn_id),
                Event::AnsweredByDefault { method, .. } => panic!("{method} is answered"),
                _ => {}
            }
        };
        assert_eq!(left, ("item/commandExecution/requestApproval".into(), Some(turn.id().to_owned())));
        decide.0.send(()).unwrap();
        let result = wait!(turn.run()).unwrap();
        assert_eq!(result.turn.status, TurnStatus::Completed);
        assert!(touched.exists(), "the owner's decision counts");
        wait!(other.close()).unwrap();
        wait!(owner.close()).unwrap();
    }
}

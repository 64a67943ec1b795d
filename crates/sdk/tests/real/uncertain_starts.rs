//! Starts of turns whose connection is lost: before the start is sent, on its way, or before its response.

use std::sync::Arc;
use std::time::Duration;

use openai_codex::{ApprovalMode, CodexConfig, ErrorKind, Event, Notification, Sandbox};
use openai_codex_testkit::ModelReply;
use openai_codex_testkit::proxy::{Fault, FaultyProxy, Flow, Place, Plan};

use crate::reconnects::{config, gated, policy, replace_at_fault, until};
use crate::support::{Model, RunningServer, with_both_clients};

with_both_clients! {
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

    fn the_first_start_of_a_thread_that_did_not_arrive_is_uncertain_and_the_thread_goes_on(start, wait) {
        let model = Model::start();
        let server = RunningServer::on_socket(&model);
        let proxy = FaultyProxy::to_socket(server.socket()).unwrap();
        proxy.plan(Plan::new().at(Place::method(Flow::ToServer, "turn/start").inside(), Fault::Cut));
        let codex = start!(config(&proxy).connection_policy(policy().start_grace(Duration::from_millis(300)))).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let error = wait!(thread.run("one")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Uncertain, "{error}");
        assert!(error.to_string().contains("has not shown its message") && !error.to_string().contains("another thread"), "{error}");
        model.reply("done");
        assert_eq!(wait!(thread.run("two")).unwrap().final_response.as_deref(), Some("done"));
        assert_eq!(model.requests().len(), 1);
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
        let server = RunningServer::on_socket(&model);
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
        let replaced = replace_at_fault(server, &model, &proxy, open);
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
}

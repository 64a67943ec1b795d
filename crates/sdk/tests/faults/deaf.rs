//! Servers that no longer read.

use std::time::Duration;

use openai_codex::{AsyncCodex, ErrorKind};
use openai_codex_testkit::Reply;
use serde_json::json;

use crate::starting::kill;
use crate::support::{Model, Server, answering, assert_error, bounded_async, whole_turn, with_both_clients};

with_both_clients! {
    fn requests_to_a_server_that_does_not_read_end_at_their_deadlines(start, wait) {
        let script = answering().start_turn("t", "u").expect("test/go").stop_reading().respond(json!({}));
        // It can still speak.
        let script = script.agent_message("t", "u", "i", ["done"]).complete_turn("t", "u");
        let server = Server::new(script);
        let codex = start!(server.config().request_deadline(Duration::from_millis(300))).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        wait!(codex.request_raw("test/go", json!({}))).unwrap();
        assert_eq!(wait!(turn.run()).unwrap().final_response.as_deref(), Some("done"));
        // More than a pipe holds: the second is not even written.
        let long = "x".repeat(1 << 20);
        for method in ["test/long", "test/behind"] {
            let error = wait!(codex.request_raw(method, json!({"text": long}))).unwrap_err();
            assert_error(&error, ErrorKind::DeadlineExceeded, Some(method), None, &["300ms"]);
        }
        wait!(codex.close()).unwrap();
        assert!(server.trace.processes().is_empty());
    }

    fn a_server_that_has_closed_its_input_is_lost_at_the_next_request(start, wait) {
        let script = answering().start_turn("t", "u").expect("test/go").close_stdin().respond(json!({}));
        let server = Server::new(script);
        let codex = start!(server.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        wait!(codex.request_raw("test/go", json!({}))).unwrap();
        let error = wait!(codex.request_raw("test/more", json!({}))).unwrap_err();
        assert_error(&error, ErrorKind::TransportClosed, Some("test/more"), None, &["no longer reads"]);
        assert_eq!(wait!(turn.run()).unwrap_err().kind(), ErrorKind::TransportClosed);
        wait!(codex.close()).unwrap();
        assert!(server.trace.processes().is_empty());
    }
}

#[test]
fn a_request_that_could_not_be_written_is_not_sent_late() {
    bounded_async(async || {
        let signs = tempfile::tempdir().unwrap();
        let go = signs.path().join("go");
        // While it waits for the file it reads nothing.
        let script = answering().expect("test/pause").await_file(&go).respond(json!({}));
        let server = Server::new(whole_turn(script, "u").always("test/long", json!("long")));
        let codex = AsyncCodex::with_config(server.config().request_deadline(Duration::from_secs(20)));
        let thread = codex.thread_start().send().await.unwrap();
        let pause = tokio::spawn({
            let codex = codex.clone();
            async move { codex.request_raw("test/pause", json!({})).await }
        });
        server.wait_received("test/pause");
        let long = tokio::spawn({
            let codex = codex.clone();
            async move { codex.request_raw("test/long", json!({"text": "x".repeat(4 << 20)})).await }
        });
        // This one is behind, and given up: the server must never see it.
        let behind = thread.turn("given up").deadline(Duration::from_millis(300)).run().await.unwrap_err();
        assert_error(&behind, ErrorKind::DeadlineExceeded, None, Some("t"), &["300ms"]);
        std::fs::File::create(&go).unwrap();
        pause.await.unwrap().unwrap();
        assert_eq!(long.await.unwrap().unwrap(), "long");
        assert_eq!(thread.run("go").await.unwrap().final_response.as_deref(), Some("done"));
        codex.close().await.unwrap();
        let received = server.received().unwrap();
        let starts = crate::support::params(&received, "turn/start");
        assert_eq!(starts.len(), 1, "{starts:?}");
        assert_eq!(starts[0]["input"][0]["text"], "go");
    });
}

#[test]
fn a_runtime_that_is_stopped_is_closed_all_the_same() {
    bounded_async(async || {
        let model = Model::start();
        let gate = model.gate();
        model.reply(Reply::new().delta("he").pause(&gate).delta("llo"));
        let config = model.config().request_deadline(Duration::from_secs(20));
        let codex = AsyncCodex::with_config(config);
        let thread = codex.thread_start().send().await.unwrap();
        let turn = thread.turn("go").send().await.unwrap();
        gate.reached().await.unwrap();
        let running = model.trace.processes();
        running.iter().for_each(|id| kill(*id, "-STOP"));
        let deadline = thread.turn("more").deadline(Duration::from_millis(300)).run().await.unwrap_err();
        assert_error(&deadline, ErrorKind::DeadlineExceeded, None, Some(thread.id()), &["300ms"]);
        codex.close().await.unwrap();
        model.trace.wait_gone(&running);
        assert_error(
            &turn.run().await.unwrap_err(),
            ErrorKind::Closed,
            None,
            Some(thread.id()),
            &["was closed"],
        );
    });
}

//! Closing while everything is open.

use openai_codex::{Codex, ErrorKind, Notification};
use openai_codex_testkit::app_server::Response;
use openai_codex_testkit::{ModelReply, Script};
use serde_json::json;

use crate::support::{Model, Server, answering, assert_error, bounded, with_both_clients};

fn silent() -> Script {
    answering().always_respond("test/silent", Response::Silence).start_turn("t", "u")
}

with_both_clients! {
    fn a_close_during_a_turn_ends_every_stream_and_can_be_repeated(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        let (mut stream, mut text) = (turn.stream(), turn.stream_text());
        let (mut events, mut of_thread) = (codex.events(), thread.events());
        while !matches!(wait!(stream.next()), Some(Ok(Notification::AgentMessageDelta(_)))) {}
        let running = model.trace.processes();
        wait!(codex.close()).unwrap();
        assert!(model.trace.processes().is_empty(), "close waits for the end");
        model.trace.wait_gone(&running);
        let mut last = None;
        while let Some(event) = wait!(stream.next()) {
            last = Some(event);
        }
        let mut last_text = None;
        while let Some(piece) = wait!(text.next()) {
            last_text = Some(piece.map(drop));
        }
        let errors = [last.unwrap().unwrap_err(), last_text.unwrap().unwrap_err(), wait!(turn.run()).unwrap_err()];
        for error in errors {
            assert_error(&error, ErrorKind::Closed, None, Some(thread.id()), &["was closed"]);
        }
        // For an observer, the program's own close is not an error.
        while let Some(event) = wait!(events.next()) {
            event.unwrap();
        }
        while let Some(event) = wait!(of_thread.next()) {
            event.unwrap();
        }
        for _ in 0..2 {
            wait!(codex.close()).unwrap();
        }
        let error = wait!(thread.run("go")).unwrap_err();
        assert_error(&error, ErrorKind::Closed, None, None, &["make a new one"]);
    }
}

#[test]
fn concurrent_closes_all_return_and_end_everything_open() {
    bounded(|| {
        let server = Server::new(silent());
        let codex = Codex::with_config(server.config()).unwrap();
        let turn = codex.thread_start().send().unwrap().turn("go").send().unwrap();
        let running = server.trace.processes();
        std::thread::scope(|scope| {
            let mut waiting = Vec::new();
            // One request only: after the close, a request does not know its thread any more.
            for n in 0..7 {
                let (codex, turn) = (codex.clone(), turn.clone());
                waiting.push(scope.spawn(move || match n % 4 {
                    0 => turn.stream().last().unwrap().map(drop),
                    1 => turn.run().map(drop),
                    2 => turn.stream_text().last().unwrap().map(drop),
                    _ => codex.request_raw("test/silent", json!({"threadId": "t"})).map(drop),
                }));
            }
            server.wait_received("test/silent");
            for _ in 0..8 {
                scope.spawn(|| {
                    codex.close().unwrap();
                    assert!(server.trace.processes().is_empty(), "each close waits for the end");
                });
            }
            for waited in waiting {
                let error = waited.join().unwrap().unwrap_err();
                assert_eq!((error.kind(), error.thread_id()), (ErrorKind::Closed, Some("t")), "{error}");
            }
        });
        server.trace.wait_gone(&running);
    });
}

#[test]
fn concurrent_closes_and_calls_all_return() {
    bounded(|| {
        let server = Server::new(answering());
        for _ in 0..4 {
            let codex = Codex::with_config(server.config()).unwrap();
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    let codex = codex.clone();
                    scope.spawn(move || {
                        loop {
                            match codex.request_raw("test/mark", json!({})) {
                                Ok(response) => assert_eq!(response, "mark"),
                                Err(error) => return assert_eq!(error.kind(), ErrorKind::Closed, "{error}"),
                            }
                        }
                    });
                }
                for _ in 0..2 {
                    scope.spawn(|| codex.close().unwrap());
                }
            });
            assert!(server.trace.processes().is_empty());
        }
    });
}

//! Which drops interrupt a turn, and which do not.

use std::fs::File;
use std::pin::pin;
use std::time::Duration;

use openai_codex::{AsyncCodex, AsyncEvents, ErrorKind, Event, Notification};
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::messages;
use serde_json::{Value, json};

use crate::support::{Server, bounded_async, count, sent, with_both_clients};

/// A turn `u` of a thread `t` that runs until it is interrupted, and a request that shows what came before it.
fn running_turn() -> Script {
    Script::standard()
        .start_thread("t")
        .start_turn("t", "u")
        .always("turn/interrupt", json!({}))
        .always("test/mark", json!({}))
}

/// The same, with a second `turn/start` that joins.
fn joined_turn() -> Script {
    let joins = json!({"turn": messages::turn("u", "inProgress")});
    running_turn().expect("turn/start").respond(joins)
}

async fn turn_started(events: &mut AsyncEvents) {
    loop {
        let event = events.next().await.unwrap().unwrap();
        if matches!(event, Event::Notification(Notification::TurnStarted(_))) {
            return;
        }
    }
}

#[track_caller]
fn assert_interrupted(received: &[Value]) {
    assert_eq!(sent(received, "turn/interrupt")["params"], json!({"threadId": "t", "turnId": "u"}));
}

#[test]
fn a_run_that_is_dropped_interrupts_its_turn() {
    bounded_async(async || {
        let server = Server::new(running_turn());
        let codex = AsyncCodex::with_config(server.config());
        let thread = codex.thread_start().send().await.unwrap();
        let mut events = codex.events();
        {
            let mut run = pin!(thread.run("go"));
            tokio::select! {
                result = &mut run => panic!("{result:?}"),
                () = turn_started(&mut events) => {}
            }
        }
        assert_interrupted(&server.wait_received("turn/interrupt"));
        codex.close().await.unwrap();
        assert_eq!(count(&server.received().unwrap(), "turn/interrupt"), 1);
    });
}

#[test]
fn a_start_that_is_dropped_before_its_response_interrupts_when_that_comes() {
    bounded_async(async || {
        for wait_for_result in [true, false] {
            let signs = tempfile::tempdir().unwrap();
            let go = signs.path().join("go");
            let script = Script::standard()
                .start_thread("t")
                .expect("turn/start")
                .await_file(&go)
                .respond(json!({"turn": messages::turn("u", "inProgress")}))
                .send(messages::turn_started("t", "u"))
                .always("turn/interrupt", json!({}));
            let server = Server::new(script);
            let codex = AsyncCodex::with_config(server.config());
            let thread = codex.thread_start().send().await.unwrap();
            {
                let starting = async {
                    match wait_for_result {
                        true => drop(thread.run("go").await),
                        false => drop(thread.turn("go").send().await),
                    }
                };
                let mut starting = pin!(starting);
                tokio::select! {
                    () = &mut starting => panic!("it was not answered"),
                    () = async {
                        while count(&server.received().unwrap(), "turn/start") == 0 {
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                    } => {}
                }
            }
            File::create(&go).unwrap();
            assert_interrupted(&server.wait_received("turn/interrupt"));
            codex.close().await.unwrap();
        }
    });
}

#[test]
fn a_start_that_is_dropped_unpolled_sends_nothing() {
    bounded_async(async || {
        let server = Server::new(running_turn());
        let codex = AsyncCodex::with_config(server.config());
        let thread = codex.thread_start().send().await.unwrap();
        drop(thread.run("go"));
        drop(thread.turn("go").send());
        codex.request_raw("test/mark", json!({})).await.unwrap();
        codex.close().await.unwrap();
        assert_eq!(count(&server.received().unwrap(), "turn/start"), 0);
    });
}

#[test]
fn a_run_that_joined_does_not_interrupt_when_it_is_dropped() {
    bounded_async(async || {
        let server = Server::new(joined_turn());
        let codex = AsyncCodex::with_config(server.config());
        let thread = codex.thread_start().send().await.unwrap();
        let _turn = thread.turn("one").send().await.unwrap();
        {
            let mut run = pin!(thread.run("two"));
            tokio::select! {
                result = &mut run => panic!("{result:?}"),
                // Answered after the second start.
                mark = codex.request_raw("test/mark", json!({})) => drop(mark.unwrap()),
            }
            // Polled once more, so that it has its answer.
            tokio::select! {
                biased;
                result = &mut run => panic!("{result:?}"),
                () = async {} => {}
            }
        }
        codex.request_raw("test/mark", json!({})).await.unwrap();
        codex.close().await.unwrap();
        assert_eq!(count(&server.received().unwrap(), "turn/interrupt"), 0);
    });
}

#[test]
fn a_run_that_is_dropped_spares_a_turn_that_another_handle_holds() {
    bounded_async(async || {
        let server = Server::new(joined_turn());
        let codex = AsyncCodex::with_config(server.config());
        let thread = codex.thread_start().send().await.unwrap();
        let mut events = codex.events();
        let joined = {
            let mut run = pin!(thread.run("one"));
            tokio::select! {
                result = &mut run => panic!("{result:?}"),
                () = turn_started(&mut events) => {}
            }
            thread.turn("two").send().await.unwrap()
        };
        codex.request_raw("test/mark", json!({})).await.unwrap();
        assert_eq!(joined.id(), "u");
        codex.close().await.unwrap();
        assert_eq!(count(&server.received().unwrap(), "turn/interrupt"), 0);
    });
}

with_both_clients! {
    fn a_handle_that_is_dropped_lets_the_turn_go_on(start, wait) {
        let server = Server::new(running_turn());
        let codex = start!(server.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        let stream = turn.stream();
        drop(turn);
        drop(stream);
        // An interrupt would have been sent before this.
        wait!(codex.request_raw("test/mark", json!({}))).unwrap();
        wait!(codex.close()).unwrap();
        assert_eq!(count(&server.received().unwrap(), "turn/interrupt"), 0);
    }

    fn with_interrupt_on_drop_the_last_hold_interrupts(start, wait) {
        let server = Server::new(running_turn());
        let codex = start!(server.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").interrupt_on_drop(true).send()).unwrap();
        let (clone, stream) = (turn.clone(), turn.stream());
        drop(turn);
        drop(clone);
        wait!(codex.request_raw("test/mark", json!({}))).unwrap();
        assert_eq!(count(&server.wait_received("test/mark"), "turn/interrupt"), 0, "the stream holds it");
        drop(stream);
        assert_interrupted(&server.wait_received("turn/interrupt"));
        wait!(codex.close()).unwrap();
    }

    fn a_handle_that_joined_interrupts_if_its_call_requested_it(start, wait) {
        let server = Server::new(joined_turn());
        let codex = start!(server.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        // The one that created the turn has let it go on.
        drop(wait!(thread.turn("one").send()).unwrap());
        let joined = wait!(thread.turn("two").interrupt_on_drop(true).send()).unwrap();
        assert_eq!(joined.id(), "u");
        drop(joined);
        assert_interrupted(&server.wait_received("turn/interrupt"));
        wait!(codex.close()).unwrap();
    }

    fn a_handle_that_joined_a_turn_of_another_client_never_interrupts(start, wait) {
        let joins = json!({"turn": messages::turn("u", "inProgress")});
        let script = Script::standard().start_thread("t").send(messages::turn_started("t", "u"));
        let script = script.always("turn/interrupt", json!({})).always("test/mark", json!({}));
        let server = Server::new(script.expect("turn/start").respond(joins));
        let codex = start!(server.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(codex.request_raw("test/mark", json!({}))).unwrap();
        let joined = wait!(thread.turn("two").interrupt_on_drop(true).send()).unwrap();
        assert_eq!(joined.id(), "u");
        drop(joined);
        wait!(codex.request_raw("test/mark", json!({}))).unwrap();
        wait!(codex.close()).unwrap();
        assert_eq!(count(&server.received().unwrap(), "turn/interrupt"), 0);
    }

    fn a_turn_that_has_ended_is_not_interrupted(start, wait) {
        let server = Server::new(running_turn().complete_turn("t", "u"));
        let codex = start!(server.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").interrupt_on_drop(true).send()).unwrap();
        wait!(turn.run()).unwrap();
        drop(turn);
        wait!(codex.request_raw("test/mark", json!({}))).unwrap();
        wait!(codex.close()).unwrap();
        assert_eq!(count(&server.received().unwrap(), "turn/interrupt"), 0);
    }

    fn a_run_past_its_timeout_interrupts_the_turn(start, wait) {
        let server = Server::new(running_turn());
        let codex = start!(server.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let error = wait!(thread.turn("go").timeout(Duration::from_millis(200)).run()).unwrap_err();
        assert_eq!((error.kind(), error.thread_id()), (ErrorKind::Timeout, Some("t")));
        assert!(error.to_string().contains("200ms"), "{error}");
        assert_interrupted(&server.wait_received("turn/interrupt"));
        wait!(codex.close()).unwrap();
    }

    fn a_send_past_its_timeout_interrupts_when_the_response_comes(start, wait) {
        let signs = tempfile::tempdir().unwrap();
        let go = signs.path().join("go");
        let script = Script::standard()
            .start_thread("t")
            .expect("turn/start")
            .await_file(&go)
            .respond(json!({"turn": messages::turn("u", "inProgress")}))
            .always("turn/interrupt", json!({}));
        let server = Server::new(script);
        let codex = start!(server.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let error = wait!(thread.turn("go").timeout(Duration::from_millis(200)).send()).unwrap_err();
        assert_eq!((error.kind(), error.method()), (ErrorKind::Timeout, Some("turn/start")));
        File::create(&go).unwrap();
        assert_interrupted(&server.wait_received("turn/interrupt"));
        wait!(codex.close()).unwrap();
    }
}

//! Compactions whose messages arrive in a particular order.

use openai_codex::types::TurnStatus;
use openai_codex::{CodexConfig, ErrorKind};
use openai_codex_testkit::app_server::messages;
use serde_json::json;

use crate::support::{bounded_async, opens_any_thread, with_both_clients};

with_both_clients! {
    fn the_turn_of_a_compaction_may_start_before_the_response(start, wait) {
        let item = json!({"type": "contextCompaction", "id": "i"});
        let script = opens_any_thread()
            .expect("thread/compact/start")
            .send(messages::turn_completed("t", messages::turn("before", "interrupted")))
            .send(messages::turn_started("other", "elsewhere"))
            .send(messages::turn_started("t", "c"))
            .respond(json!({}))
            .send(messages::item_completed("t", "c", item))
            .complete_turn("t", "c");
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_resume("t").send()).unwrap();
        let compaction = wait!(thread.compact()).unwrap();
        assert_eq!(compaction.id(), "c");
        assert_eq!(wait!(compaction.run()).unwrap().items.len(), 1);
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }

    fn a_connection_that_is_lost_ends_the_wait_for_a_compaction(start, wait) {
        let script = opens_any_thread().expect("thread/compact/start").respond(json!({})).exit(3);
        let (transport, _playing) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_resume("t").send()).unwrap();
        let error = wait!(thread.compact()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TransportClosed);
        wait!(codex.close()).unwrap();
    }
}

/// While a `turn/start` is pending on the thread, a turn that starts may belong to it. The compaction waits for the
/// response.
#[test]
fn a_compaction_does_not_take_the_turn_of_a_pending_start() {
    bounded_async(async || {
        let script = opens_any_thread()
            .expect_as("turn", "turn/start")
            .expect_as("compaction", "thread/compact/start")
            .send(messages::turn_started("t", "u"))
            .send(messages::turn_started("t", "c"))
            .respond_to("compaction", openai_codex_testkit::app_server::Response::Result(json!({})))
            .respond_to(
                "turn",
                openai_codex_testkit::app_server::Response::Result(
                    json!({"turn": messages::turn("u", "inProgress")}),
                ),
            )
            .send(messages::turn_completed("t", messages::turn("u", "interrupted")))
            .complete_turn("t", "c");
        let (transport, running) = script.connect().unwrap();
        let codex = openai_codex::AsyncCodex::with_transport(CodexConfig::new(), transport);
        let thread = codex.thread_resume("t").send().await.unwrap();
        let (turn, compaction) = tokio::join!(thread.turn("go").send(), thread.compact());
        let (turn, compaction) = (turn.unwrap(), compaction.unwrap());
        assert_eq!((turn.id(), compaction.id()), ("u", "c"));
        assert!(turn.run().await.unwrap().is_interrupted());
        assert_eq!(compaction.run().await.unwrap().turn.status, TurnStatus::Completed);
        codex.close().await.unwrap();
        running.finished().await.unwrap();
    });
}

/// Dropping the future of `compact` leaves nothing behind: the next turn belongs to its own caller.
#[test]
fn an_abandoned_compaction_takes_no_turn() {
    bounded_async(async || {
        let script = opens_any_thread()
            .expect("thread/compact/start")
            .respond(json!({}))
            .expect("test/go")
            .respond(json!({}))
            .start_turn("t", "u")
            .complete_turn("t", "u");
        let (transport, running) = script.connect().unwrap();
        let codex = openai_codex::AsyncCodex::with_transport(CodexConfig::new(), transport);
        let thread = codex.thread_resume("t").send().await.unwrap();
        {
            let mut compaction = std::pin::pin!(thread.compact());
            tokio::select! {
                biased;
                _ = &mut compaction => panic!("its turn has not started"),
                response = codex.request_raw("test/go", json!({})) => drop(response.unwrap()),
            }
        }
        let result = thread.run("go").await.unwrap();
        assert_eq!(result.turn.id, "u");
        codex.close().await.unwrap();
        running.finished().await.unwrap();
    });
}

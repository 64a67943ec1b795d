//! Compactions, followed as turns.

use openai_codex::types::{ThreadItem, TurnStatus};
use openai_codex::{CodexConfig, ErrorKind};
use openai_codex_testkit::app_server::messages;
use openai_codex_testkit::{ModelReply, Script};
use serde_json::json;

use crate::support::{Model, sent, with_both_clients};

with_both_clients! {
    // The response is immediate; a turn follows.
    fn a_compaction_can_be_followed_as_a_turn(start, wait) {
        let model = Model::start();
        model.reply("one");
        model.reply("the summary");
        model.reply("two");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.run("first")).unwrap();
        let compaction = wait!(thread.compact()).unwrap();
        let mut events = compaction.stream();
        let result = wait!(compaction.run()).unwrap();
        assert_eq!((result.turn.id.as_str(), result.turn.status), (compaction.id(), TurnStatus::Completed));
        assert!(matches!(result.items[..], [ThreadItem::ContextCompaction(_)]), "{:?}", result.items);
        assert_eq!((result.final_response, model.requests().len()), (None, 2));
        assert_eq!(model.last_request().unwrap().path, "/v1/responses");
        let first = wait!(events.next()).unwrap().unwrap();
        assert!(matches!(first, openai_codex::Notification::TurnStarted(_)), "{first:?}");
        assert_eq!(wait!(thread.run("second")).unwrap().final_response.as_deref(), Some("two"));
        wait!(codex.close()).unwrap();
    }

    fn a_compaction_interrupts_the_running_turn(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("never ").pause(&gate).delta("done"));
        model.reply("the summary");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        gate.wait_reached().unwrap();
        let compaction = wait!(thread.compact()).unwrap();
        assert_ne!(compaction.id(), turn.id());
        assert!(wait!(turn.run()).unwrap().is_interrupted());
        assert_eq!(wait!(compaction.run()).unwrap().turn.status, TurnStatus::Completed);
        wait!(codex.close()).unwrap();
    }

    // Runtime 0.163.0 also interrupts a compaction that waits for the turn that it interrupts.
    fn a_compaction_after_a_dropped_turn_completes(start, wait) {
        let model = Model::start();
        model.reply("one");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.run("first")).unwrap();
        model.fallback("the summary");
        for _ in 0..4 {
            drop(wait!(thread.turn("second").interrupt_on_drop(true).send()).unwrap());
            let compaction = wait!(thread.compact()).unwrap();
            assert_eq!(wait!(compaction.run()).unwrap().turn.status, TurnStatus::Completed);
        }
        wait!(codex.close()).unwrap();
    }

    // Another client interrupts the running turn, so that this client does not wait for its end.
    fn a_compaction_that_is_interrupted_before_it_begins_is_over(start, wait) {
        let script = Script::standard().start_thread("t").expect("thread/compact/start").respond(json!({}));
        let script = script.notify("turn/completed", json!({
            "threadId": "t",
            "turn": {"id": "c", "items": [], "itemsView": "notLoaded", "status": "interrupted", "error": null,
                     "startedAt": null, "completedAt": 1, "durationMs": null},
        }));
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let compaction = wait!(thread.compact()).unwrap();
        assert_eq!(compaction.id(), "c");
        assert!(wait!(compaction.run()).unwrap().is_interrupted());
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }

    fn a_compaction_of_an_unknown_thread_fails_with_the_servers_error(start, wait) {
        // It is resumed, for the server may only have let go of it.
        let script = Script::standard()
            .expect("thread/resume")
            .respond(messages::thread_start_response("t"))
            .expect("thread/compact/start")
            .respond_error(-32600, "thread not found: t")
            .expect("thread/resume")
            .respond_error(-32600, "no rollout found for thread id t");
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_resume("t").send()).unwrap();
        let error = wait!(thread.compact()).unwrap_err();
        assert_eq!((error.kind(), error.thread_id()), (ErrorKind::ThreadNotFound, Some("t")));
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        assert_eq!(sent(&received, "thread/compact/start")["params"], json!({"threadId": "t"}));
    }
}

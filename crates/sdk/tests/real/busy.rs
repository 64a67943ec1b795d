//! A thread that is busy, or that the program has unsubscribed from with a plain request.

use openai_codex::types::{ThreadUnsubscribeParams, ThreadUnsubscribeStatus};
use openai_codex::{Error, ErrorKind, methods};
use openai_codex_testkit::ModelReply;
use serde_json::json;

use crate::support::{Model, with_both_clients};

/// Checks the kind, the thread and the advice of an error.
fn assert_refused(error: &Error, kind: ErrorKind, thread_id: &str, advice: &str) {
    assert_eq!((error.kind(), error.thread_id()), (kind, Some(thread_id)), "{error}");
    assert!(error.to_string().contains(advice), "{error}");
}

with_both_clients! {
    fn an_output_schema_that_the_running_turn_does_not_have_is_refused(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("half ").pause(&gate).delta("done"));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        gate.wait_reached().unwrap();
        let schema = json!({"type": "object", "properties": {}, "required": [], "additionalProperties": false});
        let refused = wait!(thread.turn("and this").output_schema(schema).send()).unwrap_err();
        assert_refused(&refused, ErrorKind::OptionNotApplied, thread.id(), "leave the schema out");
        gate.release();
        assert_eq!(wait!(turn.run()).unwrap().final_response.as_deref(), Some("half done"));
        wait!(codex.close()).unwrap();
    }

    fn a_compaction_accepts_no_input(start, wait) {
        let model = Model::start();
        model.reply("one");
        let gate = model.gate();
        model.reply(ModelReply::new().delta("the ").pause(&gate).delta("summary"));
        model.reply("two");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.run("first")).unwrap();
        let compaction = wait!(thread.compact()).unwrap();
        gate.wait_reached().unwrap();
        let refused = [
            wait!(thread.turn("second").send()).unwrap_err(),
            wait!(compaction.steer("second")).unwrap_err(),
            wait!(compaction.steer_or_start("second")).unwrap_err(),
        ];
        for error in refused {
            assert_refused(&error, ErrorKind::TurnNotSteerable, thread.id(), "wait for its end");
        }
        gate.release();
        wait!(compaction.run()).unwrap();
        assert_eq!(wait!(thread.run("second")).unwrap().final_response.as_deref(), Some("two"));
        wait!(codex.close()).unwrap();
    }

    fn a_handle_subscribes_again_after_a_plain_unsubscribe_request(start, wait) {
        let model = Model::start();
        model.fallback(ModelReply::new().delta("done"));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.run("first")).unwrap();
        let params = ThreadUnsubscribeParams::new(thread.id());
        let typed = wait!(codex.request::<methods::ThreadUnsubscribe>(params)).unwrap();
        assert_eq!(typed.status, ThreadUnsubscribeStatus::Unsubscribed);
        assert_eq!(wait!(thread.run("second")).unwrap().final_response.as_deref(), Some("done"));
        let raw = wait!(codex.request_raw("thread/unsubscribe", json!({"threadId": thread.id()}))).unwrap();
        assert_eq!(raw["status"], "unsubscribed");
        assert_eq!(wait!(thread.run("third")).unwrap().final_response.as_deref(), Some("done"));
        wait!(codex.close()).unwrap();
    }
}

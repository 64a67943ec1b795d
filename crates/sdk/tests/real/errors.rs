//! Turns that fail, and errors of the runtime.

use openai_codex::ErrorKind;
use openai_codex::types::TurnStatus;
use openai_codex_testkit::{ModelReply, ModelToolCall, Usage};
use serde_json::json;

use crate::support::{Model, texts, version, with_both_clients};

with_both_clients! {
    fn a_failed_turn_is_an_error_with_the_models_message(start, wait) {
        let model = Model::start();
        model.reply(ModelReply::failed("boom from mock model"));
        model.reply("fine again");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let error = wait!(thread.run("go")).unwrap_err();
        assert_eq!((error.kind(), error.thread_id()), (ErrorKind::TurnFailed, Some(thread.id())));
        assert!(error.to_string().contains("boom from mock model"), "{error}");
        assert_eq!(error.turn().unwrap().turn.status, TurnStatus::Failed);
        // The thread goes on.
        assert_eq!(wait!(thread.run("again")).unwrap().final_response.as_deref(), Some("fine again"));
        wait!(codex.close()).unwrap();
    }

    fn a_failed_turn_keeps_its_items_and_usage(start, wait) {
        let model = Model::start();
        let first = ModelReply::new().delta("on it").call(ModelToolCall::exec_command("echo 1"));
        model.reply(first.usage(Usage::new(11, 7)));
        model.reply(ModelReply::failed("boom"));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let error = wait!(thread.run("go")).unwrap_err();
        let result = error.turn().expect("a partial result");
        assert_eq!(texts(&result.items), ["on it"]);
        assert_eq!(result.usage.as_ref().unwrap().last.total_tokens, 18);
        wait!(codex.close()).unwrap();
    }

    fn every_handle_of_a_failed_turn_sees_the_failure(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("a").pause(&gate).fail("boom"));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        let (same, mut stream) = (turn.clone(), turn.stream());
        gate.release();
        for handle in [&turn, &same] {
            let error = wait!(handle.run()).unwrap_err();
            assert!(error.to_string().contains("boom"), "{error}");
        }
        let mut status = None;
        while let Some(event) = wait!(stream.next()) {
            // For a stream it is the end like any other.
            if let openai_codex::Notification::TurnCompleted(end) = event.unwrap() {
                status = Some(end.turn.status);
            }
        }
        assert_eq!(status, Some(TurnStatus::Failed));
        wait!(codex.close()).unwrap();
    }

    fn a_removed_working_folder_is_named_in_the_error(start, wait) {
        let model = Model::start();
        let folder = tempfile::tempdir().unwrap();
        let codex = start!(model.config().cwd(folder.path())).unwrap();
        let path = folder.path().to_owned();
        folder.close().unwrap();
        let own_folder = wait!(codex.thread_start().cwd(model.folder()).send()).err();
        let needed = ["0.133.0", "0.144.4", "0.154.0"].contains(&version());
        assert_eq!(own_folder.is_some(), needed, "by a thread with a folder of its own: {own_folder:?}");
        let errors = own_folder.into_iter().chain(wait!(codex.thread_start().send()).err());
        let named = format!("working folder {} does not exist", path.display());
        assert_eq!(errors.filter(|error| error.to_string().contains(&named)).count(), 1 + usize::from(needed));
        wait!(codex.close()).unwrap();
    }

    fn the_real_runtime_responds_with_invalid_request(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        let unknown = wait!(codex.request_raw("missing/method", json!({}))).unwrap_err();
        let wrong = wait!(codex.request_raw("thread/read", json!({"threadId": 7}))).unwrap_err();
        for error in [unknown, wrong] {
            assert_eq!((error.kind(), error.json_rpc().unwrap().code), (ErrorKind::InvalidRequest, -32600), "{error}");
            assert!(!error.is_retryable());
        }
        wait!(codex.close()).unwrap();
    }

    fn unknown_and_malformed_ids_fail_with_the_servers_message(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        let unknown = "019a0000-0000-7000-8000-000000000000";
        let cases = [
            (unknown, "no rollout found for thread id", ErrorKind::ThreadNotFound),
            ("nonsense", "invalid ", ErrorKind::InvalidRequest),
        ];
        for (id, words, kind) in cases {
            let error = wait!(codex.thread_resume(id).send()).unwrap_err();
            assert_eq!((error.kind(), error.json_rpc().unwrap().code), (kind, -32600));
            assert_eq!((error.method(), error.thread_id()), (Some("thread/resume"), Some(id)));
            assert!(error.to_string().contains(words), "{error}");
        }
        wait!(codex.close()).unwrap();
    }
}

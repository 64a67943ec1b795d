//! Calls on a thread whose file the runtime is moving, to the archive or out of it, and on one whose file is missing.

use openai_codex::{CodexConfig, ErrorKind};
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::{Response, messages};
use serde_json::{Value, json};

use crate::support::{count, with_both_clients};

const MISSING: &str = "invalid paginated history lineage for t: missing source rollout";
const UNREAD: &str = "failed to list thread history: failed to read lineage metadata /scripted/codex-home/archived_sessions/t.jsonl: \
                      No such file or directory (os error 2)";
const UNFOUND: &str = "no rollout found for thread id t";

/// A stored thread that is not loaded.
fn read(folder: &str) -> Value {
    let mut thread = messages::thread("t");
    thread["status"] = json!({"type": "notLoaded"});
    thread["preview"] = json!("go");
    thread["path"] = json!(format!("/scripted/codex-home/{folder}/t.jsonl"));
    json!({"thread": thread})
}

fn turns() -> Value {
    let mut turn = messages::turn("u", "completed");
    turn["items"] = json!([{"type": "userMessage", "id": "m", "clientId": "k", "content": []}]);
    json!({"data": [turn]})
}

/// A server that refuses to list turns twice while it moves a file.
fn moves_while_it_lists(script: Script) -> Script {
    let script = script.expect("thread/turns/list").respond_error(-32600, MISSING);
    let script = script.expect("thread/turns/list").respond_error(-32603, UNREAD);
    script.expect("thread/turns/list").respond(turns())
}

with_both_clients! {
    fn the_history_of_a_thread_whose_file_is_being_moved_is_asked_for_again(start, wait) {
        let script = moves_while_it_lists(moves_while_it_lists(Script::standard().start_thread("t")));
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        assert_eq!(wait!(thread.turns().send()).unwrap().data.len(), 1);
        assert_eq!(wait!(thread.find_turn("k")).unwrap().unwrap().turn.id, "u");
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }

    fn a_thread_whose_file_is_being_moved_gets_its_name(start, wait) {
        let script = Script::standard().start_thread("t").expect("thread/name/set").respond_error(-32600, UNFOUND);
        let script = script.expect("thread/read").respond(read("sessions"));
        let script = script.expect("thread/name/set").respond_error(-32600, UNFOUND);
        // It is taken out of the archive.
        let script = script.expect("thread/read").respond(read("archived_sessions"));
        let (transport, running) = script.expect("thread/name/set").respond(json!({})).connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.set_name("a name")).unwrap();
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }

    fn a_thread_that_another_call_is_archiving_is_archived(start, wait) {
        let script = Script::standard().expect("thread/archive").respond_error(-32600, UNFOUND);
        let script = script.expect("thread/read").respond(read("sessions"));
        let script = script
            .always_respond("thread/archive", Response::error(-32600, UNFOUND))
            .always("thread/read", read("archived_sessions"))
            .always("thread/turns/list", turns());
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let error = wait!(codex.thread_archive("t")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ThreadArchived, "{error}");
        wait!(codex.close()).unwrap();
        // The second look finds the thread in the archive, and the third one finds it there still.
        assert_eq!(count(&running.finish().unwrap().messages(), "thread/archive"), 3);
    }

    fn a_file_that_is_moved_while_it_is_exported_is_looked_for_again(start, wait) {
        let script = Script::standard().start_thread("t").expect("thread/read").respond(read("sessions"));
        let script = script.expect_with("fs/readFile", json!({"path": "/scripted/codex-home/sessions/t.jsonl"}));
        let script = script.respond_error(-32603, "No such file or directory (os error 2)");
        let script = script.expect("thread/read").respond(read("archived_sessions"));
        let script = script.expect_with("fs/readFile", json!({"path": "/scripted/codex-home/archived_sessions/t.jsonl"}));
        let (transport, running) = script.respond(json!({"dataBase64": "e30K"})).connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        assert_eq!(wait!(thread.export()).unwrap().thread_id(), "t");
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }

    fn a_thread_that_is_not_stored_is_not_looked_for_again(start, wait) {
        let unknown = "thread not loaded: t";
        let script = ["thread/resume", "thread/fork", "thread/archive"]
            .into_iter()
            .fold(Script::standard(), |script, method| script.always_respond(method, Response::error(-32600, UNFOUND)))
            .always_respond("thread/read", Response::error(-32600, unknown))
            .always_respond("thread/turns/list", Response::error(-32600, unknown));
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let errors = [
            wait!(codex.thread_resume("t").send()).unwrap_err(),
            wait!(codex.thread_fork("t").send()).unwrap_err(),
            wait!(codex.thread_archive("t")).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::ThreadNotFound);
            assert!(error.to_string().contains("the home has no stored thread with this id"), "{error}");
        }
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        for method in ["thread/resume", "thread/fork", "thread/archive"] {
            assert_eq!(count(&received, method), 1, "{method}");
        }
    }

    fn a_file_that_stays_missing_is_an_error(start, wait) {
        let script = Script::standard().start_thread("t");
        let script = script.always_respond("thread/turns/list", Response::error(-32600, MISSING));
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let error = wait!(thread.turns().send()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ThreadNotFound);
        assert!(error.to_string().contains("a file of the thread's stored history is missing"), "{error}");
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }
}

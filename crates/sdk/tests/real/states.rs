//! What each call about a thread returns, in each state that the thread can be in.

use openai_codex::{Error, Event, Notification};
use serde_json::json;

use crate::support::{Model, with_both_clients};

const UNUSED: &[&str] = &["unused", "unused, unsubscribed", "unused, archived", "unused, unarchived"];
const USED: &[&str] = &["used", "unsubscribed", "archived", "unarchived"];
const GONE: &[&str] = &["deleted", "unused, deleted", "ephemeral"];
/// The server unloads these at once.
const UNLOADED: &[&str] = &["unused, unloaded", "unloaded"];

/// These calls change nothing, so that one thread answers all of them.
const READS: &[&str] =
    &["read", "read with turns", "turns", "items", "recover", "export", "find_turn", "follow"];
const OTHERS: &[&str] =
    &["run", "compact", "ensure", "set_name", "unsubscribe", "resume", "fork", "archive", "unarchive"];

/// What a call returns about a thread in a state: `ok`, or the kind of an error.
fn expected(state: &str, call: &str) -> &'static str {
    let (is_unused, is_unloaded) = (state.starts_with("unused"), state.ends_with("unloaded"));
    let is_unsubscribed = state.ends_with("unsubscribed") || is_unloaded;
    let is_archived = state.ends_with(" archived") || state == "archived";
    let is_gone = state.ends_with("deleted") || (is_unused && is_unloaded);
    let needs_subscription = ["find_turn", "follow", "run", "compact", "ensure"].contains(&call);
    match (state, call) {
        (_, "unsubscribe") | ("ephemeral", "read" | "follow" | "run" | "compact") => "ok",
        ("ephemeral", "recover") => "TurnLost",
        ("ephemeral", "ensure") => "InvalidInput",
        ("ephemeral", "export" | "resume" | "fork" | "archive" | "unarchive") => "ThreadNotFound",
        ("ephemeral", _) => "InvalidRequest",
        _ if is_unsubscribed && needs_subscription => "InvalidInput",
        (_, "ensure") if is_gone => "ThreadLost",
        _ if is_gone => "ThreadNotFound",
        (_, "recover") if is_unused => "TurnLost",
        (_, "unarchive") => {
            if is_archived {
                "ok"
            } else {
                "InvalidInput"
            }
        }
        (_, "set_name" | "resume" | "fork" | "archive") if is_archived => "ThreadArchived",
        _ if is_archived && needs_subscription => "ThreadArchived",
        _ => "ok",
    }
}

/// The kind of an error about this thread.
fn outcome<T>(result: Result<T, Error>, thread_id: &str) -> String {
    match result {
        Ok(_) => "ok".into(),
        Err(error) if error.thread_id() == Some(thread_id) => format!("{:?}", error.kind()),
        Err(error) => format!("without the thread: {error:?}"),
    }
}

/// Makes a thread in the state. Returns a handle, and the id of its turn or of none.
macro_rules! thread_in {
    ($wait:ident, $codex:ident, $model:ident, $state:ident) => {{
        let start = $codex.thread_start().cwd($model.folder()).ephemeral($state == "ephemeral");
        let mut thread = $wait!(start.send()).unwrap();
        let mut turn_id = "01a220f8-0000-7000-8000-000000000000".to_owned();
        if !$state.starts_with("unused") {
            turn_id = $wait!(thread.run("1")).unwrap().turn.id;
        }
        let id = thread.id().to_owned();
        let mut events = $codex.events();
        match $state.rsplit(' ').next().unwrap() {
            "unsubscribed" => drop($wait!(thread.unsubscribe()).unwrap()),
            "archived" => drop($wait!($codex.thread_archive(&id)).unwrap()),
            "unarchived" => {
                $wait!($codex.thread_archive(&id)).unwrap();
                thread = $wait!($codex.thread_unarchive(&id)).unwrap();
            }
            "deleted" => drop($wait!($codex.request_raw("thread/delete", json!({"threadId": id}))).unwrap()),
            "unloaded" => {
                $wait!(thread.unsubscribe()).unwrap();
                let closed = |event: Event| matches!(event, Event::Notification(Notification::ThreadClosed(_)));
                while !closed($wait!(events.next()).unwrap().unwrap()) {}
            }
            _ => {}
        }
        (thread, turn_id)
    }};
}

/// Makes each call about a thread in each of the states, and compares the outcomes.
macro_rules! check_calls {
    ($start:ident, $wait:ident, $model:ident, $states:expr) => {{
        $model.fallback("done");
        let codex = $start!($model.config()).unwrap();
        let mut wrong = Vec::new();
        for state in $states.iter().copied() {
            let mut read = None;
            for call in READS.iter().chain(OTHERS).copied() {
                let shared = read.take().filter(|_| READS.contains(&call));
                let (thread, turn_id) = match shared {
                    Some(shared) => shared,
                    None => thread_in!($wait, codex, $model, state),
                };
                let id = thread.id().to_owned();
                let found = match call {
                    "read" => outcome($wait!(thread.read().send()), &id),
                    "read with turns" => outcome($wait!(thread.read().include_turns(true).send()), &id),
                    "turns" => outcome($wait!(thread.turns().send()), &id),
                    "items" => outcome($wait!(thread.items().send()), &id),
                    "recover" => outcome($wait!(thread.recover(&turn_id)), &id),
                    "export" => outcome($wait!(thread.export()), &id),
                    "find_turn" => outcome($wait!(thread.find_turn("no such key")), &id),
                    "follow" => outcome($wait!(thread.follow()), &id),
                    "run" => outcome($wait!(thread.run("2")), &id),
                    "ensure" => outcome($wait!(thread.ensure("key", "2").run()), &id),
                    "set_name" => outcome($wait!(thread.set_name("n")), &id),
                    "unsubscribe" => outcome($wait!(thread.unsubscribe()), &id),
                    "archive" => outcome($wait!(codex.thread_archive(&id)), &id),
                    "compact" => match $wait!(thread.compact()) {
                        Ok(compaction) => outcome($wait!(compaction.run()), &id),
                        refused => outcome(refused, &id),
                    },
                    opens => {
                        let opened = match opens {
                            "resume" => $wait!(codex.thread_resume(&*id).send()),
                            "fork" => $wait!(codex.thread_fork(&*id).send()),
                            _ => $wait!(codex.thread_unarchive(&id)),
                        };
                        match opened {
                            Ok(opened) => outcome($wait!(opened.run("2")), &id),
                            refused => outcome(refused, &id),
                        }
                    }
                };
                if found != expected(state, call) {
                    wrong.push(format!("{state}, {call}: {found}, not {}", expected(state, call)));
                }
                read = Some((thread, turn_id));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        $wait!(codex.close()).unwrap();
    }};
}

with_both_clients! {
    fn each_call_about_a_thread_that_has_not_run_says_so_or_works(start, wait) {
        let model = Model::start();
        check_calls!(start, wait, model, UNUSED);
    }

    fn each_call_about_a_thread_that_has_run_says_so_or_works(start, wait) {
        let model = Model::start();
        check_calls!(start, wait, model, USED);
    }

    fn each_call_about_a_thread_without_a_record_says_so(start, wait) {
        let model = Model::start();
        check_calls!(start, wait, model, GONE);
    }

    fn each_call_about_an_unloaded_thread_says_so_or_works(start, wait) {
        let model = Model::start();
        model.add_config("thread_unload_delay_secs = 0\n").unwrap();
        check_calls!(start, wait, model, UNLOADED);
    }
}

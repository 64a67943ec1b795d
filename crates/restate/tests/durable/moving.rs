//! Threads move from one home to another.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use openai_codex::{AsyncCodex, Rollout};
use serde_json::{Value, json};

use crate::support::engine::Engine;
use crate::support::http;
use crate::support::workers::{Site, runtime};

const LONG: Duration = Duration::from_secs(60);

fn answer(engine: &Engine, service: &str, thread: &str, handler: &str, input: &Value) -> http::Response {
    let path = format!("/{service}/{thread}/{handler}");
    let input = (!input.is_null()).then_some(input);
    http::send("POST", engine.ingress, &path, input, LONG).unwrap()
}

fn call(engine: &Engine, service: &str, thread: &str, handler: &str, input: &Value) -> http::Response {
    let response = answer(engine, service, thread, handler, input);
    assert!(response.status < 300, "{service}/{thread}/{handler}: {response:?}");
    response
}

/// Threads of one home have two turns there, and a third in another one.
fn threads_move(count: usize) {
    let engine = Engine::start();
    let (old, new) = (Site::new(), Site::new());
    let _workers = [
        old.worker(&engine, "old", &["--service", "OldHome"]),
        new.worker(&engine, "new", &["--service", "NewHome"]),
    ];
    for site in [&old, &new] {
        site.model.fallback("hello");
    }
    for number in 0..count {
        let thread = format!("thread-{number}");
        let (one, two, three) = (format!("one {number}"), format!("two {number}"), format!("three {number}"));
        let first = call(&engine, "OldHome", &thread, "run", &json!({"input": one})).body;
        call(&engine, "OldHome", &thread, "run", &json!({"input": two}));
        let history = call(&engine, "OldHome", &thread, "export", &json!(null)).body;
        call(&engine, "NewHome", &thread, "import", &history);
        let third = call(&engine, "NewHome", &thread, "run", &json!({"input": three})).body;
        assert_eq!(third["thread_id"], first["thread_id"]);
        let request = new.model.last_request().unwrap();
        let texts: Vec<&str> =
            request.user_texts().into_iter().filter(|text| [&*one, &*two, &*three].contains(text)).collect();
        assert_eq!(texts, [&*one, &*two, &*three]);
    }
    assert_eq!(new.model.requests().len(), count);
}

#[test]
fn a_thread_moves_to_another_home_with_its_turns() {
    threads_move(2);
}

#[test]
#[ignore = "takes a minute"]
fn fifty_threads_move_to_another_home() {
    threads_move(50);
}

/// The inputs of all turns in the last request to a model.
fn inputs(site: &Site) -> Vec<String> {
    let request = site.model.last_request().unwrap();
    request.user_texts().into_iter().filter(|text| !text.starts_with('<')).map(str::to_owned).collect()
}

#[test]
fn a_thread_moves_back_and_no_turn_is_lost() {
    let engine = Engine::start();
    let (old, new) = (Site::new(), Site::new());
    let _workers = [
        old.worker(&engine, "old", &["--service", "OldHome"]),
        new.worker(&engine, "new", &["--service", "NewHome"]),
    ];
    for site in [&old, &new] {
        site.model.fallback("hello");
    }
    let none = json!(null);
    let first = call(&engine, "OldHome", "t", "run", &json!({"input": "one"})).body;
    let history = call(&engine, "OldHome", "t", "export", &none).body;
    call(&engine, "NewHome", "t", "import", &history);
    call(&engine, "OldHome", "t", "forget", &none);
    call(&engine, "NewHome", "t", "run", &json!({"input": "two"}));
    let history = call(&engine, "NewHome", "t", "export", &none).body;
    // Twice, as a step that the engine repeats.
    for _ in 0..2 {
        call(&engine, "OldHome", "t", "import", &history);
        call(&engine, "OldHome", "t", "forget", &none);
    }
    call(&engine, "OldHome", "t", "import", &history);
    call(&engine, "OldHome", "t", "run", &json!({"input": "three"}));
    assert_eq!(inputs(&old), ["one", "two", "three"]);

    // Nobody has called `forget`, and turns run in both homes.
    call(&engine, "NewHome", "t", "run", &json!({"input": "other"}));
    let other = call(&engine, "NewHome", "t", "export", &none).body;
    call(&engine, "OldHome", "t", "forget", &none);
    for (history, why) in [(&other, "with other turns"), (&history, "with more turns")] {
        let refused = answer(&engine, "OldHome", "t", "import", history);
        assert_eq!(refused.status, 400, "{refused:?}");
        assert!(refused.text.contains(why), "{refused:?}");
    }
    // The object takes what the home has.
    call(&engine, "OldHome", "t", "import", &json!({"thread_id": first["thread_id"]}));
    call(&engine, "OldHome", "t", "run", &json!({"input": "four"}));
    assert_eq!(inputs(&old), ["one", "two", "three", "four"]);
    let unknown = json!({"thread_id": "019aa6c2-0000-7000-8000-000000000001"});
    let missing = answer(&engine, "OldHome", "none", "import", &unknown);
    assert_eq!(missing.status, 404, "{missing:?}");
}

/// Forks a thread and runs a turn in the fork, as a client of the home. Returns the history of the fork.
fn history_of_a_fork(site: &Site, source: &str) -> Rollout {
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    executor.block_on(async {
        let codex = AsyncCodex::with_config(site.model.config().codex_bin(runtime()));
        let fork = codex.thread_fork(source).await.unwrap();
        fork.run("two").await.unwrap();
        let history = fork.export().await.unwrap();
        codex.close().await.unwrap();
        history
    })
}

#[test]
fn a_fork_is_not_moved_without_its_source() {
    let engine = Engine::start();
    let (old, new) = (Site::new(), Site::new());
    old.model.fallback("hello");
    let worker = old.worker(&engine, "old", &["--service", "OldHome"]);
    let source =
        call(&engine, "OldHome", "source", "run", &json!({"input": "one"})).body["thread_id"].clone();
    // The client does not share the home with another runtime.
    drop(worker);
    let history = history_of_a_fork(&old, source.as_str().unwrap());
    let _workers = [
        old.worker(&engine, "old", &["--service", "OldHome"]),
        new.worker(&engine, "new", &["--service", "NewHome"]),
    ];
    call(&engine, "OldHome", "fork", "import", &json!({"thread_id": history.thread_id()}));
    let exported = answer(&engine, "OldHome", "fork", "export", &json!(null));
    let imported = answer(&engine, "NewHome", "fork", "import", &json!(history));
    for refused in [exported, imported] {
        assert_eq!(refused.status, 400, "{refused:?}");
        for part in ["is a fork", source.as_str().unwrap(), "the source first"] {
            assert!(refused.text.contains(part), "{refused:?}");
        }
    }
    // It goes on where it is.
    call(&engine, "OldHome", "fork", "run", &json!({"input": "three"}));
    assert_eq!(inputs(&old), ["one", "two", "three"]);
}

/// The file of the only thread in a folder.
fn rollout_in(folder: &Path) -> Option<PathBuf> {
    fs::read_dir(folder).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() { rollout_in(&path) } else { Some(path) }
    })
}

#[test]
fn a_history_that_is_too_long_for_the_engine_is_an_error_and_the_thread_goes_on() {
    let (engine, site) = (Engine::start(), Site::new());
    let _worker = site.worker(&engine, "a", &[]);
    site.model.fallback("hello");
    let first = engine.call("long", "run", Some(&json!({"input": "one"})));
    let path = rollout_in(&site.model.home().join("sessions")).unwrap();
    // The runtime skips empty lines.
    File::options().append(true).open(path).unwrap().write_all(&vec![b'\n'; 25 << 20]).unwrap();
    let refused = engine.call("long", "export", None);
    assert_eq!(refused.status, 413, "{refused:?}");
    for part in
        ["the engine takes 33554432 bytes", "thread_import", first.body["thread_id"].as_str().unwrap()]
    {
        assert!(refused.text.contains(part), "{refused:?}");
    }
    let second = engine.call("long", "run", Some(&json!({"input": "two"})));
    assert_eq!((second.status, &second.body["thread_id"]), (200, &first.body["thread_id"]), "{second:?}");
}

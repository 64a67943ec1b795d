//! Threads move from one home to another.

use std::time::Duration;

use serde_json::json;

use crate::support::engine::Engine;
use crate::support::http;
use crate::support::workers::Site;

const LONG: Duration = Duration::from_secs(60);

fn call(
    engine: &Engine,
    service: &str,
    thread: &str,
    handler: &str,
    input: &serde_json::Value,
) -> http::Response {
    let path = format!("/{service}/{thread}/{handler}");
    let input = (!input.is_null()).then_some(input);
    let response = http::send("POST", engine.ingress, &path, input, LONG).unwrap();
    assert!(response.status < 300, "{path}: {response:?}");
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

//! Threads that are resumed over another transport, and their turns.

use std::sync::atomic::Ordering;

use super::lost_server::*;
use super::*;

#[tokio::test(start_paused = true)]
async fn a_turn_that_the_server_does_not_know_any_more_is_lost() {
    let mut server = Server::start(policy()).await;
    let (subscription, pending) = start(&server.connection);
    server.peer().start_turn("u").await;
    pending.await.unwrap();
    server.lose();
    server.accept().await;
    server.resume(json!([])).await;
    // A server may not show a turn at once. Then the client reads the whole thread.
    let read = loop {
        let request = server.peer().receive().await;
        if request["method"] != "thread/resume" {
            break request;
        }
        let thread = json!({"thread": {"id": "t", "turns": []}});
        server.peer().send(json!({"id": request["id"], "result": thread})).await;
    };
    assert_eq!(read["method"], "thread/read");
    server.peer().send(json!({"id": read["id"], "result": {"thread": {"id": "t", "turns": []}}})).await;
    let (_, End::Lost(error)) = end_of(&subscription).await else { panic!("completed") };
    assert_eq!(error.kind(), ErrorKind::TurnLost);
    server.settle().await;
}

// Another client has loaded the thread on the new server, so that the list of loaded threads does not show that it is new.
#[tokio::test(start_paused = true)]
async fn an_interrupted_turn_is_lost_if_another_process_listens() {
    for is_other_server in [false, true] {
        let mut server = Server::start(policy()).await;
        let (subscription, pending) = start(&server.connection);
        server.peer().start_turn("u").await;
        pending.await.unwrap();
        server.doors.is_other_server.store(is_other_server, Ordering::SeqCst);
        server.lose();
        let peer = server.accept().await;
        let loaded = peer.receive().await;
        peer.send(json!({"id": loaded["id"], "result": {"data": ["t"]}})).await;
        // The client asks again: a turn that is just ending looks like that too.
        let answering = async {
            loop {
                let request = peer.receive().await;
                let turns = json!([{"id": "u", "status": "interrupted", "items": []}]);
                peer.send(json!({"id": request["id"], "result": {"thread": {"id": "t", "turns": turns}}}))
                    .await;
            }
        };
        let ended = tokio::select! {
            () = answering => unreachable!(),
            ended = end_of(&subscription) => ended,
        };
        match ended {
            (_, End::Lost(error)) => assert!(is_other_server && error.kind() == ErrorKind::TurnLost),
            (_, End::Completed(_)) => assert!(!is_other_server),
        }
    }
}

// A server that runs a turn calls every turn without an end in progress, also one that has died with the process before.
#[tokio::test(start_paused = true)]
async fn a_turn_of_another_client_that_died_is_over_although_the_next_server_runs_another_one() {
    for is_loaded in [false, true] {
        let mut server = Server::start(policy()).await;
        server.report_turn("t", "u").await;
        server.lose();
        // The next connection is lost too, after the server has loaded the thread for it.
        server.accept().await;
        server.list_loaded(json!([])).await;
        assert_eq!(server.peer().receive().await["method"], "thread/resume");
        server.lose();
        server.accept().await;
        server.list_loaded(if is_loaded { json!(["t"]) } else { json!([]) }).await;
        let turns = json!([in_progress("u", json!([]))[0], in_progress("v", json!([]))[0]]);
        let subscribe = server.peer().receive().await;
        server.describe(&subscribe, &json!([])).await;
        server
            .peer()
            .send(json!({"method": "turn/started", "params": {"threadId": "t", "turn": turns[1]}}))
            .await;
        // The client asks again: a turn that is just ending looks like that too.
        let answering = async {
            loop {
                let request = server.peer().receive().await;
                server.describe(&request, &turns).await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(60), answering).await.is_err());
        assert_eq!(server.connection.running_turns("t"), ["v".into()]);
        server.settle().await;
        let end = json!({"threadId": "t", "turn": {"id": "v", "items": [], "status": "completed"}});
        server.peer().send(json!({"method": "turn/completed", "params": end})).await;
        server.settle().await;
        assert!(!server.connection.is_busy("t"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_thread_that_cannot_be_resumed_yet_is_resumed_later_and_otherwise() {
    let mut server = Server::start(policy()).await;
    let (subscription, pending) = start(&server.connection);
    server.peer().start_turn("u").await;
    pending.await.unwrap();
    server.lose();
    let peer = server.accept().await;
    let loaded = peer.receive().await;
    peer.send(json!({"id": loaded["id"], "result": {"data": []}})).await;
    let errors = [
        ("Bare", -32600, "no rollout found for thread id t"),
        ("Bare", -32601, "list_turns is not supported yet"),
        ("Whole", -32001, "overloaded"),
    ];
    for (form, code, message) in errors {
        let request = peer.receive().await;
        assert_eq!((&request["params"]["form"], &request["params"]["loads"]), (&json!(form), &json!(true)));
        peer.send(json!({"id": request["id"], "error": {"code": code, "message": message}})).await;
    }
    // A runtime would load the thread again for the options.
    for (form, loads) in [("Whole", true), ("Latest", false)] {
        let request = peer.receive().await;
        assert_eq!((&request["params"]["form"], &request["params"]["loads"]), (&json!(form), &json!(loads)));
        let thread = json!({"id": "t", "turns": in_progress("u", json!([]))});
        peer.send(json!({"id": request["id"], "result": {"thread": thread}})).await;
    }
    peer.completed("u").await;
    let (_, End::Completed(_)) = end_of(&subscription).await else { panic!("lost") };
}

#[tokio::test(start_paused = true)]
async fn a_thread_that_cannot_be_resumed_ends_its_turns_and_starts() {
    let mut server = Server::start(policy()).await;
    let (subscription, pending) = start(&server.connection);
    server.peer().start_turn("u").await;
    pending.await.unwrap();
    let (_second, starting) = start_with_key(&server.connection, "k");
    server.peer().receive().await;
    server.lose();
    let peer = server.accept().await;
    let loaded = peer.receive().await;
    peer.send(json!({"id": loaded["id"], "result": {"data": []}})).await;
    let request = peer.receive().await;
    let error = json!({"code": -32600, "message": "session t is archived. Unarchive it first"});
    peer.send(json!({"id": request["id"], "error": error})).await;
    let (_, End::Lost(error)) = end_of(&subscription).await else { panic!("completed") };
    assert_eq!((error.kind(), error.thread_id()), (ErrorKind::TurnLost, Some("t")));
    assert!(error.to_string().contains("is archived"), "{error}");
    let error = starting.await.unwrap_err();
    assert_eq!((error.kind(), error.client_message_id()), (ErrorKind::Uncertain, Some("k")));
    server.settle().await;
}

/// A server that was started while the old process still finishes its turns: `t` is in use for this long.
async fn use_elsewhere(peer: &mut Peer, time: Duration) {
    let loaded = peer.receive().await;
    assert_eq!(loaded["method"], "thread/loaded/list");
    peer.send(json!({"id": loaded["id"], "result": {"data": []}})).await;
    let begin = tokio::time::Instant::now();
    while begin.elapsed() < time {
        let request = peer.receive().await;
        // Other requests of the client do not wait for the other process.
        let response = match request["method"].as_str() {
            Some("thread/resume") => {
                json!({"code": -32600, "message": "thread t already has an active writer"})
            }
            _ => json!({"code": -32600, "message": "no"}),
        };
        peer.send(json!({"id": request["id"], "error": response})).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_the_old_process_finishes_is_not_lost() {
    let mut server = Server::start(policy()).await;
    let (subscription, pending) = start(&server.connection);
    server.peer().start_turn("u").await;
    pending.await.unwrap();
    let (second, starting) = start_with_key(&server.connection, "k");
    server.peer().receive().await;
    server.lose();
    let begin = tokio::time::Instant::now();
    let waiting = request(&server.connection, "model/list");
    let served = use_elsewhere(server.accept().await, Duration::from_secs(20));
    let other = async {
        waiting.await.unwrap_err();
        begin.elapsed()
    };
    let ((), waited) = tokio::join!(served, other);
    assert_eq!(waited.as_secs(), 0);
    for form in ["Bare", "Latest"] {
        let request = server.peer().receive().await;
        assert_eq!(request["params"]["form"], form);
        let item = json!({"type": "agentMessage", "id": "i", "text": "done"});
        let turns = json!([
            {"id": "v", "status": "completed", "items": [message("k")]},
            {"id": "u", "status": "completed", "items": [item]},
        ]);
        let thread = json!({"id": "t", "turns": turns});
        server.peer().send(json!({"id": request["id"], "result": {"thread": thread}})).await;
    }
    let (digest, End::Completed(_)) = end_of(&subscription).await else { panic!("lost") };
    assert_eq!(digest.items.len(), 1);
    starting.await.unwrap();
    let (_, End::Completed(_)) = end_of(&second).await else { panic!("lost") };
}

#[tokio::test(start_paused = true)]
async fn a_turn_whose_thread_stays_in_use_elsewhere_is_lost() {
    let mut server = Server::start(policy()).await;
    let (subscription, pending) = start(&server.connection);
    server.peer().start_turn("u").await;
    pending.await.unwrap();
    server.lose();
    let begin = tokio::time::Instant::now();
    let peer = server.accept().await;
    let ended = tokio::select! {
        () = use_elsewhere(peer, Duration::from_secs(3600)) => panic!("not lost"),
        ended = end_of(&subscription) => ended,
    };
    let (_, End::Lost(error)) = ended else { panic!("completed") };
    assert_eq!((error.kind(), begin.elapsed().as_secs()), (ErrorKind::TurnLost, 30));
    assert!(error.to_string().contains("active writer"), "{error}");
    server.settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_thread_that_is_restored_slowly_holds_up_nothing_and_is_not_lost() {
    let mut server = Server::start(policy()).await;
    let (subscription, pending) = start(&server.connection);
    server.peer().start_turn("u").await;
    pending.await.unwrap();
    let (second, starting) = start_with_key(&server.connection, "k");
    server.peer().receive().await;
    server.lose();
    let begin = tokio::time::Instant::now();
    let waiting = request(&server.connection, "model/list");
    let peer = server.accept().await;
    let loaded = peer.receive().await;
    peer.send(json!({"id": loaded["id"], "result": {"data": ["t"]}})).await;
    assert_eq!(peer.receive().await["method"], "thread/resume");
    // The response does not come.
    let request = peer.receive().await;
    assert_eq!((&request["method"], begin.elapsed().as_secs()), (&json!("model/list"), 5));
    peer.send(json!({"id": request["id"], "result": {}})).await;
    waiting.await.unwrap();
    // After its timeout the client tries again, also if the server is overloaded for long.
    for _ in 0..10 {
        let request = peer.receive().await;
        assert_eq!(request["params"]["form"], "Bare");
        let error = json!({"code": -32001, "message": "overloaded"});
        peer.send(json!({"id": request["id"], "error": error})).await;
    }
    assert!(begin.elapsed().as_secs() > 300);
    for form in ["Bare", "Latest"] {
        let request = peer.receive().await;
        assert_eq!(request["params"]["form"], form);
        let turns = json!([{"id": "u", "status": "inProgress", "items": [message("k")]}]);
        let thread = json!({"id": "t", "turns": turns});
        peer.send(json!({"id": request["id"], "result": {"thread": thread}})).await;
    }
    // Its timeout has passed.
    assert_eq!(starting.await.unwrap_err().kind(), ErrorKind::Timeout);
    peer.completed("u").await;
    let (_, End::Completed(_)) = end_of(&subscription).await else { panic!("lost") };
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn a_start_waits_until_its_thread_is_restored() {
    let mut server = Server::start(policy()).await;
    let (subscription, pending) = start_with_key(&server.connection, "k");
    server.peer().receive().await;
    server.lose();
    let peer = server.accept().await;
    let loaded = peer.receive().await;
    peer.send(json!({"id": loaded["id"], "result": {"data": ["t"]}})).await;
    let resume = peer.receive().await;
    tokio::time::sleep(Duration::from_secs(15)).await;
    peer.send(json!({"id": resume["id"], "result": {"thread": {"id": "t", "turns": []}}})).await;
    let resume = peer.receive().await;
    let thread = json!({"id": "t", "turns": in_progress("u", json!([message("k")]))});
    peer.send(json!({"id": resume["id"], "result": {"thread": thread}})).await;
    pending.await.unwrap();
    peer.completed("u").await;
    let (_, End::Completed(_)) = end_of(&subscription).await else { panic!("lost") };
}

#[tokio::test(start_paused = true)]
async fn what_restores_a_thread_ends_with_its_transport() {
    let mut server = Server::start(policy()).await;
    let (subscription, pending) = start(&server.connection);
    server.peer().start_turn("u").await;
    pending.await.unwrap();
    server.lose();
    let peer = server.accept().await;
    let loaded = peer.receive().await;
    peer.send(json!({"id": loaded["id"], "result": {"data": ["t"]}})).await;
    assert_eq!(peer.receive().await["method"], "thread/resume");
    // The connection is live without the response.
    server.settle().await;
    server.lose();
    server.accept().await;
    server.resume(in_progress("u", json!([]))).await;
    // The next message is another one.
    server.settle().await;
    server.peer().completed("u").await;
    let (_, End::Completed(_)) = end_of(&subscription).await else { panic!("lost") };
}

// Nothing would give the thread its settings again before the agent above it uses it.
#[tokio::test(start_paused = true)]
async fn a_thread_without_a_handle_is_not_loaded_by_the_next_server() {
    for is_loaded in [false, true] {
        let mut server = Server::start(policy()).await;
        let _observer = server.hub.observe(None);
        server.report_turn("agent", "v").await;
        server.lose();
        server.accept().await;
        server.list_loaded(if is_loaded { json!(["agent"]) } else { json!([]) }).await;
        let request = server.peer().receive().await;
        assert_eq!(request["method"], if is_loaded { "thread/resume" } else { "thread/read" });
        server.describe(&request, &in_progress("v", json!([]))).await;
        if is_loaded {
            let request = server.peer().receive().await;
            server.describe(&request, &in_progress("v", json!([]))).await;
        }
        server.settle().await;
        // The turn has died with the server.
        assert_eq!(server.connection.shared.router().is_busy("agent"), is_loaded);
    }
}

#[tokio::test(start_paused = true)]
async fn a_thread_that_the_program_has_unsubscribed_from_is_not_resumed() {
    let mut server = Server::start(policy()).await;
    let subscription = server.start_turn().await;
    let unsubscribe = || {
        let params = params(&json!({"threadId": "t"}));
        send(&server.connection, "thread/unsubscribe", Some(&params), Some("t"), QUICK).unwrap()
    };
    let pending = unsubscribe();
    let request = server.peer.as_mut().unwrap().receive().await;
    server.peer.as_mut().unwrap().send(json!({"id": request["id"], "result": {}})).await;
    pending.await.unwrap();
    for _ in 0..2 {
        server.lose();
        server.accept().await;
        server.list_loaded(json!(["t"])).await;
        server.read_history(in_progress("u", json!([]))).await;
        server.settle().await;
        assert!(server.connection.shared.router().is_busy("t"));
    }
    // The program opens it again.
    let params = params(&json!({"threadId": "t"}));
    let pending = send(&server.connection, "thread/resume", Some(&params), Some("t"), QUICK).unwrap();
    let request = server.peer().receive().await;
    server.describe(&request, &json!([])).await;
    pending.await.unwrap();
    server.lose();
    server.accept().await;
    server.resume(in_progress("u", json!([]))).await;
    server.peer().completed("u").await;
    let (_, End::Completed(_)) = end_of(&subscription).await else { panic!("lost") };
}

#[tokio::test(start_paused = true)]
async fn an_unsubscribe_ends_the_attempts_to_resume_its_thread() {
    let mut server = Server::start(policy()).await;
    let _subscription = server.start_turn().await;
    server.lose();
    server.accept().await;
    server.list_loaded(json!(["t"])).await;
    let resume = server.peer().receive().await;
    assert_eq!(resume["method"], "thread/resume");
    let params = params(&json!({"threadId": "t"}));
    let pending = send(&server.connection, "thread/unsubscribe", Some(&params), Some("t"), QUICK).unwrap();
    let request = server.peer().receive().await;
    assert_eq!(request["method"], "thread/unsubscribe");
    server.peer().send(json!({"id": request["id"], "result": {}})).await;
    pending.await.unwrap();
    server.refuse(&resume, -32001, "overloaded").await;
    server.read_history(in_progress("u", json!([]))).await;
    server.settle().await;
}

#[tokio::test(start_paused = true)]
async fn an_error_that_says_nothing_about_the_thread_does_not_lose_its_turns() {
    let mut server = Server::start(policy()).await;
    let subscription = server.start_turn().await;
    server.lose();
    server.accept().await;
    server.list_loaded(json!(["t"])).await;
    let errors = [(-32603, "database is locked"), (-32600, "what now"), (-32000, "no")];
    for (code, message) in errors.iter().cycle().take(36) {
        let request = server.peer().receive().await;
        server.refuse(&request, *code, message).await;
    }
    // The server has the thread loaded, and has not stored it yet.
    for _ in 0..50 {
        let request = server.peer().receive().await;
        server.refuse(&request, -32600, "no rollout found for thread id t").await;
    }
    for form in ["Bare", "Latest"] {
        let request = server.peer().receive().await;
        assert_eq!(request["params"]["form"], form);
        server.describe(&request, &in_progress("u", json!([]))).await;
    }
    server.peer().completed("u").await;
    let (_, End::Completed(_)) = end_of(&subscription).await else { panic!("lost") };
}

#[tokio::test(start_paused = true)]
async fn a_thread_that_cannot_be_restored_within_the_window_is_given_up_unless_its_events_arrive() {
    for lives in [false, true] {
        let mut server = Server::start(policy().window(Duration::from_secs(60))).await;
        let subscription = server.start_turn().await;
        server.lose();
        server.accept().await;
        let begin = tokio::time::Instant::now();
        server.list_loaded(json!(["t"])).await;
        let request = server.peer().receive().await;
        server.describe(&request, &json!([])).await;
        if lives {
            server.peer().delta("u", "hello").await;
        }
        let refusing = async {
            loop {
                let request = server.peer().receive().await;
                server.refuse(&request, -32603, "database is locked").await;
            }
        };
        let given_up = async {
            while begin.elapsed() < Duration::from_secs(120) {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            () = refusing => unreachable!(),
            () = given_up => {}
        }
        server.settle().await;
        if lives {
            server.peer().completed("u").await;
        }
        match end_of(&subscription).await {
            (_, End::Completed(_)) => assert!(lives),
            (_, End::Lost(error)) => assert!(!lives && error.kind() == ErrorKind::TurnLost, "{error}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn slow_threads_do_not_hold_up_the_others() {
    let mut server = Server::start(policy()).await;
    let threads: Vec<String> = (0..9).map(|number| format!("t{number}")).collect();
    for thread in &threads {
        server.report_turn(thread, &format!("u{thread}")).await;
    }
    server.lose();
    server.accept().await;
    let begin = tokio::time::Instant::now();
    server.list_loaded(json!(threads)).await;
    let mut resumed = std::collections::HashSet::new();
    for _ in &threads {
        let request = server.peer().receive().await;
        assert_eq!(request["method"], "thread/resume");
        resumed.insert(request["params"]["threadId"].to_string());
    }
    assert_eq!((resumed.len(), begin.elapsed().as_secs()), (9, 5));
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_another_process_begins_with_the_servers_word() {
    let mut server = Server::start(policy()).await;
    let subscription = server.start_turn().await;
    server.lose();
    server.accept().await;
    server.list_loaded(json!([])).await;
    let request = server.peer().receive().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    for message in ["overloaded", "thread t already has an active writer"] {
        let code = if message == "overloaded" { -32001 } else { -32600 };
        let request = if code == -32001 { request.clone() } else { server.peer().receive().await };
        server.refuse(&request, code, message).await;
    }
    for form in ["Bare", "Latest"] {
        let request = server.peer().receive().await;
        assert_eq!(request["params"]["form"], form);
        server.describe(&request, &json!([{"id": "u", "status": "completed", "items": []}])).await;
    }
    let (_, End::Completed(_)) = end_of(&subscription).await else { panic!("lost") };
}

#[tokio::test(start_paused = true)]
async fn a_turn_whose_events_arrive_is_described_before_they_are_given() {
    let mut server = Server::start(policy()).await;
    let subscription = server.start_turn().await;
    let stream = subscription.open_stream();
    server.lose();
    server.accept().await;
    server.list_loaded(json!(["t"])).await;
    let request = server.peer().receive().await;
    server.describe(&request, &json!([])).await;
    let item = |id: &str| json!({"type": "agentMessage", "id": id, "text": id});
    let params = json!({"threadId": "t", "turnId": "u", "item": item("b"), "completedAtMs": 1});
    server.peer().send(json!({"method": "item/completed", "params": params})).await;
    let mut reads = 0;
    while reads < 3 {
        let request = server.peer().receive().await;
        reads += usize::from(request["method"] == "thread/read");
        let shown = if reads == 3 { in_progress("u", json!([item("a"), item("b")])) } else { json!([]) };
        server.describe(&request, &shown).await;
    }
    server.peer().completed("u").await;
    let events = drain(&subscription, stream).await;
    assert_eq!(events.iter().filter(|event| *event == "item/completed").count(), 2, "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn a_new_subagent_is_found_although_the_list_of_threads_fails_first() {
    for is_watched in [false, true] {
        let mut server = Server::start(policy()).await;
        let observer = server.hub.observe(None);
        if !is_watched {
            drop(observer);
        }
        let _subscription = server.start_turn().await;
        server.lose();
        server.accept().await;
        server.list_loaded(json!(["t", "agent"])).await;
        let item = json!({
            "type": "collabAgentToolCall", "id": "i", "tool": "spawnAgent", "status": "inProgress",
            "senderThreadId": "t", "receiverThreadIds": ["agent"], "agentsStates": {}
        });
        for _ in 0..2 {
            let request = server.peer().receive().await;
            assert_eq!(request["params"]["threadId"], "t");
            server.describe(&request, &in_progress("u", json!([item]))).await;
        }
        let request = server.peer().receive().await;
        assert_eq!(request["method"], "thread/loaded/list");
        server.refuse(&request, -32001, "overloaded").await;
        server.list_loaded(json!(["t", "agent"])).await;
        for form in ["Bare", "Latest"] {
            let request = server.peer().receive().await;
            assert_eq!(
                (&request["params"]["threadId"], &request["params"]["form"]),
                (&json!("agent"), &json!(form))
            );
            server.describe(&request, &in_progress("v", json!([]))).await;
        }
        server.settle().await;
        assert!(server.connection.shared.router().is_busy("agent"));
    }
}

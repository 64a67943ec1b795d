//! Threads in which nothing is known to run, after a reconnect.

use super::lost_server::{Server, policy};
use super::*;

impl Server {
    /// A server that was lost and is back, and has loaded these threads. The program has a handle of this thread, in which nothing runs.
    async fn back_with_an_idle_thread(thread_id: &str, loaded: Value) -> Self {
        let mut server = Self::start(policy()).await;
        let resume = params(&json!({ "threadId": thread_id }));
        let pending =
            send(&server.connection, "thread/resume", Some(&resume), Some(thread_id), QUICK).unwrap();
        server.expect("thread/resume", json!({"thread": {"id": thread_id, "turns": []}})).await;
        pending.await.unwrap();
        server.lose();
        server.accept().await;
        server.expect("thread/loaded/list", json!({"data": loaded, "nextCursor": null})).await;
        server
    }

    /// Checks that the client sends nothing more by itself.
    async fn rest(&mut self) {
        // The clock moves when every task waits.
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.settle().await;
    }

    /// Receives a request with this method, and responds with this result.
    async fn expect(&mut self, method: &str, result: Value) {
        let request = self.peer().receive().await;
        assert_eq!(request["method"], method);
        self.peer().send(json!({"id": request["id"], "result": result})).await;
    }
}

fn resumed() -> Value {
    json!({"thread": {"id": "t", "turns": []}})
}

#[tokio::test(start_paused = true)]
async fn a_loaded_thread_is_subscribed_to_again() {
    let mut server = Server::back_with_an_idle_thread("t", json!(["t"])).await;
    server.expect("thread/goal/get", json!({"goal": null})).await;
    server.expect("thread/resume", resumed()).await;
    server.rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_thread_that_the_server_has_unloaded_waits_for_its_next_use() {
    let mut server = Server::back_with_an_idle_thread("t", json!([])).await;
    server.rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_uses_the_thread_resumes_it_itself() {
    let mut server = Server::back_with_an_idle_thread("used", json!(["used"])).await;
    server.rest().await;
}

#[tokio::test(start_paused = true)]
async fn an_error_that_says_nothing_about_the_thread_is_followed_by_another_attempt() {
    let mut server = Server::back_with_an_idle_thread("t", json!(["t"])).await;
    for failing in ["thread/goal/get", "thread/resume"] {
        if failing == "thread/resume" {
            server.expect("thread/goal/get", json!({"goal": null})).await;
        }
        let request = server.peer().receive().await;
        assert_eq!(request["method"], failing);
        server.refuse(&request, -32001, "overloaded").await;
    }
    // It does not respond at all.
    assert_eq!(server.peer().receive().await["method"], "thread/goal/get");
    server.expect("thread/goal/get", json!({"goal": null})).await;
    server.expect("thread/resume", resumed()).await;
    server.rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_thread_that_has_not_run_is_stored_first() {
    let mut server = Server::back_with_an_idle_thread("t", json!(["t"])).await;
    // A server without goals.
    let request = server.peer().receive().await;
    assert_eq!(request["method"], "thread/goal/get");
    server.refuse(&request, -32601, "unknown method").await;
    let request = server.peer().receive().await;
    assert_eq!(request["method"], "thread/resume");
    server.refuse(&request, -32600, "no rollout found for thread id t").await;
    server.expect("thread/section/move", json!({})).await;
    server.expect("thread/resume", resumed()).await;
    server.rest().await;
}

// A resume makes the server go on with the goal, although its last turn was interrupted.
#[tokio::test(start_paused = true)]
async fn a_thread_with_a_goal_is_subscribed_to_again_only_if_its_goal_is_being_worked_on() {
    for (status, resumes) in [("idle", false), ("active", true)] {
        let mut server = Server::back_with_an_idle_thread("t", json!(["t"])).await;
        server.expect("thread/goal/get", json!({"goal": {"status": "active"}})).await;
        server.expect("thread/read", json!({"thread": {"id": "t", "status": {"type": status}}})).await;
        if resumes {
            server.expect("thread/resume", resumed()).await;
        }
        server.rest().await;
    }
}

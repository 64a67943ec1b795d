//! Threads in which nothing is known to run, after a reconnect.

use super::reconnects::{Server, policy};
use super::*;

impl Server {
    /// A server that was lost and is back, and has loaded these threads. The program has a handle of the thread `t`, in which nothing
    /// runs.
    async fn back_with_an_idle_thread(loaded: Value) -> Self {
        let mut server = Self::start(policy()).await;
        let resume = params(&json!({"threadId": "t"}));
        let pending = send(&server.connection, "thread/resume", Some(&resume), Some("t"), QUICK).unwrap();
        server.expect("thread/resume", json!({"thread": {"id": "t", "turns": []}})).await;
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
    let mut server = Server::back_with_an_idle_thread(json!(["t"])).await;
    server.expect("thread/goal/get", json!({"goal": null})).await;
    server.expect("thread/resume", resumed()).await;
    server.rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_thread_that_the_server_has_unloaded_waits_for_its_next_use() {
    let mut server = Server::back_with_an_idle_thread(json!([])).await;
    server.rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_thread_that_has_not_run_is_stored_first() {
    let mut server = Server::back_with_an_idle_thread(json!(["t"])).await;
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
        let mut server = Server::back_with_an_idle_thread(json!(["t"])).await;
        server.expect("thread/goal/get", json!({"goal": {"status": "active"}})).await;
        server.expect("thread/read", json!({"thread": {"id": "t", "status": {"type": status}}})).await;
        if resumes {
            server.expect("thread/resume", resumed()).await;
        }
        server.rest().await;
    }
}

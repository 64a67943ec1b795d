//! Futures of logins and of the account, dropped at every point at which they wait; see [`drops`](crate::drops).

use std::time::Duration;

use openai_codex::{AsyncCodex, ErrorKind};
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::Response;
use serde_json::{Value, json};

use crate::drops::{at_every_point, dropped_after, on_a_client, until_the_end, works};
use crate::support::{Server, answering, awaited, bounded_async, works_and_closes};

fn browser() -> Value {
    json!({"type": "chatgpt", "loginId": "b", "authUrl": "https://auth.example/b"})
}

fn device() -> Value {
    json!({
        "type": "chatgptDeviceCode", "loginId": "d", "verificationUrl": "https://auth.example/d", "userCode": "AB-12",
    })
}

#[test]
fn starts_of_logins() {
    bounded_async(async || {
        let starts = |response: Value| answering().always("account/login/start", response);
        let key = starts(json!({"type": "apiKey"}));
        on_a_client(key, async |codex| codex.login_api_key("sk-test-0123456789").await).await;
        let login = on_a_client(starts(browser()), async |codex| codex.login_chatgpt().await).await;
        // The client is closed by now, so the wait has ended.
        assert_eq!(login.wait().await.unwrap_err().kind(), ErrorKind::Closed);
        let login =
            on_a_client(starts(device()), async |codex| codex.login_chatgpt_device_code().await).await;
        assert_eq!(login.wait().await.unwrap_err().kind(), ErrorKind::Closed);
    });
}

#[test]
fn requests_about_the_account() {
    bounded_async(async || {
        let account = json!({"account": {"type": "apiKey"}, "requiresOpenaiAuth": true});
        let script = answering()
            .always("account/read", account)
            .always("account/rateLimits/read", json!({"rateLimits": {}}))
            .always("account/logout", json!({}));
        let account = on_a_client(script.clone(), async |codex| codex.account().send().await).await;
        assert!(account.account.is_some());
        on_a_client(script.clone(), async |codex| codex.rate_limits().await).await;
        on_a_client(script, async |codex| codex.logout().await).await;
    });
}

/// The outcome of a login, when the test triggers it.
fn ends(script: Script, login: &str) -> Script {
    let end = json!({"loginId": login, "success": true, "error": null, "onboardingEntrypoint": null});
    script.expect("test/end").respond(json!({})).notify("account/login/completed", end)
}

#[test]
fn waits_for_logins_and_their_cancels() {
    bounded_async(async || {
        let script = [browser(), device()]
            .into_iter()
            .fold(answering(), |script, response| script.expect("account/login/start").respond(response));
        let script =
            ends(ends(script, "b"), "d").always("account/login/cancel", json!({"status": "canceled"}));
        let server = Server::new(script);
        let codex = AsyncCodex::with_config(server.config());
        let in_browser = codex.login_chatgpt().await.unwrap();
        let by_code = codex.login_chatgpt_device_code().await.unwrap();
        let check = async || works(&codex).await;
        at_every_point(async |polls| dropped_after(polls, in_browser.cancel()).await, check).await.unwrap();
        at_every_point(async |polls| dropped_after(polls, by_code.cancel()).await, check).await.unwrap();
        // Neither has ended, because the server has not reported it yet.
        let end = until_the_end(&codex, async || in_browser.wait().await).await.unwrap();
        assert_eq!((end.login_id.as_deref(), end.success), (Some("b"), true));
        let hour = Duration::from_secs(3_600);
        let end = until_the_end(&codex, async || by_code.wait_timeout(hour).await).await.unwrap();
        assert_eq!((end.login_id.as_deref(), end.success), (Some("d"), true));
        works_and_closes!(codex, awaited, server);
    });
}

#[test]
fn a_login_whose_start_was_dropped_does_not_affect_other_logins() {
    bounded_async(async || {
        let script = answering()
            .expect_as("dropped", "account/login/start")
            .expect("test/gone")
            .respond_to("dropped", Response::Result(browser()))
            .respond(json!({}))
            .expect("account/login/start")
            .respond(device());
        let server = Server::new(ends(ends(script, "b"), "d"));
        let codex = AsyncCodex::with_config(server.config());
        codex.start().await.unwrap();
        // It is dropped after the server has received it and before the response.
        tokio::select! {
            biased;
            started = codex.login_chatgpt() => panic!("{started:?}"),
            _ = async { server.wait_received("account/login/start") } => {}
        }
        codex.request_raw("test/gone", json!({})).await.unwrap();
        let login = codex.login_chatgpt_device_code().await.unwrap();
        codex.request_raw("test/end", json!({})).await.unwrap();
        assert!(dropped_after(1, login.wait()).await.is_none());
        codex.request_raw("test/end", json!({})).await.unwrap();
        assert_eq!(login.wait().await.unwrap().login_id.as_deref(), Some("d"));
        works_and_closes!(codex, awaited, server);
    });
}

//! Login and logout on the wire, and the outcomes of logins.

use std::fmt::{Debug, Display};
use std::time::Duration;

use openai_codex::types::{ApiKeyLoginAccountParams, CancelLoginAccountStatus, LoginAccountParams};
use openai_codex::{CodexConfig, ErrorKind, Event, methods};
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::{Response, messages};
use serde_json::{Value, json};

use crate::support::{Server, count, params, sent, with_both_clients};

/// Long enough to count as a key.
const KEY: &str = "sk-test-of-logging-in-0123456789";

fn browser(id: &str) -> Value {
    json!({"type": "chatgpt", "loginId": id, "authUrl": format!("https://auth.example/{id}?state=s")})
}

fn device(id: &str) -> Value {
    let url = "https://auth.example/device";
    json!({"type": "chatgptDeviceCode", "loginId": id, "verificationUrl": url, "userCode": "AB-12"})
}

fn succeeded(id: &str) -> Value {
    json!({"loginId": id, "success": true, "error": null, "onboardingEntrypoint": null})
}

fn failed(id: &str, why: &str) -> Value {
    json!({"loginId": id, "success": false, "error": why, "onboardingEntrypoint": null})
}

/// A server with these responses to the start of a login, in order.
fn logins(started: &[Value]) -> Script {
    let starts = started.iter().cloned();
    starts.fold(Script::standard(), |script, response| script.expect("account/login/start").respond(response))
}

/// Fails if its printed form contains the key.
#[track_caller]
fn hides(printed: impl Debug) {
    let text = format!("{printed:?} {printed:#?}");
    assert!(!text.contains(KEY), "{text}");
}

/// Fails if an error or one of its sources contains the key, or if the error does not show a redaction.
#[track_caller]
fn cleaned(error: &openai_codex::Error) {
    fn both(error: impl Debug + Display) -> String {
        format!("{error} {error:?}")
    }
    let mut text = both(error);
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text += &both(error);
        source = error.source();
    }
    text += &format!("{:?}", error.json_rpc());
    assert!(text.contains("<redacted>") && !text.contains(KEY), "{text}");
}

with_both_clients! {
    fn every_request_of_the_account_has_its_shape(start, wait) {
        let limits = json!({"rateLimits": {}});
        let account = json!({"account": {"type": "apiKey"}, "requiresOpenaiAuth": true});
        let script = logins(&[json!({"type": "apiKey"}), browser("b"), device("d")])
            .always("account/login/cancel", json!({"status": "canceled"}))
            .always("account/read", account)
            .always("account/rateLimits/read", limits)
            .always("account/logout", json!({}));
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        wait!(codex.login_api_key(KEY)).unwrap();
        let in_browser = wait!(codex.login_chatgpt()).unwrap();
        assert_eq!((in_browser.login_id(), in_browser.auth_url()), ("b", "https://auth.example/b?state=s"));
        let by_code = wait!(codex.login_chatgpt_device_code()).unwrap();
        assert_eq!((by_code.login_id(), by_code.user_code()), ("d", "AB-12"));
        assert_eq!(by_code.verification_url(), "https://auth.example/device");
        assert_eq!(wait!(in_browser.cancel()).unwrap().status, CancelLoginAccountStatus::Canceled);
        wait!(by_code.cancel()).unwrap();
        assert!(wait!(codex.account().send()).unwrap().account.is_some());
        wait!(codex.account().refresh_token(true).send()).unwrap();
        wait!(codex.rate_limits()).unwrap();
        wait!(codex.logout()).unwrap();
        wait!(codex.close()).unwrap();

        let received = running.finish().unwrap().messages();
        let starts = [
            json!({"type": "apiKey", "apiKey": KEY}),
            json!({"type": "chatgpt"}),
            json!({"type": "chatgptDeviceCode"}),
        ];
        assert_eq!(params(&received, "account/login/start"), starts.each_ref());
        let cancels = [json!({"loginId": "b"}), json!({"loginId": "d"})];
        assert_eq!(params(&received, "account/login/cancel"), cancels.each_ref());
        let reads = [json!({"refreshToken": false}), json!({"refreshToken": true})];
        assert_eq!(params(&received, "account/read"), reads.each_ref());
        for method in ["account/logout", "account/rateLimits/read"] {
            assert!(sent(&received, method).get("params").is_none(), "{method}");
        }
    }

    fn a_blank_key_is_refused_before_anything_is_sent(start, wait) {
        let (transport, running) = Script::standard().connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        for blank in ["", " \n"] {
            let error = wait!(codex.login_api_key(blank)).unwrap_err();
            assert_eq!((error.kind(), error.method()), (ErrorKind::InvalidInput, Some("account/login/start")));
        }
        wait!(codex.close()).unwrap();
        assert_eq!(count(&running.finish().unwrap().messages(), "account/login/start"), 0);
    }

    fn an_outcome_before_the_response_is_not_lost(start, wait) {
        let script = Script::standard()
            .expect("account/login/start")
            .notify("account/login/completed", succeeded("another login's"))
            .notify("account/login/completed", succeeded("b"))
            .respond(browser("b"));
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let login = wait!(codex.login_chatgpt()).unwrap();
        let same = login.clone();
        for handle in [&login, &same, &login] {
            let end = wait!(handle.wait()).unwrap();
            assert_eq!((end.login_id.as_deref(), end.success, end.error), (Some("b"), true, None));
        }
        wait!(codex.close()).unwrap();
        // The outcome is known, even if the connection is lost.
        assert!(wait!(same.wait()).unwrap().success);
        running.finish().unwrap();
    }

    fn a_failed_login_is_an_outcome_not_an_error(start, wait) {
        let script = logins(&[device("d")])
            .expect_with("account/login/cancel", json!({"loginId": "d"}))
            .respond(json!({"status": "canceled"}))
            .notify("account/login/completed", failed("d", "Login was not completed"))
            .expect("account/login/cancel")
            .respond(json!({"status": "notFound"}));
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let login = wait!(codex.login_chatgpt_device_code()).unwrap();
        wait!(login.cancel()).unwrap();
        let end = wait!(login.wait()).unwrap();
        assert_eq!((end.success, end.error.as_deref()), (false, Some("Login was not completed")));
        assert_eq!(wait!(login.cancel()).unwrap().status, CancelLoginAccountStatus::NotFound);
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }

    fn concurrent_logins_have_their_own_outcomes(start, wait) {
        let script = logins(&[browser("first"), device("code"), browser("second")])
            .notify("account/login/completed", json!({"loginId": null, "success": true}))
            .notify("account/login/completed", succeeded("second"))
            .notify("account/login/completed", failed("first", "replaced"))
            .notify("account/login/completed", failed("code", "expired"));
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let first = wait!(codex.login_chatgpt()).unwrap();
        let code = wait!(codex.login_chatgpt_device_code()).unwrap();
        let second = wait!(codex.login_chatgpt()).unwrap();
        assert_eq!(wait!(first.wait()).unwrap().error.as_deref(), Some("replaced"));
        assert_eq!(wait!(code.wait()).unwrap().error.as_deref(), Some("expired"));
        assert!(wait!(second.wait()).unwrap().success);
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }

    fn a_wait_that_times_out_does_not_affect_the_login(start, wait) {
        let script = logins(&[browser("b")])
            .expect("test/go")
            .notify("account/login/completed", succeeded("b"))
            .respond(json!({}));
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let login = wait!(codex.login_chatgpt()).unwrap();
        let error = wait!(login.wait_timeout(Duration::ZERO)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.to_string().contains("account/login/completed"), "{error}");
        wait!(codex.request_raw("test/go", json!({}))).unwrap();
        assert!(wait!(login.wait_timeout(Duration::MAX)).unwrap().success);
        // What has ended needs no time.
        assert!(wait!(login.wait_timeout(Duration::ZERO)).unwrap().success);
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        assert_eq!(count(&received, "account/login/cancel"), 0);
    }

    fn the_end_of_the_connection_ends_every_wait(start, wait) {
        let (transport, running) = logins(&[browser("b"), device("d")]).exit(0).connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let login = wait!(codex.login_chatgpt()).unwrap();
        let code = wait!(codex.login_chatgpt_device_code()).unwrap();
        for error in [wait!(login.wait()).unwrap_err(), wait!(code.wait()).unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::TransportClosed);
            assert_eq!(error.method(), Some("account/login/completed"));
        }
        running.finish().unwrap();

        let (transport, running) = logins(&[browser("b")]).connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let login = wait!(codex.login_chatgpt()).unwrap();
        wait!(codex.close()).unwrap();
        for _ in 0..2 {
            assert_eq!(wait!(login.wait()).unwrap_err().kind(), ErrorKind::Closed);
        }
        assert_eq!(wait!(login.cancel()).unwrap_err().kind(), ErrorKind::Closed);
        running.finish().unwrap();
    }

    fn a_dropped_handle_cancels_nothing_and_any_handle_keeps_the_server(start, wait) {
        let script = logins(&[browser("dropped"), browser("kept")])
            .notify("account/login/completed", succeeded("dropped"))
            .notify("account/login/completed", succeeded("kept"));
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        drop(wait!(codex.login_chatgpt()).unwrap());
        let login = wait!(codex.login_chatgpt()).unwrap();
        drop(codex);
        assert!(wait!(login.wait()).unwrap().success);
        drop(login);
        assert_eq!(count(&running.finish().unwrap().messages(), "account/login/cancel"), 0);
    }

    fn a_response_of_another_kind_or_an_invalid_outcome_is_an_error(start, wait) {
        let script = logins(&[browser("b"), json!({"type": "apiKey"}), json!({"type": "of tomorrow"}), browser("x")])
            .notify("account/login/completed", json!({"loginId": "x", "success": "perhaps"}));
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let errors = [
            wait!(codex.login_api_key(KEY)).unwrap_err(),
            wait!(codex.login_chatgpt()).unwrap_err(),
            wait!(codex.login_chatgpt_device_code()).unwrap_err(),
        ];
        for error in errors {
            assert_eq!((error.kind(), error.method()), (ErrorKind::Decode, Some("account/login/start")));
        }
        let error = wait!(wait!(codex.login_chatgpt()).unwrap().wait()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode);
        assert!(error.to_string().contains("params.success"), "{error}");
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }

    fn no_error_repeats_a_key_that_the_server_quotes(start, wait) {
        let quote = format!("Incorrect API key provided: {KEY}.");
        let data = json!({"sent": {"apiKey": KEY}, "why": [quote]});
        let refusal = Response::Error(json!({"code": -32603, "message": quote, "data": data}));
        let script = Script::standard()
            .expect_as("refused", "account/login/start")
            .respond_to("refused", refusal)
            .expect("account/login/start")
            .respond(json!(quote))
            .expect("account/login/start")
            .respond_error(-32600, quote.clone())
            .start_thread("t")
            .start_turn("t", "u")
            .fail_turn("t", "u", &quote)
            .expect("test/raw")
            .respond_error(-32600, quote.clone());
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let refused = wait!(codex.login_api_key(KEY)).unwrap_err();
        cleaned(&refused);
        assert_eq!(refused.json_rpc().unwrap().message, "Incorrect API key provided: <redacted>.");
        cleaned(&wait!(codex.login_api_key(KEY)).unwrap_err());
        // The typed request is recognized by its method.
        let params = LoginAccountParams::from(ApiKeyLoginAccountParams::new(KEY));
        hides(&params);
        cleaned(&wait!(codex.request::<methods::AccountLoginStart>(params)).unwrap_err());
        let thread = wait!(codex.thread_start().send()).unwrap();
        let error = wait!(thread.run("hello")).unwrap_err();
        cleaned(&error);
        hides(error.turn().unwrap());
        cleaned(&wait!(codex.request_raw("test/raw", json!({}))).unwrap_err());
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }

    fn no_event_that_reports_an_error_repeats_the_key(start, wait) {
        let quote = format!("bad key {KEY}");
        let trouble = json!({"message": quote, "codexErrorInfo": null, "additionalDetails": quote});
        let script = Script::standard()
            .expect("account/login/start")
            .respond(json!({"type": "apiKey"}))
            .notify("error", json!({"error": trouble, "willRetry": false, "threadId": "t", "turnId": "u"}))
            .notify("warning", json!({"message": quote}))
            .notify("account/login/completed", failed("l", &quote))
            .notify("account/login/completed", json!({"loginId": "l", "success": quote}))
            .line(&quote)
            .send(messages::turn_completed("t", messages::failed_turn("u", &quote)));
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let mut events = codex.events();
        wait!(codex.login_api_key(KEY)).unwrap();
        for _ in 0..6 {
            let event: Event = wait!(events.next()).unwrap().unwrap();
            hides(&event);
            let text = format!("{event:?}");
            assert!(text.contains("bad key <redacted>"), "{text}");
        }
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }

    fn the_log_of_a_runtime_that_dies_is_quoted_without_the_key(start, wait) {
        let script = Script::standard()
            .expect("account/login/start")
            .stderr(format!("panicked with {KEY}"))
            .exit(7);
        let server = Server::new(script);
        let codex = start!(server.config()).unwrap();
        let mut events = codex.events();
        let error = wait!(codex.login_api_key(KEY)).unwrap_err();
        // Every consumer, not only the login.
        for error in [error, wait!(events.next()).unwrap().unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::TransportClosed);
            cleaned(&error);
            assert!(error.to_string().contains("panicked with <redacted>"), "{error}");
        }
        wait!(codex.close()).unwrap();
    }

    fn what_is_printed_of_clients_and_handles_holds_no_secret(start, wait) {
        let script = logins(&[json!({"type": "apiKey"}), browser("b"), device("d")]);
        let (transport, running) = script.connect().unwrap();
        let config = CodexConfig::new().env("OPENAI_API_KEY", KEY).config_override("secret", KEY);
        hides(&config);
        let codex = start!(config, transport).unwrap();
        wait!(codex.login_api_key(KEY)).unwrap();
        hides((&codex, codex.account()));
        let in_browser = wait!(codex.login_chatgpt()).unwrap();
        let by_code = wait!(codex.login_chatgpt_device_code()).unwrap();
        let text = format!("{in_browser:?} {by_code:?}");
        assert!(text.contains("\"b\"") && text.contains("\"d\""), "{text}");
        assert!(!text.contains("auth.example") && !text.contains("AB-12"), "{text}");
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }
}

//! Logging in and out on the real runtime.

use std::sync::{Mutex, MutexGuard, PoisonError};

use openai_codex::types::{Account, CancelLoginAccountStatus};
use openai_codex::{CodexConfig, ErrorKind, Event, Notification};

use crate::support::{AuthService, Model, TOKEN, browse, with_both_clients};

const KEY: &str = "sk-of-nobody-0123456789";

/// A model whose provider needs an account.
fn model_with_accounts() -> Model {
    let model = Model::start();
    let provider = "model_providers.scripted.requires_openai_auth = true";
    // Do not use the keyring of the user who runs the tests.
    model.add_config(&format!("cli_auth_credentials_store = \"file\"\n{provider}\n")).unwrap();
    model
}

/// The configuration of a runtime that logs in at this service.
fn at(service: &AuthService, model: &Model) -> CodexConfig {
    let backend = format!("\"{}/backend-api\"", service.url());
    let config = model.config().config_override("chatgpt_base_url", backend);
    // It cannot reach any other service.
    let config = config.env("HTTPS_PROXY", "http://127.0.0.1:9");
    config.env("CODEX_APP_SERVER_LOGIN_ISSUER", service.url())
}

/// A lock for browser logins. The runtime listens on a fixed port, so only one test can use it at a time.
struct Browser(#[expect(dead_code, reason = "held, not read")] MutexGuard<'static, ()>);

impl Browser {
    fn get() -> Self {
        static ONE: Mutex<()> = Mutex::new(());
        Self(ONE.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The page to which the browser is redirected after consent.
fn callback(auth_url: &str) -> String {
    let (_, query) = auth_url.split_once('?').unwrap();
    let value = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(found, _)| *found == name).map(|(_, value)| value.to_owned()).unwrap()
    };
    let back = value("redirect_uri").replace("%3A", ":").replace("%2F", "/");
    format!("{back}?code=code&state={}", value("state"))
}

/// Whether the account has changed. Some runtimes report the end of a login before that.
fn is_account_update(event: &Event) -> bool {
    matches!(event, Event::Notification(Notification::AccountUpdated(_)))
}

with_both_clients! {
    fn an_api_key_is_stored_and_used_until_the_logout(start, wait) {
        let model = model_with_accounts();
        model.reply("hello");
        let codex = start!(model.config()).unwrap();
        let mut events = codex.events();
        let before = wait!(codex.account().send()).unwrap();
        assert!(before.requires_openai_auth && before.account.is_none(), "{before:?}");
        wait!(codex.login_api_key(KEY)).unwrap();
        let account = wait!(codex.account().send()).unwrap().account;
        assert!(matches!(account, Some(Account::ApiKey(_))), "{account:?}");
        let error = wait!(codex.rate_limits()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "only a ChatGPT account has them: {error}");

        wait!(wait!(codex.thread_start().send()).unwrap().run("hello")).unwrap();
        let request = model.last_request().unwrap();
        assert_eq!(request.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
        assert!(!format!("{request:?}").contains(KEY));

        wait!(codex.logout()).unwrap();
        assert!(wait!(codex.account().send()).unwrap().account.is_none());
        wait!(codex.close()).unwrap();
        let mut completed = false;
        while let Some(event) = wait!(events.next()) {
            let event = event.unwrap();
            assert!(!format!("{event:?}").contains(KEY), "{event:?}");
            if let Event::Notification(Notification::AccountLoginCompleted(end)) = event {
                completed |= end.success && end.login_id.is_none();
            }
        }
        assert!(completed, "an observer receives the end of the login");
    }

    fn a_key_that_the_model_refuses_and_quotes_is_not_repeated(start, wait) {
        let model = model_with_accounts();
        let refusal = format!("Incorrect API key provided: {KEY}");
        model.reply(openai_codex_testkit::ModelReply::failed(refusal));
        let codex = start!(model.config()).unwrap();
        wait!(codex.login_api_key(KEY)).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("hello").send()).unwrap();
        let mut stream = turn.stream();
        let error = wait!(turn.run()).unwrap_err();
        let text = format!("{error} {error:?} {:?}", error.turn());
        assert!(text.contains("Incorrect API key provided: <redacted>") && !text.contains(KEY), "{text}");
        while let Some(event) = wait!(stream.next()) {
            let text = format!("{:?}", event.unwrap());
            assert!(!text.contains(KEY), "{text}");
        }
        wait!(codex.close()).unwrap();
    }

    fn a_canceled_login_in_the_browser_ends_without_success(start, wait) {
        let _browser = Browser::get();
        let model = model_with_accounts();
        let codex = start!(model.config()).unwrap();
        let login = wait!(codex.login_chatgpt()).unwrap();
        assert!(!login.login_id().is_empty());
        assert!(login.auth_url().contains("redirect_uri=http"), "{}", login.auth_url());
        assert_eq!(wait!(login.cancel()).unwrap().status, CancelLoginAccountStatus::Canceled);
        for handle in [login.clone(), login.clone()] {
            let end = wait!(handle.wait()).unwrap();
            assert_eq!((end.login_id.as_deref(), end.success), (Some(login.login_id()), false));
            assert!(end.error.is_some());
        }
        assert_eq!(wait!(login.cancel()).unwrap().status, CancelLoginAccountStatus::NotFound);
        wait!(codex.close()).unwrap();
    }

    fn a_second_login_in_the_browser_replaces_the_first(start, wait) {
        let _browser = Browser::get();
        let model = model_with_accounts();
        let codex = start!(model.config()).unwrap();
        let first = wait!(codex.login_chatgpt()).unwrap();
        let second = wait!(codex.login_chatgpt()).unwrap();
        assert_ne!(first.login_id(), second.login_id());
        let end = wait!(first.wait()).unwrap();
        assert_eq!((end.login_id.as_deref(), end.success), (Some(first.login_id()), false));
        assert!(end.error.is_some());
        // The second one is not affected.
        assert_eq!(wait!(second.cancel()).unwrap().status, CancelLoginAccountStatus::Canceled);
        let end = wait!(second.wait()).unwrap();
        assert_eq!(end.login_id.as_deref(), Some(second.login_id()));
        wait!(codex.close()).unwrap();
    }

    fn a_login_of_any_kind_replaces_a_pending_one(start, wait) {
        let _browser = Browser::get();
        let (service, model) = (AuthService::start(), model_with_accounts());
        let codex = start!(at(&service, &model)).unwrap();
        let by_code = wait!(codex.login_chatgpt_device_code()).unwrap();
        let in_browser = wait!(codex.login_chatgpt()).unwrap();
        let end = wait!(by_code.wait()).unwrap();
        assert_eq!((end.login_id.as_deref(), end.success), (Some(by_code.login_id()), false));
        wait!(codex.login_api_key(KEY)).unwrap();
        let end = wait!(in_browser.wait()).unwrap();
        assert_eq!((end.login_id.as_deref(), end.success), (Some(in_browser.login_id()), false));
        wait!(codex.close()).unwrap();
    }

    fn a_person_logs_in_with_the_browser(start, wait) {
        let _browser = Browser::get();
        let (service, model) = (AuthService::start(), model_with_accounts());
        let codex = start!(at(&service, &model)).unwrap();
        let mut events = codex.events();
        let login = wait!(codex.login_chatgpt()).unwrap();
        browse(&callback(login.auth_url()));
        let end = wait!(login.wait()).unwrap();
        assert_eq!((end.login_id.as_deref(), end.success), (Some(login.login_id()), true), "{end:?}");
        while !is_account_update(&wait!(events.next()).unwrap().unwrap()) {}
        let account = wait!(codex.account().send()).unwrap().account;
        let Some(Account::Chatgpt(account)) = account else { panic!("{account:?}") };
        assert_eq!(account.email.as_deref(), Some("somebody@example.org"));
        wait!(codex.close()).unwrap();
    }

    fn a_person_logs_in_with_a_code(start, wait) {
        let (service, model) = (AuthService::start(), model_with_accounts());
        let codex = start!(at(&service, &model)).unwrap();
        let mut events = codex.events();
        let login = wait!(codex.login_chatgpt_device_code()).unwrap();
        assert_eq!(login.user_code(), "ABCD-1234");
        assert!(login.verification_url().starts_with(&service.url()), "{}", login.verification_url());
        let late = wait!(login.wait_timeout(std::time::Duration::ZERO)).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Timeout);
        service.approve();
        let end = wait!(login.wait()).unwrap();
        assert_eq!((end.login_id.as_deref(), end.success), (Some(login.login_id()), true), "{end:?}");
        while !is_account_update(&wait!(events.next()).unwrap().unwrap()) {}
        let account = wait!(codex.account().send()).unwrap();
        assert!(matches!(account.account, Some(Account::Chatgpt(_))), "{account:?}");
        let limits = wait!(codex.rate_limits()).unwrap().rate_limits;
        assert_eq!(limits.primary.as_ref().map(|window| window.used_percent), Some(42));
        wait!(codex.logout()).unwrap();
        assert!(wait!(codex.account().send()).unwrap().account.is_none());
        wait!(codex.close()).unwrap();
        while let Some(event) = wait!(events.next()) {
            let text = format!("{:?}", event.unwrap());
            assert!(!text.contains(TOKEN), "{text}");
        }
    }

    fn the_account_is_available_when_its_login_ends(start, wait) {
        let (service, model) = (AuthService::start(), model_with_accounts());
        let codex = start!(at(&service, &model)).unwrap();
        let login = wait!(codex.login_chatgpt_device_code()).unwrap();
        service.approve();
        assert!(wait!(login.wait()).unwrap().success);
        assert!(wait!(codex.account().send()).unwrap().account.is_some());
        wait!(codex.close()).unwrap();
    }

    fn a_login_with_a_code_can_be_canceled(start, wait) {
        let (service, model) = (AuthService::start(), model_with_accounts());
        let codex = start!(at(&service, &model)).unwrap();
        let login = wait!(codex.login_chatgpt_device_code()).unwrap();
        assert_eq!(wait!(login.cancel()).unwrap().status, CancelLoginAccountStatus::Canceled);
        let end = wait!(login.wait()).unwrap();
        assert_eq!((end.login_id.as_deref(), end.success), (Some(login.login_id()), false));
        assert!(end.error.is_some());
        wait!(codex.close()).unwrap();
    }

    fn a_closed_client_ends_the_wait_for_a_person(start, wait) {
        let (service, model) = (AuthService::start(), model_with_accounts());
        let codex = start!(at(&service, &model)).unwrap();
        let login = wait!(codex.login_chatgpt_device_code()).unwrap();
        wait!(codex.close()).unwrap();
        assert_eq!(wait!(login.wait()).unwrap_err().kind(), ErrorKind::Closed);
    }
}

//! Any method of the real runtime.

use openai_codex::types::{CollaborationModeListParams, ConfigReadParams, ThreadLoadedListParams};
use openai_codex::{ErrorKind, methods};
use serde_json::{Value, json};

use crate::support::{Model, with_both_clients};

with_both_clients! {
    fn a_method_without_parameters(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        wait!(codex.request::<methods::ConfigRequirementsRead>(())).unwrap();
        wait!(codex.close()).unwrap();
    }

    fn an_experimental_method(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        let call = codex.request::<methods::CollaborationModeList>(CollaborationModeListParams::new());
        assert!(!wait!(call).unwrap().data.is_empty());
        wait!(codex.close()).unwrap();
    }

    fn an_experimental_method_is_refused_without_the_experimental_api(start, wait) {
        let model = Model::start();
        let codex = start!(model.config().experimental_api(false)).unwrap();
        let call = codex.request::<methods::CollaborationModeList>(CollaborationModeListParams::new());
        let error = wait!(call).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert!(error.to_string().contains("experimentalApi"), "{error}");
        wait!(codex.close()).unwrap();
    }

    fn a_method_can_be_sent_by_name(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let typed = wait!(codex.request::<methods::ThreadLoadedList>(ThreadLoadedListParams::new())).unwrap();
        assert_eq!(typed.data, [thread.id()]);
        let raw = wait!(codex.request_raw("thread/loaded/list", json!({}))).unwrap();
        assert_eq!(raw["data"], json!([thread.id()]));
        wait!(codex.request_raw("configRequirements/read", Value::Null)).unwrap();
        wait!(codex.close()).unwrap();
    }

    fn the_runtime_refuses_an_unknown_method(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        let unknown = wait!(codex.request_raw("of/tomorrow", json!({}))).unwrap_err();
        let wrong = wait!(codex.request_raw("thread/read", json!({"threadId": 7}))).unwrap_err();
        // This runtime uses one code for both.
        for (error, method) in [(unknown, "of/tomorrow"), (wrong, "thread/read")] {
            assert_eq!((error.kind(), error.method()), (ErrorKind::InvalidRequest, Some(method)), "{error}");
            assert!(!error.is_retryable());
        }
        wait!(codex.close()).unwrap();
    }

    fn models(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        let shown = wait!(codex.models().send()).unwrap().data;
        let all = wait!(codex.models().include_hidden(true).send()).unwrap().data;
        assert!(!shown.is_empty() && shown.len() <= all.len());
        assert!(shown.iter().all(|model| !model.hidden));
        wait!(codex.close()).unwrap();
    }

    fn an_override_of_the_configuration_reaches_the_runtime(start, wait) {
        let model = Model::start();
        let config = model.config().config_override("model", "\"from-the-command-line\"");
        let codex = start!(config).unwrap();
        let read = wait!(codex.request::<methods::ConfigRead>(ConfigReadParams::new())).unwrap();
        assert_eq!(read.config.model.as_deref(), Some("from-the-command-line"));
        wait!(codex.close()).unwrap();
    }
}

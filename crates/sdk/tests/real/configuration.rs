//! Options that the runtime or the system refuses.

use openai_codex::ErrorKind;

use crate::support::{Model, with_both_clients};

with_both_clients! {
    fn an_override_that_the_runtime_refuses_fails_with_its_message(start, _wait) {
        let model = Model::start();
        let error = start!(model.config().config_override("model_reasoning_effort", "[1]")).unwrap_err();
        assert_eq!((error.kind(), error.method()), (ErrorKind::Handshake, Some("initialize")));
        let text = error.to_string();
        assert!(text.contains("model_reasoning_effort") && text.contains("stderr_tail="), "{text}");
    }

    fn a_configuration_file_that_the_runtime_refuses_fails_with_its_message(start, wait) {
        let model = Model::start();
        model.add_config("= = broken\n").unwrap();
        // The runtime starts anyway, but starts no thread.
        let codex = start!(model.config()).unwrap();
        let error = wait!(codex.thread_start().send()).unwrap_err();
        assert_eq!((error.kind(), error.method()), (ErrorKind::InvalidRequest, Some("thread/start")));
        assert!(error.to_string().contains("config.toml:1:3"), "{error}");
        wait!(codex.close()).unwrap();
    }

    fn a_missing_folder_is_named_in_the_error(start, _wait) {
        let model = Model::start();
        let missing = model.folder().join("missing");
        let error = start!(model.config().cwd(&missing)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        let text = error.to_string();
        assert!(text.contains(missing.to_str().unwrap()) && text.contains("create it"), "{text}");
    }

    fn a_file_in_place_of_the_folder_is_refused(start, _wait) {
        let model = Model::start();
        let file = model.folder().join("file");
        std::fs::write(&file, "").unwrap();
        let error = start!(model.config().cwd(&file)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        let text = error.to_string();
        assert!(text.contains(file.to_str().unwrap()) && text.contains("not a folder"), "{text}");
    }

    fn a_thread_in_a_missing_folder_gets_a_response(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        // The runtime decides what to do with it. It must not hang or harm the client.
        let _ = wait!(codex.thread_start().cwd(model.folder().join("missing")).send());
        assert!(!wait!(codex.models().send()).unwrap().data.is_empty());
        wait!(codex.close()).unwrap();
    }
}

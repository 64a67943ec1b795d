//! Invalid options.

use openai_codex::{CodexConfig, ErrorKind};

use crate::support::{Model, with_both_clients};

with_both_clients! {
    fn an_override_without_a_value_is_refused_before_anything_starts(start, _wait) {
        for entry in ["no_equals", "=value", ""] {
            // The client does not even search for it.
            let config = CodexConfig::new().codex_bin("/no/such/codex").config_overrides([entry]);
            let error = start!(config).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            let text = error.to_string();
            assert!(text.contains(&format!("{entry:?}")) && text.contains("KEY=VALUE"), "{text}");
        }
    }

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

    fn an_empty_command_line_is_refused(start, _wait) {
        let error = start!(CodexConfig::new().launch_args_override(Vec::<String>::new())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.to_string().contains("launch_args_override"), "{error}");
    }

    fn a_blank_program_or_name_is_refused_and_names_the_setter(start, _wait) {
        for text in ["", " ", "a\0b"] {
            // Another program could be found.
            let error = start!(CodexConfig::new().codex_bin(text)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{text:?}");
            assert!(error.to_string().contains("codex_bin"), "{error}");
            let error = start!(CodexConfig::new().client_name(text)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{text:?}");
            assert!(error.to_string().contains("client_name"), "{error}");
        }
    }

    fn invalid_environment_variables_are_refused(start, _wait) {
        for (name, value) in [("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "x\0y")] {
            let error = start!(CodexConfig::new().env(name, value)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{name:?}={value:?}");
            assert!(error.to_string().contains(&format!("{name:?}")), "{error}");
        }
        for name in ["", "A=B", "A\0"] {
            for config in [CodexConfig::new().env_remove(name), CodexConfig::new().env_inherit([name])] {
                assert_eq!(start!(config).unwrap_err().kind(), ErrorKind::InvalidConfig, "{name:?}");
            }
        }
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

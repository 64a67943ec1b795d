//! Invalid options.

use openai_codex::{CodexConfig, ErrorKind};

use crate::support::with_both_clients;

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
}

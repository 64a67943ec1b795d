//! Programs that cannot start.

use openai_codex::{CodexConfig, ErrorKind};

use crate::support::with_both_clients;

with_both_clients! {
    fn a_missing_program_is_named_in_the_error(start, _wait) {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("codex");
        let error = start!(CodexConfig::new().codex_bin(&missing)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RuntimeNotFound);
        assert!(error.to_string().contains(missing.to_str().unwrap()), "{error}");
    }

    fn a_folder_in_place_of_the_program_is_refused(start, _wait) {
        let folder = tempfile::tempdir().unwrap();
        let error = start!(CodexConfig::new().codex_bin(folder.path())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RuntimeNotFound);
        let text = error.to_string();
        assert!(text.contains(folder.path().to_str().unwrap()) && text.contains("folder"), "{text}");
    }

    fn a_file_without_execute_permission_is_refused(start, _wait) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("codex");
        std::fs::write(&file, "#!/bin/sh\n").unwrap();
        let error = start!(CodexConfig::new().codex_bin(&file)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RuntimeNotFound);
        let text = error.to_string();
        assert!(text.contains(file.to_str().unwrap()) && text.contains("chmod +x"), "{text}");
    }

    fn a_program_that_the_system_cannot_start_is_named_in_the_error(start, _wait) {
        let folder = tempfile::tempdir().unwrap();
        let program = crate::support::program(folder.path(), "codex", "\x7fELF, but not really");
        let error = start!(CodexConfig::new().codex_bin(&program)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Spawn);
        assert!(error.to_string().contains(program.to_str().unwrap()), "{error}");
    }

    fn a_missing_program_of_an_overriding_command_line_is_named_in_the_error(start, _wait) {
        let config = CodexConfig::new().launch_args_override(["/no/such/program", "app-server"]);
        let error = start!(config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Spawn);
        assert!(error.to_string().contains("/no/such/program"), "{error}");
    }
}

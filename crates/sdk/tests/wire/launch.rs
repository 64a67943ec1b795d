//! The command line, the folder and the environment of the child.

use std::fs;
use std::path::PathBuf;

use openai_codex::CodexConfig;
use openai_codex_testkit::{AppServer, Script};

use crate::support::{Server, program, with_both_clients};

/// A program that notes how it was started and then plays a script.
struct Noting {
    server: Server,
    program: PathBuf,
}

impl Noting {
    fn new() -> Self {
        let server = Server::new(Script::standard());
        let text = format!(
            "#!/bin/sh\n\
             for word; do echo \"$word\"; done > {dir}/args\n\
             pwd > {dir}/pwd\n\
             echo \"$EXTRA\" > {dir}/extra\n\
             exec {real}\n",
            dir = server.dir().display(),
            real = AppServer::program().unwrap().display(),
        );
        let program = program(server.dir(), "codex", &text);
        Self { server, program }
    }

    fn config(&self) -> CodexConfig {
        self.server.config().codex_bin(&self.program)
    }

    fn note(&self, name: &str) -> String {
        fs::read_to_string(self.server.dir().join(name)).unwrap()
    }
}

with_both_clients! {
    fn overrides_come_before_the_subcommand(start, wait) {
        let noting = Noting::new();
        let config = noting.config().config_override("a", 1).config_override("b.c", "\"x y\"");
        let codex = start!(config).unwrap();
        wait!(codex.close()).unwrap();
        let expected = "--config\na=1\n--config\nb.c=\"x y\"\napp-server\n--listen\nstdio://\n";
        assert_eq!(noting.note("args"), expected);
    }

    fn an_overriding_command_line_is_used_as_it_is(start, wait) {
        let noting = Noting::new();
        let config = noting.config().codex_bin("/nowhere").config_override("a", 1);
        let config = config.launch_args_override([noting.program.as_os_str(), "only".as_ref(), "this".as_ref()]);
        let codex = start!(config).unwrap();
        wait!(codex.close()).unwrap();
        assert_eq!(noting.note("args"), "only\nthis\n");
    }

    fn the_child_has_the_folder_and_the_variables_of_the_configuration(start, wait) {
        let noting = Noting::new();
        let folder = tempfile::tempdir().unwrap();
        let codex = start!(noting.config().cwd(folder.path()).env("EXTRA", "ordinary")).unwrap();
        assert_eq!(noting.server.trace.processes().len(), 1);
        wait!(codex.close()).unwrap();
        // Reaped, not only told to end.
        assert!(noting.server.trace.processes().is_empty());
        let pwd = PathBuf::from(noting.note("pwd").trim_end());
        assert_eq!(pwd.canonicalize().unwrap(), folder.path().canonicalize().unwrap());
        assert_eq!(noting.note("extra"), "ordinary\n");
    }
}

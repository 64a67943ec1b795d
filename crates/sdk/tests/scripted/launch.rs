//! The child's command line, folder and environment, and programs that cannot start.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use openai_codex::{AsyncCodex, CodexConfig, ErrorKind, Event};
use openai_codex_testkit::{AppServer, Script};

use crate::support::{Server, bounded_async, count, program, with_both_clients};

/// A program that records how it was started and then plays a script.
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
             env > {dir}/env\n\
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
        // Reaped, not only signaled.
        assert!(noting.server.trace.processes().is_empty());
        let pwd = PathBuf::from(noting.note("pwd").trim_end());
        assert_eq!(pwd.canonicalize().unwrap(), folder.path().canonicalize().unwrap());
        assert_eq!(noting.note("extra"), "ordinary\n");
    }

    fn a_cleared_environment_holds_what_was_set_and_named(start, wait) {
        // Cargo sets these for each test.
        let (kept, other) = ("CARGO_PKG_NAME", "CARGO_PKG_VERSION");
        let noting = Noting::new();
        let config = noting.config().env_inherit(["PATH", kept]).env("EXTRA", "set").env_clear();
        let codex = start!(config).unwrap();
        wait!(codex.close()).unwrap();
        let env = noting.note("env");
        let names: Vec<_> = env.lines().filter_map(|line| line.split('=').next()).collect();
        assert!(["PATH", kept, "EXTRA", "CODEX_HOME"].iter().all(|name| names.contains(name)), "{names:?}");
        assert!(!names.contains(&other) && !names.contains(&"HOME"), "{names:?}");
        assert_eq!(noting.note("extra"), "set\n");
    }

    fn a_removed_variable_does_not_reach_the_child(start, wait) {
        let noting = Noting::new();
        let config = noting.config().env("EXTRA", "x").env_remove("EXTRA").env_remove("CARGO_PKG_NAME");
        let codex = start!(config).unwrap();
        wait!(codex.close()).unwrap();
        assert_eq!(noting.note("extra"), "\n");
        let env = noting.note("env");
        assert!(!env.contains("CARGO_PKG_NAME=") && env.contains("CARGO_PKG_VERSION="), "{env}");
    }

    fn the_program_is_searched_in_the_environment_of_the_child(start, wait) {
        let noting = Noting::new();
        let base = || noting.server.env().into_iter().fold(CodexConfig::new(), |config, (name, value)| {
            config.env(name, value)
        });
        let codex = start!(base().env("CODEX_BIN", &noting.program)).unwrap();
        wait!(codex.close()).unwrap();
        assert_eq!(noting.note("args"), "app-server\n--listen\nstdio://\n");

        // Without a managed install the client searches PATH.
        let empty = tempfile::tempdir().unwrap();
        let path = std::env::join_paths([noting.server.dir(), "/usr/bin".as_ref(), "/bin".as_ref()]).unwrap();
        let nothing = base().env("CODEX_RUNTIME_CACHE", empty.path()).env_remove("CODEX_BIN");
        let codex = start!(nothing.clone().env("PATH", path).env("EXTRA", "on PATH")).unwrap();
        wait!(codex.close()).unwrap();
        assert_eq!(noting.note("extra"), "on PATH\n");
        let error = start!(nothing.env("PATH", empty.path())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RuntimeNotFound);
        assert!(error.to_string().contains(empty.path().to_str().unwrap()), "{error}");
    }

    fn a_hook_changes_the_command_before_each_start(start, wait) {
        let noting = Noting::new();
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let config = noting.config().before_spawn(move |command| {
            assert!(command.get_args().eq(["app-server", "--listen", "stdio://"]));
            let call = counted.fetch_add(1, Ordering::SeqCst);
            // The variables that the client needs stay unchanged.
            command.env("EXTRA", format!("call {call}")).arg("more").stdin(Stdio::null()).stdout(Stdio::null());
            Ok(())
        });
        for call in 0..2 {
            let codex = start!(config.clone()).unwrap();
            let pid = codex.runtime_pid();
            assert_eq!(noting.server.trace.processes(), Vec::from_iter(pid));
            wait!(codex.close()).unwrap();
            assert_eq!(codex.runtime_pid(), None);
            assert_eq!(noting.note("extra"), format!("call {call}\n"));
            assert!(noting.note("args").ends_with("more\n"));
        }
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }

    fn a_hook_can_wrap_the_runtime_in_another_command(start, wait) {
        let noting = Noting::new();
        let config = noting.config().env("EXTRA", "kept").before_spawn(|command| {
            let mut wrapped = Command::new("env");
            wrapped.arg("EXTRA=wrapped").arg(command.get_program()).args(command.get_args());
            wrapped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
            *command = wrapped;
            Ok(())
        });
        let codex = start!(config).unwrap();
        wait!(codex.close()).unwrap();
        assert_eq!(noting.note("extra"), "wrapped\n");
        assert!(noting.server.trace.processes().is_empty());
    }

    fn a_hook_that_fails_or_panics_fails_the_start(start, _wait) {
        let noting = Noting::new();
        let fails = noting.config().before_spawn(|_| Err(std::io::Error::other("no such cgroup")));
        let error = start!(fails).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Spawn);
        let text = error.to_string();
        assert!(text.contains("before_spawn") && text.contains("no such cgroup"), "{text}");
        let error = start!(noting.config().before_spawn(|_| panic!("of the test"))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Spawn);
        assert!(error.to_string().contains("before_spawn has panicked"), "{error}");
        assert!(noting.server.received().unwrap().is_empty());
    }

    fn a_hook_that_does_not_return_times_out(start, _wait) {
        let noting = Noting::new();
        let (release, held) = mpsc::channel::<()>();
        let held = Mutex::new(held);
        let config = noting.config().start_timeout(Duration::from_millis(100)).before_spawn(move |_| {
            let _ = held.lock().unwrap().recv();
            Ok(())
        });
        let error = start!(config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.to_string().contains("before_spawn"), "{error}");
        drop(release);
        assert!(noting.server.received().unwrap().is_empty());
    }

    fn a_banner_is_skipped(start, wait) {
        let server = Server::new(Script::standard());
        let banner = "#!/bin/sh\nfor n in $(seq 64); do echo banner $n; done\nexec ";
        let text = format!("{banner}{}\n", AppServer::program().unwrap().display());
        let wrapper = program(server.dir(), "codex", &text);
        let codex = start!(server.config().codex_bin(wrapper)).unwrap();
        wait!(codex.close()).unwrap();
        assert_eq!(count(&server.received().unwrap(), "initialized"), 1);
    }

    fn a_client_of_a_transport_has_no_pid(start, wait) {
        let (transport, _playing) = Script::standard().connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        assert_eq!(codex.runtime_pid(), None);
        wait!(codex.close()).unwrap();
    }
}

#[test]
fn an_observer_sees_the_banner_before_the_handshake() {
    bounded_async(async || {
        let server = Server::new(Script::standard());
        let text = format!("#!/bin/sh\necho Welcome\nexec {}\n", AppServer::program().unwrap().display());
        let wrapper = program(server.dir(), "codex", &text);
        let codex = AsyncCodex::with_config(server.config().codex_bin(wrapper));
        let mut events = codex.events();
        codex.start().await.unwrap();
        let event = events.next().await.unwrap().unwrap();
        assert!(matches!(&event, Event::Malformed { line, .. } if line == "Welcome"), "{event:?}");
        codex.close().await.unwrap();
    });
}

#[test]
fn a_start_that_waits_for_a_hook_ends_with_the_client() {
    bounded_async(async || {
        let noting = Noting::new();
        let (called, calls) = mpsc::channel();
        let (release, held) = mpsc::channel::<()>();
        let held = Mutex::new(held);
        let codex = AsyncCodex::with_config(noting.config().before_spawn(move |_| {
            called.send(()).unwrap();
            let _ = held.lock().unwrap().recv();
            Ok(())
        }));
        let other = codex.clone();
        let closing = std::thread::spawn(move || {
            calls.recv().unwrap();
            // The hook still blocks its thread.
            tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(other.close())
        });
        assert_eq!(codex.start().await.unwrap_err().kind(), ErrorKind::Closed);
        closing.join().unwrap().unwrap();
        drop(release);
        assert!(noting.server.received().unwrap().is_empty());
    });
}

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
        let program = program(folder.path(), "codex", "\x7fELF, but not really");
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

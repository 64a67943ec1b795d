//! The host's environment does not affect the scripted model's requests or the runtime's behavior.

use std::fs;
use std::process::{Command, Stdio};

use openai_codex::types::{CommandExecutionStatus, SandboxMode, ThreadItem};
use openai_codex::{ApprovalMode, RunResult};
use openai_codex_testkit::ModelToolCall;

use crate::support::{Model, bounded, runtime, with_both_clients};

/// If set, this test binary is the program on a hostile host.
const HOSTILE: &str = "TEST_OF_THE_ENVIRONMENT_HOSTILE";

/// A port without a listener.
const NOWHERE: &str = "http://127.0.0.1:9";

/// The proxy variables of a host.
const PROXIES: [&str; 6] =
    ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// Runs an ordinary turn with a command.
fn assert_usual(result: &RunResult) {
    assert_eq!(result.final_response.as_deref(), Some("done"));
    let command = result.items.iter().find_map(|item| match item {
        ThreadItem::CommandExecution(command) => Some(command),
        _ => None,
    });
    let command = command.unwrap_or_else(|| panic!("no command among {:?}", result.items));
    assert_eq!(command.status, CommandExecutionStatus::Completed, "{command:?}");
    assert_eq!(command.aggregated_output.as_deref(), Some(".git\nfalse\nhello\n"), "{command:?}");
}

with_both_clients! {
    fn a_proxy_of_the_configuration_does_not_come_between_the_runtime_and_the_model(start, wait) {
        let model = Model::start();
        model.reply("done");
        let config = PROXIES.into_iter().fold(model.config(), |config, name| config.env(name, NOWHERE));
        let codex = start!(config).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        assert_eq!(wait!(thread.run("go")).unwrap().final_response.as_deref(), Some("done"));
        assert!(model.unanswered().is_empty());
        wait!(codex.close()).unwrap();
    }

    fn a_turn_has_its_usual_course(start, wait) {
        // On this host, and in the program of the test below on a hostile one.
        let model = Model::start();
        let mut init = Command::new("git");
        init.args(["init", "-q"]).current_dir(model.folder()).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        assert!(init.status().unwrap().success());
        // Git finds its repository by the folder, and the shell says nothing of its own.
        model.reply(ModelToolCall::exec_command("git rev-parse --git-dir && git config core.bare && echo hello"));
        model.reply("done");
        let codex = start!(model.config()).unwrap();
        let options = codex.thread_start().approval_mode(ApprovalMode::DenyAll).cwd(model.folder());
        let thread = wait!(options.sandbox(SandboxMode::ReadOnly).send()).unwrap();
        assert_usual(&wait!(thread.run("go")).unwrap());
        assert_eq!((model.requests().len(), model.other_requests().len()), (2, 0));
        wait!(codex.close()).unwrap();
    }
}

#[test]
fn the_hosts_environment_does_not_affect_a_turn() {
    bounded(|| {
        let host = tempfile::tempdir().unwrap();
        // A profile that waits for something, as one of a version manager does for its lock.
        for profile in [".bash_profile", ".profile", ".bashrc", ".zshenv", ".zprofile", "env.sh"] {
            fs::write(host.path().join(profile), "echo profile; sleep 1000\n").unwrap();
        }
        fs::write(host.path().join(".gitconfig"), "broken = [\n").unwrap();
        fs::create_dir_all(host.path().join(".codex")).unwrap();
        fs::write(host.path().join(".codex/config.toml"), "= broken\n").unwrap();
        let mut program = Command::new(std::env::current_exe().unwrap());
        program.args(["--ignored", "--exact", "environment::the_program_on_a_hostile_host"]);
        program.env("OPENAI_CODEX_TEST_RUNTIME", runtime().program()).env(HOSTILE, "1");
        program.envs(PROXIES.map(|name| (name, NOWHERE))).env("NO_PROXY", "").env("no_proxy", "");
        program.env("HOME", host.path()).env("XDG_CONFIG_HOME", host.path()).env("ZDOTDIR", host.path());
        for name in ["BASH_ENV", "ENV"] {
            program.env(name, host.path().join("env.sh"));
        }
        for name in ["OPENAI_API_KEY", "CODEX_API_KEY", "CODEX_ACCESS_TOKEN"] {
            program.env(name, "of-the-host");
        }
        for name in ["OPENAI_BASE_URL", "CODEX_EXEC_SERVER_URL", "CODEX_APP_SERVER_LOGIN_ISSUER"] {
            program.env(name, NOWHERE);
        }
        for name in
            ["CODEX_HOME", "CODEX_SQLITE_HOME", "GIT_DIR", "GIT_CONFIG_GLOBAL", "CODEX_CA_CERTIFICATE"]
        {
            program.env(name, "/no/such/place");
        }
        program.env("CODEX_SANDBOX", "seatbelt").env("CODEX_SANDBOX_NETWORK_DISABLED", "1");
        program
            .env("RUST_LOG", "trace")
            .env("LANG", "xx_XX")
            .env("LC_ALL", "xx_XX")
            .env("SHELL", "/bin/false");
        let output = program.stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}\n{text}", output.status);
    });
}

#[test]
#[ignore = "a program of the test above"]
fn the_program_on_a_hostile_host() {
    if std::env::var_os(HOSTILE).is_some() {
        a_turn_has_its_usual_course::blocking();
        a_turn_has_its_usual_course::asynchronous();
    }
}

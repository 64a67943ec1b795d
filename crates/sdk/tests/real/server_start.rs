//! Servers of the real runtime that clients start where none listens. They outlive their clients.
#![cfg(target_os = "linux")]

use std::process::Command;
use std::time::Duration;

use openai_codex::{CodexConfig, Endpoint, ErrorKind};

use crate::support::{Model, with_both_clients};

/// The ids of the processes whose command line contains a text.
fn servers(model: &Model) -> Vec<u32> {
    let is_server = |id: &u32| {
        let command = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        command.windows(10).any(|part| part == b"app-server")
    };
    model.trace.processes().into_iter().filter(is_server).collect()
}

/// Ends a server. Old runtimes take long to end by themselves.
fn kill(id: u32) {
    assert!(Command::new("kill").arg("-KILL").arg(id.to_string()).status().unwrap().success());
}

with_both_clients! {
    fn a_server_starts_at_the_control_socket_and_outlives_its_clients(start, wait) {
        let model = Model::start();
        let config = || model.config().connect(Endpoint::control_socket().or_start());
        let codex = start!(config()).unwrap();
        assert_eq!(codex.runtime_pid(), None);
        wait!(codex.close()).unwrap();
        let [server] = servers(&model)[..] else { panic!("{:?}", servers(&model)) };
        // It is found, also without the permission to start one.
        let config = model.env().into_iter().fold(CodexConfig::new(), |config, (name, value)| config.env(name, value));
        let codex = start!(config.connect(Endpoint::control_socket())).unwrap();
        assert_eq!(servers(&model), [server]);
        model.reply("hello");
        let thread = wait!(codex.thread_start().send()).unwrap();
        assert_eq!(wait!(thread.run("go")).unwrap().final_response.as_deref(), Some("hello"));
        wait!(codex.close()).unwrap();
        kill(server);
    }

    fn a_server_that_cannot_start_is_an_error_with_its_output(start, wait) {
        let model = Model::start();
        let config = model.config().launch_args_override(["sh", "-c", "echo the disk is full >&2; exit 3"]);
        let error = start!(config.connect(Endpoint::unix(model.folder().join("s")).or_start())).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Spawn);
        let text = error.to_string();
        assert!(text.contains("exit status: 3") && text.contains("the disk is full"), "{text}");
    }

    fn a_server_that_never_listens_is_ended_and_is_an_error_with_its_output(start, wait) {
        let model = Model::start();
        let socket = model.folder().join("s");
        // The limit includes the start of the program, which takes a busy machine longer.
        let mut limit = Duration::from_secs(1);
        let text = loop {
            let config = model.config().launch_args_override(["sh", "-c", "echo waiting as $$ >&2; exec sleep 600"]);
            let config = config.start_timeout(limit).connect(Endpoint::unix(&socket).or_start());
            let error = start!(config).err().unwrap();
            let text = error.to_string();
            if error.kind() == ErrorKind::Spawn && text.contains("waiting as") {
                break text;
            }
            limit *= 2;
        };
        assert!(text.contains("did not listen"), "{text}");
        let log = std::fs::read_to_string(model.folder().join("s.log")).unwrap();
        let pid = log.split_whitespace().last().unwrap();
        assert!(!std::path::Path::new("/proc").join(pid).exists(), "{log}");
    }
}

#[test]
fn clients_that_start_at_once_share_one_server() {
    crate::support::bounded(|| {
        let model = Model::start();
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let config = model.config().connect(Endpoint::unix(model.folder().join("s")).or_start());
                std::thread::spawn(move || openai_codex::Codex::with_config(config))
            })
            .collect();
        let clients: Vec<_> = clients.into_iter().map(|client| client.join().unwrap().unwrap()).collect();
        let [server] = servers(&model)[..] else { panic!("{:?}", servers(&model)) };
        for client in clients {
            client.close().unwrap();
        }
        kill(server);
    });
}

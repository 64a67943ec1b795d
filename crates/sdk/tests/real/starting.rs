//! Starting and ending the real runtime.

use openai_codex::{AsyncCodex, Codex};

use crate::support::{Model, bounded, bounded_async, pinned, program, runtime, version, with_both_clients};

#[test]
fn metadata_of_the_blocking_client() {
    bounded(|| {
        let model = Model::start();
        let codex = Codex::with_config(model.config()).unwrap();
        let agent = codex.metadata().user_agent.clone();
        assert!(agent.starts_with(&format!("codex_rust_sdk/{} ", version())), "{agent}");
        codex.close().unwrap();
    });
}

#[test]
fn metadata_of_the_async_client() {
    bounded_async(async || {
        let model = Model::start();
        let codex = AsyncCodex::with_config(model.config().client_name("my_tool"));
        assert!(codex.metadata().is_none());
        assert!(model.trace.processes().is_empty(), "nothing runs before the start");
        codex.start().await.unwrap();
        let agent = codex.metadata().unwrap().user_agent.clone();
        assert!(agent.starts_with(&format!("my_tool/{} ", version())), "{agent}");
        codex.close().await.unwrap();
    });
}

with_both_clients! {
    fn the_installed_runtime_is_found_without_being_named(start, wait) {
        pinned();
        let model = Model::start();
        // The test omits the program that `config` names.
        let config = model.env().into_iter().fold(openai_codex::CodexConfig::new(), |config, (name, value)| {
            config.env(name, value)
        });
        let codex = start!(config).unwrap();
        wait!(codex.close()).unwrap();
    }

    fn close_leaves_no_process_and_is_idempotent(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        let running = model.trace.processes();
        assert!(!running.is_empty() || !cfg!(target_os = "linux"));
        wait!(codex.close()).unwrap();
        assert!(model.trace.processes().is_empty(), "close waits for the end");
        wait!(codex.close()).unwrap();
        wait!(codex.clone().close()).unwrap();
    }

    fn a_banner_before_the_first_message_is_skipped(start, wait) {
        let model = Model::start();
        let text = format!("#!/bin/sh\necho 'welcome to this host'\nexec {} \"$@\"\n", runtime().program().display());
        let wrapper = program(model.folder(), "codex", &text);
        model.reply("hello");
        let codex = start!(model.config().codex_bin(wrapper)).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        assert_eq!(wait!(thread.run("hi")).unwrap().final_response.as_deref(), Some("hello"));
        wait!(codex.close()).unwrap();
    }

    fn the_last_handle_ends_the_runtime(start, wait) {
        let model = Model::start();
        model.reply("hello");
        let codex = start!(model.config()).unwrap();
        let running = model.trace.processes();
        let thread = wait!(codex.thread_start().send()).unwrap();
        drop(codex);
        let turn = wait!(thread.turn("go").send()).unwrap();
        drop(thread);
        let mut stream = turn.stream();
        drop(turn);
        let mut ends = 0;
        while let Some(event) = wait!(stream.next()) {
            ends += usize::from(matches!(event.unwrap(), openai_codex::Notification::TurnCompleted(_)));
        }
        assert_eq!(ends, 1);
        assert!(!running.is_empty() || !cfg!(target_os = "linux"));
        drop(stream);
        model.trace.wait_gone(&running);
    }
}

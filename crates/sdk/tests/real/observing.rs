//! Records a program with the real runtime and plays the log back.

use openai_codex::types::CommandExecutionApprovalDecision as Decision;
use openai_codex::{CodexConfig, Sandbox, WireLog};
use openai_codex_testkit::{ModelToolCall, Script};

use crate::support::{Model, with_both_clients};

with_both_clients! {
    fn a_log_of_the_real_runtime_plays_back_as_a_server(start, wait) {
        macro_rules! program {
            ($codex:expr) => {{
                let codex = $codex;
                let thread = wait!(codex.thread_start().sandbox(Sandbox::ReadOnly).send()).unwrap();
                let result = wait!(thread.run("write it")).unwrap();
                wait!(codex.close()).unwrap();
                (result.final_response, result.items, result.turn_usage)
            }};
        }
        let model = Model::start();
        let target = model.folder().join("written");
        model.reply(ModelToolCall::exec_command(format!("echo x > {}", target.display())).escalate("because"));
        model.reply("written");
        let path = model.folder().join("wire.jsonl");
        // In two files, to check that playback reads both.
        let log = WireLog::new(&path).max_bytes(4_000).keep(100);
        let config = model.config().wire_log(log).on_command_approval(|_| Decision::Accept);
        let live = program!(start!(config).unwrap());
        assert!(target.exists() && path.with_extension("jsonl.1").exists());

        let (transport, running) = Script::from_wire_log(&path).unwrap().connect().unwrap();
        let config = CodexConfig::new().on_command_approval(|_| Decision::Accept);
        let replayed = program!(start!(config, transport).unwrap());
        running.finish().unwrap();
        assert_eq!(live.0.as_deref(), Some("written"));
        assert_eq!(replayed, live);
    }
}

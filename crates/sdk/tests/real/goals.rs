//! Goals: the runtime continues the goal of a thread by itself.

use openai_codex::{ApprovalMode, ErrorKind, Sandbox};
use openai_codex_testkit::ModelReply;
use serde_json::json;
use tempfile::TempDir;

use crate::support::{Model, with_both_clients};

with_both_clients! {
    // The runtime continues the goal of a thread when the thread is resumed.
    fn a_resume_that_continues_a_goal_narrows_its_turn_or_fails(start, wait) {
        let folder = TempDir::new().unwrap();
        let written = folder.path().join("written");
        let size = || std::fs::metadata(&written).map_or(0, |file| file.len());
        let model = Model::start();
        model.fallback(ModelReply::exec_command(format!("echo x >> {}", written.display())));
        let codex = start!(model.config()).unwrap();
        let cwd = folder.path().join("cwd");
        std::fs::create_dir(&cwd).unwrap();
        let setup = codex.thread_start().cwd(&cwd).sandbox(Sandbox::FullAccess);
        let thread = wait!(setup.approval_mode(ApprovalMode::DenyAll).send()).unwrap();
        // It is stored from now on.
        wait!(thread.set_name("a goal")).unwrap();
        let goal = json!({"threadId": thread.id(), "objective": "go on"});
        wait!(codex.request_raw("thread/goal/set", goal)).unwrap();
        model.wait_requested(2).unwrap();
        assert!(size() > 0);
        macro_rules! interrupt {
            () => {
                let turn = wait!(thread.follow()).unwrap().unwrap();
                wait!(turn.interrupt()).unwrap();
                wait!(turn.run()).unwrap();
            };
        }
        interrupt!();
        macro_rules! resume {
            () => {
                wait!(codex.thread_resume(thread.id()).sandbox(Sandbox::ReadOnly).send())
            };
        }
        let mut resumed = resume!();
        if let Err(error) = &resumed {
            assert_eq!(error.kind(), ErrorKind::OptionNotApplied, "{error}");
            // As long as that turn runs.
            assert_eq!(resume!().unwrap_err().kind(), ErrorKind::OptionNotApplied);
            interrupt!();
            resumed = resume!();
        }
        resumed.unwrap();
        let (before, requests) = (size(), model.requests().len());
        // Two more commands of the goal have run.
        model.wait_requested(requests + 3).unwrap();
        assert_eq!(size(), before);
        interrupt!();
        wait!(codex.close()).unwrap();
    }
}

//! Commands really run, in the sandbox.

use openai_codex::types::{CommandExecutionThreadItem, SandboxMode, ThreadItem};
use openai_codex::{ApprovalMode, ErrorKind, RunResult, Sandbox};
use openai_codex_testkit::ModelToolCall;

use crate::support::{Model, with_both_clients};

pub(crate) fn command(result: &RunResult) -> &CommandExecutionThreadItem {
    let found = result.items.iter().find_map(|item| match item {
        ThreadItem::CommandExecution(command) => Some(&**command),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("no command among {:?}", result.items))
}

with_both_clients! {
    fn the_output_of_a_command_is_in_its_item_and_goes_to_the_model(start, wait) {
        let model = Model::start();
        std::fs::write(model.folder().join("note.txt"), "the answer is 42\n").unwrap();
        model.reply(ModelToolCall::exec_command("cat note.txt; exit 3").call_id("read"));
        model.reply("done");
        let codex = start!(model.config()).unwrap();
        let options = codex.thread_start().approval_mode(ApprovalMode::DenyAll).sandbox(SandboxMode::ReadOnly);
        let thread = wait!(options.send()).unwrap();
        let result = wait!(thread.run("go")).unwrap();
        let command = command(&result);
        assert_eq!((command.id.as_str(), command.exit_code), ("read", Some(3)));
        // The user's shell may print something first.
        assert!(command.aggregated_output.as_deref().unwrap().ends_with("the answer is 42\n"));
        assert!(model.last_request().unwrap().last_output().unwrap().contains("the answer is 42"));
        wait!(codex.close()).unwrap();
    }

    fn the_item_of_a_long_output_has_the_first_and_the_last_512_kib(start, wait) {
        const HALF: usize = 512 << 10;
        let model = Model::start();
        model.reply(ModelToolCall::exec_command("head -c 3145728 /dev/zero | tr '\\0' x"));
        model.reply("done");
        let codex = start!(model.config()).unwrap();
        let options = codex.thread_start().approval_mode(ApprovalMode::DenyAll).sandbox(SandboxMode::ReadOnly);
        let thread = wait!(options.send()).unwrap();
        let result = wait!(thread.run("go")).unwrap();
        let output = command(&result).aggregated_output.as_deref().unwrap();
        let (first, rest) = output.split_at(HALF);
        let (omitted, last) = rest.split_at(rest.len() - HALF);
        // Runtimes before 0.154.0 leave no mark.
        assert!(["", "... 2097152 bytes omitted ..."].contains(&omitted.trim()), "{omitted}");
        assert!(first.bytes().chain(last.bytes()).all(|byte| byte == b'x'));
        wait!(codex.close()).unwrap();
    }

    fn a_read_only_sandbox_lets_nothing_be_written(start, wait) {
        let model = Model::start();
        let target = model.folder().join("written");
        model.reply(ModelToolCall::exec_command(format!("echo x > {}", target.display())));
        model.reply("done");
        let codex = start!(model.config()).unwrap();
        let options = codex.thread_start().approval_mode(ApprovalMode::DenyAll).sandbox(SandboxMode::ReadOnly);
        let thread = wait!(options.send()).unwrap();
        wait!(thread.run("go")).unwrap();
        // Runtime 0.163.0 creates no item for a command that its sandbox stops: only the model receives the failure.
        let output = model.last_request().unwrap().last_output().unwrap().to_owned();
        assert!(output.contains("exited with code") && !output.contains("exited with code 0"), "{output}");
        assert!(!target.exists());
        wait!(codex.close()).unwrap();
    }

    fn a_writing_sandbox_ends_at_the_folder(start, wait) {
        let model = Model::start();
        // Not in the folder for temporary files, which a writing sandbox includes.
        let outside = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let (inside, outside_file) = (model.folder().join("in"), outside.path().join("out"));
        let line = format!("echo x > {} && echo x > {}", inside.display(), outside_file.display());
        model.reply(ModelToolCall::exec_command(line));
        model.reply("done");
        let codex = start!(model.config()).unwrap();
        let options = codex
            .thread_start()
            .approval_mode(ApprovalMode::DenyAll)
            .sandbox(SandboxMode::WorkspaceWrite)
            .cwd(model.folder())
            .config("sandbox_workspace_write.exclude_slash_tmp", true)
            .config("sandbox_workspace_write.exclude_tmpdir_env_var", true);
        let thread = wait!(options.send()).unwrap();
        wait!(thread.run("go")).unwrap();
        // Runtime 0.163.0 creates no item for a command that its sandbox stops: only the model receives the failure.
        let output = model.last_request().unwrap().last_output().unwrap().to_owned();
        assert!(output.contains("exited with code") && !output.contains("exited with code 0"), "{output}");
        assert!(inside.exists() && !outside_file.exists());
        wait!(codex.close()).unwrap();
    }

    fn closing_ends_a_command_that_runs(start, wait) {
        let model = Model::start();
        let started = model.folder().join("started");
        model.reply(ModelToolCall::exec_command(format!("touch {}; sleep 1000", started.display())));
        let codex = start!(model.config()).unwrap();
        let options = codex.thread_start().approval_mode(ApprovalMode::DenyAll).cwd(model.folder());
        let thread = wait!(options.sandbox(SandboxMode::WorkspaceWrite).send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        let mut stream = turn.stream();
        // The command runs once its file exists.
        while !started.exists() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let running = model.trace.processes();
        wait!(codex.close()).unwrap();
        model.trace.wait_gone(&running);
        let mut last = None;
        while let Some(event) = wait!(stream.next()) {
            last = Some(event);
        }
        assert_eq!(last.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    }

    fn a_command_outside_any_turn_runs(start, wait) {
        use openai_codex::{methods, types::CommandExecParams};
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        let params = CommandExecParams::new(["sh", "-c", "echo out; echo err >&2; exit 4"]);
        let done = wait!(codex.request::<methods::CommandExec>(params)).unwrap();
        assert_eq!((done.exit_code, done.stdout.as_str(), done.stderr.as_str()), (4, "out\n", "err\n"));
        wait!(codex.close()).unwrap();
    }

    // On the real runtime.
    fn the_runtime_applies_the_sandbox_presets(start, wait) {
        let model = Model::start();
        let file = model.folder().join("made");
        let codex = start!(model.config()).unwrap();
        for (sandbox, writes) in [(Sandbox::ReadOnly, false), (Sandbox::WorkspaceWrite, true)] {
            model.reply(ModelToolCall::exec_command("touch made"));
            model.reply("done");
            let thread = codex.thread_start().approval_mode(ApprovalMode::DenyAll).sandbox(sandbox);
            wait!(wait!(thread.send()).unwrap().run("go")).unwrap();
            assert_eq!(file.exists(), writes, "{sandbox:?}");
        }
        wait!(codex.close()).unwrap();
    }
}

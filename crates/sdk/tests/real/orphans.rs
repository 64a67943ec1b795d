//! Commands that the runtime is just starting when their turn or their client ends. The runtime can lose such a command: it is
//! neither an item nor a background terminal, and does not end with the runtime.

use openai_codex::ApprovalMode;
use openai_codex::types::SandboxMode;
use openai_codex_testkit::leaks::processes;
use openai_codex_testkit::{Gate, ModelReply, ModelToolCall};

use crate::support::{Model, with_both_clients};

/// How many commands start at once. The more there are, the longer each takes to start, and the more often the runtime loses one.
const COMMANDS: usize = 8;
/// How many turns or clients each test ends. In most of them the runtime loses a command.
const ROUNDS: usize = 8;

/// The next response of the model starts the commands when the gate opens. The response after that never ends.
fn start_commands(model: &Model) -> Gate {
    let (gate, never) = (model.gate(), model.gate());
    let call = ModelToolCall::exec_command("exec sleep 1000");
    let reply = (0..COMMANDS).fold(ModelReply::new().pause(&gate), |reply, _| reply.call(call.clone()));
    model.reply(reply);
    model.fallback(ModelReply::new().pause(&never).delta("too late"));
    gate
}

/// Waits until this many processes of sandboxes exist whose environment contains the text. The test's watchdog limits the wait.
fn wait_for_sandboxes(text: &str, count: usize) {
    let is_sandbox = |id: &u32| {
        let arguments = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        arguments.starts_with(b"codex-linux-sandbox\0") || arguments.starts_with(b"bwrap\0")
    };
    while processes(text).iter().filter(|id| is_sandbox(id)).count() < count {
        std::thread::yield_now();
    }
}

/// Waits until no process is left whose environment contains the text, other than those. The test's watchdog limits the wait.
fn wait_for_end(text: &str, except: &[u32]) {
    while processes(text).iter().any(|id| !except.contains(id)) {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// The number of processes to wait for: another moment in each round. A command that runs has at least two.
fn moment(round: usize) -> usize {
    COMMANDS / 2 + round * COMMANDS / ROUNDS
}

with_both_clients! {
    fn an_interrupt_or_a_drop_ends_commands_that_are_just_starting(start, wait) {
        let model = Model::start();
        let home = model.home().to_str().unwrap().to_owned();
        let codex = start!(model.config()).unwrap();
        let running = model.trace.processes();
        for round in 0..ROUNDS {
            let writes = round / 2 % 2 == 0;
            let sandbox = if writes { SandboxMode::WorkspaceWrite } else { SandboxMode::ReadOnly };
            let options = codex.thread_start().approval_mode(ApprovalMode::DenyAll).cwd(model.folder());
            let thread = wait!(options.sandbox(sandbox).send()).unwrap();
            let gate = start_commands(&model);
            let turn = wait!(thread.turn("go").interrupt_on_drop(true).send()).unwrap();
            gate.wait_reached().unwrap();
            gate.release();
            wait_for_sandboxes(&home, moment(round));
            if round % 2 == 0 {
                wait!(turn.interrupt()).unwrap();
            }
            drop(turn);
            wait_for_end(&home, &running);
        }
        wait!(codex.close()).unwrap();
    }

    fn a_close_ends_commands_that_are_just_starting(start, wait) {
        let model = Model::start();
        let home = model.home().to_str().unwrap().to_owned();
        for round in 0..ROUNDS {
            let codex = start!(model.config()).unwrap();
            let options = codex.thread_start().approval_mode(ApprovalMode::DenyAll).cwd(model.folder());
            let thread = wait!(options.sandbox(SandboxMode::WorkspaceWrite).send()).unwrap();
            let gate = start_commands(&model);
            let _turn = wait!(thread.turn("go").send()).unwrap();
            gate.wait_reached().unwrap();
            gate.release();
            wait_for_sandboxes(&home, moment(round));
            wait!(codex.close()).unwrap();
            let left = model.trace.processes();
            assert!(left.is_empty(), "after the close {left:?}");
        }
    }

    // The variables of the runtime do not reach the commands then.
    fn commands_with_an_environment_of_their_own_end_too(start, wait) {
        let model = Model::start();
        model.add_config("[shell_environment_policy]\ninherit = \"core\"\n").unwrap();
        let codex = start!(model.config()).unwrap();
        for round in 0..ROUNDS {
            let options = codex.thread_start().approval_mode(ApprovalMode::DenyAll).cwd(model.folder());
            let thread = wait!(options.sandbox(SandboxMode::WorkspaceWrite).send()).unwrap();
            let gate = start_commands(&model);
            let turn = wait!(thread.turn("go").send()).unwrap();
            gate.wait_reached().unwrap();
            gate.release();
            wait_for_sandboxes(thread.id(), moment(round));
            wait!(turn.interrupt()).unwrap();
            wait_for_end(thread.id(), &[]);
        }
        wait!(codex.close()).unwrap();
    }
}

//! Approvals are decided once, and what they allow runs once, wherever the connection is cut.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::path::Path;
use std::sync::{Arc, Mutex};

use fastrand::Rng;
use openai_codex::CommandApproval;
use openai_codex::types::{CommandExecutionApprovalDecision as Decision, SandboxMode};
use openai_codex_testkit::ModelToolCall;
use openai_codex_testkit::proxy::{Fault, Flow, Place, Plan};

use super::{Kind, SEED, SMALL, Seen, Steps, World, asks, run_both};
use crate::support::bounded_within;

/// Where the connection is cut, seen from an approval.
#[derive(Clone, Copy, Debug)]
enum Moment {
    BeforeRequest,
    InRequest,
    AfterRequest,
    InHandler,
    AfterResponse,
    BeforeResolved,
    InResolved,
    AfterResolved,
}

const MOMENTS: [Moment; 8] = [
    Moment::BeforeRequest,
    Moment::InRequest,
    Moment::AfterRequest,
    Moment::InHandler,
    Moment::AfterResponse,
    Moment::BeforeResolved,
    Moment::InResolved,
    Moment::AfterResolved,
];

impl Moment {
    fn plan(self) -> Plan {
        let request = Place::method(Flow::ToClient, "item/commandExecution/requestApproval");
        let resolved = Place::method(Flow::ToClient, "serverRequest/resolved");
        let place = match self {
            Self::BeforeRequest => request,
            Self::InRequest => request.inside(),
            Self::AfterRequest => request.after(),
            Self::BeforeResolved => resolved,
            Self::InResolved => resolved.inside(),
            Self::AfterResolved => resolved.after(),
            Self::InHandler | Self::AfterResponse => return Plan::new(),
        };
        Plan::new().at(place, Fault::Cut)
    }
}

/// What a run of approvals has seen.
#[derive(Debug, Default)]
struct Approvals {
    approvals: usize,
    cuts: usize,
    accepted: usize,
    /// Commands that have run.
    ran: usize,
    /// Requests whose handler was called several times, or never.
    called_again: usize,
    not_called: usize,
    /// Commands that ran without permission or twice, or did not run although accepted.
    wrong: usize,
    /// Turns without the result.
    failed: usize,
}

impl Display for Approvals {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { approvals, cuts, accepted, ran, called_again, not_called, wrong, failed } = self;
        write!(
            f,
            "{approvals} approvals, {cuts} cuts, {accepted} accepted, {ran} commands have run, {wrong} of them wrongly, {called_again} \
             handlers called again, {not_called} not called, {failed} turns failed"
        )
    }
}

impl Seen for Approvals {
    fn is_right(&self) -> bool {
        let Self { accepted, ran, called_again, not_called, wrong, failed, .. } = *self;
        accepted == ran && called_again + not_called + wrong + failed == 0
    }
}

/// What the handler shares with the test.
#[derive(Default)]
struct Asked {
    /// The calls by the number of the command, with the decision.
    calls: BTreeMap<usize, Vec<bool>>,
}

fn number_of(command: &str) -> usize {
    let (_, rest) = command.split_once("file-").unwrap();
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

fn run_approvals(kind: Kind, seed: u64, count: usize, steps: &Steps) -> Approvals {
    let asked = Arc::new(Mutex::new(Asked::default()));
    let (noted, called) = (asked.clone(), std::sync::mpsc::channel());
    let (tell, proceed) = (called.0, std::sync::mpsc::channel::<()>());
    let (go, may_go) = (proceed.0, Mutex::new(proceed.1));
    let mut rng = Rng::with_seed(seed);
    let decide = move |request: CommandApproval| {
        let number = number_of(request.command.as_deref().unwrap());
        let accept = number.is_multiple_of(2);
        noted.lock().unwrap().calls.entry(number).or_default().push(accept);
        tell.send(()).unwrap();
        may_go.lock().unwrap().recv().unwrap();
        if accept { Decision::Accept } else { Decision::Decline }
    };
    let world = World::new(kind, seed, |config, _| config.on_command_approval(decide));
    let mut seen = Approvals::default();
    for number in 0..count {
        let moment = MOMENTS[rng.usize(..MOMENTS.len())];
        // The thread begins on a connection that has the plan of the moment.
        let before = world.proxy.connections();
        world.proxy.plan(moment.plan());
        world.proxy.cut();
        let file = world.model.folder().join(format!("file-{number}"));
        let key = format!("approval-{number}");
        let command = ModelToolCall::exec_command(format!("echo once >> {}", file.display()));
        world.model.reply_when(asks(key.clone()), command.escalate("I need to write"));
        world.model.reply_when(asks(key.clone()), "done");
        let thread = world.thread(SandboxMode::ReadOnly);
        let turn = thread.turn(key.clone()).send().unwrap();
        called.1.recv().unwrap();
        if matches!(moment, Moment::InHandler) {
            world.proxy.cut();
        }
        go.send(()).unwrap();
        if matches!(moment, Moment::AfterResponse) {
            world.proxy.cut();
        }
        let is_accepted = number.is_multiple_of(2);
        match turn.run() {
            Ok(result) if result.final_response.as_deref() == Some("done") => {}
            failed => {
                println!("{kind}, {key}, {moment:?}: {failed:?}");
                seen.failed += 1;
            }
        }
        let ran = lines(&file);
        if ran != usize::from(is_accepted) {
            println!("{kind}, {key}, {moment:?}: the command has run {ran} times, accepted: {is_accepted}");
            seen.wrong += 1;
        }
        seen.approvals += 1;
        seen.accepted += usize::from(is_accepted);
        seen.ran += usize::from(ran > 0);
        // Without the one that the plan begins with.
        seen.cuts += world.proxy.connections() - before - 1;
        steps.done(|| format!("{kind}: {key}, {moment:?}"));
    }
    let asked = asked.lock().unwrap();
    seen.called_again = asked.calls.values().filter(|calls| calls.len() > 1).count();
    seen.not_called = count - asked.calls.len();
    drop(asked);
    world.end();
    seen
}

/// The number of lines of a file. 0 if it does not exist.
fn lines(file: &Path) -> usize {
    std::fs::read_to_string(file).unwrap_or_default().lines().count()
}

#[test]
fn approvals_are_decided_once_although_the_connection_is_cut() {
    bounded_within(SMALL, || {
        let seen = run_approvals(Kind::Socket, SEED, 16, &Steps::none());
        assert!(seen.is_right(), "{seen}");
    });
}

#[test]
#[ignore = "takes minutes: 200 approvals"]
fn two_hundred_approvals_are_decided_once_although_the_connection_is_cut() {
    run_both(|kind, seed, steps| run_approvals(kind, seed, 100, steps));
}

//! Turns, approvals and starts over connections that are cut at random places.
//!
//! Each test runs in a small form with a fixed seed. The full forms are ignored tests: see CONTRIBUTING.md. They print their seed and
//! their figures, and `OPENAI_CODEX_TEST_SEED` repeats a run.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fastrand::Rng;
use openai_codex::types::{
    CommandExecutionApprovalDecision as Decision, MessagePhase, SandboxMode, ThreadItem, TurnStatus,
};
use openai_codex::{
    Codex, CodexConfig, CommandApproval, ConnectionPolicy, Endpoint, ErrorKind, Notification, Thread,
    TurnHandle,
};
use openai_codex_testkit::proxy::{Fault, FaultyProxy, Flow, Place, Plan};
use openai_codex_testkit::{Gate, ModelReply, ModelToolCall, Phase, RecordedRequest};

use crate::support::{Model, RunningServer, bounded_within};

/// How many turns run at once.
const BATCH: usize = 10;
const CUTS_PER_TURN: usize = 3;
/// A limit for a small form, which a busy machine keeps.
const SMALL: Duration = Duration::from_secs(300);
const SEED: u64 = 0x0c0d_e515;

/// The seed of a full form.
fn seed() -> u64 {
    let named = std::env::var("OPENAI_CODEX_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = named.unwrap_or_else(|| fastrand::u64(..));
    println!("OPENAI_CODEX_TEST_SEED={seed}");
    seed
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Socket,
    Port,
}

/// A server of the real runtime behind a proxy, and a client of it.
struct World {
    client: Option<Codex>,
    proxy: FaultyProxy,
    model: Model,
    // Dropped first would be wrong: the model expects that its runtime has ended.
    server: Option<RunningServer>,
    rng: Rng,
}

impl World {
    fn new(kind: Kind, seed: u64, configure: impl FnOnce(CodexConfig, &Model) -> CodexConfig) -> Self {
        let model = Model::start();
        let (server, proxy) = match kind {
            Kind::Socket => {
                let server = RunningServer::on_socket(&model);
                let proxy = FaultyProxy::to_socket(server.socket()).unwrap();
                (server, proxy)
            }
            Kind::Port => {
                let server = RunningServer::on_port(&model, &[]);
                let proxy = FaultyProxy::to_port(server.url()).unwrap();
                (server, proxy)
            }
        };
        let endpoint = match kind {
            Kind::Socket => Endpoint::unix(proxy.socket()),
            Kind::Port => Endpoint::websocket(proxy.url()),
        };
        let policy = ConnectionPolicy::new()
            .max_attempts(1_000_000)
            .initial_delay(Duration::from_millis(2))
            .max_delay(Duration::from_millis(20));
        let config = CodexConfig::new().connect(endpoint).connection_policy(policy);
        let client = Codex::with_config(configure(config, &model)).unwrap();
        Self { client: Some(client), proxy, model, server: Some(server), rng: Rng::with_seed(seed) }
    }

    fn client(&self) -> &Codex {
        self.client.as_ref().unwrap()
    }

    fn thread(&self, sandbox: SandboxMode) -> Thread {
        let options = self.client().thread_start().cwd(self.model.folder().display().to_string());
        options.sandbox(sandbox).send().unwrap()
    }

    /// Plans a cut of the next connection at a random byte, most often of what the server sends.
    fn plan_random_cut(&mut self) {
        let (flow, limit) =
            if self.rng.u8(..4) == 0 { (Flow::ToServer, 8_000) } else { (Flow::ToClient, 80_000) };
        self.proxy.plan(Plan::new().at(Place::byte(flow, self.rng.u64(200..limit)), Fault::Cut));
    }

    /// Passes requests and responses until this many faults have happened.
    fn exchange_until(&self, faults: usize) {
        while self.proxy.faults() < faults {
            self.client().thread_list().limit(1).send().unwrap();
        }
    }

    fn end(mut self) {
        self.client.take().unwrap().close().unwrap();
        self.server.take();
    }
}

fn asks(key: String) -> impl Fn(&RecordedRequest) -> bool + Send + 'static {
    move |request| request.user_texts().contains(&&*key)
}

// Turns.

/// What a run of turns has seen.
#[derive(Debug, Default)]
struct Turns {
    turns: usize,
    cuts: usize,
    restored_ends: usize,
    restored_items: usize,
    uncertain: usize,
}

fn message_of(key: &str) -> Vec<String> {
    (0..30).map(|number| format!("{key} {number}é\n\"")).collect()
}

fn replies(model: &Model, key: &str, gate: &Gate) {
    let reasoning = openai_codex_testkit::Reasoning::summary(format!("**{key}**"));
    let first = ModelReply::new().reasoning(reasoning).message(format!("first {key}"), Phase::Commentary);
    let command = ModelToolCall::exec_command(format!("echo {key}; echo end"));
    model.reply_when(asks(key.to_owned()), first.call(command));
    let deltas = message_of(key);
    let (before, after) = deltas.split_at(deltas.len() / 2);
    let add = |reply: ModelReply, delta: &String| reply.delta(delta.clone()).delay(Duration::from_millis(2));
    let reply = before.iter().fold(ModelReply::new(), add).pause(gate);
    model.reply_when(asks(key.to_owned()), after.iter().fold(reply, add));
}

/// Runs turns in batches. Each turn runs while the connection is cut three times or more.
fn run_turns(kind: Kind, seed: u64, turns: usize) -> Turns {
    let mut world = World::new(kind, seed, |config, _| config);
    let mut seen = Turns::default();
    let mut number = 0;
    while seen.turns < turns {
        let gate = world.model.gate();
        let mut running = Vec::new();
        for _ in 0..BATCH {
            let key = format!("key-{number}");
            number += 1;
            replies(&world.model, &key, &gate);
            let thread = world.thread(SandboxMode::DangerFullAccess);
            match thread.turn(key.clone()).send() {
                Ok(turn) => running.push((key, turn)),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Uncertain, "{error}");
                    seen.uncertain += 1;
                }
            }
        }
        // The first cut hits somewhere in what arrives now.
        let before = world.proxy.faults();
        for _ in 0..CUTS_PER_TURN {
            world.plan_random_cut();
        }
        world.proxy.cut();
        world.exchange_until(before + CUTS_PER_TURN - 1);
        gate.release();
        for (key, turn) in running {
            check_turn(&key, &turn, &mut seen);
            seen.turns += 1;
        }
        seen.cuts += 1 + world.proxy.faults() - before;
    }
    world.end();
    seen
}

/// Checks that the stream and the result of a turn are whole.
fn check_turn(key: &str, turn: &TurnHandle, seen: &mut Turns) {
    let mut items: BTreeMap<String, Item> = BTreeMap::new();
    let (mut starts, mut ends) = (0, 0);
    for event in turn.stream() {
        let event = event.unwrap();
        assert_eq!(ends, 0, "{key}: an event after the end: {event:?}");
        match event {
            Notification::TurnStarted(_) => starts += 1,
            Notification::TurnCompleted(_) => ends += 1,
            Notification::ItemStarted(started) => {
                items.entry(id_of(&started.item)).or_default().started += 1;
            }
            Notification::ItemCompleted(done) => {
                seen.restored_items += usize::from(done.extra.get("restored").is_some());
                items.entry(id_of(&done.item)).or_default().completed.push(done.item);
            }
            Notification::AgentMessageDelta(delta) => {
                let item = items.entry(delta.item_id).or_default();
                assert!(item.started == 1 && item.completed.is_empty(), "{key}: a delta outside of its item");
                item.text += &delta.delta;
            }
            _ => {}
        }
    }
    assert_eq!((starts, ends), (1, 1), "{key}");
    for (id, item) in &items {
        assert_eq!((item.started, item.completed.len()), (1, 1), "{key}: {id} {item:?}");
        if let ThreadItem::AgentMessage(message) = &item.completed[0] {
            assert_eq!(item.text, message.text, "{key}: the deltas of {id}");
        }
    }
    let result = turn.run().unwrap();
    seen.restored_ends += usize::from(result.restored);
    assert_eq!(result.turn.status, TurnStatus::Completed, "{key}");
    assert_eq!(items.len(), result.items.len(), "{key}");
    let whole = message_of(key).concat();
    let [user, reasoning, first, command, last] = &result.items[..] else {
        panic!("{key}: {:#?}", result.items)
    };
    assert!(
        matches!(user, ThreadItem::UserMessage(message) if message.client_id.as_deref() == turn.client_message_id()),
        "{key}"
    );
    assert!(
        matches!(reasoning, ThreadItem::Reasoning(reasoning) if reasoning.summary.as_deref() == Some(&[format!("**{key}**")][..])),
        "{key}"
    );
    assert!(
        matches!(first, ThreadItem::AgentMessage(message) if message.text == format!("first {key}") && message.phase == Some(MessagePhase::Commentary)),
        "{key}"
    );
    let output = format!("{key}\nend\n");
    assert!(
        matches!(command, ThreadItem::CommandExecution(command) if command.aggregated_output.as_deref() == Some(&*output)),
        "{key}"
    );
    assert!(matches!(last, ThreadItem::AgentMessage(message) if message.text == whole), "{key}");
    assert_eq!(result.final_response, Some(whole), "{key}");
}

#[derive(Debug, Default)]
struct Item {
    started: usize,
    completed: Vec<ThreadItem>,
    text: String,
}

fn id_of(item: &ThreadItem) -> String {
    serde_json::to_value(item).unwrap()["id"].as_str().unwrap().to_owned()
}

#[test]
fn turns_are_whole_although_their_connections_are_cut() {
    bounded_within(SMALL, || {
        for kind in [Kind::Socket, Kind::Port] {
            let seen = run_turns(kind, SEED, BATCH);
            assert!(seen.cuts >= CUTS_PER_TURN, "{seen:?}");
        }
    });
}

#[test]
#[ignore = "takes minutes: 1,000 turns"]
fn a_thousand_turns_are_whole_although_their_connections_are_cut() {
    bounded_within(Duration::from_secs(3_600), || {
        let (seed, begin) = (seed(), Instant::now());
        let kinds = [(Kind::Socket, seed), (Kind::Port, !seed)];
        let runs = kinds.map(|(kind, seed)| (kind, std::thread::spawn(move || run_turns(kind, seed, 500))));
        for (kind, run) in runs {
            println!("{kind:?}: {:?}, in batches of {BATCH}", run.join().unwrap());
        }
        println!("{:?}", begin.elapsed());
    });
}

// Approvals.

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
    accepted: usize,
    called_twice: usize,
    cuts: usize,
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

fn run_approvals(kind: Kind, seed: u64, count: usize) -> Approvals {
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
    let mut world = World::new(kind, seed, |config, _| config.on_command_approval(decide));
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
        let result = turn.run().unwrap_or_else(|error| panic!("{key}, {moment:?}: {error}"));
        assert_eq!(result.final_response.as_deref(), Some("done"), "{key}, {moment:?}");
        let calls = asked.lock().unwrap().calls.get(&number).map_or(0, Vec::len);
        assert_eq!(calls, 1, "{key}, {moment:?}");
        let is_accepted = number.is_multiple_of(2);
        assert_eq!(lines(&file), usize::from(is_accepted), "{key}, {moment:?}");
        seen.approvals += 1;
        seen.accepted += usize::from(is_accepted);
        seen.cuts += world.proxy.connections() - before;
    }
    let asked = asked.lock().unwrap();
    seen.called_twice = asked.calls.values().filter(|calls| calls.len() != 1).count();
    assert_eq!((asked.calls.len(), seen.called_twice), (count, 0));
    drop(asked);
    let commands = std::fs::read_dir(world.model.folder()).unwrap();
    let files =
        commands.filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().starts_with("file-"));
    assert_eq!(files.count(), seen.accepted);
    world.rng = Rng::with_seed(0);
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
        run_approvals(Kind::Socket, SEED, 16);
    });
}

#[test]
#[ignore = "takes minutes: 200 approvals"]
fn two_hundred_approvals_are_decided_once_although_the_connection_is_cut() {
    bounded_within(Duration::from_secs(3_600), || {
        let (seed, begin) = (seed(), Instant::now());
        let kinds = [(Kind::Socket, seed), (Kind::Port, !seed)];
        let runs =
            kinds.map(|(kind, seed)| (kind, std::thread::spawn(move || run_approvals(kind, seed, 100))));
        for (kind, run) in runs {
            println!("{kind:?}: {:?}", run.join().unwrap());
        }
        println!("{:?}", begin.elapsed());
    });
}

// Starts.

/// What a run of starts has seen.
#[derive(Debug, Default)]
struct Starts {
    starts: usize,
    started: usize,
    uncertain: usize,
    /// Uncertain starts that have begun a turn.
    begun: usize,
}

/// How long after a start that is uncertain the server can no longer begin the turn.
const SETTLED: Duration = Duration::from_secs(10);

fn run_starts(kind: Kind, seed: u64, count: usize, settled: Duration) -> Starts {
    let mut world = World::new(kind, seed, |config, _| config);
    world.model.fallback("done");
    let mut seen = Starts::default();
    let mut uncertain = Vec::new();
    for number in 0..count {
        let key = format!("start-{number}");
        // On half of the threads it is the first turn, which makes the server create the thread's file.
        let used = world.rng.bool().then(|| {
            let thread = world.thread(SandboxMode::ReadOnly);
            let result = thread.run(format!("before-{number}")).unwrap();
            assert_eq!(result.final_response.as_deref(), Some("done"));
            thread
        });
        world.proxy.plan(Plan::new().at(Place::method(Flow::ToServer, "turn/start").after(), Fault::Cut));
        world.proxy.cut();
        // A response means that the new connection is there.
        world.client().thread_list().limit(1).send().unwrap();
        let thread = used.unwrap_or_else(|| world.thread(SandboxMode::ReadOnly));
        let faults = world.proxy.faults();
        match thread.turn(key.clone()).client_message_id(key.clone()).send() {
            Ok(turn) => {
                let result = turn.run().unwrap_or_else(|error| panic!("{key}: {error}"));
                assert_eq!(result.final_response.as_deref(), Some("done"), "{key}");
                seen.started += 1;
            }
            Err(error) => {
                assert_eq!(
                    (error.kind(), error.client_message_id()),
                    (ErrorKind::Uncertain, Some(&*key)),
                    "{error}"
                );
                uncertain.push((key, thread, Instant::now()));
            }
        }
        assert_eq!(world.proxy.faults(), faults + 1);
        seen.starts += 1;
    }
    for (key, thread, since) in &uncertain {
        std::thread::sleep(settled.saturating_sub(since.elapsed()));
        let is_begun = requests_of(&world.model, key) > 0;
        let found = match thread.find_turn(key) {
            Ok(found) => found.is_some(),
            // The first turn of the thread has never begun.
            Err(error) if error.kind() == ErrorKind::ThreadNotFound => false,
            Err(error) => panic!("{key}: {error}"),
        };
        assert_eq!(found, is_begun, "{key}");
        seen.uncertain += 1;
        seen.begun += usize::from(is_begun);
    }
    for number in 0..count {
        let key = format!("start-{number}");
        let is_uncertain = uncertain.iter().any(|(uncertain, ..)| *uncertain == key);
        let requests = requests_of(&world.model, &key);
        assert!(requests == 1 || (requests == 0 && is_uncertain), "{key}: {requests} model requests");
    }
    drop(uncertain);
    world.end();
    seen
}

/// How often the model was asked about a message that was the last one.
fn requests_of(model: &Model, key: &str) -> usize {
    model.requests().iter().filter(|request| request.last_user_text() == Some(key)).count()
}

#[test]
fn no_turn_starts_twice_although_its_start_is_cut_off() {
    bounded_within(SMALL, || {
        run_starts(Kind::Socket, SEED, 8, Duration::ZERO);
    });
}

#[test]
#[ignore = "takes a quarter of an hour: 500 starts"]
fn no_turn_of_five_hundred_starts_twice_although_its_start_is_cut_off() {
    bounded_within(Duration::from_secs(3_600), || {
        let (seed, begin) = (seed(), Instant::now());
        let kinds = [(Kind::Socket, seed), (Kind::Port, !seed)];
        let runs = kinds
            .map(|(kind, seed)| (kind, std::thread::spawn(move || run_starts(kind, seed, 250, SETTLED))));
        for (kind, run) in runs {
            println!("{kind:?}: {:?}", run.join().unwrap());
        }
        println!("{:?}", begin.elapsed());
    });
}

//! Turns, approvals and starts over connections that are cut at random places.
//!
//! Each test runs in a small form with a fixed seed. The full forms are ignored tests: see CONTRIBUTING.md. They print their seed and
//! one line of figures for each kind of endpoint, and `OPENAI_CODEX_TEST_SEED` repeats a run. What is wrong is counted, so that a run
//! shows all of it; then the test fails.

mod approvals;
mod silence;
mod starts;
mod turns;

use std::fmt::{self, Display, Formatter};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use fastrand::Rng;
use openai_codex::types::SandboxMode;
use openai_codex::{Codex, CodexConfig, ConnectionPolicy, Endpoint, Thread};
use openai_codex_testkit::RecordedRequest;
use openai_codex_testkit::proxy::{Fault, FaultyProxy, Flow, Place, Plan};
use serde_json::json;

use crate::support::{Model, RunningServer, bounded_steps, version};

/// A limit for a small form, which a busy machine keeps.
const SMALL: Duration = Duration::from_secs(300);
/// A limit for one step of a full form: a turn, an approval or a start.
const STEP: Duration = Duration::from_secs(180);
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

impl Display for Kind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Socket => "Unix socket",
            Self::Port => "port",
        })
    }
}

/// What a run has seen, as one line of figures.
trait Seen: Display {
    /// Whether nothing is there that must not be.
    fn is_right(&self) -> bool;
}

/// Runs a full form for both kinds of endpoints at once.
fn run_both<T: Seen + Send + 'static>(run: impl Fn(Kind, u64, &Steps) -> T + Copy + Send + 'static) {
    bounded_steps(STEP, move |steps| {
        let (seed, begin) = (seed(), Instant::now());
        let kinds = [(Kind::Socket, seed), (Kind::Port, !seed)];
        let runs = kinds.map(|(kind, seed)| {
            let steps = steps.clone();
            (kind, std::thread::spawn(move || run(kind, seed, &Steps(Some(steps)))))
        });
        let seen = runs.map(|(kind, run)| {
            let seen = run.join().unwrap();
            println!("{}, {kind}: {seen}; {:.0?}", version(), begin.elapsed());
            seen
        });
        assert!(seen.iter().all(Seen::is_right), "see the output");
    });
}

/// Where a run reports its steps, so that a hang shows.
struct Steps(Option<Sender<String>>);

impl Steps {
    fn none() -> Self {
        Self(None)
    }

    fn done(&self, what: impl FnOnce() -> String) {
        if let Some(steps) = &self.0 {
            // Fails if the test has failed already.
            let _ = steps.send(what());
        }
    }
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

    /// Passes requests and responses until this many faults have happened. The server reads a file for them, which takes no longer
    /// with many threads.
    fn exchange_until(&self, faults: usize) {
        let path = self.model.folder().join("exchanged");
        std::fs::write(&path, [b'x'; 6_000]).unwrap();
        while self.proxy.faults() < faults {
            self.client().request_raw("fs/readFile", json!({ "path": path })).unwrap();
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

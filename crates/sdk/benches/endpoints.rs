//! How fast a turn's events arrive over a Unix socket, relative to stdio in the same run.
//!
//! `cargo bench --bench endpoints`
//!
//! Two servers. The real runtime with a scripted model streams one long message: what a program sees. `OPENAI_CODEX_TEST_RUNTIME`
//! names another runtime program. A scripted server sends text deltas as fast as the client takes them: the limit of the client.
//! Several rounds. The runtime's rate varies both ways from run to run, so the medians of the rounds are compared.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use openai_codex::{Codex, CodexConfig, Endpoint, Notification};
use openai_codex_testkit::app_server::{AppServer, Burst, Script};
use openai_codex_testkit::{ModelReply, ScriptedModel};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, WebSocket, accept};

const DELTAS: u64 = 1_000_000;
const LINE: usize = 224;
/// An odd number, which has a median.
const ROUNDS: usize = 9;
const THREAD: &str = "019aa6c2-0000-7000-8000-000000000001";
const TURN: &str = "019aa6c2-0000-7000-8000-000000000002";
/// The deltas of one message of the real runtime.
const REAL_DELTAS: u64 = 20_000;

type Measured = Result<Duration, Box<dyn std::error::Error>>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("the real runtime, {REAL_DELTAS} deltas");
    compare(REAL_DELTAS, || real(false), || real(true))?;
    println!("a scripted server, {DELTAS} deltas of {LINE} bytes");
    let script = Script::standard().start_thread(THREAD).start_turn(THREAD, TURN);
    let burst = Burst::deltas(DELTAS, THREAD, TURN, "msg_1", LINE);
    let server = AppServer::new(script.burst(burst).complete_turn(THREAD, TURN))?;
    compare(DELTAS, || time(server.config(), DELTAS), sent)
}

fn compare(
    deltas: u64,
    stdio: impl Fn() -> Measured,
    socket: impl Fn() -> Measured,
) -> Result<(), Box<dyn std::error::Error>> {
    let rate = |took: Duration| (deltas as f64 / took.as_secs_f64()) as u64;
    let mut all = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        let took = [stdio()?, socket()?];
        println!("  stdio {:>10}/s  socket {:>10}/s", rate(took[0]), rate(took[1]));
        all.iter_mut().zip(took).for_each(|(all, took)| all.push(took));
    }
    let [stdio, socket] = all.map(|mut all| {
        all.sort();
        all[ROUNDS / 2]
    });
    let ratio = stdio.as_secs_f64() / socket.as_secs_f64();
    println!("stdio {:>10}/s  socket {:>10}/s  median over median {ratio:.2}", rate(stdio), rate(socket));
    Ok(())
}

/// The time of one turn, from its start to its last delta.
fn time(config: CodexConfig, deltas: u64) -> Measured {
    // Turns coalescing off: every delta is an event, however slow its consumer.
    let codex = Codex::with_config(config.coalesce_above(usize::MAX).stream_limit(usize::MAX))?;
    let thread = codex.thread_start().send()?;
    let start = Instant::now();
    let turn = thread.turn("go").send()?;
    let mut seen = 0;
    for event in turn.stream() {
        if let Notification::AgentMessageDelta(_) = event? {
            seen += 1;
        }
    }
    let took = start.elapsed();
    assert_eq!(seen, deltas);
    codex.close()?;
    Ok(took)
}

/// A turn of the real runtime, as a child or as a server.
fn real(as_server: bool) -> Measured {
    let model = ScriptedModel::start()?;
    let reply = (0..REAL_DELTAS).fold(ModelReply::new(), |reply, n| reply.delta(format!("{n} and so on, ")));
    model.reply(reply);
    let config = match std::env::var_os("OPENAI_CODEX_TEST_RUNTIME") {
        Some(program) => model.config().codex_bin(program),
        None => model.config(),
    };
    if !as_server {
        return time(config, REAL_DELTAS);
    }
    let socket = model.home().join("server.sock");
    let took = time(config.connect(Endpoint::unix(&socket).or_start()), REAL_DELTAS);
    for id in openai_codex_testkit::leaks::processes(model.home()) {
        std::process::Command::new("kill").arg(id.to_string()).status()?;
    }
    took
}

/// A turn of a server in this process that sends deltas over a Unix socket.
fn sent() -> Measured {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path)?;
    let serving = std::thread::spawn(move || serve(listener).map_err(|error| error.to_string()));
    let took = connect(&path);
    serving.join().map_err(|_| "the server has panicked")??;
    took
}

fn connect(path: &Path) -> Measured {
    time(CodexConfig::new().connect(Endpoint::unix(path)), DELTAS)
}

fn serve(listener: UnixListener) -> Result<(), Box<dyn std::error::Error>> {
    let mut socket = accept(listener.accept()?.0).map_err(|error| error.to_string())?;
    loop {
        let message = socket.read()?;
        let Ok(text) = message.to_text() else { continue };
        let Ok(request) = serde_json::from_str::<Value>(text) else { continue };
        let respond = |socket: &mut WebSocket<UnixStream>, result: Value| {
            socket.send(Message::text(json!({"id": request["id"], "result": result}).to_string()))
        };
        match request["method"].as_str() {
            Some("initialize") => respond(
                &mut socket,
                json!({"userAgent": "bench/0.163.0 (x)", "codexHome": "/x", "platformFamily": "unix", "platformOs": "linux"}),
            )?,
            Some("thread/start") => respond(&mut socket, thread())?,
            Some("turn/start") => {
                respond(&mut socket, json!({"turn": turn("inProgress")}))?;
                burst(&mut socket)?;
                let ended = json!({"method": "turn/completed", "params": {"threadId": THREAD, "turn": turn("completed")}});
                socket.send(Message::text(ended.to_string()))?;
                // Until the client has gone.
                let _ = socket.get_mut().read(&mut [0; 64]);
                return Ok(());
            }
            _ => {}
        }
    }
}

fn turn(status: &str) -> Value {
    json!({"id": TURN, "items": [], "status": status, "error": null})
}

fn thread() -> Value {
    json!({
        "thread": {
            "id": THREAD, "sessionId": THREAD, "preview": "", "ephemeral": false, "modelProvider": "x", "createdAt": 0, "updatedAt": 0,
            "status": {"type": "idle"}, "path": null, "cwd": "/", "cliVersion": "0.163.0", "source": "appServer", "turns": []
        },
        "model": "x", "modelProvider": "x", "cwd": "/", "approvalPolicy": "on-request", "approvalsReviewer": "auto_review",
        "sandbox": {"type": "readOnly"}
    })
}

/// Sends the deltas as frames that are made once.
fn burst(socket: &mut WebSocket<UnixStream>) -> std::io::Result<()> {
    const FRAMES: u64 = 500;
    let text = &Burst::deltas(1, THREAD, TURN, "msg_1", LINE).lines[0];
    let mut frame = vec![0x81, 126];
    frame.extend(u16::try_from(text.len()).unwrap_or_default().to_be_bytes());
    frame.extend(text.as_bytes());
    let frames = frame.repeat(FRAMES as usize);
    for _ in 0..DELTAS / FRAMES {
        socket.get_mut().write_all(&frames)?;
    }
    Ok(())
}

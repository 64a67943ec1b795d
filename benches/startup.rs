//! The SDK's own share of start-up.
//!
//! `cargo bench --bench startup`
//!
//! From nothing to an answered `initialize` on the real runtime: through the SDK, beside a bare spawn and handshake
//! over pipes. The two take turns; the difference of the medians is what the SDK costs.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use openai_codex::{Codex, CodexConfig, runtime};
use openai_codex_testkit::ScriptedModel;

const ROUNDS: usize = 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let program = runtime::install()?.program().to_owned();
    // Only for its fresh home: no model is asked.
    let model = ScriptedModel::start()?;
    let config = model.config().codex_bin(&program);
    let bare = || bare(Command::new(&program).envs(model.env()));
    let ours = || ours(config.clone());
    // The first start fills the home and the caches of the system.
    bare()?;
    ours()?;
    let (mut floor, mut client) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        floor.push(bare()?);
        client.push(ours()?);
    }
    let (floor, client) = (median(floor), median(client));
    let share = client.as_secs_f64() - floor.as_secs_f64();
    println!(
        "median of {ROUNDS} starts: bare {floor:.2?}, client {client:.2?}, the SDK's share {:.2} ms",
        share * 1e3
    );
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn ours(config: CodexConfig) -> Result<Duration, Box<dyn std::error::Error>> {
    let start = Instant::now();
    let codex = Codex::with_config(config)?;
    let took = start.elapsed();
    codex.close()?;
    Ok(took)
}

fn bare(command: &mut Command) -> Result<Duration, Box<dyn std::error::Error>> {
    let start = Instant::now();
    let mut child = command
        .args(["app-server", "--listen", "stdio://"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err("no pipes".into());
    };
    let params = r#"{"clientInfo":{"name":"bare","title":"Bare","version":"0"},"capabilities":{"experimentalApi":true}}"#;
    writeln!(input, r#"{{"method":"initialize","id":1,"params":{params}}}"#)?;
    let mut answer = String::new();
    BufReader::new(output).read_line(&mut answer)?;
    let took = start.elapsed();
    assert!(answer.contains("userAgent"), "{answer}");
    drop(input);
    child.wait()?;
    Ok(took)
}

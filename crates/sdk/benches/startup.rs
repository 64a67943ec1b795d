//! The SDK's share of the start-up time.
//!
//! `cargo bench --bench startup`
//!
//! Measures the time until the response to `initialize` on the real runtime, through the SDK and with a bare spawn and
//! handshake over pipes. The two alternate. The median of the differences is the SDK's cost.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use openai_codex::{Codex, CodexConfig, runtime};
use openai_codex_testkit::ScriptedModel;

const ROUNDS: usize = 31;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let program = runtime::install()?.program().to_owned();
    // Only for its new home: no request reaches the model.
    let model = ScriptedModel::start()?;
    let config = model.config().codex_bin(&program);
    let bare = || bare(Command::new(&program).envs(model.env()));
    let ours = || ours(config.clone());
    // The first start fills the home and the system's caches.
    bare()?;
    ours()?;
    let (mut floor, mut client) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        floor.push(bare()?);
        client.push(ours()?);
    }
    let shares: Vec<f64> =
        client.iter().zip(&floor).map(|(ours, bare)| ours.as_secs_f64() - bare.as_secs_f64()).collect();
    let (floor, client, share) = (median(floor), median(client), median(shares) * 1e3);
    println!(
        "median of {ROUNDS} pairs: bare {floor:.2?}, client {client:.2?}, the SDK's share {share:.2} ms"
    );
    Ok(())
}

fn median<T: PartialOrd + Copy>(mut values: Vec<T>) -> T {
    values.sort_by(|left, right| left.partial_cmp(right).unwrap_or(std::cmp::Ordering::Equal));
    values[values.len() / 2]
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
    let mut response = String::new();
    BufReader::new(output).read_line(&mut response)?;
    let took = start.elapsed();
    assert!(response.contains("userAgent"), "{response}");
    drop(input);
    child.wait()?;
    Ok(took)
}

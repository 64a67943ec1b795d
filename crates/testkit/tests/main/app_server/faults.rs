//! Scripts that misbehave, byte by byte: over streams and by a real process.

use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use openai_codex_testkit::app_server::{Burst, Chunks, ScriptError};
use openai_codex_testkit::{AppServer, Script};
use serde_json::{Value, json};
use tokio::io::AsyncWrite;

use crate::support::process::Process;

/// A client that keeps each write separate.
#[derive(Clone, Default)]
struct Writes(Arc<Mutex<Vec<Vec<u8>>>>);

impl AsyncWrite for Writes {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.lock().unwrap().push(bytes.to_vec());
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Plays a script to a client that has closed its side. Returns the script's output.
async fn pieces(script: Script) -> Result<Vec<Vec<u8>>, ScriptError> {
    let writes = Writes::default();
    script.play(tokio::io::empty(), writes.clone()).await?;
    Ok(std::mem::take(&mut *writes.0.lock().unwrap()))
}

/// The output of a script.
async fn bytes(script: Script) -> Vec<u8> {
    pieces(script).await.unwrap().concat()
}

fn note() -> Value {
    json!({"method": "note", "params": {"text": "sphinx of black quartz"}})
}

#[tokio::test]
async fn chunks_are_written_separately_and_lose_nothing() {
    let notes =
        |script: Script| script.send(note()).notify("more", json!({})).burst(Burst::messages(3, [note()]));
    let expected = bytes(notes(Script::new())).await;
    for chunks in [Chunks::Of(1), Chunks::Of(7), Chunks::Seeded { seed: 3, max: 7 }] {
        let pieces = pieces(notes(Script::new().chunked(chunks))).await.unwrap();
        assert_eq!(pieces.concat(), expected);
        assert!(pieces.iter().all(|piece| piece.len() <= 7), "{chunks:?}");
    }
    let whole = pieces(Script::new().chunked(Chunks::Of(1)).whole().send(note())).await.unwrap();
    assert_eq!(whole.len(), 1);
}

#[tokio::test]
async fn a_message_can_be_split_truncated_and_corrupted() {
    let line = format!("{}\n", note()).into_bytes();
    assert_eq!(bytes(Script::new().send_split(note(), [1, 5, 5, 9_999])).await, line);
    assert_eq!(bytes(Script::new().truncate(note(), 9)).await, [&line[..9], b"\n"].concat());
    for at in [0, 9, 9_999] {
        let corrupt = bytes(Script::new().corrupt(note(), at)).await;
        assert_eq!(corrupt.len(), line.len());
        assert_eq!(corrupt.iter().zip(&line).filter(|(one, other)| one != other).count(), 1);
        assert_eq!(corrupt.last(), Some(&b'\n'));
        assert!(std::str::from_utf8(&corrupt).is_err());
    }
}

#[tokio::test]
async fn garbage_is_one_line_and_depends_on_its_seed() {
    let garbage = async |seed| bytes(Script::new().garbage(seed, 5_000)).await;
    let one = garbage(1).await;
    assert_eq!(one.iter().position(|byte| *byte == b'\n'), Some(5_000));
    assert!(serde_json::from_slice::<Value>(&one).is_err());
    assert_eq!(garbage(1).await, one);
    assert_ne!(garbage(2).await, one);
}

#[tokio::test]
async fn a_padded_message_has_the_requested_length() {
    let long = bytes(Script::new().send_padded(note(), 3 << 20)).await;
    assert_eq!(long.len(), 3 << 20);
    assert_eq!(serde_json::from_slice::<Value>(&long).unwrap()["params"], note()["params"]);
    assert!(bytes(Script::new().send_padded(note(), 0)).await.ends_with(b"\n"));
    let error = pieces(Script::new().send_padded(json!([]), 9)).await.unwrap_err();
    assert!(matches!(error, ScriptError::Mismatch { step: 0, .. }), "{error}");
}

#[tokio::test]
async fn faults_survive_serialization() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("script.json");
    let script = Script::new()
        .chunked(Chunks::Seeded { seed: u64::MAX, max: 3 })
        .chunked(Chunks::Of(2))
        .whole()
        .garbage(1, 10)
        .send_padded(note(), 1 << 40)
        .flood_stderr(1 << 40)
        .respond_with_nothing()
        .stop_reading()
        .close_stdin();
    script.save(&file).unwrap();
    assert_eq!(Script::load(&file).unwrap(), script);
}

#[test]
fn a_process_writes_in_chunks() {
    let burst = Burst::messages(2_000, [note()]);
    let script = |script: Script| AppServer::new(script.burst(burst.clone())).unwrap();
    let (_, expected, _) = Process::start(&script(Script::new())).end();
    let chunks = Chunks::Seeded { seed: 9, max: 500 };
    let (code, out, _) = Process::start(&script(Script::new().chunked(chunks))).end();
    assert_eq!(code, Some(0));
    assert!(out == expected, "{} bytes instead of {}", out.len(), expected.len());
}

#[test]
fn a_process_ends_in_the_middle_of_a_message() {
    let server = AppServer::new(Script::new().exit_within(note(), 9, 3)).unwrap();
    let text = note().to_string();
    assert_eq!(Process::start(&server).end(), (Some(3), text[..9].into(), String::new()));
}

#[test]
fn a_process_stalls_in_the_middle_of_a_message() {
    let server = AppServer::new(Script::new().stall(note(), 9)).unwrap();
    let mut process = Process::start(&server);
    let mut half = [0; 9];
    process.stdout.read_exact(&mut half).unwrap();
    assert_eq!(half, note().to_string().as_bytes()[..9]);
    // It does not end with its client. A test cannot wait for that, but can check that it still runs.
    process.stdin.take();
    assert!(process.child.try_wait().unwrap().is_none());
}

#[test]
fn a_process_floods_stderr() {
    const BYTES: u64 = (2 << 20) + 5;
    let server = AppServer::new(Script::new().flood_stderr(BYTES)).unwrap();
    let mut process = Process::start(&server);
    process.stdin.take();
    let mut err = String::new();
    process.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!(err.len() as u64, BYTES);
    assert_eq!(process.child.wait().unwrap().code(), Some(0));
    assert!(err.ends_with('\n'));
}

#[cfg(unix)]
#[test]
fn a_process_that_stops_reading_stays() {
    let server = AppServer::new(Script::new().stop_reading().line("ready")).unwrap();
    let mut process = Process::start(&server);
    let mut line = String::new();
    process.stdout.read_line(&mut line).unwrap();
    process.send(note());
    process.stdin.take();
    assert!(process.child.try_wait().unwrap().is_none());
    assert!(server.received_lines().unwrap().is_empty());
}

#[cfg(unix)]
#[test]
fn a_process_that_closes_stdin_cannot_be_written_to() {
    let server = AppServer::new(Script::new().close_stdin().line("ready")).unwrap();
    let mut process = Process::start(&server);
    let mut line = String::new();
    process.stdout.read_line(&mut line).unwrap();
    let error = process.stdin.as_mut().unwrap().write_all(b"{}\n").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    assert!(process.child.try_wait().unwrap().is_none());
}

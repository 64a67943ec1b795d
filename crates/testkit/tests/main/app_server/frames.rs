//! Scripts played over the SDK's transports.

use openai_codex::transport::{FrameReader, FrameWriter, ReadState};
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::{Burst, ScriptError};
use serde_json::{Value, json};

async fn send(writer: &mut dyn FrameWriter, message: Value) {
    writer.write(&[message.to_string().into()]).await.unwrap();
}

/// All frames until the server ends.
async fn rest(reader: &mut dyn FrameReader) -> Vec<String> {
    let mut frames = Vec::new();
    while reader.read(&mut frames).await.unwrap() == ReadState::Open {}
    frames.iter().map(|frame| String::from_utf8_lossy(frame).into_owned()).collect()
}

#[tokio::test]
async fn bytes_are_cut_into_frames() {
    let script = Script::new()
        .expect("go")
        .respond(json!("ok"))
        .raw("half ")
        .raw("and half\nnext\n\nlast")
        .close_stdout()
        .line("lost");
    let (transport, running) = script.connect().unwrap();
    let (mut reader, mut writer) = transport.into_halves();
    send(&mut *writer, json!({"id": 1, "method": "go"})).await;
    let frames = rest(&mut *reader).await;
    assert_eq!(frames, [r#"{"id":1,"result":"ok"}"#, "half and half", "next", "last"]);
    drop((reader, writer));
    assert_eq!(running.finished().await.unwrap().messages(), [json!({"id": 1, "method": "go"})]);
}

#[tokio::test]
async fn a_server_that_ends_sends_its_remaining_output() {
    let (transport, running) = Script::new().raw("half").exit(9).connect().unwrap();
    let (mut reader, _writer) = transport.into_halves();
    assert_eq!(rest(&mut *reader).await, ["half"]);
    // The client is still there, so blocking is fine.
    assert_eq!(running.finish().unwrap().exit_code, Some(9));
}

#[tokio::test]
async fn a_pour_arrives_frame_by_frame() {
    let (transport, running) =
        Script::new().burst(Burst::deltas(5_000, "t", "u", "i", 192)).exit(0).connect().unwrap();
    let (mut reader, _writer) = transport.into_halves();
    let frames = rest(&mut *reader).await;
    assert_eq!(frames.len(), 5_000);
    assert!(frames.iter().all(|frame| frame.len() == 191));
    running.finish().unwrap();
}

#[test]
fn a_failing_script_is_an_error() {
    let (transport, running) = Script::new().expect("go").connect().unwrap();
    drop(transport);
    assert!(matches!(running.finish(), Err(ScriptError::Ended { step: 0, .. })));
}

#[test]
fn a_server_that_never_ends_is_ended_by_dropping_its_handle() {
    let (transport, running) = Script::new().hang().connect().unwrap();
    drop(running);
    drop(transport);
}

#[test]
fn a_client_that_leaves_early_does_no_harm() {
    let (transport, running) = Script::new().expect_end().line("lost").raw("half").exit(1).connect().unwrap();
    drop(transport);
    running.finish().unwrap();
}

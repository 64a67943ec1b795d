//! A client leaves no threads behind. A program of its own: the test counts the threads of the whole process.
#![cfg(target_os = "linux")]

use openai_codex::{Codex, CodexConfig};
use openai_codex_testkit::{Script, leaks};

#[test]
fn a_client_has_threads_until_it_is_closed() {
    let (transport, running) = Script::standard().connect().unwrap();
    let codex = Codex::with_transport(CodexConfig::new(), transport).unwrap();
    // The kernel's list may omit a thread while another ends, such as the one that started the client.
    let seen = (0..1_000).any(|_| !leaks::threads("codex-").is_empty());
    assert!(seen, "the client has an I/O thread");
    codex.close().unwrap();
    leaks::threads_gone("codex-").unwrap();
    running.finish().unwrap();
}

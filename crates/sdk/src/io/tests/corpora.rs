//! Replays the corpora of the fuzz targets in `fuzz/corpus`, each input once.

use std::path::Path;

use crate::connection::checks;

/// Runs a target's check on each input of its corpus.
fn replay(target: &str, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let inputs: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!inputs.is_empty(), "{} is empty", folder.display());
    for input in inputs {
        eprintln!("{}", input.display());
        check(&std::fs::read(&input).unwrap());
    }
}

#[test]
fn envelope() {
    replay("envelope", checks::envelope::envelope);
}

#[test]
fn router() {
    replay("router", checks::router::router);
}

#[test]
fn restore() {
    replay("restore", checks::restore::restore);
}

#[test]
fn decode() {
    replay("decode", checks::decode::decode);
}

#[test]
fn lines() {
    replay("lines", checks::lines::lines);
}

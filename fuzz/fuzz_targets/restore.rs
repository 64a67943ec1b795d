//! Interprets arbitrary bytes as what happens to a turn and to its connection, which is lost and restored.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| openai_codex::fuzzing::restore(data));

//! Scans arbitrary bytes as a frame.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| openai_codex::fuzzing::envelope(data));

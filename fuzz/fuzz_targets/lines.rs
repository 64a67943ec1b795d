//! Any bytes as a stream of lines.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| openai_codex::fuzzing::lines(data));

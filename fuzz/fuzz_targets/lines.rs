//! Splits arbitrary bytes into lines.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| openai_codex::fuzzing::lines(data));

//! Any bytes as a message to be decoded.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| openai_codex::fuzzing::decode(data));

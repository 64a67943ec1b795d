//! Interprets arbitrary bytes as inputs of a router.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| openai_codex::fuzzing::router(data));

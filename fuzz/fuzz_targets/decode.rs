//! Decodes arbitrary bytes as a message.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| openai_codex::fuzzing::decode(data));

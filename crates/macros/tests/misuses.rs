//! The compile errors of misused `#[tool]`s. `TRYBUILD=overwrite cargo test -p openai-codex-macros` rewrites the expected ones.

#[test]
fn a_misuse_is_an_error_at_its_place() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}

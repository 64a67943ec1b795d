//! Plays the script that the environment names; see `openai_codex_testkit::app_server`.

fn main() -> std::process::ExitCode {
    openai_codex_testkit::app_server::main()
}

//! Plays the script that its environment names; see `openai_codex_testkit::app_server`.

fn main() -> std::process::ExitCode {
    openai_codex_testkit::app_server::main()
}

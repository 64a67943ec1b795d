//! An MCP server with the tools that its environment describes; see `openai_codex_testkit::mcp`.

fn main() -> std::process::ExitCode {
    openai_codex_testkit::mcp::main()
}

//! `docs/compat.md`.

use std::fmt::Write;

use openai_codex_runtime::VERSION;

use super::Run;
use super::behaviors::{BEHAVIORS, row_of};
use super::differences::{DIFFERENCES, Sort, explanation};
use crate::Failure;

const HEAD: &str = "\
<!-- Written by `cargo xtask compat`; its texts are in xtask/src/compat. Do not edit. -->
# Old and new runtimes

The SDK is built and tested against the pinned runtime. This table shows its real-runtime tests, with both clients, against other
versions from npm and pip.

- ✓ all tests of the behavior pass
- ✗ none passes
- – some pass, or they do not always pass
- The numbers refer to the explanations below.

";

/// Differences that no test fails for: the SDK or the test handles them, or the schemas state them.
const HANDLED: &str = "\
## Other differences

- **Sub-agents.** With 0.163.0 and newer, a sub-agent's turn names the turn that it works for. With 0.154.0 and older the SDK takes
  this from the item that assigned the work (`collabAgentToolCall`). The sub-agent may start before that item arrives; the SDK
  keeps up to 16 events of its turn until then.
- **The order of `thread_list().all()` and `.pages()`** is by recency. Runtimes before 0.142.0 do not support that; with those it is
  by the last update.
- **Tools in a namespace.** 0.133.0 does not accept the tools of a namespace together. Before 0.144.4 the SDK sends each one by
  itself, with its namespace.
- **Tools of MCP servers.** For the model, the tools of the server `name` are in the namespace `mcp__name__` with 0.133.0, and in
  `mcp__name` later.
- **Repeated context.** With 0.133.0 and 0.144.4, a thread that goes on in a new runtime sends the model its sandbox and approval
  settings once more, unchanged.
- **The reviewer.** The tests use a model of their own. 0.169.0 and newer let that model review too; 0.163.0 and older request
  `codex-auto-review`. 0.133.0 returns `guardian_subagent` for the reviewer `auto_review`.
- **An empty `.git`** makes its folder a repository for 0.133.0 and 0.144.4. If the user trusts that repository, a read-only thread
  in a folder below it loads what that folder brings, because the SDK sends no decision for it. For a thread that writes, the
  SDK sends `untrusted`, and the runtime loads nothing.
- **Base instructions** reach the model as a developer message with 0.163.0 and newer, and as the request's `instructions` with
  0.154.0 and older.
- **Images.** 0.133.0 puts the texts `<image>` and `</image>` around an image. The model sees them as the user's.
- **Summaries.** With 0.133.0 and 0.144.4 the turn in `turn/completed` holds no items. `RunResult::items` comes from the stream with
  every version.
- **Optional fields.** A field that one of these runtimes omits is optional here, even if others require it. Approvals and other
  server requests have the same form in all versions.
- **Error messages** are the server's, and change between versions: 0.133.0 calls a malformed thread id an \"invalid thread id\",
  later versions call it an \"invalid session id\". Match on `Error::kind`.
- **Size of the protocol.** {counts}.
- **Missing requests and parameters.** The SDK refuses a request, or a parameter that is set, with `UnsupportedByRuntime`, and
  sends nothing. It decides by the version. A runtime lacks a newer feature if a version in this table that is as old or newer lacks
  it. It lacks a removed feature if a version that is as new or older lacks it. For a version between one that has the feature and
  one that lacks it, the SDK does not know, and sends the request. The SDK does not check fields inside a parameter; most
  runtimes silently ignore those that they do not know.
";

/// The whole document.
pub(crate) fn render(runs: &[Run]) -> Result<String, Failure> {
    let mut text = HEAD.to_owned();
    let column = |run: &Run| match run.version {
        VERSION => format!("{VERSION} (pinned)"),
        other => other.to_owned(),
    };
    let columns: Vec<String> = runs.iter().map(column).collect();
    writeln!(text, "| behavior | {} |", columns.join(" | "))?;
    writeln!(text, "|---|{}", ":-:|".repeat(runs.len()))?;
    for (row, (title, _)) in BEHAVIORS.iter().enumerate() {
        let cells: Vec<String> = runs.iter().map(|run| cell(run, row)).collect();
        writeln!(text, "| {title} | {} |", cells.join(" | "))?;
    }
    writeln!(text, "\n## Explanations\n")?;
    for (number, difference) in DIFFERENCES.iter().enumerate() {
        writeln!(text, "{}. {}", number + 1, wrapped(difference.why))?;
    }
    writeln!(text, "\n{}", HANDLED.replace("{counts}", &counts()?).trim_end())?;
    Ok(text)
}

/// The number of messages that each runtime has.
fn counts() -> Result<String, Failure> {
    let counts = crate::codegen::counts()?;
    let mut text = Vec::new();
    for (version, [requests, notifications, server_requests]) in counts {
        text.push(match text.is_empty() {
            true => format!(
                "Runtime {version} has {requests} requests, {notifications} notifications and {server_requests} server requests"
            ),
            false => format!("{version} has {requests}, {notifications} and {server_requests}"),
        });
    }
    Ok(text.join("; "))
}

fn cell(run: &Run, row: usize) -> String {
    let here = |test: &&String| row_of(test) == Some(row);
    let explained = |test: &String| {
        let note = explanation(run.version, test)?;
        Some((note, DIFFERENCES[note].sort))
    };
    let driven: Vec<&String> = run.outcome.driven.iter().filter(here).collect();
    // A test that sometimes fails always counts as failed, so that the document does not change between runs.
    let failed: Vec<&String> = driven
        .iter()
        .copied()
        .filter(|test| {
            run.outcome.failed.contains_key(*test)
                || explained(test).is_some_and(|(_, sort)| sort == Sort::AtTimes)
        })
        .collect();
    let mut notes: Vec<usize> = failed.iter().filter_map(|test| Some(explained(test)?.0)).collect();
    let unseen = notes.iter().filter(|note| DIFFERENCES[**note].sort == Sort::Unseen).count();
    let at_times = notes.iter().any(|note| DIFFERENCES[*note].sort == Sort::AtTimes);
    notes.sort_unstable();
    notes.dedup();
    let notes: String = notes.iter().map(|note| format!(" ({})", note + 1)).collect();
    let what = match (driven.len() - unseen, failed.len() - unseen) {
        (0, _) => "not tested",
        (_, 0) => "✓",
        (driven, failed) if failed < driven || at_times => "–",
        _ => "✗",
    };
    format!("{what}{notes}")
}

/// Wraps a list entry to the width of the other documents.
fn wrapped(words: &str) -> String {
    let mut lines = String::new();
    let mut width = 3;
    for word in words.split_whitespace() {
        let length = word.chars().count() + 1;
        if width + length > 120 {
            lines.push_str("\n   ");
            width = 3;
        } else if !lines.is_empty() {
            lines.push(' ');
        }
        lines.push_str(word);
        width += length;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::suite::Outcome;
    use super::*;

    #[test]
    fn a_cell_shows_the_outcome_and_its_explanations() {
        fn tests(module: &str, names: &[&str]) -> Vec<String> {
            names.iter().map(|name| format!("real::{module}::{name}")).collect()
        }
        let run_of = |module, driven: &[&str], failed: &[&str]| Run {
            version: "0.133.0",
            outcome: Outcome {
                driven: tests(module, driven).into_iter().collect(),
                failed: tests(module, failed).into_iter().map(|test| (test, String::new())).collect(),
                unfinished: Vec::new(),
            },
        };
        let run = |driven: &[&str], failed: &[&str]| run_of("joining", driven, failed);
        let row = row_of("real::joining").unwrap();
        assert_eq!(cell(&run(&["a", "b"], &[]), row), "✓");
        assert_eq!(cell(&run(&["a", "b"], &["a"]), row), "– (1)");
        assert_eq!(cell(&run(&["a", "b"], &["a", "b"]), row), "✗ (1)");
        assert_eq!(cell(&run(&[], &[]), row), "not tested");
        let person = "a_person_logs_in_with_a_code";
        let unseen = explanation("0.133.0", &format!("real::login::{person}")).unwrap() + 1;
        let row = row_of(&format!("real::login::{person}")).unwrap();
        assert_eq!(cell(&run_of("login", &[person], &[person]), row), format!("not tested ({unseen})"));
        // A test that sometimes fails and did not fail this time.
        let output = "the_output_of_a_command_is_in_its_item";
        let at_times = explanation("0.133.0", &format!("real::commands::{output}")).unwrap() + 1;
        let row = row_of("real::commands").unwrap();
        assert_eq!(cell(&run_of("commands", &[output], &[]), row), format!("– ({at_times})"));
        assert!(
            render(&[run(&["a"], &["a"])])
                .unwrap()
                .contains("| A turn on a busy thread joins the running turn | ✗ (1) |")
        );
    }
}

//! `docs/compat.md`.

use std::fmt::Write;

use openai_codex_runtime::VERSION;

use super::Run;
use super::behaviours::{BEHAVIOURS, row_of};
use super::differences::{DIFFERENCES, Sort, explanation};
use crate::Failure;

const HEAD: &str = "\
<!-- Written by `cargo xtask compat`; the words are in xtask/src/compat. Do not edit. -->
# Old and new runtimes

The SDK is built and tested against one runtime, the pinned one. Its tests of the real runtime, blocking and async, were also
run against others, from the registries of npm and pip. In the table ✓ says that all tests of a behaviour pass, ✗ that none
does, – that some do, or not always; the numbers refer to the explanations below. What could not be tested is neither.

";

/// What differs and no test fails for, since the SDK or the test copes with it, or since the schemas tell it.
const COPED_WITH: &str = "\
## What else differs

- **Sub-agents.** With 0.163.0 and newer the turn of a sub-agent names the turn it works for. With 0.154.0 and older the
  SDK learns that from the item with which the sub-agent was given work (`collabAgentToolCall`). The sub-agent may be at work
  before that item has come: up to 16 events of its turn are kept till then.
- **The order of `thread_list().all()` and `.pages()`.** By recency, which runtimes before 0.142.0 do not know; with those by
  the last update.
- **Tools in a namespace.** 0.133.0 does not take the tools of a namespace together. The SDK tells runtimes before 0.144.4 each
  one by itself, with its namespace.
- **Tools of MCP servers.** Those of the server `name` are in the namespace `mcp__name__` for the model of 0.133.0, and in
  `mcp__name` later.
- **What a thread is told.** With 0.133.0 and 0.144.4 a thread that goes on in a new runtime tells the model once more of its
  sandbox and its approvals; they are the same.
- **The reviewer.** In the tests, whose model is one of their own, 0.169.0 and newer have it review what wants out of the sandbox
  too; 0.163.0 and older ask for `codex-auto-review`. 0.133.0 answers `guardian_subagent` where the reviewer is `auto_review`.
- **An empty `.git`** makes its folder a repository for 0.133.0 and 0.144.4. Where the user trusts that one, a read-only thread,
  of whose folder the SDK says nothing, loads what a folder below it brings. Of a thread that writes the SDK says that the
  folder is untrusted, and nothing is loaded.
- **Base instructions.** With 0.163.0 and newer they reach the model as a message of the developer, with 0.154.0 and older
  as the request's `instructions`.
- **Images.** 0.133.0 puts texts (`<image>`, `</image>`) around an image, which the model sees as the user's.
- **Summaries.** With 0.133.0 and 0.144.4 the turn in `turn/completed` holds no items; `RunResult::items` comes from the stream with
  every version.
- **Fields that are left out.** What one of these runtimes leaves out is optional here, even where others require it. What an
  approval or another request of the server asks has the same form throughout.
- **Words.** Errors of the server are passed on in its words, and those change: a malformed thread id is an \"invalid thread
  id\" for 0.133.0, and an \"invalid session id\" later. Go by `Error::kind`.
- **What there is.** {counts}.
- **What a runtime does not have.** The SDK refuses a request, and a parameter that is set, with `UnsupportedByRuntime`, and sends
  nothing. It goes by the version: of what came later, a runtime has nothing if one of these that is as old or newer lacks it; of
  what was removed, if one that is as new or older lacks it. Between a runtime that has it and one that lacks it nothing is known,
  and the request is sent.
  Fields inside a parameter are not checked, and most runtimes ignore those that they do not know without a word.
";

/// The whole document.
pub(crate) fn render(runs: &[Run]) -> Result<String, Failure> {
    let mut text = HEAD.to_owned();
    let column = |run: &Run| match run.version {
        VERSION => format!("{VERSION} (pinned)"),
        other => other.to_owned(),
    };
    let columns: Vec<String> = runs.iter().map(column).collect();
    writeln!(text, "| behaviour | {} |", columns.join(" | "))?;
    writeln!(text, "|---|{}", ":-:|".repeat(runs.len()))?;
    for (row, (title, _)) in BEHAVIOURS.iter().enumerate() {
        let cells: Vec<String> = runs.iter().map(|run| cell(run, row)).collect();
        writeln!(text, "| {title} | {} |", cells.join(" | "))?;
    }
    writeln!(text, "\n## Why\n")?;
    for (number, difference) in DIFFERENCES.iter().enumerate() {
        writeln!(text, "{}. {}", number + 1, wrapped(difference.why))?;
    }
    writeln!(text, "\n{}", COPED_WITH.replace("{counts}", &counts()?).trim_end())?;
    Ok(text)
}

/// How much of the protocol each runtime has.
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
    // What fails at times counts as failed whether it did this time or not: the document does not change with the run.
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

/// Lines for a list, of the width of our other documents.
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
    fn a_cell_says_what_holds_and_where_that_is_explained() {
        fn tests(module: &str, names: &[&str]) -> Vec<String> {
            names.iter().map(|name| format!("real_runtime::{module}::{name}")).collect()
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
        let row = row_of("real_runtime::joining").unwrap();
        assert_eq!(cell(&run(&["a", "b"], &[]), row), "✓");
        assert_eq!(cell(&run(&["a", "b"], &["a"]), row), "– (1)");
        assert_eq!(cell(&run(&["a", "b"], &["a", "b"]), row), "✗ (1)");
        assert_eq!(cell(&run(&[], &[]), row), "not tested");
        let person = "a_person_logs_in_with_a_code";
        let unseen = explanation("0.133.0", &format!("real_runtime::login::{person}")).unwrap() + 1;
        let row = row_of(&format!("real_runtime::login::{person}")).unwrap();
        assert_eq!(cell(&run_of("login", &[person], &[person]), row), format!("not tested ({unseen})"));
        // It fails at times, and this time it did not.
        let output = "the_output_of_a_command_is_in_its_item";
        let at_times = explanation("0.133.0", &format!("real_runtime::commands::{output}")).unwrap() + 1;
        let row = row_of("real_runtime::commands").unwrap();
        assert_eq!(cell(&run_of("commands", &[output], &[]), row), format!("– ({at_times})"));
        assert!(
            render(&[run(&["a"], &["a"])])
                .unwrap()
                .contains("| A turn on a busy thread joins the one that runs | ✗ (1) |")
        );
    }
}

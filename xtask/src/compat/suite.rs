//! Runs the SDK's real-runtime tests against one program.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cargo::root;
use crate::{Failure, bounded};

/// The time limit for all tests of one version. They took eight minutes beside other builds on two cores. Each test also has
/// its own watchdog of one minute, or five for the tests of all builder options.
const TIME: Duration = Duration::from_secs(1800);

/// The test binaries, and the helper programs that they start, by name.
pub(crate) struct Suite {
    tests: Vec<(String, PathBuf)>,
    helpers: Vec<(String, PathBuf)>,
}

/// The outcome of one version's tests. A test is named `program::module::test`, without the client.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// The tests that used the runtime.
    pub(crate) driven: BTreeSet<String>,
    /// The failed tests, with their panic messages.
    pub(crate) failed: BTreeMap<String, String>,
    /// The programs that timed out or printed no result.
    pub(crate) unfinished: Vec<String>,
}

/// Builds the tests and the testkit's helper programs. A test would build those on first use, but its watchdog does not wait
/// for that.
pub(crate) fn build() -> Result<Suite, Failure> {
    let helpers =
        build_with(&["build", "--package", "openai-codex-testkit", "--all-features", "--bins"], "bin")?;
    let tests = build_with(
        &["test", "--package", "openai-codex", "--all-features", "--no-run", "--test", "real"],
        "test",
    )?;
    Ok(Suite { tests, helpers })
}

/// Runs Cargo and returns the programs of this kind that it built, by name.
fn build_with(arguments: &[&str], kind: &str) -> Result<Vec<(String, PathBuf)>, Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    eprintln!("$ cargo {}", arguments.join(" "));
    let mut command = Command::new(cargo);
    command.args(arguments).arg("--message-format=json").current_dir(root());
    let output = command.stderr(std::process::Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err("Cargo failed to build the tests; see its output above".into());
    }
    let messages = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .collect::<Vec<_>>();
    let programs = messages.iter().filter_map(|message| {
        let of_this_kind = message["target"]["kind"].as_array()?.iter().any(|of| of == kind);
        let name = message["target"]["name"].as_str().filter(|_| of_this_kind)?;
        Some((name.to_owned(), PathBuf::from(message["executable"].as_str()?)))
    });
    Ok(programs.collect())
}

impl Suite {
    /// Runs the tests of these modules, or all tests if there are none.
    pub(crate) fn run(&self, runtime: &Path, modules: &[&str]) -> Result<Outcome, Failure> {
        let mut outcome = Outcome::default();
        let deadline = Instant::now() + TIME;
        let package = root().join("crates").join("sdk");
        for (name, program) in &self.tests {
            eprintln!("  {name}");
            let mut command = Command::new(program);
            // Run it like Cargo does. Two tests at a time, because more would trip the watchdogs on a small machine.
            command.args(["--show-output", "--test-threads=2"]).current_dir(&package);
            command.args(modules.iter().map(|module| format!("{module}::")));
            command.env("CARGO_MANIFEST_DIR", &package).env("OPENAI_CODEX_TEST_RUNTIME", runtime);
            for (name, helper) in &self.helpers {
                // The variable that the testkit reads for `scripted-app-server` is `SCRIPTED_APP_SERVER_BIN`.
                command.env(format!("{}_BIN", name.to_uppercase().replace('-', "_")), helper);
            }
            // Tests print to stdout, under their names; stderr is not needed.
            command.env("RUST_BACKTRACE", "0").stderr(std::process::Stdio::null());
            let ended = bounded::run(&mut command, deadline.saturating_duration_since(Instant::now()))?;
            if !outcome.read(name, &ended.stdout) || ended.success.is_none() {
                outcome.unfinished.push(name.clone());
            }
        }
        Ok(outcome)
    }
}

impl Outcome {
    /// Replaces the outcomes of the tests of these modules by those of a run of them.
    pub(crate) fn replace(mut self, modules: &[&str], run: Self) -> Self {
        let is_replaced =
            |test: &str| test.split("::").nth(1).is_some_and(|module| modules.contains(&module));
        self.driven.retain(|test| !is_replaced(test));
        self.failed.retain(|test, _| !is_replaced(test));
        self.driven.extend(run.driven);
        self.failed.extend(run.failed);
        self.unfinished.extend(run.unfinished);
        self
    }

    /// Saves it as the latest outcome of this version.
    pub(crate) fn keep(&self, version: &str) -> Result<(), Failure> {
        let path = kept_at(version);
        fs::create_dir_all(path.parent().unwrap_or(&path))?;
        Ok(fs::write(path, serde_json::to_vec(self)?)?)
    }

    /// Loads the latest outcome of this version.
    pub(crate) fn kept(version: &str) -> Result<Self, Failure> {
        let text = fs::read(kept_at(version)).map_err(|e| {
            format!("cannot read the kept outcome of {version}: {e}; run `cargo xtask compat {version}`")
        })?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// Reads a test program's output. Returns whether the program finished.
    fn read(&mut self, program: &str, output: &str) -> bool {
        let name = |test: &str| {
            let test = test.trim_end_matches("::blocking").trim_end_matches("::asynchronous");
            format!("{program}::{test}")
        };
        for line in output.lines() {
            if let Some(test) = line.strip_prefix("test ").and_then(|line| line.strip_suffix(" ... FAILED")) {
                self.failed.entry(name(test)).or_default();
            }
        }
        // `---- a::test stdout ----`, and then its output.
        for section in output.split("\n---- ").skip(1) {
            let Some((test, said)) = section.split_once(" stdout ----\n") else { continue };
            let test = name(test);
            if said.lines().any(|line| line.starts_with("runtime: ")) {
                self.driven.insert(test.clone());
            }
            // One of the two clients may have passed.
            if let Some(failure) = self.failed.get_mut(&test).filter(|failure| failure.is_empty()) {
                *failure = why(said);
            }
        }
        self.driven.extend(self.failed.keys().cloned());
        output.contains("\ntest result: ")
    }
}

fn kept_at(version: &str) -> PathBuf {
    root().join("target").join("compat").join(format!("{version}.json"))
}

/// The panic message, which follows the line with its location.
fn why(said: &str) -> String {
    let mut lines = said.lines().skip_while(|line| !line.contains("panicked at")).skip(1);
    let words = lines.by_ref().take_while(|line| !line.is_empty() && !line.starts_with("note: "));
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_modules_replaces_their_outcomes_only() {
        let outcome = |driven: &[&str], failed: &[&str]| Outcome {
            driven: driven.iter().map(|test| (*test).to_owned()).collect(),
            failed: failed.iter().map(|test| ((*test).to_owned(), String::new())).collect(),
            unfinished: Vec::new(),
        };
        let kept =
            outcome(&["real::a::x", "real::a::gone", "real::ab::y"], &["real::a::gone", "real::ab::y"]);
        let updated = kept.replace(&["a"], outcome(&["real::a::x", "real::a::new"], &["real::a::x"]));
        assert_eq!(updated.driven, outcome(&["real::a::new", "real::a::x", "real::ab::y"], &[]).driven);
        assert_eq!(updated.failed, outcome(&[], &["real::a::x", "real::ab::y"]).failed);
    }

    #[test]
    fn the_output_of_a_test_program_is_parsed() {
        let output = "\nrunning 4 tests\ntest a::one::blocking ... ok\ntest a::one::asynchronous ... FAILED\n\
                      test two ... ok\ntest three ... ok\n\nsuccesses:\n\n---- a::one::blocking stdout ----\n\
                      runtime: /codex\n\n---- two stdout ----\nruntime: /codex\n\n\nsuccesses:\n    two\n\nfailures:\n\n\
                      ---- a::one::asynchronous stdout ----\nruntime: /codex\n\n\
                      thread 'x' (1) panicked at a.rs:1:2:\nassertion failed\n  left: 1\nnote: run with\n\n\n\
                      failures:\n    a::one::asynchronous\n\ntest result: FAILED. 3 passed; 1 failed\n";
        let mut outcome = Outcome::default();
        assert!(outcome.read("p", output));
        assert_eq!(outcome.driven.iter().collect::<Vec<_>>(), ["p::a::one", "p::two"]);
        assert_eq!(
            outcome.failed.into_iter().collect::<Vec<_>>(),
            [("p::a::one".to_owned(), "assertion failed   left: 1".to_owned())]
        );
        assert!(!Outcome::default().read("p", "\nrunning 1 test\n"));
    }
}

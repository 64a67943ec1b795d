//! The examples, run as a user runs them, against a scripted model.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use openai_codex_testkit::{Reply, ScriptedModel};

/// The program of an example. Cargo builds the examples before the tests only when all of them are run, so it is asked
/// to; mostly there is nothing to do.
fn example(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args([
            "build",
            "--quiet",
            "--examples",
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        ]);
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        assert!(cargo.stdin(Stdio::null()).status().unwrap().success(), "the examples do not build");
    });
    let mut path = std::env::current_exe().unwrap();
    assert!(path.pop() && path.pop(), "tests run from target/PROFILE/deps");
    path.join("examples").join(name)
}

/// Runs an example with the model as its only account, and gives what it printed.
fn run(name: &str, model: &ScriptedModel) -> String {
    openai_codex::runtime::install().unwrap();
    let output = Command::new(example(name)).envs(model.env()).stdin(Stdio::null()).output().unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    out
}

#[test]
fn hello() {
    let model = ScriptedModel::start().unwrap();
    model.reply("Hello, and welcome.");
    assert_eq!(run("hello", &model), "Hello, and welcome.\n");
    let request = model.last_request().unwrap();
    assert_eq!(
        (request.model(), request.last_user_text()),
        (Some("gpt-5.4"), Some("Say hello in one sentence."))
    );
}

#[test]
fn stream() {
    let model = ScriptedModel::start().unwrap();
    model.reply(Reply::new().delta("one, ").delta("two, ").delta("three"));
    let expected = "one, two, three\ncompleted\n2 items, final response: one, two, three\n";
    assert_eq!(run("stream", &model), expected);
}

#[test]
fn quickstart_with_a_model_that_needs_no_account() {
    let model = ScriptedModel::start().unwrap();
    model.reply(Reply::exec_command("cat note.txt"));
    model.reply("It holds an answer.");
    let out = run("quickstart", &model);
    assert!(out.contains("$ ") && out.contains("The answer is 42.\n"), "{out}");
    assert!(out.contains("final response: It holds an answer.\ntokens: "), "{out}");
    assert!(!out.contains("scripted"), "{out}");
}

#[test]
fn quickstart_without_an_account() {
    openai_codex::runtime::install().unwrap();
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(example("quickstart"))
        .arg("What is in the file?")
        .env("CODEX_HOME", home.path())
        .env("CODEX_APP_SERVER_DISABLE_MANAGED_CONFIG", "1")
        .env_remove("OPENAI_API_KEY")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{out}\n{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<_> = out.lines().collect();
    assert!(lines[0].starts_with("No account is set up"), "{out}");
    assert_eq!(lines[1], "> What is in the file?");
    assert!(lines.contains(&"The answer is 42."), "{out}");
    assert!(lines.contains(&"final response: The file holds the answer, which is 42."), "{out}");
    assert_eq!(lines.last(), Some(&"tokens: 903 in (812 cached), 17 out (0 reasoning), 920 in all"), "{out}");
}

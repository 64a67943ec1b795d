//! Runs the examples as a user does, against a scripted model. A program of its own: these tests build the examples and use
//! the pinned runtime only, while `cargo xtask compat` runs all of `real` with any runtime.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use openai_codex::Codex;
use openai_codex_testkit::{AppServer, ModelReply, ModelToolCall, Script, ScriptedModel, Usage};
use serde_json::json;

/// The program of an example. Cargo builds the examples before the tests only if it runs all tests, so this builds
/// them. Usually there is nothing to do.
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

/// Installs the runtime for the examples, once, because its check takes a second.
fn install() {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| drop(openai_codex::runtime::install().unwrap()));
}

/// An example with the model as its only account.
fn command(name: &str, model: &ScriptedModel) -> Command {
    install();
    let mut command = Command::new(example(name));
    command.envs(model.env()).stdin(Stdio::null());
    command
}

/// Its output. It must succeed.
fn output(mut command: Command) -> String {
    let output = command.output().unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    out
}

/// Runs an example with the model as its only account, and returns its output.
fn run(name: &str, model: &ScriptedModel) -> String {
    output(command(name, model))
}

/// An example that the test talks to while it runs. It ends with the test.
struct Talk {
    child: Child,
    lines: Receiver<String>,
}

impl Talk {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        Self { child, lines }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// The next line of its output, or `None` at the end.
    fn next(&self) -> Option<String> {
        match self.lines.recv_timeout(Duration::from_secs(60)) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("the example says nothing"),
        }
    }

    fn line(&self) -> String {
        self.next().expect("another line")
    }

    /// Closes its input and returns the rest of its output. It must succeed.
    fn rest(mut self) -> Vec<String> {
        drop(self.child.stdin.take());
        let rest = std::iter::from_fn(|| self.next()).collect();
        assert!(self.child.wait().unwrap().success());
        rest
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Creates a thread with a turn for each of these questions and answers in the model's home. Returns its id.
fn stored_thread(model: &ScriptedModel, turns: &[(&str, &str)]) -> String {
    install();
    let codex = Codex::with_config(model.config()).unwrap();
    let thread = codex.thread_start().send().unwrap();
    for (question, answer) in turns {
        model.reply(*answer);
        thread.run(*question).unwrap();
    }
    codex.close().unwrap();
    thread.id().to_owned()
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
    model.reply(ModelReply::new().delta("one, ").delta("two, ").delta("three"));
    let expected = "one, two, three\ncompleted\n2 items, final response: one, two, three\n";
    assert_eq!(run("stream", &model), expected);
}

#[test]
fn quickstart_with_a_model_that_needs_no_account() {
    let model = ScriptedModel::start().unwrap();
    model.reply(ModelReply::exec_command("cat note.txt"));
    model.reply("It holds an answer.");
    let out = run("quickstart", &model);
    assert!(out.contains("$ ") && out.contains("The answer is 42.\n"), "{out}");
    assert!(out.contains("final response: It holds an answer.\ntokens: "), "{out}");
    assert!(!out.contains("scripted"), "{out}");
}

#[test]
fn quickstart_without_an_account() {
    install();
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
    assert_eq!(
        lines.last(),
        Some(&"tokens: 1715 in (1452 cached), 38 out (0 reasoning), 1753 in all"),
        "{out}"
    );
}

#[test]
fn login_api_key() {
    let model = ScriptedModel::start().unwrap();
    let settings =
        "cli_auth_credentials_store = \"file\"\nmodel_providers.scripted.requires_openai_auth = true\n";
    model.add_config(settings).unwrap();
    let expected = "logged in with an API key\nHello.\nlogged out\n";
    let mut with_variable = command("login_api_key", &model);
    with_variable.env("OPENAI_API_KEY", "sk-of-nobody-in-a-variable");
    model.reply("Hello.");
    assert_eq!(output(with_variable), expected);

    let mut with_input = command("login_api_key", &model);
    with_input.env_remove("OPENAI_API_KEY");
    model.reply("Hello.");
    let mut talk = Talk::start(with_input);
    talk.say("sk-of-nobody-on-standard-input");
    assert_eq!(talk.rest().join("\n") + "\n", expected);

    let requests = model.requests();
    let keys: Vec<_> = requests.iter().filter_map(|request| request.header("authorization")).collect();
    assert_eq!(keys, ["Bearer sk-of-nobody-in-a-variable", "Bearer sk-of-nobody-on-standard-input"]);
}

#[test]
fn stream_blocking() {
    let model = ScriptedModel::start().unwrap();
    model.reply(ModelReply::new().delta("one, ").delta("two, ").delta("three").usage(Usage::new(11, 7)));
    assert_eq!(run("stream_blocking", &model), "one, two, three\n11 tokens in, 7 out\n");
    assert_eq!(model.last_request().unwrap().last_user_text(), Some("Count to three."));
}

#[test]
fn resume() {
    let model = ScriptedModel::start().unwrap();
    model.reply("I will.");
    model.reply("It was 42.");
    let first = run("resume", &model);
    let (answer, hint) = first.split_once('\n').unwrap();
    assert_eq!(answer, "I will.");
    let id = hint.trim_end().strip_prefix("go on with: cargo run --example resume -- ").unwrap();

    let mut again = command("resume", &model);
    again.arg(id);
    assert_eq!(output(again), format!("It was 42.\n{hint}"));
    let request = model.last_request().unwrap();
    assert_eq!(request.texts("assistant"), ["I will."]);
    assert!(request.user_texts().ends_with(&["Remember the number 42.", "Which number was it?"]));
}

#[test]
fn thread_lifecycle() {
    let model = ScriptedModel::start().unwrap();
    model.reply("Hello.");
    model.reply("Bonjour.");
    let expected = "\
\"Example: hello\" has 1 turn
the fork says: Bonjour.
listed: [\"Example: hello in French\"]
archived: [\"Example: hello\"]
listed again: [\"Example: hello\", \"Example: hello in French\"]
after deleting: []
";
    assert_eq!(run("thread_lifecycle", &model), expected);
    let request = model.last_request().unwrap();
    assert!(request.user_texts().ends_with(&["Say hello.", "The same in French."]));
}

#[test]
fn images() {
    let model = ScriptedModel::start().unwrap();
    model.reply("A red square.\nA blue square.");
    assert_eq!(run("images", &model), "A red square.\nA blue square.\n");
    let request = model.last_request().unwrap();
    let urls: Vec<_> = request
        .items("message")
        .into_iter()
        .flat_map(|message| message["content"].as_array().unwrap())
        .filter(|part| part["type"] == "input_image")
        .map(|part| part["image_url"].as_str().unwrap())
        .collect();
    assert_eq!(urls.len(), 2, "{urls:?}");
    assert!(urls.iter().all(|url| url.starts_with("data:image/png;base64,")), "{urls:?}");
    assert_ne!(urls[0], urls[1]);
}

#[test]
fn turn_options() {
    let model = ScriptedModel::start().unwrap();
    model.reply(r#"{"name": "Mount Everest", "metres": 8849}"#);
    let out = run("turn_options", &model);
    let (models, answer) = out.split_at(out.rfind("Mount").unwrap());
    assert_eq!(answer, "Mount Everest has 8849 m\n");
    let default = models.lines().find_map(|line| line.split_once(" (default): ")).unwrap().0;
    let request = model.last_request().unwrap();
    assert_eq!(request.model(), Some(default));
    assert_eq!(request.body["text"]["format"]["schema"]["required"], json!(["name", "metres"]));
    let reasoning = &request.body["reasoning"];
    assert_eq!(json!([reasoning["effort"], reasoning["summary"]]), json!(["low", "concise"]));
}

#[test]
fn typed_output() {
    let model = ScriptedModel::start().unwrap();
    let findings = json!([
        {"file": "a.rs", "line": 7, "severity": "high", "text": "It never ends."},
        {"file": "b.rs", "line": null, "severity": "low", "text": "It has no tests."},
    ]);
    model.reply(json!({"summary": "Nearly good.", "findings": findings}).to_string());
    model.reply(r#"{"value": ["a.rs", "b.rs"]}"#);
    let expected =
        "Nearly good.\nHigh a.rs:7: It never ends.\nLow b.rs: It has no tests.\nread: a.rs, b.rs\n";
    assert_eq!(run("typed_output", &model), expected);
    let formats = model.requests().into_iter().map(|request| request.body["text"]["format"].clone());
    let required: Vec<_> = formats.map(|format| format["schema"]["required"].clone()).collect();
    assert_eq!(required, [json!(["summary", "findings"]), json!(["value"])]);
}

#[test]
fn typed_output_that_does_not_fit() {
    let model = ScriptedModel::start().unwrap();
    model.reply("Looks good to me.");
    model.reply(r#"{"value": []}"#);
    let out = run("typed_output", &model);
    assert!(
        out.contains("the final response is not a valid `Review`") && out.contains("Looks good to me."),
        "{out}"
    );
}

/// The input for the example's question at its terminal.
fn approve_commands_answering(answer: &str) -> (String, bool) {
    let model = ScriptedModel::start().unwrap();
    let target = model.home().join("from-the-agent");
    let command_line = format!("mkdir {}", target.display());
    model.reply(ModelToolCall::exec_command(command_line).escalate("you have asked for it"));
    model.reply("That is that.");
    let mut command = command("approve_commands", &model);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    (String::from_utf8(output.stdout).unwrap(), target.exists())
}

#[test]
fn approve_commands() {
    let (text, made) = approve_commands_answering("y\n");
    assert!(text.contains("you have asked for it") && text.contains("outside the sandbox? [y/N]"), "{text}");
    assert!(text.contains("That is that.") && made, "{text}");
    let (text, made) = approve_commands_answering("\n");
    assert!(text.contains("That is that.") && !made, "{text}");
}

#[test]
fn tools() {
    let model = ScriptedModel::start().unwrap();
    model.reply(ModelToolCall::new("lookup", json!({"part_number": "AB-12"})));
    model.reply(ModelToolCall::new("take", json!({"part_number": "AB-12", "pieces": 9})));
    model.reply(ModelToolCall::new("take", json!({"part_number": "AB-12", "pieces": 2})));
    model.reply("5 are left.");
    let text = run("tools", &model);
    assert!(text.contains("5 are left.") && text.contains("\"AB-12\": 5"), "{text}");
    let last = model.requests().pop().unwrap();
    let outputs: Vec<_> = last
        .function_call_outputs()
        .iter()
        .map(|output| output["output"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(outputs, [r#"{"part":"AB-12","pieces":7}"#, "there are only 7", "5 left"]);
}

#[test]
fn tool_macro() {
    let model = ScriptedModel::start().unwrap();
    model.reply(ModelToolCall::new("look_up", json!({"part_number": "AB-12"})));
    model.reply(ModelToolCall::new("take", json!({"part_number": "AB-12", "pieces": 9})));
    model.reply(ModelToolCall::new("take", json!({"part_number": "AB-12"})));
    model.reply("6 are left.");
    assert_eq!(run("tool_macro", &model), "6 are left.\nin stock: {\"AB-12\": 6}\n");
    let last = model.last_request().unwrap();
    let outputs: Vec<_> =
        last.function_call_outputs().iter().map(|output| output["output"].as_str().unwrap()).collect();
    assert_eq!(outputs, ["7 pieces", "there are only 7", "6 left"]);
}

#[test]
fn steer_interrupt() {
    let model = ScriptedModel::start().unwrap();
    let (steered, interrupted) = (model.gate(), model.gate());
    model.reply(ModelReply::new().delta("Once upon a time").pause(&steered));
    model.reply("A windmill turned. It stopped.");
    model.reply(ModelReply::new().delta("The lighthouse").pause(&interrupted));
    let example = Talk::start(command("steer_interrupt", &model));
    assert_eq!(example.line(), "steered");
    steered.release();
    let rest = example.rest();
    assert_eq!(rest, [r#"completed: Some("A windmill turned. It stopped.")"#, "interrupted: None"]);
    let request = &model.requests()[1];
    assert_eq!(request.last_user_text(), Some("Make it two sentences, and about a windmill."));
}

#[test]
fn many_turns() {
    let model = ScriptedModel::start().unwrap();
    for colour in ["red", "yellow", "green"] {
        let prompt = format!("Describe {colour} in one sentence.");
        let reply = ModelReply::new().delta("It is ").delta(format!("{colour}."));
        model.reply_when(move |request| request.last_user_text() == Some(&prompt), reply);
    }
    let prompt = "Describe blue in one sentence.";
    model.reply_when(
        move |request| request.last_user_text() == Some(prompt),
        ModelReply::failed("no ink left"),
    );
    let out = run("many_turns", &model);
    let lines: Vec<_> = out.lines().collect();
    let (steps, results) = lines.split_at(lines.len() - 4);
    let of = |colour: &str| -> Vec<_> {
        steps
            .iter()
            .filter_map(|line| line.split_once(": "))
            .filter(|step| step.0 == colour)
            .map(|step| step.1)
            .collect()
    };
    for colour in ["red", "yellow", "green"] {
        assert_eq!(of(colour), ["waiting", "thinking", "writing", "done"], "{out}");
    }
    assert_eq!(of("blue"), ["waiting", "thinking", "failed"], "{out}");
    assert_eq!(results[..3], ["red: It is red.", "yellow: It is yellow.", "green: It is green."]);
    assert!(results[3].starts_with("blue: ") && results[3].ends_with("no ink left"), "{out}");
    assert_eq!(steps.len(), 15, "{out}");
}

#[test]
fn errors_retry() {
    let model = ScriptedModel::start().unwrap();
    model.reply(ModelReply::failed("there is no such model"));
    let out = run("errors_retry", &model);
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines.len(), 3, "{out}");
    assert!(lines[0].starts_with("no such thread: `thread/resume` on thread 00000000-"), "{out}");
    assert_eq!(lines[1], "started a thread at attempt 1");
    assert!(lines[2].starts_with("the turn failed (thread "), "{out}");
    assert!(
        lines[2].ends_with(": there is no such model); items done: 1; advice: read the message"),
        "{out}"
    );
    assert_eq!(model.last_request().unwrap().model(), Some("no-such-model"));
}

/// No real server can be overloaded on demand.
#[test]
fn errors_retry_with_an_overloaded_server() {
    let busy = |script: Script| {
        script.expect("thread/start").respond_error(-32001, "Server overloaded; retry later.")
    };
    let script = Script::standard()
        .expect("thread/resume")
        .respond_error(-32600, "no rollout found for thread id 00000000-0000-0000-0000-000000000000");
    let script = busy(busy(script)).start_thread("t").start_turn("t", "u");
    let server =
        AppServer::new(script.agent_message("t", "u", "m", ["Hello."]).complete_turn("t", "u")).unwrap();
    let mut command = Command::new(example("errors_retry"));
    command.envs(server.env()).env("CODEX_BIN", AppServer::program().unwrap());
    let out = output(command);
    assert!(out.ends_with("\nstarted a thread at attempt 3\nHello.\n"), "{out}");
}

#[test]
fn history() {
    let model = ScriptedModel::start().unwrap();
    assert_eq!(run("history", &model), "no threads yet\n");
    let id = stored_thread(&model, &[("one?", "One."), ("two?", "Two."), ("three?", "Three.")]);
    let expected = "\
page 1, more to come:
  completed: > three?
  completed: > two?
page 2, the last:
  completed: > one?
> one?
One.
> two?
Two.
> three?
Three.
";
    assert_eq!(run("history", &model), expected);
    let mut with_id = command("history", &model);
    with_id.arg(id);
    assert_eq!(output(with_id), expected);
    assert_eq!(model.requests().len(), 3, "history asks no model");
}

#[test]
fn chat() {
    let model = ScriptedModel::start().unwrap();
    stored_thread(&model, &[("An old question?", "An old answer.")]);
    model.reply(ModelReply::exec_command("echo hi"));
    model.reply(ModelReply::new().delta("It ").delta("said hi."));
    model.reply("From the fork.");
    model.reply("From the old thread.");
    model.reply("From a new one.");
    let mut chat = Talk::start(command("chat", &model));
    let help = chat.line();
    assert_eq!(help, "/list, /resume N or ID, /fork, /new, /quit; Ctrl-C ends an answer");

    chat.say("Run it.");
    let command = chat.line();
    assert!(command.starts_with("$ ") && command.contains("echo hi"), "{command}");
    assert_eq!(chat.line(), "It said hi.");

    chat.say("/fork");
    assert!(chat.line().starts_with("a fork of "));
    chat.say("And you?");
    assert_eq!(chat.line(), "From the fork.");
    assert!(model.last_request().unwrap().user_texts().ends_with(&["Run it.", "And you?"]));

    chat.say("/list");
    let listed = [chat.line(), chat.line(), chat.line()];
    let number = |title: &str| listed.iter().find_map(|line| line.strip_suffix(title)?.split("  ").next());
    assert!(number("  And you? (this one)").is_some() && number("  Run it.").is_some(), "{listed:?}");
    chat.say(&format!("/resume {}", number("  An old question?").unwrap()));
    assert_eq!([chat.line(), chat.line()], ["> An old question?", "An old answer."]);
    chat.say("Still there?");
    assert_eq!(chat.line(), "From the old thread.");
    assert!(model.last_request().unwrap().user_texts().ends_with(&["An old question?", "Still there?"]));

    chat.say("/nonsense");
    assert_eq!(chat.line(), help);
    chat.say("/resume no-id");
    assert!(chat.line().starts_with("error: `thread/resume` on thread no-id: "));
    chat.say("/new");
    assert_eq!(chat.line(), "a new thread");
    chat.say("And here?");
    assert_eq!(chat.rest(), ["From a new one."]);
    let request = model.last_request().unwrap();
    assert_eq!((request.texts("assistant").len(), request.last_user_text()), (0, Some("And here?")));
}

#[cfg(unix)]
#[test]
fn chat_is_interrupted() {
    use rustix::process::{Pid, Signal, kill_process};

    let model = ScriptedModel::start().unwrap();
    let gate = model.gate();
    model.reply(ModelReply::new().delta("A long story,\n").pause(&gate));
    model.reply("A short one.");
    let mut chat = Talk::start(command("chat", &model));
    let ctrl_c = Pid::from_child(&chat.child);
    chat.line();
    chat.say("Tell me a story.");
    assert_eq!(chat.line(), "A long story,");
    kill_process(ctrl_c, Signal::INT).unwrap();
    assert_eq!([chat.line(), chat.line()], ["", "(interrupted)"]);

    // Without a reply there is nothing to end, and the program goes on.
    kill_process(ctrl_c, Signal::INT).unwrap();
    assert_eq!([chat.line(), chat.line()], ["", "/quit ends the chat"]);
    chat.say("A short one, then.");
    assert_eq!(chat.line(), "A short one.");
    chat.say("/quit");
    assert_eq!(chat.rest(), [""; 0]);
}

/// A folder with an MCP server and a rule, which both leave marks.
#[test]
fn review_bot() {
    let model = ScriptedModel::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (folder, mark) = (dir.path().join("folder"), dir.path().join("mark"));
    std::fs::create_dir_all(folder.join(".codex/rules")).unwrap();
    std::fs::write(folder.join("main.py"), "print(1/0)\n").unwrap();
    let server = format!("[mcp_servers.planted]\ncommand = \"touch\"\nargs = [{mark:?}]\n");
    std::fs::write(folder.join(".codex/config.toml"), server).unwrap();
    let rule = "prefix_rule(pattern = [\"touch\"], decision = \"allow\")\n";
    std::fs::write(folder.join(".codex/rules/own.rules"), rule).unwrap();
    // Not even a folder that the user trusts brings anything.
    let folder = folder.canonicalize().unwrap();
    model.add_config(&format!("[projects.{folder:?}]\ntrust_level = \"trusted\"\n")).unwrap();

    model.reply(ModelReply::exec_command("cat main.py"));
    model.reply(ModelReply::exec_command(format!("touch {}", mark.display())));
    model.reply(r#"{"findings": [{"file": "main.py", "what": "divides by zero"}]}"#);
    let mut bot = command("review_bot", &model);
    bot.arg(&folder);
    let out = output(bot);
    assert!(out.contains("$ ") && out.contains("cat main.py"), "{out}");
    assert!(out.ends_with("main.py: divides by zero\n"), "{out}");
    assert!(!mark.exists());
}

#[test]
fn review_bot_without_an_account() {
    install();
    let (home, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut bot = Command::new(example("review_bot"));
    bot.arg(folder.path())
        .env("CODEX_HOME", home.path())
        .env("CODEX_APP_SERVER_DISABLE_MANAGED_CONFIG", "1")
        .env_remove("OPENAI_API_KEY")
        .stdin(Stdio::null());
    let out = output(bot);
    assert!(out.starts_with("No account is set up"), "{out}");
    assert!(out.ends_with(".: a scripted model has seen nothing\n"), "{out}");
}

#[cfg(target_os = "linux")]
#[test]
fn shared_server() {
    let model = ScriptedModel::start().unwrap();
    let trace = openai_codex_testkit::leaks::Trace::new(model.home());
    model.reply("Cargo.toml");
    model.reply("README.md");
    let first = run("shared_server", &model);
    let server = trace.process();
    let (line, answer) = first.split_once('\n').unwrap();
    assert_eq!(answer, "Cargo.toml\n");
    let mut again = command("shared_server", &model);
    again.arg(line.rsplit(' ').next().unwrap());
    let second = output(again);
    assert!(second.starts_with(line) && second.ends_with("\nREADME.md\n"), "{second}");
    assert_eq!(trace.process(), server, "it serves both runs");
    assert!(Command::new("kill").arg(server.to_string()).status().unwrap().success());
}

#[cfg(target_os = "linux")]
#[test]
fn approve_elsewhere() {
    for (answer, made) in [("y", true), ("n", false)] {
        let model = ScriptedModel::start().unwrap();
        let trace = openai_codex_testkit::leaks::Trace::new(model.home());
        let target = model.home().join("from-the-agent");
        let command_line = format!("mkdir {}", target.display());
        model.reply(ModelToolCall::exec_command(command_line).escalate("you have asked for it"));
        model.reply("That is that.");
        let mut talk = Talk::start(command("approve_elsewhere", &model));
        // The question comes before or after this line, and has no end of line.
        let mut said = vec![talk.line()];
        assert!(said[0].contains("watching turn "), "{said:?}");
        talk.say(answer);
        said.extend(talk.rest());
        assert!(said.iter().any(|line| line.contains("from-the-agent'`? [y/N] ")), "{said:?}");
        assert!(said.last().unwrap().ends_with("That is that."), "{said:?}");
        assert_eq!(target.exists(), made);
        assert!(Command::new("kill").arg(trace.process().to_string()).status().unwrap().success());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn reattach() {
    let model = ScriptedModel::start().unwrap();
    let trace = openai_codex_testkit::leaks::Trace::new(model.home());
    let gate = model.gate();
    model.reply(ModelReply::new().delta("Car").pause(&gate).delta("go.toml"));
    let talk = Talk::start(command("reattach", &model));
    assert!(talk.line().starts_with("started "));
    assert_eq!(talk.line(), "it still runs");
    gate.release();
    assert_eq!(talk.rest(), ["Cargo.toml"]);
    assert!(Command::new("kill").arg(trace.process().to_string()).status().unwrap().success());
}

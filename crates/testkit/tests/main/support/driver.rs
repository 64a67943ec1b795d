//! A minimal client, which drives the real runtime without the SDK.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use openai_codex_testkit::ScriptedModel;
use serde_json::{Value, json};

pub(crate) struct Driver {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    next_id: u64,
    /// Every line in wire order, prefixed with `>` or `<`.
    pub(crate) log: Vec<String>,
}

impl Driver {
    /// An initialized runtime.
    pub(crate) fn start(bin: &Path, model: &ScriptedModel) -> Self {
        let mut child = Command::new(bin)
            .args(["app-server", "--listen", "stdio://"])
            .envs(model.env())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut driver = Self { child, stdin, stdout, next_id: 0, log: Vec::new() };
        let capabilities = json!({"experimentalApi": true});
        let info = json!({"name": "testkit", "title": "Testkit", "version": "0"});
        driver.call("initialize", json!({"clientInfo": info, "capabilities": capabilities}));
        driver.send(&json!({"method": "initialized"}));
        driver
    }

    pub(crate) fn send(&mut self, message: &Value) {
        self.log.push(format!("> {message}"));
        writeln!(self.stdin.as_mut().unwrap(), "{message}").unwrap();
    }

    pub(crate) fn read(&mut self) -> Value {
        let mut line = String::new();
        assert_ne!(self.stdout.read_line(&mut line).unwrap(), 0, "the runtime ended; {:#?}", self.log);
        self.log.push(format!("< {}", line.trim_end()));
        serde_json::from_str(&line).unwrap()
    }

    pub(crate) fn request(&mut self, method: &str, params: Value) -> u64 {
        self.next_id += 1;
        self.send(&json!({"id": self.next_id, "method": method, "params": params}));
        self.next_id
    }

    /// Sends a request and returns its result. Skips notifications in between.
    pub(crate) fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.request(method, params);
        let response = self.until(|message| message["id"] == id && message["method"].is_null());
        assert!(response["error"].is_null(), "{response}");
        response["result"].clone()
    }

    pub(crate) fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self.read();
            if wanted(&message) {
                return message;
            }
        }
    }

    /// Starts a thread with these extra parameters. Returns its id.
    pub(crate) fn thread(&mut self, extra: Value) -> String {
        let started = self.call("thread/start", extra);
        started["thread"]["id"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn turn_params(thread: &str, text: &str) -> Value {
    json!({"threadId": thread, "input": [{"type": "text", "text": text, "textElements": []}]})
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.stdin.take();
        let _ = self.child.wait();
    }
}

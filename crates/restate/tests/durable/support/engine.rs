//! The engine: installed from npm once, and run by each test on free ports.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use openai_codex::runtime::{Environment, VERSION, managed_dir};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::http::{self, Response};
use super::{wait_for, wait_until};

/// The version that the tests run with. The locks below have the hashes of its packages.
const ENGINE: &str = "1.7.12";

/// The hash of the npm package of each platform, as the registry has it.
const PACKAGES: [(&str, &str); 4] = [
    (
        "linux-x64",
        "sha512-URotJ1AIqaSCDkRMl4OrQfTLH+NYuOZb3ZsP7wxxiuAB6pncgPhTUYSvegTF5PTrAShnNyHNpju9kjf2O3QxoA==",
    ),
    (
        "linux-arm64",
        "sha512-aV7YxWvPhp88MjQtObGDhDCTwCBa68wwZOAMmJqDreO0auHYuSfOqabEx4I90coZsx3zShNusppbTPKprOa+dw==",
    ),
    (
        "darwin-x64",
        "sha512-ZRS1kk3S4pzIiup2IRRQ3eHoKJSZ43FG4rDe7UbGFWwZ/Yz0xSDa4/3/kiuwaMHXWs/CsKtJe0shx8JCR0DO1g==",
    ),
    (
        "darwin-arm64",
        "sha512-pHrZMaaeBJxXTgI19WG/aJvxuUDQ2nhSDEEJVseTZQiTEdJ7hboPlhvYacgXIE2iMnLMmWkN5XIlXqosHK8Byg==",
    ),
];

/// The engine's program. The first call installs it beside the pinned runtime if it is missing.
pub(crate) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| install().unwrap_or_else(|failure| panic!("the tests need the engine: {failure}")))
}

fn install() -> Result<PathBuf, String> {
    let text = |error: &dyn std::error::Error| error.to_string();
    let runtime = managed_dir(&Environment::current()).map_err(|error| text(&error))?;
    let platform =
        runtime.file_name().and_then(|name| name.to_str()?.strip_prefix(VERSION)?.strip_prefix('-'));
    let platform = platform.ok_or("the runtime's folder has no platform in its name")?;
    let (_, hash) = PACKAGES
        .iter()
        .find(|(name, _)| *name == platform)
        .ok_or_else(|| format!("npm has no package of restate-server for {platform}"))?;
    let cache = runtime.parent().and_then(Path::parent).ok_or("there is no cache folder")?.join("engine");
    let place = cache.join(format!("restate-{ENGINE}-{platform}"));
    let package = format!("@restatedev/restate-server-{platform}");
    let program = place.join("node_modules").join(&package).join("bin/restate-server");
    fs::create_dir_all(&cache).map_err(|error| text(&error))?;
    let lock = File::create(cache.join(".lock")).map_err(|error| text(&error))?;
    lock.lock().map_err(|error| text(&error))?;
    if program.exists() {
        return Ok(program);
    }
    // Beside its place, and then moved: a folder with the final name is complete.
    let beside = cache.join(".new");
    let _ = fs::remove_dir_all(&beside);
    fs::create_dir_all(&beside).map_err(|error| text(&error))?;
    let needs = json!({ &package: ENGINE });
    let files = [
        ("package.json", json!({"private": true, "dependencies": needs})),
        (
            "package-lock.json",
            json!({"lockfileVersion": 3, "requires": true, "packages": {
                "": {"dependencies": needs},
                (format!("node_modules/{package}")): {"version": ENGINE, "integrity": hash},
            }}),
        ),
    ];
    for (name, content) in files {
        fs::write(beside.join(name), content.to_string()).map_err(|error| text(&error))?;
    }
    println!("installing {package} {ENGINE} with npm");
    let mut npm = Command::new("npm");
    npm.arg("ci").arg("--prefix").arg(&beside).current_dir(&beside);
    npm.args(["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--no-progress"]);
    let status = npm.stdin(Stdio::null()).status().map_err(|error| {
        format!("npm cannot run ({error}); install Node.js with npm, which fetches {package} {ENGINE}")
    })?;
    if !status.success() {
        return Err(format!("`npm ci` of {package} {ENGINE} failed ({status}); see its output above"));
    }
    fs::rename(&beside, &place).map_err(|error| text(&error))?;
    Ok(program)
}

/// An address with a port that was free a moment ago. It is below those that the system gives to connections, so it stays free while
/// an engine or all workers are dead.
pub(crate) fn free_address() -> SocketAddr {
    const FIRST: u32 = 20_000;
    const NUMBER: u32 = 12_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Another test program begins elsewhere.
    let begin = std::process::id().wrapping_mul(97);
    loop {
        let number = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % NUMBER;
        let address = (Ipv4Addr::LOCALHOST, u16::try_from(FIRST + number).unwrap()).into();
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// A running engine. It ends when it is dropped.
pub(crate) struct Engine {
    pub(crate) ingress: SocketAddr,
    pub(crate) admin: SocketAddr,
    data: TempDir,
    process: Option<Child>,
}

impl Engine {
    pub(crate) fn start() -> Self {
        Self::with_options("")
    }

    /// Starts an engine with more lines of configuration.
    pub(crate) fn with_options(options: &str) -> Self {
        let data = tempfile::Builder::new().prefix("engine-").tempdir().unwrap();
        let (ingress, admin, node) = (free_address(), free_address(), free_address());
        let folder = data.path().display();
        let config = format!(
            "node-name = \"test\"\ncluster-name = \"test\"\nbase-dir = \"{folder}\"\nlisten-mode = \"tcp\"\n\
             bind-address = \"{node}\"\nadvertised-address = \"http://{node}\"\ndefault-num-partitions = 4\n\
             disable-telemetry = true\nrocksdb-total-memory-size = \"256 MiB\"\nlog-filter = \"warn\"\n\
             log-disable-ansi-codes = true\n{options}\n\
             [admin]\nbind-address = \"{admin}\"\ndisable-web-ui = true\n[ingress]\nbind-address = \"{ingress}\"\n"
        );
        fs::write(data.path().join("engine.toml"), config).unwrap();
        let mut engine = Self { ingress, admin, data, process: None };
        engine.run();
        engine
    }

    /// Starts the process, and waits until it takes requests.
    pub(crate) fn run(&mut self) {
        let log = File::options().create(true).append(true).open(self.data.path().join("log")).unwrap();
        let mut command = Command::new(program());
        command.arg("--no-logo").arg("--config-file").arg(self.data.path().join("engine.toml"));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.data.path()).env("DO_NOT_TRACK", "1");
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.process = Some(command.spawn().unwrap());
        wait_until("the engine", Duration::from_secs(60), || {
            if let Some(status) = self.process.as_mut().unwrap().try_wait().unwrap() {
                panic!("the engine ended ({status}):\n{}", self.log());
            }
            let is_there = |address, path| {
                http::send("GET", address, path, None, Duration::from_secs(5))
                    .is_ok_and(|response| response.status == 200)
            };
            is_there(self.admin, "/health") && is_there(self.ingress, "/restate/health")
        });
    }

    /// What the engine has written.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.data.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    /// Calls a handler, and waits for its answer.
    pub(crate) fn call(&self, thread: &str, handler: &str, input: Option<&Value>) -> Response {
        let path = format!("/CodexThread/{thread}/{handler}");
        http::send("POST", self.ingress, &path, input, Duration::from_secs(120)).unwrap()
    }

    /// Calls `run` without a wait. Returns the invocation's id.
    pub(crate) fn send_run(&self, thread: &str, input: &Value) -> String {
        self.send_run_of("CodexThread", thread, input)
    }

    pub(crate) fn send_run_of(&self, service: &str, thread: &str, input: &Value) -> String {
        self.send(&format!("/{service}/{thread}/run"), Some(input))
    }

    /// Calls `interrupt` without a wait. Returns the invocation's id.
    pub(crate) fn send_interrupt(&self, thread: &str) -> String {
        self.send(&format!("/CodexThread/{thread}/interrupt"), None)
    }

    fn send(&self, handler: &str, input: Option<&Value>) -> String {
        let path = format!("{handler}/send");
        let sent = http::send("POST", self.ingress, &path, input, Duration::from_secs(30)).unwrap();
        assert_eq!(sent.status, 202, "{sent:?}");
        sent.body["invocationId"].as_str().unwrap().to_owned()
    }

    /// Waits for the outcome of an invocation. The engine may be killed meanwhile.
    pub(crate) fn outcome(&self, invocation: &str, within: Duration) -> Response {
        let deadline = Instant::now() + within;
        let path = format!("/restate/invocation/{invocation}/attach");
        loop {
            let wait = deadline.saturating_duration_since(Instant::now());
            assert!(!wait.is_zero(), "{invocation} has no outcome within {within:?}");
            match http::send("GET", self.ingress, &path, None, wait) {
                // The engine is starting.
                Ok(response) if response.status >= 500 && response.body["code"].is_null() => {}
                Ok(response) => return response,
                Err(_) => {}
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn cancel(&self, invocation: &str) {
        self.end(invocation, "cancel");
    }

    /// Ends an invocation, which cannot do anything more.
    pub(crate) fn kill_invocation(&self, invocation: &str) {
        self.end(invocation, "kill");
    }

    fn end(&self, invocation: &str, how: &str) {
        let path = format!("/invocations/{invocation}/{how}");
        let response = http::send("PATCH", self.admin, &path, None, Duration::from_secs(30)).unwrap();
        assert!(response.status < 300, "{response:?}");
    }

    /// Decides about something that waits.
    pub(crate) fn decide(&self, awakeable: &str, decision: &Value) {
        self.send_decision(awakeable, &decision.to_string());
    }

    /// The same with a text that need not be JSON.
    pub(crate) fn send_decision(&self, awakeable: &str, decision: &str) {
        let path = format!("/restate/awakeables/{awakeable}/resolve");
        let response =
            http::send_text("POST", self.ingress, &path, decision, Duration::from_secs(30)).unwrap();
        assert!(response.status < 300, "{response:?}");
    }

    /// Refuses to decide about something that waits.
    pub(crate) fn reject(&self, awakeable: &str) {
        let path = format!("/restate/awakeables/{awakeable}/reject");
        let response =
            http::send_text("POST", self.ingress, &path, "not now", Duration::from_secs(30)).unwrap();
        assert!(response.status < 300, "{response:?}");
    }

    pub(crate) fn status(&self, thread: &str) -> Value {
        let response = self.call(thread, "status", None);
        assert_eq!(response.status, 200, "{response:?}");
        response.body
    }

    /// The rows of a query. The engine cannot answer for a moment after its start.
    pub(crate) fn query(&self, sql: &str) -> Vec<Value> {
        let body = json!({"query": sql});
        wait_for("the answer to a query", Duration::from_secs(60), || {
            let response =
                http::send("POST", self.admin, "/query", Some(&body), Duration::from_secs(60)).ok()?;
            response.body["rows"].as_array().cloned()
        })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the engine's log:\n{}", self.log());
        }
        self.kill();
    }
}

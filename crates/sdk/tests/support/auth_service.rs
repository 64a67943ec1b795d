//! Replaces the login service of the real runtime: on loopback, with an account for everyone.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

/// Part of every token of the service.
pub(crate) const TOKEN: &str = "c2VjcmV0LW9mLXRoZS1hY2NvdW50";

/// The service. It ends on drop.
pub(crate) struct AuthService {
    address: SocketAddr,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    /// Whether the person has entered the code.
    approved: AtomicBool,
    over: AtomicBool,
}

impl AuthService {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let of_thread = state.clone();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if of_thread.over.load(Ordering::SeqCst) {
                    return;
                }
                // A runtime that is being ended may disconnect in the middle of it.
                let _ = respond(stream, &of_thread);
            }
        });
        Self { address, state, thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The person enters the code.
    pub(crate) fn approve(&self) {
        self.state.approved.store(true, Ordering::SeqCst);
    }
}

impl Drop for AuthService {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::SeqCst);
        // Wakes the thread.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Handles one request; the response ends the connection.
fn respond(stream: TcpStream, state: &State) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut reader = BufReader::new(&stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    reader.take(length).read_to_end(&mut Vec::new())?;
    let (status, body) = match reply(&path, state) {
        Some(body) => (200, body),
        // The response of a service until the user has entered the code.
        None if path.ends_with("/deviceauth/token") => (403, json!({})),
        None => (404, json!({})),
    };
    let body = body.to_string();
    let head = "content-type: application/json\r\nconnection: close\r\n";
    write!(&stream, "HTTP/1.1 {status} -\r\n{head}content-length: {}\r\n\r\n{body}", body.len())
}

fn reply(path: &str, state: &State) -> Option<Value> {
    let replies = HashMap::from([
        (
            "/api/accounts/deviceauth/usercode",
            json!({"device_auth_id": "device", "user_code": "ABCD-1234", "interval": "0"}),
        ),
        ("/oauth/token", json!({"id_token": id_token(), "access_token": id_token(), "refresh_token": TOKEN})),
        (
            "/backend-api/wham/accounts/check",
            json!({
                "accounts": [{
                    "id": "account", "plan_type": "pro", "name": "Somebody", "structure": "personal",
                    "profile_picture_url": null, "account_routing_override": "NO_CONSTRAINT",
                    // The tests request nothing else.
                    "workspace_backend_origin": "https://127.0.0.1:9",
                }],
                "default_account_id": "account", "account_ordering": ["account"],
            }),
        ),
        (
            "/backend-api/wham/usage",
            json!({
                "plan_type": "pro",
                "rate_limit": {
                    "allowed": true, "limit_reached": false, "secondary_window": null,
                    "primary_window": {
                        "used_percent": 42, "limit_window_seconds": 18_000, "reset_after_seconds": 60,
                        "reset_at": 2_000_000_000,
                    },
                },
            }),
        ),
    ]);
    if path == "/api/accounts/deviceauth/token" {
        return state.approved.load(Ordering::SeqCst).then(|| {
            json!({"authorization_code": "code", "code_challenge": "challenge", "code_verifier": "verifier"})
        });
    }
    replies.get(path).cloned()
}

/// A token for an account. Its signature is not checked.
fn id_token() -> String {
    let account = json!({
        "chatgpt_plan_type": "pro", "chatgpt_account_id": "account", "chatgpt_user_id": "user",
    });
    let claims = json!({
        "email": "somebody@example.org", "exp": 4_102_444_800_u64, "https://api.openai.com/auth": account,
    });
    format!("{}.{}.{TOKEN}", base64(&json!({"alg": "none"})), base64(&claims))
}

/// The base64 of tokens.
fn base64(value: &Value) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let text = value.to_string();
    let mut digits = String::new();
    for bytes in text.as_bytes().chunks(3) {
        let all =
            bytes.iter().fold(0_u32, |all, byte| all << 8 | u32::from(*byte)) << (8 * (3 - bytes.len()));
        digits.extend((0..=bytes.len()).map(|n| DIGITS[(all >> (18 - 6 * n)) as usize % 64] as char));
    }
    digits
}

/// Acts as the browser: requests a loopback address and follows the redirects.
pub(crate) fn browse(url: &str) {
    let mut url = url.to_owned();
    // The service leads to one page; more would be going in a circle.
    for _ in 0..4 {
        let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let mut stream = TcpStream::connect(host.replace("localhost", "127.0.0.1")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(stream, "GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").unwrap();
        let mut response = Vec::new();
        stream.read_to_end(&mut response).unwrap();
        let response = String::from_utf8_lossy(&response);
        let location = response.lines().take_while(|line| !line.is_empty()).find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("location").then(|| value.to_owned())
        });
        match location {
            Some(next) => url = next,
            None => return,
        }
    }
}

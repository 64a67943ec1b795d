//! Connections to a server of the real runtime: the kinds of endpoints, the tokens, and the errors of connections that fail or end.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::BASE64URL_NOPAD;
use openai_codex::types::TurnStatus;
use openai_codex::{CodexConfig, ConnectionPolicy, Endpoint, ErrorKind, Event, Notification};
use openai_codex_testkit::proxy::{Fault, FaultyProxy, Flow, Place, Plan};
use openai_codex_testkit::{ModelReply, ModelToolCall};
use serde_json::json;

use crate::support::{Model, RunningServer, runtime, with_both_clients};

const TOKEN: &str = "capability-0123456789abcdef";
const SECRET: &str = "a shared secret of at least 32 bytes, for tests";

/// A token that is signed with the shared secret, and expires after so many seconds.
fn signed_token(expires_in: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = json!({"exp": i64::try_from(now).unwrap() + expires_in});
    let encode = |part: &serde_json::Value| BASE64URL_NOPAD.encode(part.to_string().as_bytes());
    let signed = format!("{}.{}", encode(&json!({"alg": "HS256", "typ": "JWT"})), encode(&claims));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = ring::hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
}

/// Writes a file that only its owner can read.
fn secret_file(model: &Model, text: &str) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = model.folder().join("secret");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn proxy(socket: &Path) -> Endpoint {
    let program = runtime().program().as_os_str();
    Endpoint::proxy([
        program,
        OsStr::new("app-server"),
        OsStr::new("proxy"),
        OsStr::new("--sock"),
        socket.as_os_str(),
    ])
}

/// Answers one HTTP request with this text.
fn answer_once(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(answer.as_bytes());
    });
    url
}

/// Relays one connection to a server, with one more header in the request.
fn add_header(server: &str, header: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let server = server.trim_start_matches("ws://").to_owned();
    std::thread::spawn(move || {
        let (mut client, mut server) = (listener.accept().unwrap().0, TcpStream::connect(server).unwrap());
        let mut request = vec![0; 4096];
        let length = client.read(&mut request).unwrap();
        let request = String::from_utf8(request[..length].to_vec()).unwrap();
        let request = request.replacen("\r\n", &format!("\r\n{header}\r\n"), 1);
        server.write_all(request.as_bytes()).unwrap();
        let _ = std::io::copy(&mut server, &mut client);
    });
    url
}

/// A TLS proxy for one connection, in front of a server that listens on a port. Returns the `wss` URL.
fn add_tls(server: &str) -> String {
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use tokio_rustls::rustls::{ServerConfig, crypto::ring};

    let certificate = CertificateDer::from_pem_slice(include_bytes!("../support/tls/server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../support/tls/server.key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("wss://localhost:{}", listener.local_addr().unwrap().port());
    let server = server.trim_start_matches("ws://").to_owned();
    std::thread::spawn(move || {
        let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        executor.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
            // A client that does not trust the certificate ends the handshake.
            let Ok(mut client) = acceptor.accept(listener.accept().await.unwrap().0).await else { return };
            let mut server = tokio::net::TcpStream::connect(server).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        });
    });
    url
}

with_both_clients! {
    fn a_turn_runs_over_tls_if_the_client_trusts_the_authority(start, wait) {
        let model = Model::start();
        let file = secret_file(&model, TOKEN);
        let options = ["--ws-auth", "capability-token", "--ws-token-file"].map(OsStr::new);
        let server = RunningServer::on_port(&model, &[&options[..], &[file.as_os_str()]].concat());
        model.reply("hello");
        let endpoint = Endpoint::websocket(add_tls(server.url())).bearer(|| Ok(TOKEN.into()));
        let endpoint = endpoint.root_certificates(include_bytes!("../support/tls/authority.pem")).unwrap();
        let codex = start!(CodexConfig::new().connect(endpoint)).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        assert_eq!(wait!(thread.run("go")).unwrap().final_response.as_deref(), Some("hello"));
        wait!(codex.close()).unwrap();

        let error = start!(CodexConfig::new().connect(Endpoint::websocket(add_tls(server.url())))).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::ConnectFailed);
        assert!(error.to_string().contains("certificate"), "{error}");
    }

    fn a_cut_connection_ends_a_stream_after_its_events_and_the_turn_goes_on(start, wait) {
        let model = Model::start();
        let server = RunningServer::on_socket(&model);
        let proxy = FaultyProxy::to_socket(server.socket()).unwrap();
        let delta = "item/agentMessage/delta";
        proxy.plan(Plan::new().at(Place::method(Flow::ToClient, delta).after(), Fault::Cut));
        model.reply(ModelReply::new().delta("he").delta("llo"));
        let config = CodexConfig::new().connect(Endpoint::unix(proxy.socket()));
        let codex = start!(config.connection_policy(ConnectionPolicy::never())).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        let mut stream = turn.stream();
        let (mut text, mut last) = (String::new(), None);
        while let Some(event) = wait!(stream.next()) {
            match event {
                Ok(Notification::AgentMessageDelta(delta)) => text.push_str(&delta.delta),
                Ok(_) => {}
                Err(error) => last = Some(error),
            }
        }
        let error = last.unwrap();
        assert_eq!((text.as_str(), error.kind()), ("he", ErrorKind::TransportClosed));
        assert!(error.to_string().contains("has closed the connection"), "{error}");
        wait!(codex.close()).unwrap();

        let codex = start!(CodexConfig::new().connect(Endpoint::websocket(proxy.url()))).unwrap();
        let mut events = codex.events();
        let thread = wait!(codex.thread_resume(thread.id()).send()).unwrap();
        let completed = |event: &Event| matches!(event, Event::Notification(Notification::TurnCompleted(_)));
        loop {
            let turns = wait!(thread.read().include_turns(true).send()).unwrap().thread.turns;
            if turns[0].status == TurnStatus::Completed {
                assert_eq!(turns.len(), 1);
                break;
            }
            while !completed(&wait!(events.next()).unwrap().unwrap()) {}
        }
        assert_eq!((proxy.connections(), proxy.faults()), (2, 1));
        wait!(codex.close()).unwrap();
    }

    fn a_turn_runs_over_every_kind_of_endpoint(start, wait) {
        let model = Model::start();
        let (socket, port) = (RunningServer::on_socket(&model), RunningServer::on_port(&model, &[]));
        for endpoint in [socket.endpoint(), port.endpoint(), proxy(socket.socket())] {
            model.reply(ModelToolCall::exec_command("echo 42"));
            model.reply("done");
            let codex = start!(CodexConfig::new().connect(endpoint)).unwrap();
            assert_eq!(codex.runtime_pid(), None);
            let thread = wait!(codex.thread_start().cwd(model.folder().display().to_string()).send()).unwrap();
            let result = wait!(thread.run("go")).unwrap();
            assert_eq!(result.final_response.as_deref(), Some("done"));
            assert!(model.last_request().unwrap().last_output().unwrap().contains("42"));
            wait!(codex.close()).unwrap();
        }
    }

    fn a_capability_token_opens_the_server_and_a_wrong_one_does_not(start, wait) {
        let model = Model::start();
        let file = secret_file(&model, TOKEN);
        let options = ["--ws-auth", "capability-token", "--ws-token-file"].map(OsStr::new);
        let server = RunningServer::on_port(&model, &[&options[..], &[file.as_os_str()]].concat());
        let calls = Arc::new(AtomicUsize::new(0));
        let counting = calls.clone();
        let right = server.endpoint().bearer(move || {
            counting.fetch_add(1, Ordering::SeqCst);
            std::fs::read_to_string(&file)
        });
        for attempt in 1..=2 {
            let codex = start!(CodexConfig::new().connect(right.clone())).unwrap();
            wait!(codex.thread_start().send()).unwrap();
            wait!(codex.close()).unwrap();
            assert_eq!(calls.load(Ordering::SeqCst), attempt);
        }
        let error = start!(server.config()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::AccessDenied);
        assert!(error.to_string().contains("401") && error.to_string().contains("needs a token"), "{error}");
        let wrong = server.endpoint().bearer(|| Ok("another-capability".into()));
        let error = start!(CodexConfig::new().connect(wrong)).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::AccessDenied);
        let text = error.to_string();
        assert!(text.contains("is wrong, or has expired") && !text.contains("another-capability"), "{text}");
    }

    fn a_signed_token_opens_the_server_until_it_expires(start, wait) {
        let model = Model::start();
        let file = secret_file(&model, SECRET);
        let options = ["--ws-auth", "signed-bearer-token", "--ws-shared-secret-file"].map(OsStr::new);
        let server = RunningServer::on_port(&model, &[&options[..], &[file.as_os_str()]].concat());
        let signed = server.endpoint().bearer(|| Ok(signed_token(60)));
        let codex = start!(CodexConfig::new().connect(signed)).unwrap();
        wait!(codex.thread_start().send()).unwrap();
        wait!(codex.close()).unwrap();
        let expired = server.endpoint().bearer(|| Ok(signed_token(-600)));
        let error = start!(CodexConfig::new().connect(expired)).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::AccessDenied);
    }

    fn a_token_that_cannot_be_had_is_the_error(start, wait) {
        let endpoint = Endpoint::websocket("ws://127.0.0.1:9").bearer(|| Err(std::io::Error::other("the vault is shut")));
        let error = start!(CodexConfig::new().connect(endpoint)).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::ConnectFailed);
        assert!(error.to_string().contains("the vault is shut"), "{error}");
    }

    fn an_origin_header_on_the_way_is_an_error_that_names_it(start, wait) {
        let model = Model::start();
        let server = RunningServer::on_port(&model, &[]);
        let endpoint = Endpoint::websocket(add_header(server.url(), "Origin: https://example.com"));
        let error = start!(CodexConfig::new().connect(endpoint)).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::AccessDenied);
        assert!(error.to_string().contains("403") && error.to_string().contains("`Origin` header"), "{error}");
    }

    fn an_endpoint_without_a_server_is_an_error_that_says_so(start, wait) {
        let folder = tempfile::tempdir().unwrap();
        let stale = folder.path().join("stale.sock");
        drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for (endpoint, why) in [
            (Endpoint::unix(folder.path().join("no.sock")), "no server listens"),
            (Endpoint::unix(&stale), "no server listens"),
            (Endpoint::websocket(format!("ws://{free}")), "check that a server runs there"),
            (Endpoint::websocket(answer_once("HTTP/1.1 404 Not Found\r\n\r\nnothing here")), "nothing here"),
            (Endpoint::websocket(answer_once("220 mail.example.com ESMTP\r\n")), "WebSocket handshake"),
            (Endpoint::websocket(answer_once("")), "ended the connection during the WebSocket handshake"),
            (Endpoint::proxy(["/no/such/program"]), "cannot start the command `/no/such/program`"),
            (Endpoint::proxy(["sh", "-c", "echo no route to host >&2; exit 7"]), "no route to host"),
            (proxy(&folder.path().join("no.sock")), "stderr_tail"),
        ] {
            let error = start!(CodexConfig::new().connect(endpoint)).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::ConnectFailed, "{error}");
            assert!(error.to_string().contains(why), "{error}");
        }
    }

    fn a_peer_that_does_not_respond_times_out(start, wait) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = Endpoint::websocket(format!("ws://{}", listener.local_addr().unwrap()));
        let config = CodexConfig::new().connect(endpoint).start_timeout(Duration::from_millis(50));
        let error = start!(config).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::ConnectFailed);
        assert!(error.to_string().contains("start_timeout"), "{error}");
    }

    fn options_that_the_server_cannot_apply_are_refused(start, wait) {
        let endpoint = || Endpoint::websocket("ws://127.0.0.1:9");
        for (config, option) in [
            (CodexConfig::new().config_override("sandbox_mode", "read-only"), "config_overrides"),
            (CodexConfig::new().cwd("/"), "cwd"),
            (CodexConfig::new().codex_bin("/bin/codex"), "codex_bin"),
            (CodexConfig::new().launch_args_override(["codex"]), "launch_args_override"),
            (CodexConfig::new().before_spawn(|_| Ok(())), "before_spawn"),
            (CodexConfig::new().restart(openai_codex::RestartPolicy::new()), "restart"),
        ] {
            let error = start!(config.connect(endpoint())).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            assert!(error.to_string().contains(&format!("`{option}`")), "{error}");
        }
    }

    fn a_server_that_is_restarted_on_its_socket_ends_the_turn_with_an_error(start, wait) {
        let model = Model::start();
        let mut server = RunningServer::on_socket(&model);
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let codex = start!(server.config().connection_policy(ConnectionPolicy::never())).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        let mut stream = turn.stream();
        while !matches!(wait!(stream.next()).unwrap().unwrap(), Notification::AgentMessageDelta(_)) {}
        server.kill();
        let server = RunningServer::on_socket(&model);
        let error = wait!(turn.run()).unwrap_err();
        assert_eq!((error.kind(), error.thread_id()), (ErrorKind::TransportClosed, Some(thread.id())));
        let text = error.to_string();
        assert!(text.contains(&server.socket().display().to_string()), "{text}");
        assert!(text.contains("connect again with a new client"), "{text}");
        assert_eq!(wait!(thread.run("more")).unwrap_err().kind(), ErrorKind::TransportClosed);
        assert_eq!(codex.runtime_pid(), None);
        wait!(codex.close()).unwrap();

        model.reply("again");
        let codex = start!(server.config()).unwrap();
        let thread = wait!(codex.thread_resume(thread.id()).send()).unwrap();
        assert_eq!(wait!(thread.run("more")).unwrap().final_response.as_deref(), Some("again"));
        wait!(codex.close()).unwrap();
    }
}

/// Takes old runtimes many seconds.
#[test]
fn long_messages_pass_in_both_directions_and_too_long_ones_are_refused() {
    crate::support::bounded_within(Duration::from_secs(180), || {
        let model = Model::start();
        let server = RunningServer::on_socket(&model);
        let config = server.config().request_timeout(Duration::from_secs(120));
        let codex = openai_codex::Codex::with_config(config).unwrap();
        let path = model.folder().join("large").display().to_string();
        let data = "A".repeat(40 << 20);
        codex.request_raw("fs/writeFile", json!({"path": path, "dataBase64": data})).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), (40 << 20) / 4 * 3);
        // The server sends this as one frame, above the usual limit of a client.
        std::fs::write(&path, vec![0; 15 << 20]).unwrap();
        let read = codex.request_raw("fs/readFile", json!({"path": path})).unwrap();
        assert_eq!(read["dataBase64"].as_str().unwrap().len(), 20 << 20);

        let data = "A".repeat(64 << 20);
        let error = codex.request_raw("fs/writeFile", json!({"path": path, "dataBase64": data})).unwrap_err();
        assert_eq!((error.kind(), error.method()), (ErrorKind::InvalidInput, Some("fs/writeFile")));
        assert!(error.to_string().contains("67108864"), "{error}");
        codex.thread_start().send().unwrap();
        codex.close().unwrap();
    });
}

/// Takes the runtime some seconds.
#[test]
fn an_item_of_20_mib_arrives_whole() {
    crate::support::bounded_within(Duration::from_secs(180), || {
        let model = Model::start();
        let server = RunningServer::on_socket(&model);
        model.reply("x".repeat(20 << 20));
        let codex = openai_codex::Codex::with_config(server.config()).unwrap();
        let result = codex.thread_start().send().unwrap().run("go").unwrap();
        assert_eq!(result.final_response.unwrap().len(), 20 << 20);
        codex.close().unwrap();
    });
}

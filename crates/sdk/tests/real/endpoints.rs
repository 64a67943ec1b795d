//! Clients that connect to a server of the real runtime.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::BASE64URL_NOPAD;
use openai_codex::types::{CommandExecutionApprovalDecision as Decision, SandboxMode, TurnStatus};
use openai_codex::{CodexConfig, ConnectionPolicy, Endpoint, ErrorKind, Event, Notification, Reply, Sandbox};
use openai_codex_testkit::proxy::{Fault, FaultyProxy, Flow, Place, Plan};
use openai_codex_testkit::{ModelReply, ModelToolCall};
use serde_json::json;

use crate::support::{Model, RunningServer, has_user_text, runtime, with_both_clients};

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

    fn a_turn_goes_on_at_the_server_after_its_client_has_closed(start, wait) {
        let model = Model::start();
        let mut server = RunningServer::on_socket(&model);
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let codex = start!(server.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        let mut stream = turn.stream();
        while !matches!(wait!(stream.next()).unwrap().unwrap(), Notification::AgentMessageDelta(_)) {}
        wait!(codex.close()).unwrap();
        assert_eq!(wait!(turn.run()).unwrap_err().kind(), ErrorKind::Closed);
        assert!(server.is_running());

        let other = start!(server.config()).unwrap();
        let mut events = other.events();
        let again = wait!(other.thread_resume(thread.id()).send()).unwrap();
        gate.release();
        while !matches!(wait!(events.next()).unwrap().unwrap(), Event::Notification(Notification::TurnCompleted(_))) {}
        let read = wait!(again.read().include_turns(true).send()).unwrap();
        assert_eq!(read.thread.turns.last().unwrap().status, TurnStatus::Completed);
        wait!(other.close()).unwrap();
    }

    fn a_thread_that_has_not_run_runs_for_another_client_after_its_own_has_closed(start, wait) {
        let model = Model::start();
        let server = RunningServer::on_socket(&model);
        let (codex, other) = (start!(server.config()).unwrap(), start!(server.config()).unwrap());
        let thread = wait!(model.sandboxed(codex.thread_start(), Sandbox::FullAccess).send()).unwrap();
        wait!(codex.close()).unwrap();
        let thread = wait!(other.thread_resume(thread.id()).sandbox(Sandbox::ReadOnly).send()).unwrap();
        let file = model.folder().join("written");
        model.reply(ModelReply::exec_command(format!("echo x > {}", file.display())));
        model.reply("done");
        assert_eq!(wait!(thread.run("go")).unwrap().final_response.as_deref(), Some("done"));
        assert!(!file.exists());
        wait!(other.close()).unwrap();
    }

    fn an_entry_of_the_configuration_that_another_client_has_undone_is_applied_again_or_an_error(start, wait) {
        for replaces_server in [false, true] {
            let model = Model::with_fallback("done");
            let mut server = RunningServer::on_socket(&model);
            let (codex, first) = (start!(server.config()).unwrap(), start!(server.config()).unwrap());
            let value = json!({"NAMED": "yes"});
            let options = codex.thread_start().config("shell_environment_policy.set", value.clone());
            let thread = wait!(model.sandboxed(options, Sandbox::ReadOnly).send()).unwrap();
            wait!(thread.run("one")).unwrap();
            let other = match replaces_server {
                true => {
                    server.kill();
                    server = RunningServer::on_socket(&model);
                    start!(server.config()).unwrap()
                }
                false => {
                    wait!(first.thread_archive(thread.id())).unwrap();
                    wait!(first.thread_unarchive(thread.id())).unwrap();
                    first
                }
            };
            let theirs = wait!(other.thread_resume(thread.id()).send()).unwrap();
            wait!(theirs.run("two")).unwrap();
            let again = codex.thread_resume(thread.id()).config("shell_environment_policy.set", value);
            for error in [wait!(thread.run("three")).unwrap_err(), wait!(again.send()).map(drop).unwrap_err()] {
                assert_eq!((error.kind(), error.thread_id()), (ErrorKind::OptionNotApplied, Some(thread.id())));
                assert!(error.to_string().contains("`shell_environment_policy.set`"), "{error}");
            }
            let runs = |text: &'static str| {
                model.reply_when(has_user_text(text), ModelToolCall::exec_command("echo NAMED=$NAMED"));
            };
            let printed = || model.last_request().unwrap().last_output().unwrap().to_owned();
            // A handle that does not name the entry takes the thread as it is.
            let plain = wait!(codex.thread_resume(thread.id()).send()).unwrap();
            runs("four");
            wait!(plain.run("four")).unwrap();
            assert!(!printed().contains("NAMED=yes"), "{}", printed());
            // The server loads the thread again when no other client has subscribed to it.
            wait!(theirs.unsubscribe()).unwrap();
            runs("five");
            wait!(thread.run("five")).unwrap();
            assert!(printed().contains("NAMED=yes"), "{}", printed());
            wait!(codex.close()).unwrap();
            wait!(other.close()).unwrap();
        }
    }

    fn a_turn_does_not_join_a_turn_of_another_client_that_may_do_more(start, wait) {
        let model = Model::start();
        let server = RunningServer::on_socket(&model);
        let (codex, other) = (start!(server.config()).unwrap(), start!(server.config()).unwrap());
        for sandboxed in [true, false] {
            model.reply("ready");
            let thread = wait!(model.sandboxed(codex.thread_start(), Sandbox::ReadOnly).send()).unwrap();
            wait!(thread.run("one")).unwrap();
            let of_other = wait!(other.thread_resume(thread.id()).send()).unwrap();
            let mut events = thread.events();
            let gate = model.gate();
            model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
            let running = wait!(of_other.turn("two").sandbox(Sandbox::FullAccess).send()).unwrap();
            while !matches!(wait!(events.next()).unwrap().unwrap(), Event::Notification(Notification::TurnStarted(_))) {}
            let turn = thread.turn("three");
            let error = wait!(if sandboxed { turn.sandbox(Sandbox::ReadOnly) } else { turn }.send()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::OptionNotApplied, "{error}");
            assert!(error.to_string().contains("`sandbox`"), "{error}");
            // A turn with the sandbox of the running one joins it. The model has its request, so that this input makes another one.
            gate.wait_reached().unwrap();
            model.reply("done");
            let joined = wait!(thread.turn("four").sandbox(Sandbox::FullAccess).send()).unwrap();
            assert_eq!(joined.id(), running.id());
            gate.release();
            assert_eq!(wait!(running.run()).unwrap().turn.status, TurnStatus::Completed);
            assert!(!model.requests().iter().any(|request| request.user_texts().contains(&"three")));
        }
        wait!(codex.close()).unwrap();
        wait!(other.close()).unwrap();
    }

    // The client does not receive the start of the running turn.
    fn a_turn_that_names_a_narrower_sandbox_does_not_join_one_that_began_before_its_client_subscribed(start, wait) {
        for cuts in [false, true] {
            let model = Model::start();
            let server = RunningServer::on_socket(&model);
            let (other, proxy) = (start!(server.config()).unwrap(), FaultyProxy::to_socket(server.socket()).unwrap());
            model.reply("ready");
            let theirs = wait!(model.sandboxed(other.thread_start(), Sandbox::FullAccess).send()).unwrap();
            wait!(theirs.run("one")).unwrap();
            let codex = start!(CodexConfig::new().connect(Endpoint::unix(proxy.socket()))).unwrap();
            let opened = if cuts { Some(wait!(codex.thread_resume(theirs.id()).send()).unwrap()) } else { None };
            proxy.plan(Plan::new().at(Place::method(Flow::ToClient, "turn/started"), Fault::Cut));
            let gate = model.gate();
            model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
            let running = wait!(theirs.turn("two").send()).unwrap();
            gate.wait_reached().unwrap();
            let thread = match opened {
                Some(thread) => thread,
                None => wait!(codex.thread_resume(theirs.id()).send()).unwrap(),
            };
            let error = wait!(thread.turn("three").sandbox(Sandbox::ReadOnly).send()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::OptionNotApplied, "{error}");
            gate.release();
            // The input was not sent.
            assert_eq!(wait!(running.run()).unwrap().final_response.as_deref(), Some("hello"));
            model.reply("done");
            wait!(thread.turn("four").sandbox(Sandbox::ReadOnly).run()).unwrap();
            assert!(!model.last_request().unwrap().user_texts().contains(&"three"));
            wait!(codex.close()).unwrap();
            wait!(other.close()).unwrap();
        }
    }

    fn a_turn_that_has_joined_one_of_another_client_unknowingly_fails_if_that_may_do_more(start, wait) {
        for (wide, named, fails) in [(true, true, true), (true, false, true), (false, false, false)] {
            let model = Model::start();
            let server = RunningServer::on_socket(&model);
            let (other, proxy) = (start!(server.config()).unwrap(), Arc::new(FaultyProxy::to_socket(server.socket()).unwrap()));
            model.reply("ready");
            let theirs = wait!(model.sandboxed(other.thread_start(), Sandbox::ReadOnly).send()).unwrap();
            wait!(theirs.run("one")).unwrap();
            // The client does not see the turn of the other one before it has sent its own start.
            let sent = Place::method(Flow::ToServer, "turn/start").after();
            let started = Place::method(Flow::ToClient, "turn/started");
            proxy.plan(Plan::new().at(started, Fault::Stall).at(sent, Fault::Delay(Duration::ZERO)));
            let codex = start!(CodexConfig::new().connect(Endpoint::unix(proxy.socket()))).unwrap();
            let thread = wait!(codex.thread_resume(theirs.id()).send()).unwrap();
            let gate = model.gate();
            model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
            let turn = theirs.turn("two");
            let turn = if wide { turn.sandbox(Sandbox::FullAccess) } else { turn };
            let running = wait!(turn.send()).unwrap();
            let mut stream = running.stream();
            while !matches!(wait!(stream.next()).unwrap().unwrap(), Notification::AgentMessageDelta(_)) {}
            let resumed = std::thread::spawn({
                let proxy = proxy.clone();
                move || proxy.wait_faults(2).map(|()| proxy.resume())
            });
            if !fails {
                // The runtime can read the input before the model has said all.
                model.reply("done");
            }
            let turn = thread.turn("three");
            let turn = if named { turn.sandbox(Sandbox::ReadOnly) } else { turn };
            let joined = wait!(turn.send());
            resumed.join().unwrap().unwrap();
            if fails {
                assert_eq!(joined.unwrap_err().kind(), ErrorKind::OptionNotApplied);
                let theirs = wait!(running.run()).unwrap();
                assert_eq!(theirs.turn.status, TurnStatus::Interrupted);
            } else {
                let joined = joined.unwrap();
                assert_eq!(joined.id(), running.id());
                gate.release();
                assert_eq!(wait!(joined.run()).unwrap().final_response.as_deref(), Some("done"));
            }
            drop((stream, gate));
            wait!(codex.close()).unwrap();
            wait!(other.close()).unwrap();
        }
    }

    fn a_turn_that_is_dropped_right_before_its_client_ends_at_the_server(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        // The interrupt can come before the request.
        model.fallback(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let server = RunningServer::on_socket(&model);
        let other = start!(server.config()).unwrap();
        let mut events = other.events();
        for closes in [true, false] {
            model.reply("ready");
            let codex = start!(server.config()).unwrap();
            let thread = wait!(codex.thread_start().send()).unwrap();
            wait!(thread.run("one")).unwrap();
            let seen = wait!(other.thread_resume(thread.id()).send()).unwrap();
            drop(wait!(thread.turn("go").interrupt_on_drop(true).send()).unwrap());
            drop(thread);
            if closes {
                wait!(codex.close()).unwrap();
            }
            drop(codex);
            let status = loop {
                if let Event::Notification(Notification::TurnCompleted(done)) = wait!(events.next()).unwrap().unwrap() {
                    break done.turn.status;
                }
            };
            assert_eq!(status, TurnStatus::Interrupted, "closes: {closes}");
            drop(seen);
        }
        wait!(other.close()).unwrap();
    }

    fn a_dropped_client_leaves_the_server_running(start, wait) {
        let model = Model::start();
        let mut server = RunningServer::on_socket(&model);
        drop(start!(server.config()).unwrap());
        let codex = start!(server.config()).unwrap();
        assert!(server.is_running());
        wait!(codex.close()).unwrap();
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

    fn a_clients_own_turn_is_declined_without_a_handler(start, wait) {
        let model = Model::start();
        let server = RunningServer::on_socket(&model);
        let touched = model.folder().join("touched");
        model.reply(ModelToolCall::exec_command(format!("touch {}", touched.display())).escalate("I need to write"));
        model.reply("done");
        // With a handler the runtime asks the client, and this one passes.
        let codex = start!(server.config().on_command_approval(|_| Reply::<Decision>::pass())).unwrap();
        let options = codex.thread_start().cwd(model.folder().display().to_string());
        let thread = wait!(options.sandbox(SandboxMode::ReadOnly).send()).unwrap();
        let result = wait!(thread.run("go")).unwrap();
        assert_eq!(result.final_response.as_deref(), Some("done"));
        assert!(!touched.exists());
        wait!(codex.close()).unwrap();
    }

    fn a_request_about_another_clients_turn_is_left_to_that_client(start, wait) {
        let model = Model::start();
        let server = RunningServer::on_socket(&model);
        let touched = model.folder().join("touched");
        model.reply("first");
        model.reply(ModelToolCall::exec_command(format!("touch {}", touched.display())).escalate("I need to write"));
        model.reply("done");
        let (asked, decide) = (std::sync::mpsc::channel(), std::sync::mpsc::channel::<()>());
        let (tell, decided) = (asked.0, std::sync::Mutex::new(decide.1));
        let owner = start!(server.config().on_command_approval(move |_| {
            tell.send(()).unwrap();
            decided.lock().unwrap().recv().unwrap();
            Decision::Accept
        }))
        .unwrap();
        let options = owner.thread_start().cwd(model.folder().display().to_string());
        let thread = wait!(options.sandbox(SandboxMode::ReadOnly).send()).unwrap();
        // Older runtimes resume a thread only after its first turn.
        wait!(thread.run("one")).unwrap();
        let other = start!(server.config()).unwrap();
        let mut events = other.events();
        wait!(other.thread_resume(thread.id()).send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        asked.1.recv().unwrap();
        let left = loop {
            match wait!(events.next()).unwrap().unwrap() {
                Event::LeftUnanswered { method, turn_id, .. } => break (method, turn_id),
                Event::AnsweredByDefault { method, .. } => panic!("{method} is answered"),
                _ => {}
            }
        };
        assert_eq!(left, ("item/commandExecution/requestApproval".into(), Some(turn.id().to_owned())));
        decide.0.send(()).unwrap();
        let result = wait!(turn.run()).unwrap();
        assert_eq!(result.turn.status, TurnStatus::Completed);
        assert!(touched.exists(), "the owner's decision counts");
        wait!(other.close()).unwrap();
        wait!(owner.close()).unwrap();
    }
}

/// The ids of the processes whose command line contains a text.
#[cfg(target_os = "linux")]
fn servers(model: &Model) -> Vec<u32> {
    let is_server = |id: &u32| {
        let command = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        command.windows(10).any(|part| part == b"app-server")
    };
    model.trace.processes().into_iter().filter(is_server).collect()
}

/// Ends a server. Old runtimes take long to end by themselves.
#[cfg(target_os = "linux")]
fn kill(id: u32) {
    assert!(Command::new("kill").arg("-KILL").arg(id.to_string()).status().unwrap().success());
}

#[cfg(target_os = "linux")]
with_both_clients! {
    fn a_server_starts_at_the_control_socket_and_outlives_its_clients(start, wait) {
        let model = Model::start();
        let config = || model.config().connect(Endpoint::control_socket().or_start());
        let codex = start!(config()).unwrap();
        assert_eq!(codex.runtime_pid(), None);
        wait!(codex.close()).unwrap();
        let [server] = servers(&model)[..] else { panic!("{:?}", servers(&model)) };
        // It is found, also without the permission to start one.
        let config = model.env().into_iter().fold(CodexConfig::new(), |config, (name, value)| config.env(name, value));
        let codex = start!(config.connect(Endpoint::control_socket())).unwrap();
        assert_eq!(servers(&model), [server]);
        model.reply("hello");
        let thread = wait!(codex.thread_start().send()).unwrap();
        assert_eq!(wait!(thread.run("go")).unwrap().final_response.as_deref(), Some("hello"));
        wait!(codex.close()).unwrap();
        kill(server);
    }

    fn a_server_that_cannot_start_is_an_error_with_its_output(start, wait) {
        let model = Model::start();
        let config = model.config().launch_args_override(["sh", "-c", "echo the disk is full >&2; exit 3"]);
        let error = start!(config.connect(Endpoint::unix(model.folder().join("s")).or_start())).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Spawn);
        let text = error.to_string();
        assert!(text.contains("exit status: 3") && text.contains("the disk is full"), "{text}");
    }

    fn a_server_that_never_listens_is_ended_and_is_an_error_with_its_output(start, wait) {
        let model = Model::start();
        let socket = model.folder().join("s");
        // The limit includes the start of the program, which takes a busy machine longer.
        let mut limit = Duration::from_secs(1);
        let text = loop {
            let config = model.config().launch_args_override(["sh", "-c", "echo waiting as $$ >&2; exec sleep 600"]);
            let config = config.start_timeout(limit).connect(Endpoint::unix(&socket).or_start());
            let error = start!(config).err().unwrap();
            let text = error.to_string();
            if error.kind() == ErrorKind::Spawn && text.contains("waiting as") {
                break text;
            }
            limit *= 2;
        };
        assert!(text.contains("did not listen"), "{text}");
        let log = std::fs::read_to_string(model.folder().join("s.log")).unwrap();
        let pid = log.split_whitespace().last().unwrap();
        assert!(!std::path::Path::new("/proc").join(pid).exists(), "{log}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn clients_that_start_at_once_share_one_server() {
    crate::support::bounded(|| {
        let model = Model::start();
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let config = model.config().connect(Endpoint::unix(model.folder().join("s")).or_start());
                std::thread::spawn(move || openai_codex::Codex::with_config(config))
            })
            .collect();
        let clients: Vec<_> = clients.into_iter().map(|client| client.join().unwrap().unwrap()).collect();
        let [server] = servers(&model)[..] else { panic!("{:?}", servers(&model)) };
        for client in clients {
            client.close().unwrap();
        }
        kill(server);
    });
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

//! The proxy between a client and a server, without either of the two: plain sockets that speak a little WebSocket.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use openai_codex_testkit::proxy::{Fault, FaultyProxy, Flow, Place, Plan};
use tempfile::TempDir;

const HEAD: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

/// A message as one frame without a mask.
fn message(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, u8::try_from(text.len()).unwrap()];
    frame.extend(text.as_bytes());
    frame
}

fn first() -> Vec<u8> {
    message(r#"{"id":1,"method":"a"}"#)
}

fn second() -> Vec<u8> {
    message(r#"{"id":2,"method":"b"}"#)
}

/// A server, a proxy with a plan for the first connection, and that connection.
struct Setup {
    proxy: FaultyProxy,
    client: UnixStream,
    server: UnixStream,
    _folder: TempDir,
}

fn connect(plan: Plan) -> Setup {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server");
    let listener = UnixListener::bind(&path).unwrap();
    let proxy = FaultyProxy::to_socket(path).unwrap();
    proxy.plan(plan);
    let client = UnixStream::connect(proxy.socket()).unwrap();
    let server = listener.accept().unwrap().0;
    for end in [&client, &server] {
        end.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    }
    Setup { proxy, client, server, _folder: folder }
}

/// Everything until the end.
fn rest(mut stream: &UnixStream) -> Vec<u8> {
    let mut read = Vec::new();
    stream.read_to_end(&mut read).unwrap();
    read
}

fn exactly(mut stream: &UnixStream, expected: &[u8]) {
    let mut read = vec![0; expected.len()];
    stream.read_exact(&mut read).unwrap();
    assert_eq!(read, expected);
}

#[test]
fn everything_passes_without_a_plan() {
    let Setup { proxy, mut client, mut server, .. } = connect(Plan::new());
    let sent = [HEAD, &first(), &second(), &[0x81]].concat();
    client.write_all(&sent).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(rest(&server), sent, "also half a message at the end");
    server.write_all(&sent).unwrap();
    drop(server);
    assert_eq!(rest(&client), sent);
    assert_eq!((proxy.connections(), proxy.faults()), (1, 0));
}

#[test]
fn a_connection_is_cut_at_each_kind_of_place() {
    let (first, second) = (first(), second());
    let to_server = Flow::ToServer;
    for (place, passed) in [
        (Place::byte(to_server, 5), &HEAD[..5].to_vec()),
        (Place::byte(to_server, 0), &Vec::new()),
        (Place::message(to_server, 1), &HEAD.to_vec()),
        (Place::message(to_server, 1).inside(), &[HEAD, &first[..first.len() / 2]].concat()),
        (Place::message(to_server, 1).after(), &[HEAD, &first].concat()),
        (Place::method(to_server, "b"), &[HEAD, &first].concat()),
        (Place::method(to_server, "b").inside(), &[HEAD, &first, &second[..second.len() / 2]].concat()),
        (Place::method(to_server, "b").after(), &[HEAD, &first, &second].concat()),
        (Place::byte(to_server, 30), &[HEAD, &first].concat()[..30].to_vec()),
    ] {
        let Setup { proxy, mut client, server, .. } = connect(Plan::new().at(place.clone(), Fault::Cut));
        client.write_all(&[HEAD, &first, &second, &message("more")].concat()).unwrap();
        assert_eq!(rest(&server), *passed, "{place:?}");
        assert!(rest(&client).is_empty(), "{place:?}");
        proxy.wait_faults(1).unwrap();
    }
}

#[test]
fn a_place_is_in_one_direction_and_a_plan_for_one_connection() {
    let plan = Plan::new().at(Place::message(Flow::ToClient, 2), Fault::Cut);
    let Setup { proxy, mut client, mut server, .. } = connect(plan);
    client.write_all(&[HEAD, &first(), &second()].concat()).unwrap();
    exactly(&server, &[HEAD, &first(), &second()].concat());
    server.write_all(&[HEAD, &first(), &second()].concat()).unwrap();
    assert_eq!(rest(&client), [HEAD, &first()].concat());

    let mut again = TcpStream::connect(proxy.url().trim_start_matches("ws://")).unwrap();
    again.write_all(HEAD).unwrap();
    assert_eq!(proxy.faults(), 1);
}

#[test]
fn a_swallowed_connection_stays_open_in_both_directions() {
    let plan = Plan::new().at(Place::method(Flow::ToServer, "b"), Fault::Swallow);
    let Setup { proxy, mut client, mut server, .. } = connect(plan);
    client.write_all(&[HEAD, &first(), &second(), &message("more")].concat()).unwrap();
    exactly(&server, &[HEAD, &first()].concat());
    proxy.wait_faults(1).unwrap();
    server.write_all(&[HEAD, &first()].concat()).unwrap();
    for end in [&client, &server] {
        end.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let error = (&*end).read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    }
    proxy.cut();
    client.set_read_timeout(None).unwrap();
    assert!(rest(&client).is_empty());
}

#[test]
fn a_stalled_direction_goes_on_when_the_test_says_so() {
    let plan = Plan::new().at(Place::message(Flow::ToClient, 1), Fault::Stall);
    let Setup { proxy, mut client, mut server, .. } = connect(plan);
    server.write_all(&[HEAD, &first()].concat()).unwrap();
    exactly(&client, HEAD);
    proxy.wait_faults(1).unwrap();
    // The other direction is not stalled.
    client.write_all(HEAD).unwrap();
    exactly(&server, HEAD);
    proxy.resume();
    exactly(&client, &first());
}

#[test]
fn a_delayed_message_comes_later() {
    let plan = Plan::new().at(Place::message(Flow::ToServer, 1), Fault::Delay(Duration::from_millis(50)));
    let Setup { proxy: _proxy, mut client, server, .. } = connect(plan);
    let begin = Instant::now();
    client.write_all(&[HEAD, &first()].concat()).unwrap();
    exactly(&server, &[HEAD, &first()].concat());
    assert!(begin.elapsed() >= Duration::from_millis(50));
}

#[test]
fn a_server_that_is_gone_closes_the_clients_end() {
    let proxy = FaultyProxy::to_socket("/no/such/socket").unwrap();
    assert!(rest(&UnixStream::connect(proxy.socket()).unwrap()).is_empty());
}

//! Takes connections.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

/// The pause after a failure of the system, such as too many open files. The next attempt would fail at once.
const PAUSE: Duration = Duration::from_millis(100);

/// Waits for a connection.
pub(crate) async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            // The failure of one connection.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
                ) => {}
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

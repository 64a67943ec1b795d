//! The error that says why a connection has ended.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::background::Boxed;
use crate::error::{Error, ErrorKind};
use crate::io::connector::Process;
use crate::io::shared::Shared;
use crate::process::reap;
use crate::process::stderr::StderrTail;

/// How long a lost connection waits for its explanation: the exit status and the end of standard error.
pub(crate) const EXPLANATION_TIMEOUT: Duration = Duration::from_millis(500);

/// Why reading or writing has ended.
pub(crate) enum CloseReason {
    OutputClosed,
    ReadFailed(io::Error),
    WriteFailed(io::Error),
    /// Before the response to `initialize`, the server wrote a line that no Codex runtime writes.
    NotCodex(String),
}

/// Builds the error of a lost connection.
pub(crate) fn explain<'a>(
    shared: &'a Shared,
    why: &'a CloseReason,
    process: Option<&'a mut Process>,
    logging: Option<JoinHandle<()>>,
    tail: &'a StderrTail,
) -> Boxed<'a, Error> {
    Box::pin(async move {
        let what = match why {
            CloseReason::OutputClosed => "closed its output".to_owned(),
            CloseReason::ReadFailed(error) => format!("cannot be read from: {error}"),
            CloseReason::WriteFailed(error) => format!("no longer reads: {error}"),
            CloseReason::NotCodex(line) => {
                format!("does not speak the app-server protocol: it wrote {line:?}")
            }
        };
        let Some(process) = process else {
            let what = match (&shared.shared_server, why) {
                (None, _) => format!("the server {what}"),
                (Some(name), CloseReason::OutputClosed) => {
                    format!("the server at {name} has closed the connection")
                }
                (Some(name), CloseReason::ReadFailed(error) | CloseReason::WriteFailed(error)) => {
                    format!("the connection to the server at {name} is lost: {error}")
                }
                (Some(name), CloseReason::NotCodex(_)) => format!("the server at {name} {what}"),
            };
            return Error::new(lost_kind(shared), what + &shared.preamble.quote());
        };
        let role = process.role;
        let program = process.program.display();
        let mut message = match why {
            CloseReason::NotCodex(_) => format!("the program {program} {what}"),
            _ => match timeout(EXPLANATION_TIMEOUT, process.child.wait()).await {
                Ok(Ok(status)) => format!("the {role} {program} has ended ({status})"),
                Ok(Err(error)) if reap::is_reaped_elsewhere(&error) => {
                    format!(
                        "the {role} {program} has ended (this program has taken its exit status elsewhere)"
                    )
                }
                _ => format!("the {role} {program} {what}"),
            },
        };
        if let Some(logging) = logging {
            // A grandchild can hold the pipe open, so the wait has a timeout.
            let _ = timeout(EXPLANATION_TIMEOUT, logging).await;
        }
        let contended = !shared.greeted.load(Ordering::Acquire) && tail.reports_contended_home();
        if contended {
            message.push_str(
            " before it responded to `initialize`, because it could not create its databases: another runtime was creating \
             them at the same time, or the folder is not writable. Try again; if that does not help, check the folder's \
             permissions",
        );
        } else if !shared.greeted.load(Ordering::Acquire) {
            message.push_str(
            " before it responded to `initialize`; check that it is a Codex runtime and that its arguments and \
             configuration are right",
        );
        }
        message.push_str(&shared.preamble.quote());
        let quote = tail.quote();
        let quote = shared.secrets.redact_text(&quote).unwrap_or(quote);
        if !quote.is_empty() {
            message.push_str("; stderr_tail=");
            message.push_str(&quote);
        }
        let error = Error::new(lost_kind(shared), message);
        if contended { error.with_home_contended() } else { error }
    })
}

fn lost_kind(shared: &Shared) -> ErrorKind {
    if shared.greeted.load(Ordering::Acquire) { ErrorKind::TransportClosed } else { ErrorKind::Handshake }
}

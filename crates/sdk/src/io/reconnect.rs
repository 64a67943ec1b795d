//! Replaces a lost transport, and restores what the client holds on the server.
//!
//! `connection/lifecycle.rs` decides when. The driver carries it out here. The router stays, and with it the handles, the streams and
//! the calls that wait.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openai_codex_protocol::{ClientRequest, client_notifications, methods};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::background::until;
use crate::codec::frame;
use crate::connection::intent::Intent;
use crate::connection::lifecycle::{Lifecycle, Step};
use crate::connection::loss::Repeated;
use crate::error::{Error, ErrorKind, Result};
use crate::io::connector::{NewTransport, Reconnect};
use crate::io::diagnosis::CloseReason;
use crate::io::link::{Link, LinkContext};
use crate::io::observers::Observed;
use crate::io::request::ClientNotification;
use crate::io::resumes::{Resumes, call};
use crate::io::shared::{Message, OutgoingRequest, Shared};
use crate::options::attempts::Attempt;
use crate::select::select;

/// Replaces a lost transport. Returns the new one, with which everything is restored that something waits for, or soon is. The error
/// ends the connection; without one, the client closes it.
pub(crate) async fn replace(
    context: &LinkContext,
    reconnect: &Reconnect,
    lifecycle: &mut Lifecycle,
) -> Result<Link, Option<Error>> {
    let shared = &context.shared;
    let mut closing = context.closing.clone();
    loop {
        let now = Instant::now();
        let Attempt { number, pause, reason } = match lifecycle.proceed(now.into_std(), fastrand::f64) {
            Step::Attempt(attempt) => attempt,
            Step::End(error) => return Err(Some(error)),
            Step::Nothing => return Err(None),
        };
        shared.hub.announce(&Observed::Reconnecting { attempt: number, pause, reason });
        let due = now.checked_add(pause);
        let waiting = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        select! {
            () = waiting => {},
            () = closed(&mut closing) => break,
        }
        lifecycle.handle_time(due.map_or(now, |due| due.max(Instant::now())).into_std());
        let opening = timeout(reconnect.attempt_timeout, reconnect.connector.open());
        let opened = select! {
            opened = opening => opened.unwrap_or_else(|_| Err(too_slow(shared, reconnect.attempt_timeout))),
            () = closed(&mut closing) => break,
        };
        let NewTransport { transport, process, is_other_server } = match opened {
            Ok(opened) => opened,
            Err(error) => {
                let refused = matches!(error.kind(), ErrorKind::AccessDenied | ErrorKind::InvalidConfig);
                lifecycle.handle_loss(&error, refused, Instant::now().into_std());
                continue;
            }
        };
        if is_other_server {
            shared.route(|router| router.note_other_server(None));
            shared.threads.server_replaced();
        }
        let mut link = Link::start(context, transport, process, false);
        let (reason, error) = select! {
            restored = restore(shared, reconnect, lifecycle) => match restored {
                Ok(restoring) => {
                    link.open(restoring);
                    shared.is_live.store(true, Ordering::Release);
                    let attempt = lifecycle.handle_restored().unwrap_or(number);
                    shared.hub.announce(&Observed::Reconnected { attempt });
                    return Ok(link);
                }
                Err(error) => (None, Some(error)),
            },
            ended = link.ended(&mut closing) => (ended, None),
        };
        link.stop_writing().await;
        link.stop_reading().await;
        let error = match (&reason, error) {
            (_, Some(error)) => error,
            (Some(reason), None) => link.explain(shared, reason).await,
            (None, None) => {
                context.end_process(link.process);
                break;
            }
        };
        context.end_process(link.process);
        let refused = matches!(reason, Some(CloseReason::NotCodex(_)));
        lifecycle.handle_loss(&error, refused, Instant::now().into_std());
        lose(context, &error).await;
    }
    lifecycle.close();
    Err(None)
}

async fn closed(closing: &mut watch::Receiver<bool>) {
    until(closing, |closing| *closing).await;
}

fn too_slow(shared: &Shared, limit: Duration) -> Error {
    let name = shared.shared_server.as_deref().unwrap_or("the server");
    let message = format!("the client could not connect to {name} within {limit:?}");
    Error::new(ErrorKind::ConnectFailed, message)
}

/// Handles the loss of a transport whose reader and writer have ended.
pub(crate) async fn lose(context: &LinkContext, error: &Error) {
    let shared = &context.shared;
    shared.is_live.store(false, Ordering::Release);
    shared.greeted.store(false, Ordering::Release);
    shared.threads.connection_lost();
    let repeated = shared.route(|router| {
        let repeated = router.handle_loss(error);
        shared.transport.store(router.transport(), Ordering::Release);
        repeated
    });
    let mut queue = context.queue.lock().await;
    for Repeated { id, slot, frame } in repeated.into_iter().rev() {
        let request = OutgoingRequest { id, slot, restores: false };
        queue.held.push_front((Message::Request(request), frame));
    }
}

/// Does the handshake, and restores what something waits for. Returns the task that restores the rest.
async fn restore(
    shared: &Arc<Shared>,
    reconnect: &Reconnect,
    lifecycle: &mut Lifecycle,
) -> Result<JoinSet<()>> {
    let limit = reconnect.attempt_timeout;
    let method = methods::Initialize::METHOD;
    let initialized = call(shared, method, &reconnect.initialize, None, Some(limit), Intent::Plain).await?;
    let method = <client_notifications::Initialized as openai_codex_protocol::ClientNotification>::METHOD;
    shared.send_now(frame(&ClientNotification { method, params: None }));
    lifecycle.handle_greeting();
    let resumes = Resumes::new(shared, initialized, reconnect.policy, limit).await?;
    Ok(resumes.begin().await)
}

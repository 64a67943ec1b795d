//! Compacts a thread, as a turn with a handle.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use openai_codex_protocol::types::ThreadCompactStartParams;
use openai_codex_protocol::{ClientRequest, methods};

use crate::codec::encode;
use crate::error::{Error, ErrorKind, Result};
use crate::io::turn_subscription::TurnSubscription;
use crate::session::runtime::INTERRUPT_LIMIT;
use crate::session::supervisor::ClientCore;
use crate::session::thread_state::ThreadState;
use crate::turn::guard::TurnGuard;
use crate::turn::handles::AsyncTurnHandle;

/// Requests a compaction and waits until its turn has started. The response comes at once, and does not name the turn.
pub(crate) async fn compact(core: &Arc<ClientCore>, thread: &Arc<ThreadState>) -> Result<AsyncTurnHandle> {
    const METHOD: &str = methods::ThreadCompactStart::METHOD;
    let thread_id = &thread.id;
    let params = encode(METHOD, &ThreadCompactStartParams::new(&**thread_id))?.unwrap_or_default();
    let mut attempt = 0;
    let (session, subscription, guard) = loop {
        let session = thread.session_for_turn(core).await?;
        // Runtime 0.163.0 interrupts the compaction too if it interrupts a turn that the compaction waits for.
        let response_limit = session.timeout_of(METHOD);
        session.connection.wait_until_given_up(thread_id, response_limit, INTERRUPT_LIMIT).await;
        let subscription = TurnSubscription::new(thread_id.clone(), true, &session.connection.budget);
        let subscription = Arc::new(subscription);
        let guard = TurnGuard::new(session.clone(), subscription.clone());
        guard.set_interrupt_on_drop(false);
        attempt += 1;
        match session.start_compaction(&params, &subscription)?.await {
            Ok(_) => break (session, subscription, guard),
            Err(error) if attempt == 1 && thread.can_retry_after_resume(&session, &error) => {}
            Err(error) => return Err(error),
        }
    };
    let timeout = session.timeout_of(METHOD);
    let mut timer = timeout.map(|timeout| (timeout, session.connection.sleep(timeout)));
    let mut wait = subscription.wait();
    let turn_id = poll_fn(|context| {
        let turn_id = wait.poll_turn_id(context);
        match &mut timer {
            Some((timeout, timer)) if turn_id.is_pending() => Pin::new(timer).poll(context).map(|()| {
                let message = format!(
                    "the compaction has not started within {timeout:?}; it may still start, so wait before the next call"
                );
                Err(Error::new(ErrorKind::Timeout, message))
            }),
            _ => turn_id,
        }
    });
    let turn_id = turn_id.await.map_err(|error| error.with_method(METHOD).with_thread(Some(thread_id)))?;
    Ok(AsyncTurnHandle::new(guard, turn_id, core.clone(), thread.clone()))
}

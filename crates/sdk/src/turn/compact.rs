//! Compacting a thread, as a turn that can be followed.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use openai_codex_protocol::types::ThreadCompactStartParams;
use openai_codex_protocol::{ClientRequest, methods};

use crate::codec::encode;
use crate::error::{Error, ErrorKind, Result};
use crate::session::supervisor::ClientCore;
use crate::session::thread_state::ThreadState;
use crate::turn::guard::TurnGuard;
use crate::turn::handles::AsyncTurnHandle;

/// Asks for a compaction and waits until its turn has started. The answer, which comes at once, does not name it.
pub(crate) async fn compact(core: &Arc<ClientCore>, thread: &Arc<ThreadState>) -> Result<AsyncTurnHandle> {
    const METHOD: &str = methods::ThreadCompactStart::METHOD;
    let thread_id = &thread.id;
    let params = encode(METHOD, &ThreadCompactStartParams::new(&**thread_id))?.unwrap_or_default();
    let mut attempt = 0;
    let (session, log, guard) = loop {
        let session = thread.session_for_a_turn(core).await?;
        let log = Arc::new(session.connection.new_subscription(thread_id.clone(), true));
        let guard = TurnGuard::new(session.clone(), log.clone());
        guard.set_interrupt_on_drop(false);
        attempt += 1;
        match session.start_compaction(&params, &log)?.await {
            Ok(_) => break (session, log, guard),
            Err(error) if attempt == 1 && thread.is_to_be_resumed(&error) => {}
            Err(error) => return Err(error),
        }
    };
    let timeout = session.timeout_of(METHOD);
    let mut time = timeout.map(|timeout| (timeout, session.connection.sleep(timeout)));
    let mut wait = log.wait();
    let turn_id = poll_fn(|context| {
        let turn_id = wait.poll_turn_id(context);
        match &mut time {
            Some((timeout, time)) if turn_id.is_pending() => Pin::new(time).poll(context).map(|()| {
                let message = format!("the compaction has not started within {timeout:?}");
                Err(Error::new(ErrorKind::Timeout, message))
            }),
            _ => turn_id,
        }
    });
    let turn_id = turn_id.await.map_err(|error| error.with_method(METHOD).with_thread(Some(thread_id)))?;
    Ok(AsyncTurnHandle::new(guard, turn_id, core.clone(), thread.clone()))
}

//! What a close does about interrupts that are not carried out yet.
//!
//! A server that runs by itself would go on with their turns after a close. So the connection ends when they are carried out, or soon.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openai_codex_protocol::{ClientRequest, methods};
use tokio::time::{sleep, timeout};

use crate::background::until;
use crate::error::{Error, ErrorKind};
use crate::io::interruption::report_failure;
use crate::io::shared::Shared;

/// How long a closing connection goes on for interrupts that are not carried out yet.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);
/// How often a closing connection looks for the response to a start whose caller has gone.
const CLOSE_STEP: Duration = Duration::from_millis(5);

/// A thread, and its turn, unless its start has no response yet.
type LeftTurn = (Arc<str>, Option<Arc<str>>);

/// Whether the client interrupts a turn, or will when it receives the response to the start of the turn.
pub(crate) fn any_left(shared: &Shared) -> bool {
    !shared.interrupts.left.borrow().is_empty() || shared.router().has_abandoned_start()
}

/// Notes that a close waits for the interrupts, so that a connection which ends before reports those that are left.
pub(crate) fn begin(shared: &Shared) {
    shared.interrupts.is_closing.store(true, Ordering::Release);
}

/// Waits, for at most some seconds, until the client interrupts no turn any more. Then the connection ends.
pub(crate) async fn finish_all(shared: &Shared) {
    let all = async {
        let mut left = shared.interrupts.left.subscribe();
        while any_left(shared) {
            let _ = timeout(CLOSE_STEP, until(&mut left, Vec::is_empty)).await;
            if shared.router().has_abandoned_start() {
                sleep(CLOSE_STEP).await;
            }
        }
    };
    let _ = timeout(CLOSE_LIMIT, all).await;
}

/// The turns that a connection which is about to end leaves, if a close waits for them.
pub(crate) fn left_by_close(shared: &Shared) -> BTreeSet<LeftTurn> {
    if !shared.interrupts.is_closing.load(Ordering::Acquire) {
        return BTreeSet::new();
    }
    let interrupts = shared.interrupts.left.borrow().clone().into_iter();
    let mut left: BTreeSet<_> = interrupts.map(|(thread_id, turn_id)| (thread_id, Some(turn_id))).collect();
    left.extend(shared.router().abandoned_starts().map(|thread_id| (thread_id, None)));
    left
}

/// Reports what is left when the connection has ended: to observers, and to the call that closes the client.
pub(crate) fn report(shared: &Shared, left: &BTreeSet<LeftTurn>) {
    let mut names = Vec::new();
    for (thread_id, turn_id) in left {
        let Some(turn_id) = turn_id else {
            names.push(format!("a turn of thread {thread_id}"));
            continue;
        };
        let error = unconfirmed(&format!("turn {turn_id}")).with_thread(Some(thread_id));
        report_failure(shared, thread_id, turn_id, &error);
        names.push(format!("turn {turn_id} of thread {thread_id}"));
    }
    if !names.is_empty() {
        let _ = shared.interrupts.unconfirmed.set(unconfirmed(&names.join(", ")));
    }
}

fn unconfirmed(turns: &str) -> Error {
    let message = format!(
        "the client was closed before the server had confirmed the interrupt of {turns}. It, or commands that it has started, \
         may still run: resume its thread with another client, and interrupt it there"
    );
    Error::new(ErrorKind::Timeout, message).with_method(methods::TurnInterrupt::METHOD)
}

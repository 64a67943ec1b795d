//! Sees to it that the settings that a program names hold, or gives an error before anything runs.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use openai_codex_protocol::types::{
    ThreadReadParams, ThreadResumeParams, ThreadSettingsUpdateParams, ThreadStatus,
};
use openai_codex_protocol::{ClientRequest, Notification, methods};

use crate::error::{Error, ErrorKind, Result};
use crate::session::events::{AsyncEvents, Event};
use crate::session::runtime::Session;
use crate::session::supervisor::ClientCore;
use crate::session::thread_settings::{Settings, held};

/// Whether the runtime has a thread loaded, so that it ignores the options of a resume.
pub(crate) async fn is_loaded(session: &Session, thread_id: &str) -> Result<bool> {
    let params = ThreadReadParams::new(thread_id).include_turns(false);
    match session.call::<methods::ThreadRead>(&params, Some(thread_id)).await {
        Ok(read) => Ok(!matches!(read.thread.status, ThreadStatus::NotLoaded(_))),
        // Unknown to it: the resume will say so.
        Err(error) if error.json_rpc().is_some() && !error.is_retryable() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Refuses what a new thread did not get. Nothing can have run in it yet.
pub(crate) fn check_new(session: &Session, thread_id: &str, named: &Settings, held: &Settings) -> Result<()> {
    let why = "the runtime took the request without it; choose what it offers, or leave the option out";
    let differing = named.differences(held, session);
    // The model is named in each request to the service, which has the last word on names.
    match differing.iter().find(|difference| difference.field.option != "model") {
        Some(difference) => Err(difference.error(thread_id, why)),
        None => Ok(()),
    }
}

/// A thread as a resume has found it.
pub(crate) struct ResumedThread {
    pub(crate) held: Settings,
    /// Whether a turn runs in it.
    pub(crate) active: bool,
    /// Whether it has not run any turn. The runtime cannot resume it then, although it is loaded.
    pub(crate) unused: bool,
}

/// Sees to it that what was named holds in a thread that was resumed, before this program runs anything in it. Gives what
/// holds then.
pub(crate) async fn settle(
    core: &Arc<ClientCore>,
    session: &Session,
    thread_id: &Arc<str>,
    named: &Settings,
    found: ResumedThread,
) -> Result<Settings> {
    let ResumedThread { mut held, active, unused } = found;
    let differing = named.differences(&held, session);
    let Some(first) = differing.first() else { return Ok(held) };
    if let Some(fixed) = differing.iter().find(|difference| difference.field.set.is_none()) {
        let why =
            "the runtime has the thread loaded, and cannot change this; fork the thread with the option";
        return Err(fixed.error(thread_id, why));
    }
    if let Some(bound) = differing.iter().find(|difference| active && difference.field.bounds) {
        let why = "a turn is running in the thread and keeps what it began with; interrupt it or wait for its end, and \
                   resume the thread then";
        return Err(bound.error(thread_id, why));
    }
    let update = differing.iter().filter_map(|difference| difference.field.set);
    let update = update.fold(ThreadSettingsUpdateParams::new(&**thread_id), |update, set| set(update, named));
    let events = unused.then(|| AsyncEvents::new(core.clone(), Some(thread_id.clone())));
    let updated = session.call::<methods::ThreadSettingsUpdate>(&update, Some(thread_id)).await;
    if let Err(error) = updated {
        let refused = error.json_rpc().is_some() && !error.is_retryable();
        let why = format!(
            "the runtime had the thread loaded, ignored the option, and refuses to set it now ({error}); fork the thread \
             with the option"
        );
        return Err(if refused { first.error(thread_id, &why).with_source(error) } else { error });
    }
    held.take(named);
    let seen = match events {
        Some(events) => hear(session, thread_id, events).await?,
        None => look(session, thread_id).await?,
    };
    held.take(&seen);
    match named.differences(&held, session).first() {
        None => Ok(held),
        Some(difference) => {
            let why = "the runtime took the change and did not make it; fork the thread with the option";
            Err(difference.error(thread_id, why))
        }
    }
}

/// What holds in a thread that is loaded: the answer to a resume that names nothing.
async fn look(session: &Session, thread_id: &str) -> Result<Settings> {
    let params = ThreadResumeParams::new(thread_id);
    let answer = session.call::<methods::ThreadResume>(&params, Some(thread_id)).await?;
    Ok(held!(answer))
}

/// What holds in a thread after a change, as the server tells those who observe it.
async fn hear(session: &Session, thread_id: &str, mut events: AsyncEvents) -> Result<Settings> {
    const METHOD: &str = methods::ThreadSettingsUpdate::METHOD;
    let mut heard = pin!(async {
        while let Some(event) = events.next().await {
            match event? {
                Event::Notification(Notification::ThreadSettingsUpdated(updated)) => {
                    return Ok(Settings::of_thread(updated.thread_settings));
                }
                Event::RuntimeLost(error) => return Err(error),
                _ => {}
            }
        }
        Err(Error::new(ErrorKind::Closed, "the client was closed"))
    });
    let mut time = session.timeout_of(METHOD).map(|timeout| session.connection.sleep(timeout));
    let heard = poll_fn(|context| match heard.as_mut().poll(context) {
        Poll::Pending if time.as_mut().is_some_and(|time| Pin::new(time).poll(context).is_ready()) => {
            let message =
                "the runtime took the change of the thread's settings, and has not said that it made it";
            Poll::Ready(Err(Error::new(ErrorKind::Timeout, message)))
        }
        heard => heard,
    });
    heard.await.map_err(|error| error.with_method(METHOD).with_thread(Some(thread_id)))
}

/// Refuses options of a turn that would join one that runs, and keeps what it began with.
pub(crate) fn check_joining(
    session: &Session,
    thread_id: &str,
    named: &Settings,
    held: &Settings,
) -> Result<()> {
    match named.differences(held, session).first() {
        None => Ok(()),
        Some(difference) => Err(difference.error(
            thread_id,
            "a turn is running in the thread, which this one would join, and which keeps what it began with; wait for \
             its end or interrupt it, or leave the option out",
        )),
    }
}

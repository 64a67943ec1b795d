//! Applies the settings that a program requests, or fails before a turn runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use openai_codex_protocol::methods;
use openai_codex_protocol::types::{
    Thread, ThreadReadParams, ThreadResumeParams, ThreadSettingsUpdateParams, ThreadStatus,
};

use crate::background::Boxed;
use crate::error::{Error, Result};
use crate::session::added_roots::Keeping;
use crate::session::live_threads::Unsettled;
use crate::session::runtime::Session;
use crate::session::service_tiers::KnownTiers;
use crate::session::supervisor::ClientCore;
use crate::session::thread_settings::{Difference, Settings, current_settings};

/// How long a runtime may take to make a change after its response. Runtime 0.163.0 makes most changes before the next request.
const CHANGE_LIMIT: Duration = Duration::from_secs(2);

/// The pause between two requests while the runtime is making a change.
const PAUSE: Duration = Duration::from_millis(20);

/// Whether the runtime has a thread loaded. It then ignores the options of a resume.
pub(crate) async fn is_loaded(session: &Session, thread_id: &str) -> Result<bool> {
    Ok(read_thread(session, thread_id).await?.is_some_and(|thread| has_loaded(&thread)))
}

pub(crate) fn has_loaded(thread: &Thread) -> bool {
    !matches!(thread.status, ThreadStatus::NotLoaded(_))
}

/// Reads a thread without loading it. `None`: the server does not know it. The resume that follows reports that.
pub(crate) async fn read_thread(session: &Session, thread_id: &str) -> Result<Option<Thread>> {
    let params = ThreadReadParams::new(thread_id).include_turns(false);
    match session.call::<methods::ThreadRead>(&params, Some(thread_id)).await {
        Ok(read) => Ok(Some(read.thread)),
        Err(error) if error.json_rpc().is_some() && !error.is_retryable() => Ok(None),
        Err(error) => Err(error),
    }
}

/// How often `thread/read` has to deny a running turn that the response to a resume claims.
const STATUS_READS: u32 = 3;

/// The pause after each of these reads.
const STATUS_PAUSE: Duration = Duration::from_millis(50);

/// Whether a turn runs in a thread that the runtime has just resumed with this status. After a review, runtime 0.163.0 responds to
/// each resume with the status `active` until the next turn begins. `thread/read` is right then, but can be late when a turn begins.
pub(crate) async fn runs_turn(session: &Session, thread_id: &str, resumed: &ThreadStatus) -> bool {
    if matches!(resumed, ThreadStatus::Active(_)) {
        for _ in 0..STATUS_READS {
            let params = ThreadReadParams::new(thread_id).include_turns(false);
            let read = session.call::<methods::ThreadRead>(&params, Some(thread_id)).await;
            // Without a status to read, the one of the resume counts.
            if read.map_or(true, |read| matches!(read.thread.status, ThreadStatus::Active(_))) {
                return true;
            }
            session.connection.sleep(STATUS_PAUSE).await;
        }
    }
    // Not a turn whose end was not reported, because the client had unsubscribed.
    session.connection.is_starting(thread_id) || !session.connection.running_turns(thread_id).is_empty()
}

/// Fails if a new thread did not get a requested setting. No turn can have run in it yet.
pub(crate) async fn check_new(
    session: &Session,
    thread_id: &str,
    requested: &Settings,
    current: &Settings,
) -> Result<()> {
    let why = "the runtime accepted the request and did not apply the option; choose a value that it offers, or leave \
               the option out";
    let differing = requested.differences(current, session);
    // Each model request names the model, and the service decides whether it knows the name.
    match differing.iter().find(|difference| difference.field.option != "model") {
        Some(difference) => Err(difference.error(thread_id, why)),
        None => requested.check_effort(session, thread_id, current).await,
    }
}

/// A thread as a resume returned it.
pub(crate) struct ResumedThread {
    pub(crate) current: Settings,
    /// Whether a turn is running in it.
    pub(crate) active: bool,
    /// Whether the runtime stores it nowhere, so that it cannot be resumed.
    pub(crate) ephemeral: bool,
    /// What the client knows of its service tiers.
    pub(crate) tiers: KnownTiers,
}

/// Applies the requested settings to a resumed thread, before this program runs a turn in it. Returns the thread's settings
/// after that. The caller keeps the client from starting a turn meanwhile. `named`: those that the call names. The others
/// are the thread's own, to restore.
pub(crate) fn apply_settings<'a>(
    core: &'a Arc<ClientCore>,
    session: &'a Session,
    thread_id: &'a Arc<str>,
    requested: &'a Settings,
    named: &'a Settings,
    resumed: ResumedThread,
) -> Boxed<'a, Result<Settings>> {
    Box::pin(async move {
        let ResumedThread { mut current, active, ephemeral, tiers } = resumed;
        let keeping = Keeping { core, session, thread_id, wanted: requested, named };
        keeping.hide_added_roots(&mut current).await?;
        // A runtime that has forgotten the thread gets its model again.
        let restored = current.clone().with(requested);
        named.check_tiers(session, thread_id, &restored, tiers).await?;
        named.check_effort(session, thread_id, &restored).await?;
        let before = current.clone();
        let differing = requested.differences(&before, session);
        let Some(first) = differing.first() else { return Ok(current) };
        if let Some(fixed) = differing.iter().find(|difference| difference.field.set.is_none()) {
            let why =
                "the runtime cannot change this option of a loaded thread; fork the thread with the option";
            return Err(fixed.error(thread_id, why));
        }
        if let Some(fixed) =
            differing.iter().find(|difference| active && difference.field.fixed_while_running)
        {
            return Err(fixed.error(thread_id, TURN_RUNS));
        }
        let update = differing.iter().filter_map(|difference| difference.field.set);
        let update =
            update.fold(ThreadSettingsUpdateParams::new(&**thread_id), |update, set| set(update, requested));
        // A resume cannot read the settings of an ephemeral thread.
        let unsettled = Unsettled::new(core.live_threads.get(thread_id).filter(|_| !ephemeral));
        let updated = session.call::<methods::ThreadSettingsUpdate>(&update, Some(thread_id)).await;
        if let Err(error) = updated {
            let refused = error.json_rpc().is_some() && !error.is_retryable();
            if !refused {
                return Err(error);
            }
            unsettled.settle();
            let is_named = named.differences(&Settings::default(), session);
            let is_named = is_named.iter().any(|difference| difference.field.option == first.field.option);
            return Err(refusal(core, thread_id, first, is_named, error));
        }
        current.merge(requested);
        let changed = read_kept(session, thread_id, requested, Some(keeping)).await?;
        current.merge(&changed.current);
        let fixed = differing.iter().find(|difference| difference.field.fixed_while_running);
        let begun = match fixed {
            Some(fixed) if runs_turn(session, thread_id, &changed.status).await => Some(fixed),
            _ => None,
        };
        match (requested.differences(&current, session).first(), begun) {
            (None, None) => {
                unsettled.settle();
                Ok(current)
            }
            (None, Some(fixed)) => {
                unsettled.settle();
                core.live_threads.keep_turn_bounds(thread_id, before.bounds());
                Err(fixed.error(thread_id, TURN_BEGAN))
            }
            (Some(difference), _) => {
                let why =
                    "the runtime accepted the change and did not make it; fork the thread with the option";
                Err(difference.error(thread_id, why))
            }
        }
    })
}

const TURN_RUNS: &str = "a turn is running in the thread and keeps the settings that it began with; interrupt it or wait for its \
                         end, and then resume the thread";

const TURN_BEGAN: &str = "the runtime has changed the option, but a turn has begun in the thread meanwhile and may keep the settings \
                          from before: a resume continues the goal of a thread, and other clients start turns; interrupt the turn \
                          or wait for its end, and then resume the thread again";

/// Refuses requested bounds that the running turn does not have.
pub(crate) fn check_running(
    session: &Session,
    thread_id: &str,
    requested: &Settings,
    running: &Settings,
) -> Result<()> {
    let differing = requested.bounds().differences_of_known(running, session);
    differing.first().map_or(Ok(()), |difference| Err(difference.error(thread_id, TURN_RUNS)))
}

/// The error of a setting that the runtime refuses to change. Either the call names the setting, and the runtime has ignored it
/// because it had the thread loaded; or the setting is the thread's own, and the runtime has loaded the thread without it.
fn refusal(
    core: &ClientCore,
    thread_id: &str,
    difference: &Difference,
    is_named: bool,
    error: Error,
) -> Error {
    let advice = match (core.is_experimental(), is_named) {
        (false, _) => "turn on CodexConfig::experimental_api, which the change needs",
        (true, true) => "fork the thread with the option",
        (true, false) => "fork the thread with the option, and use the fork",
    };
    match is_named {
        true => {
            let why = format!(
                "the runtime had the thread loaded and ignored the option, and it refuses to set it ({error}); {advice}"
            );
            difference.error(thread_id, &why)
        }
        false => {
            let why = format!(
                "the runtime has loaded the thread again without this setting, and refuses to restore it ({error}); {advice}"
            );
            difference.error_of_change(thread_id, &why)
        }
    }
    .with_source(error)
}

/// What a loaded thread is like.
pub(crate) struct LoadedThread {
    pub(crate) current: Settings,
    status: ThreadStatus,
}

/// Reads the settings of a loaded thread, from the response to a resume without options.
pub(crate) fn read_settings<'a>(session: &'a Session, thread_id: &'a str) -> Boxed<'a, Result<LoadedThread>> {
    Box::pin(async move {
        let params = ThreadResumeParams::new(thread_id);
        let response = session.call::<methods::ThreadResume>(&params, Some(thread_id)).await?;
        Ok(LoadedThread { status: response.thread.status.clone(), current: current_settings!(response) })
    })
}

/// Reads the settings of a loaded thread after an update, whose response can be faster than the change. A difference from the requested
/// settings counts only if it stays.
pub(crate) fn read_changed<'a>(
    session: &'a Session,
    thread_id: &'a str,
    requested: &'a Settings,
) -> Boxed<'a, Result<LoadedThread>> {
    read_kept(session, thread_id, requested, None)
}

/// The same. `keeping`: the thread keeps requested settings, to which the runtime may add writable roots.
fn read_kept<'a>(
    session: &'a Session,
    thread_id: &'a str,
    requested: &'a Settings,
    keeping: Option<Keeping<'a>>,
) -> Boxed<'a, Result<LoadedThread>> {
    Box::pin(async move {
        let began = Instant::now();
        loop {
            let mut thread = read_settings(session, thread_id).await?;
            if let Some(keeping) = keeping {
                keeping.hide_added_roots(&mut thread.current).await?;
            }
            let is_made = requested.differences_of_known(&thread.current, session).is_empty();
            if is_made || began.elapsed() >= CHANGE_LIMIT {
                return Ok(thread);
            }
            session.connection.sleep(PAUSE).await;
        }
    })
}

/// Refuses a turn that would join the running one with other options: that turn keeps the settings that it began with.
/// `of_handle`: what the handle requests, with the options of this turn.
pub(crate) fn check_joining(
    session: &Session,
    thread_id: &str,
    requested: &Settings,
    of_handle: &Settings,
    current: &Settings,
) -> Result<()> {
    if let Some(difference) = requested.differences(current, session).first() {
        return Err(difference.error(
            thread_id,
            "a turn is running in the thread, and this one would join it. The running turn keeps the settings that it \
             began with; wait for its end or interrupt it, or leave the option out",
        ));
    }
    match of_handle.differences(current, session).first() {
        None => Ok(()),
        Some(difference) => Err(difference.error_of_joining(thread_id)),
    }
}

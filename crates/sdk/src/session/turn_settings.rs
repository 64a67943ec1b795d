//! The settings of a turn: whether it may join the running one, and that they stay with its thread.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use openai_codex_protocol::types::{ApprovalsReviewer, TurnStartParams};
use tokio::sync::{OwnedMutexGuard, OwnedRwLockReadGuard};

use crate::background::Boxed;
use crate::connection::effect::Response;
use crate::error::Result;
use crate::io::tokens::ResponseObserver;
use crate::io::turn_subscription::TurnSubscription;
use crate::session::apply_settings;
use crate::session::approval_scope::makes_requests;
use crate::session::live_threads::LiveThread;
use crate::session::runtime::Session;
use crate::session::subagents;
use crate::session::supervisor::ClientCore;
use crate::session::thread_settings::Settings;
use crate::session::thread_state::ThreadState;
use crate::session::tracked_settings::TrackedSettings;

/// The settings of a turn, which stay with the thread. They count from the moment of sending, because the caller may drop
/// the call before the response. A refusal takes them back, and so does a request that is not sent after all.
///
/// It belongs to the request, and not to the caller's future. The I/O thread drops it with the response, or when the server may
/// never respond.
#[derive(Debug)]
pub(crate) struct TurnSettings {
    requested_settings: Arc<TrackedSettings>,
    live: Arc<LiveThread>,
    subscription: Arc<TurnSubscription>,
    requested_change: u64,
    named_change: u64,
    current_change: u64,
    /// The bounds of a turn that begins now.
    bounds: Settings,
    refused: bool,
    /// Until the response, no call changes the thread's settings, and no other start with settings is pending.
    _guards: StartGuards,
}

/// What a start keeps until its response.
pub(crate) type StartGuards = (OwnedRwLockReadGuard<()>, Option<OwnedMutexGuard<()>>);

impl ResponseObserver for TurnSettings {
    fn observe(mut self: Box<Self>, response: &Response) {
        self.refused = response.as_ref().is_err_and(|error| error.json_rpc().is_some());
    }
}

impl Drop for TurnSettings {
    fn drop(&mut self) {
        let accepted = !self.refused && self.subscription.was_sent();
        self.requested_settings.finish_change(self.requested_change, accepted);
        self.live.named_settings.finish_change(self.named_change, accepted);
        self.live.current_settings.finish_change(self.current_change, accepted);
        if self.subscription.created() {
            self.live.set_turn_bounds(std::mem::take(&mut self.bounds));
        }
    }
}

impl ThreadState {
    /// Adds the settings of a turn whose request is about to be sent.
    pub(crate) fn add_turn_settings(
        &self,
        params: &TurnStartParams,
        subscription: &Arc<TurnSubscription>,
        guards: StartGuards,
    ) -> Box<TurnSettings> {
        let settings = Settings::of_turn(params);
        let requested_change = self.requested_settings.add_change(&settings);
        let named_change = self.live.named_settings.add_change(&settings);
        let current_change = self.live.current_settings.add_change(&settings);
        let bounds = self.live.current_settings.current().bounds();
        Box::new(TurnSettings {
            requested_settings: self.requested_settings.clone(),
            live: self.live.clone(),
            subscription: subscription.clone(),
            requested_change,
            named_change,
            current_change,
            bounds,
            refused: false,
            _guards: guards,
        })
    }

    /// Waits, at most for `limit`, until no other `turn/start` with settings is pending on the thread. Of two at once, the
    /// second would join the first one's turn, and the runtime would silently ignore its settings.
    pub(crate) async fn wait_for_pending_start(
        &self,
        session: &Session,
        params: &TurnStartParams,
        limit: Duration,
    ) -> Option<OwnedMutexGuard<()>> {
        if Settings::of_turn(params) == Settings::default() {
            return None;
        }
        let mut locking = pin!(self.live.turn_start_lock.clone().lock_owned());
        let mut timer = session.connection.sleep(limit);
        poll_fn(|context| match locking.as_mut().poll(context) {
            Poll::Ready(guard) => Poll::Ready(Some(guard)),
            Poll::Pending => Pin::new(&mut timer).poll(context).map(|()| None),
        })
        .await
    }

    /// Refuses options that a running turn would not apply: a turn keeps the settings that it began with. Also refuses to
    /// join a turn that another handle started with bounds that are not this handle's.
    pub(crate) fn check_joining(&self, session: &Session, params: &TurnStartParams) -> Result<()> {
        let mut current = self.live.current_settings.current();
        current.merge(&self.live.turn_bounds());
        self.check_joining_with(session, params, &current)
    }

    /// The same for a turn of another client of the server, or of a plain request. It may run with settings that this client does not
    /// know.
    pub(crate) async fn check_joining_others(
        &self,
        session: &Session,
        params: &TurnStartParams,
    ) -> Result<()> {
        match apply_settings::read_settings(session, &self.id).await {
            Ok(thread) => self.check_joining_with(session, params, &thread.current),
            // Nothing returns the settings of an ephemeral thread, or of one in its first turn.
            Err(error) if error.json_rpc().is_some() && !error.is_retryable() => {
                self.check_joining(session, params)
            }
            Err(error) => Err(error),
        }
    }

    fn check_joining_with(
        &self,
        session: &Session,
        params: &TurnStartParams,
        current: &Settings,
    ) -> Result<()> {
        let requested = Settings::of_turn(params);
        let mut of_handle = self.requested_settings.current().bounds();
        of_handle.merge(&requested);
        apply_settings::check_joining(session, &self.id, &requested, &of_handle, current)
    }

    /// Refuses to wait for a running turn that may do what a call with these parameters does not allow.
    pub(crate) fn check_waiting<'a>(
        &'a self,
        session: &'a Session,
        turn_id: &'a str,
        params: &'a TurnStartParams,
    ) -> Boxed<'a, Result<()>> {
        Box::pin(async move {
            let known = || self.live.current_settings.current().with(&self.live.turn_bounds());
            let running = match session.connection.is_turn_of_others(turn_id) {
                true => match apply_settings::read_settings(session, &self.id).await {
                    // Nothing returns the settings of a thread in its first turn.
                    Err(error) if error.json_rpc().is_some() && !error.is_retryable() => known(),
                    running => running?.current,
                },
                false => known(),
            };
            let allowed = self.requested_settings.current().with(&Settings::of_turn(params)).bounds();
            match running.excess(&allowed, session) {
                None => Ok(()),
                Some((difference, scope)) => Err(difference.error_of_waiting(&self.id, scope)),
            }
        })
    }

    /// Forgets the bounds of the running turn, which another client has started.
    pub(crate) fn forget_turn_bounds(&self) {
        self.live.set_turn_bounds(Settings::default());
    }

    /// Whether a model decides about the approvals of a turn with these parameters.
    pub(crate) fn has_model_review(&self, params: &TurnStartParams) -> bool {
        let settings = self.live.current_settings.current().with(&Settings::of_turn(params));
        settings.approvals_reviewer.is_some_and(|reviewer| reviewer != ApprovalsReviewer::User)
            && settings.approval_policy.is_none_or(|policy| makes_requests(&policy))
    }

    /// Refuses what the runtime would not apply of a turn's settings, and narrows the thread's sub-agents to the bounds that the
    /// turn names.
    pub(crate) fn prepare_settings<'a>(
        &'a self,
        core: &'a ClientCore,
        session: &'a Session,
        params: &'a TurnStartParams,
    ) -> Boxed<'a, Result<()>> {
        Box::pin(async move {
            let settings = Settings::of_turn(params);
            let known = self.live.tiers(self.live.last_load_options().as_ref());
            let current = self.live.current_settings.current();
            settings.check_tiers(session, &self.id, &current, known).await?;
            settings.check_effort(session, &self.id, &current).await?;
            subagents::narrow(core, session, &self.id, &settings, &current).await
        })
    }
}

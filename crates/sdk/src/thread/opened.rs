//! A thread as its handles share it: its id, and in which session it was opened.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};

use openai_codex_protocol::types::{
    ApprovalsReviewer, AskForApproval, SandboxPolicy, Thread, ThreadResumeParams, ThreadSettingsUpdateParams,
    TurnStartParams,
};
use openai_codex_protocol::{JsonObject, methods};
use tokio::sync::Mutex;

use crate::client::{Core, Session};
use crate::{Error, ErrorKind, Result};

/// The thread of a handle, its clones, and what they have made.
pub(crate) struct Opened {
    pub(crate) id: Arc<str>,
    ephemeral: bool,
    /// The entries of the configuration that it was opened with: the runtime does not store them.
    config: Option<JsonObject>,
    settings: std::sync::Mutex<Option<Settings>>,
    /// The number of the last session that has it open.
    session: AtomicU64,
    /// How often it was asked for, through one of these handles, that the server sends nothing about it any more; those in
    /// vain do not count.
    pub(super) unsubscribed: AtomicUsize,
    /// Held while it is resumed: whoever comes meanwhile waits for that.
    resuming: Mutex<()>,
}

/// What bounds the agent in a thread. Runtime 0.163.0 does not store the sandbox: a thread that is resumed has the one of
/// the user's configuration, which may allow more.
#[derive(Clone, PartialEq)]
pub(crate) struct Settings {
    approval_policy: AskForApproval,
    approvals_reviewer: ApprovalsReviewer,
    sandbox: SandboxPolicy,
}

/// The settings that an answer tells.
macro_rules! settings {
    ($answer:expr) => {
        $crate::thread::opened::Settings::new(
            $answer.approval_policy,
            $answer.approvals_reviewer,
            $answer.sandbox,
        )
    };
}

pub(super) use settings;

impl Settings {
    pub(super) fn new(
        approval_policy: AskForApproval,
        approvals_reviewer: ApprovalsReviewer,
        sandbox: SandboxPolicy,
    ) -> Self {
        Self { approval_policy, approvals_reviewer, sandbox }
    }
}

/// Short: handles hold it.
impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

impl Opened {
    pub(super) fn new(
        thread: Thread,
        session: &Session,
        settings: Option<Settings>,
        config: Option<JsonObject>,
    ) -> Arc<Self> {
        Arc::new(Self {
            id: thread.id.into(),
            ephemeral: thread.ephemeral,
            config,
            settings: settings.into(),
            session: AtomicU64::new(session.number),
            unsubscribed: AtomicUsize::new(0),
            resuming: Mutex::default(),
        })
    }

    fn settings(&self) -> MutexGuard<'_, Option<Settings>> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A turn is started with these parameters, and what they set stays with the thread. Gives what was set before, for
    /// a server that refuses.
    pub(crate) fn change(&self, params: &TurnStartParams) -> Option<Settings> {
        let mut settings = self.settings();
        let before = settings.clone();
        if let Some(settings) = &mut *settings {
            let Settings { approval_policy, approvals_reviewer, sandbox } = settings;
            set(approval_policy, params.approval_policy.as_ref());
            set(approvals_reviewer, params.approvals_reviewer.as_ref());
            set(sandbox, params.sandbox_policy.as_ref());
        }
        before
    }

    /// The server has refused the change.
    pub(crate) fn change_back(&self, before: Option<Settings>) {
        *self.settings() = before;
    }

    /// The session in which to use the thread. One that has not opened it, because its runtime is a new one, resumes it
    /// first; its handlers are those of the client, and still there.
    pub(crate) async fn session(&self, core: &Arc<Core>) -> Result<Arc<Session>> {
        let session = core.session().await?;
        let open = self.session.load(Ordering::Acquire) == session.number;
        // What is left to do with a thread after that, reading it for one, needs it not open.
        if open || self.is_unsubscribed() {
            return Ok(session);
        }
        let _resuming = self.resuming.lock().await;
        if self.session.load(Ordering::Acquire) != session.number {
            self.resume(&session).await?;
            self.session.store(session.number, Ordering::Release);
        }
        Ok(session)
    }

    /// The session in which to start a turn. A turn of which the server sends nothing would never end here.
    pub(crate) async fn session_for_a_turn(&self, core: &Arc<Core>) -> Result<Arc<Session>> {
        if self.is_unsubscribed() {
            let message = "the thread was unsubscribed, so that no turn can be followed there; resume it, and use the \
                           handle that this gives";
            return Err(Error::invalid_input(message).with_thread(Some(&self.id)));
        }
        self.session(core).await
    }

    fn is_unsubscribed(&self) -> bool {
        self.unsubscribed.load(Ordering::Acquire) > 0
    }

    async fn resume(&self, session: &Session) -> Result<()> {
        if self.ephemeral {
            let message = "the thread was ephemeral, and has gone with the runtime that was lost";
            return Err(Error::new(ErrorKind::ThreadLost, message).with_thread(Some(&self.id)));
        }
        let mut params = ThreadResumeParams::new(&*self.id);
        params.config.clone_from(&self.config);
        let resumed = self.restore(session, &params).await;
        resumed.map_err(|error| {
            error.with_note(
                "; the runtime that had opened the thread was lost, and it must be resumed in the new one",
            )
        })
    }

    /// Resumes the thread, and gives it the bounds that it had, before anything can run in it.
    async fn restore(&self, session: &Session, params: &ThreadResumeParams) -> Result<()> {
        let answer = session.call::<methods::ThreadResume>(params, Some(&self.id)).await?;
        let Some(wanted) = self.settings().clone() else { return Ok(()) };
        if settings!(answer) == wanted {
            return Ok(());
        }
        let update = ThreadSettingsUpdateParams::new(&*self.id)
            .approval_policy(wanted.approval_policy)
            .approvals_reviewer(wanted.approvals_reviewer)
            .sandbox_policy(wanted.sandbox);
        session.call::<methods::ThreadSettingsUpdate>(&update, Some(&self.id)).await.map(drop)
    }
}

fn set<T: Clone>(setting: &mut T, new: Option<&T>) {
    if let Some(new) = new {
        setting.clone_from(new);
    }
}

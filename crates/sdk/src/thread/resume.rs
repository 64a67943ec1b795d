//! Opening a stored thread again.

use std::marker::PhantomData;
use std::sync::Arc;

use openai_codex_protocol::methods;
use openai_codex_protocol::types::{Personality, ThreadReadParams, ThreadResumeParams, ThreadStatus};

use crate::dispatch::binding::HandlerBinding;
use crate::error::{Error, ErrorKind, Result};
use crate::options::approval::ApprovalMode;
use crate::session::apply_settings::{ResumedThread, is_loaded, settle};
use crate::session::supervisor::ClientCore;
use crate::session::thread_settings::{given, held};
use crate::session::thread_state::{Opening, ThreadState};
use crate::session::unused_thread::is_unused;
use crate::thread::handles::AsyncThread;
use crate::thread::options::{Options, sends_a_thread, thread_options};
use crate::thread::{folder, trust};

/// A builder for `thread/resume`; ends in `send`. What is not set stays as the thread has it and is not sent.
///
/// The runtime takes the options when it loads the thread. If the thread is loaded already, `send` sets those that can be
/// set (approval mode, sandbox, folder, model, service tier, personality) and looks whether they hold; the others are an error of
/// the kind [`OptionNotApplied`](crate::ErrorKind::OptionNotApplied). That needs
/// [`experimental_api`](crate::CodexConfig::experimental_api), and for what bounds the agent that no turn is running.
/// [`Sandbox::WorkspaceWrite`](crate::Sandbox::WorkspaceWrite) is set without further roots of the configuration.
#[must_use = "no thread is resumed until `send`"]
#[derive(Clone, Debug)]
pub struct ThreadResume<C> {
    core: Arc<ClientCore>,
    params: ThreadResumeParams,
    options: Options,
    client: PhantomData<C>,
}

thread_options!(ThreadResume, ThreadResumeParams);
sends_a_thread!(ThreadResume, "Resumes the thread: the handle has the same id.");

impl<C> ThreadResume<C> {
    pub(crate) fn new(core: Arc<ClientCore>, thread_id: String) -> Self {
        let params = ThreadResumeParams::new(thread_id);
        Self { core, params, options: Options::default(), client: PhantomData }
    }

    /// Whether the server's answer carries the thread's turns. The handle keeps none of them, so `false` spares the
    /// two of them a long history; page through it with [`turns`](crate::AsyncThread::turns).
    ///
    /// On the wire: the opposite as `excludeTurns`. Needs runtime 0.151.0.
    pub fn include_turns(self, include_turns: bool) -> Self {
        self.with(|params| params.exclude_turns(!include_turns))
    }

    /// The style of the agent's messages.
    pub fn personality(self, personality: impl Into<Personality>) -> Self {
        self.with(|params| params.personality(personality))
    }

    async fn perform(mut self) -> Result<AsyncThread> {
        let thread_id = self.params.thread_id.clone();
        // With none, the thread keeps the handlers that it has; with some, it loses them.
        let keeps = self.options.layer.is_empty().then_some(&*thread_id);
        let mut params =
            self.finish(self.options.layer.decides_approvals().then_some(ApprovalMode::Ask), keeps)?;
        // The runtime has them already; they are checked all the same.
        self.options.tools(&self.core)?;
        let session = self.core.session().await?;
        if self.options.trust_folder {
            let cwd = match &params.cwd {
                Some(cwd) => cwd.clone(),
                None => trust::stored_folder(&session, &params.thread_id).await?,
            };
            trust::trust(&mut params.config, &cwd);
        }
        let mut named = self.named(&params, true);
        named.personality.clone_from(&params.personality);
        let given = given!(params);
        // Whether it is loaded decides about what no answer names.
        let unnamed = !given.is_empty() || named.personality.is_some();
        let loaded = unnamed && is_loaded(&session, &thread_id).await?;
        let known = self.core.live_threads.get(&thread_id);
        if loaded {
            let had = known.as_ref().and_then(|known| known.given(&session));
            given.check(had.as_ref(), &thread_id)?;
        }
        let layer = self.options.layer;
        // What is pending on the thread may be asked again before the answer comes.
        let handlers = self.core.handlers.clone();
        let bound = (!layer.is_empty()).then(|| HandlerBinding::new(&handlers, &thread_id, layer.clone()));
        let answer = session.call::<methods::ThreadResume>(&params, Some(&thread_id)).await;
        let (thread, mut found) = match answer {
            Ok(answer) => {
                let active = matches!(answer.thread.status, ThreadStatus::Active(_));
                let held = held!(answer);
                (answer.thread, ResumedThread { held, active, unused: false })
            }
            Err(error) => match known {
                Some(known) if is_unused(&session, &thread_id, &error).await => {
                    let params = ThreadReadParams::new(&*thread_id).include_turns(false);
                    let thread = session.call::<methods::ThreadRead>(&params, Some(&thread_id)).await?.thread;
                    (thread, ResumedThread { held: known.holds.current(), active: false, unused: true })
                }
                _ => return Err(folder::name_missing(explain(error), &self.core, params.cwd.as_deref())),
            },
        };
        if !loaded {
            found.held.personality.clone_from(&named.personality);
        }
        let held = settle(&self.core, &session, &thread.id.as_str().into(), &named, found).await?;
        if let Some(bound) = bound {
            bound.keep();
        }
        // Once more: the word that the thread was closed before may have come in between.
        handlers.bind(&thread.id, layer.clone());
        let opening = Opening { given, layer, named, held: Some(held), loads: unnamed && !loaded };
        Ok(AsyncThread::new(self.core.clone(), ThreadState::new(&self.core, thread, &session, opening)))
    }
}

/// Says what to do about a thread that is archived.
fn explain(error: Error) -> Error {
    match error.kind() {
        ErrorKind::ThreadArchived => error.with_note(" Or call `thread_unarchive`."),
        _ => error,
    }
}

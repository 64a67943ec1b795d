//! Carries out what the state of the connection asks for.

use std::sync::Arc;
use std::task::Waker;

use crate::background::Job;
use crate::connection::effect::{Effect, Phase};
use crate::connection::router::Router;
use crate::dispatch::handler_set::{HandlerSet, drop_on_own_thread};
use crate::io::interruption;
use crate::io::interruption::Interruption;
use crate::io::shared::Shared;
use crate::io::{limits, respond, watchdog};

impl Shared {
    /// Lets the router decide something and does what it decided, when it is no longer locked.
    pub(crate) fn route<T>(self: &Arc<Self>, decide: impl FnOnce(&mut Router, &mut Vec<Effect>) -> T) -> T {
        let mut effects = Vec::new();
        let decided = decide(&mut self.router(), &mut effects);
        self.apply(&mut effects);
        decided
    }

    pub(crate) fn apply(self: &Arc<Self>, effects: &mut Vec<Effect>) {
        for effect in effects.drain(..) {
            match effect {
                Effect::Resolve(waiter, answer) => {
                    // The receiver may just have gone; then nobody is left to be told.
                    let _ = waiter.reply.send(answer);
                    drop_one_on_own_thread(waiter.handlers);
                }
                Effect::Wake(wakers) => wakers.into_iter().for_each(Waker::wake),
                Effect::EndLogin(ending, end) => drop(ending.send_replace(Some(end))),
                Effect::Dispatch(ask) => respond::begin(self, ask),
                Effect::Resend(frame) => self.send(None, frame),
                Effect::Cancel(signal, untold) => {
                    signal.fire();
                    if let Some(ask) = untold {
                        self.send(None, respond::error_frame(&ask.id, "the turn has ended"));
                    }
                }
                Effect::BindHandlers(thread_id, layer) => {
                    drop_one_on_own_thread(self.handlers.bind(&thread_id, layer))
                }
                Effect::MarkUnloaded(thread_id) => self.unloaded.unloaded(&thread_id),
                Effect::ReleaseHandlers(thread_id) => {
                    drop_one_on_own_thread(self.handlers.release(&thread_id))
                }
                Effect::Interrupt { thread_id, turn_id, end_commands } => {
                    self.interrupt(Interruption::new(thread_id, turn_id, end_commands));
                }
                Effect::EnforceTimeLimits(log) => self.begin(Box::pin(limits::watch(self.clone(), log))),
                Effect::StopOverBudget(log) => {
                    let error = log.budget_error();
                    self.begin(Box::pin(limits::stop(self.clone(), log, error)));
                }
                Effect::CheckTurn(turn) => self.begin(Box::pin(watchdog::check_suspect(self.clone(), turn))),
                Effect::ReportRunning(phase) => drop(phase.send_replace(Phase::Running)),
                Effect::ReportOver(phase, commands) => drop(phase.send_replace(Phase::Over(commands))),
            }
        }
    }

    /// Has the I/O thread begin a job. One that has gone means an ended connection, and with it every turn.
    pub(crate) fn begin(&self, job: Job) {
        let _ = self.jobs.send(job);
    }

    pub(crate) fn interrupt(self: &Arc<Self>, interruption: Interruption) {
        self.begin(Box::pin(interruption::carry_out(self.clone(), interruption)));
    }
}

fn drop_one_on_own_thread(layer: Option<HandlerSet>) {
    if let Some(layer) = layer {
        drop_on_own_thread(vec![layer]);
    }
}

//! Carries out the effects that the router returns.

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
    /// Calls the router, and carries out the effects after releasing its lock.
    pub(crate) fn route<T>(self: &Arc<Self>, decide: impl FnOnce(&mut Router, &mut Vec<Effect>) -> T) -> T {
        let mut effects = Vec::new();
        let decided = decide(&mut self.router(), &mut effects);
        self.apply(&mut effects);
        decided
    }

    pub(crate) fn apply(self: &Arc<Self>, effects: &mut Vec<Effect>) {
        for effect in effects.drain(..) {
            match effect {
                Effect::Resolve(waiter, response) => {
                    // The send fails if the caller has cancelled its wait.
                    let _ = waiter.reply.send(response);
                    drop_handlers_on_own_thread(waiter.handlers);
                }
                Effect::Wake(wakers) => wakers.into_iter().for_each(Waker::wake),
                Effect::EndLogin(ending, end) => drop(ending.send_replace(Some(end))),
                Effect::Dispatch(request) => respond::begin(self, request),
                Effect::Resend(frame) => self.send(None, frame),
                Effect::Cancel(signal, unanswered) => {
                    signal.fire();
                    if let Some(request) = unanswered {
                        self.send(None, respond::error_frame(&request.id, "the turn has ended"));
                    }
                }
                Effect::BindHandlers(thread_id, handlers) => {
                    drop_handlers_on_own_thread(self.handlers.bind(&thread_id, handlers))
                }
                Effect::MarkUnloaded(thread_id) => self.unloaded.unloaded(&thread_id),
                Effect::ReleaseHandlers(thread_id) => {
                    drop_handlers_on_own_thread(self.handlers.release(&thread_id))
                }
                Effect::Interrupt { thread_id, turn_id, end_commands } => {
                    self.interrupt(Interruption::new(thread_id, turn_id, end_commands));
                }
                Effect::EndCommands { thread_id, turn_id, commands } => {
                    let interruption = Interruption::new(thread_id, turn_id, true);
                    self.begin(Box::pin(interruption::finish(self.clone(), interruption, commands)));
                }
                Effect::EnforceTimeLimits(subscription) => {
                    self.begin(Box::pin(limits::watch(self.clone(), subscription)))
                }
                Effect::StopOverBudget(subscription) => {
                    let error = subscription.budget_error();
                    self.begin(Box::pin(limits::stop(self.clone(), subscription, error)));
                }
                Effect::CheckTurn(turn) => {
                    self.begin(Box::pin(watchdog::check_turn_of_idle_thread(self.clone(), turn)))
                }
                Effect::ReportRunning(phase) => drop(phase.send_replace(Phase::Running)),
                Effect::ReportOver(phase, commands) => drop(phase.send_replace(Phase::Over(commands))),
            }
        }
    }

    /// Spawns a job on the I/O thread. The send fails if the connection has ended, and every turn with it.
    pub(crate) fn begin(&self, job: Job) {
        let _ = self.jobs.send(job);
    }

    pub(crate) fn interrupt(self: &Arc<Self>, interruption: Interruption) {
        self.begin(Box::pin(interruption::carry_out(self.clone(), interruption)));
    }
}

fn drop_handlers_on_own_thread(handlers: Option<HandlerSet>) {
    if let Some(handlers) = handlers {
        drop_on_own_thread(vec![handlers]);
    }
}

//! Carries out the effects that the router returns.

use std::sync::Arc;
use std::task::Waker;

use crate::background::Job;
use crate::connection::effect::{Effect, Response};
use crate::connection::envelope::thread_of;
use crate::connection::host::SharedBuffer;
use crate::connection::phase::Phase;
use crate::connection::router::Router;
use crate::dispatch::handler_set::{HandlerSet, drop_on_own_thread};
use crate::io::host::{IoHost, ReplySender};
use crate::io::interruption;
use crate::io::interruption::Interruption;
use crate::io::shared::Shared;
use crate::io::{limits, respond, watchdog};

impl Shared {
    /// Calls the router, and carries out the effects after releasing its lock.
    pub(crate) fn route<T>(self: &Arc<Self>, decide: impl FnOnce(&mut Router<IoHost>) -> T) -> T {
        let (decided, effects) = {
            let mut router = self.router();
            (decide(&mut router), router.take_effects())
        };
        self.apply(effects);
        decided
    }

    pub(crate) fn apply(self: &Arc<Self>, effects: Vec<Effect<IoHost>>) {
        for effect in effects {
            match effect {
                Effect::Resolve(reply, response) => self.resolve(reply, response),
                Effect::Wake(wakers) => wakers.into_iter().for_each(Waker::wake),
                Effect::EndLogin(login, end) => drop(login.send_replace(Some(end))),
                Effect::Dispatch(request) => respond::begin(self, request),
                Effect::Resend(frame) => self.send(None, frame),
                Effect::Cancel { request, unanswered } => {
                    request.signal.fire();
                    if unanswered {
                        self.send(None, respond::error_frame(&request.id, "the turn has ended"));
                    }
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
                    if subscription.limits().has_time_limit() {
                        self.begin(Box::pin(limits::watch(self.clone(), subscription)));
                    }
                }
                Effect::StopOverBudget(subscription) => {
                    let error = subscription.with(|buffer| buffer.budget_error());
                    self.begin(Box::pin(limits::stop(self.clone(), subscription, error)));
                }
                Effect::CheckTurn(turn) => {
                    self.begin(Box::pin(watchdog::check_turn_of_idle_thread(self.clone(), turn)))
                }
                Effect::ReportRunning(follower) => follower.report(Phase::Running),
                Effect::ReportOver(follower, commands) => follower.report(Phase::Over(commands)),
            }
        }
    }

    /// Gives the response to the call, and before that the thread in it to its handlers: the server's next request can be for
    /// them.
    fn resolve(&self, reply: ReplySender, response: Response) {
        let ReplySender { sender, handlers, observer } = reply;
        let thread_id = response.as_deref().ok().filter(|_| handlers.is_some()).and_then(thread_of);
        drop_handlers_on_own_thread(match (handlers, thread_id) {
            (Some(handlers), Some(thread_id)) => self.handlers.bind(&thread_id, handlers),
            (handlers, _) => handlers,
        });
        if let Some(observer) = observer {
            observer.observe(&response);
        }
        // The send fails if the caller has cancelled its wait.
        let _ = sender.send(response);
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

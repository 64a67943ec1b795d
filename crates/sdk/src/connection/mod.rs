//! The state of one connection: what came in, what the client requested, and what to do next.
//! Nothing in here reads, writes, waits or calls the program's code.

pub(crate) mod backlog;
#[cfg(any(test, fuzzing))]
pub(crate) mod checks;
pub(crate) mod coalesce;
pub(crate) mod default_response;
pub(crate) mod effect;
pub(crate) mod envelope;
pub(crate) mod event;
pub(crate) mod getters;
pub(crate) mod given;
pub(crate) mod host;
pub(crate) mod intent;
pub(crate) mod interrupted_turns;
pub(crate) mod lifecycle;
pub(crate) mod logins;
pub(crate) mod loss;
pub(crate) mod notifications;
pub(crate) mod on_loss;
pub(crate) mod own_turns;
pub(crate) mod pending_turns;
pub(crate) mod redactor;
pub(crate) mod repeatable;
pub(crate) mod request_window;
pub(crate) mod responses;
pub(crate) mod restore;
pub(crate) mod restored_events;
pub(crate) mod restoring;
pub(crate) mod router;
pub(crate) mod running_turn;
pub(crate) mod running_turns;
pub(crate) mod server_requests;
pub(crate) mod snapshot;
pub(crate) mod thread_tree;
pub(crate) mod turn_budget;
pub(crate) mod turn_buffer;
pub(crate) mod turn_phase;
pub(crate) mod uncertain;
pub(crate) mod unsubscribed;
pub(crate) mod waiter;

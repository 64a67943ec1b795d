//! One running connection: the tasks that read, write, keep time and respond, around the state in `connection`.

pub(crate) mod closing;
pub(crate) mod connection;
pub(crate) mod connector;
pub(crate) mod diagnosis;
pub(crate) mod driver;
pub(crate) mod ending;
pub(crate) mod inbound;
pub(crate) mod interruption;
pub(crate) mod interrupts;
pub(crate) mod io_thread;
pub(crate) mod limit_enforcement;
pub(crate) mod link;
pub(crate) mod observers;
pub(crate) mod orphan_sweep;
pub(crate) mod outbound;
pub(crate) mod preamble;
pub(crate) mod reconnect;
pub(crate) mod request;
pub(crate) mod respond;
pub(crate) mod resumes;
pub(crate) mod shared;
pub(crate) mod sweep_requests;
#[cfg(test)]
mod tests;
pub(crate) mod timers;
pub(crate) mod tokens;
pub(crate) mod turn_limits;
pub(crate) mod turn_subscription;
pub(crate) mod unseen_subagents;
pub(crate) mod watchdog;

//! How the crate behaves, a chapter each.

/// Deadlines: which wait ends when.
///
/// Every request ends by its deadline, which depends on the class of its method: 30 seconds for what only looks
/// something up, 5 minutes for what loads, writes or contacts something (threads, turns, accounts, plugins, models),
/// and none for `command/exec`, `mcpServer/tool/call` and the user verification, which are answered when the
/// command, the tool or the person has finished. [`CodexConfig::request_deadline`](crate::CodexConfig::request_deadline)
/// sets one for all methods. A request that has run out of time may still be carried out by the server; a turn that
/// was started that way is interrupted when its answer comes.
///
/// A turn takes as long as it takes, unless [`TurnStart::deadline`](crate::TurnStart::deadline) bounds it. Starting
/// the runtime is bounded by [`CodexConfig::start_deadline`](crate::CodexConfig::start_deadline), and closing it by
/// its ladder: two seconds for the runtime to exit by itself, two more after a termination signal, then it is killed.
pub mod deadlines {}

/// Ordering: what comes before what.
///
/// The events of a turn arrive in the order in which the server sent them, from the moment `turn/start` was written.
/// `turn/completed` is the last one. Events of different turns have no order among each other, and a turn that is
/// consumed slowly delays neither another turn nor an answer: the reader only appends to queues.
///
/// A second turn on a busy thread joins the running one: both handles have the same id, and each sees the events
/// from its own start on.
pub mod ordering {}

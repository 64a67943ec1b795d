//! The task that keeps the timeouts of requests, and sleeps.
//!
//! It uses the clock of the I/O thread, so a caller needs no timer of its own executor.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::select::select;

/// What to do when the time is up.
#[derive(Debug)]
pub(crate) enum Due {
    /// End the wait for a response.
    Request { id: i64, waited: Duration },
    /// Wake a sleeping task.
    Timer(oneshot::Sender<()>),
}

/// Sets timers. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Timers(mpsc::UnboundedSender<(Duration, Due)>);

/// The task that runs the timers.
#[derive(Debug)]
pub(crate) struct Clock(mpsc::UnboundedReceiver<(Duration, Due)>);

pub(crate) fn timers() -> (Timers, Clock) {
    let (set, get) = mpsc::unbounded_channel();
    (Timers(set), Clock(get))
}

impl Timers {
    pub(crate) fn request(&self, id: i64, timeout: Duration) {
        // The send fails if the clock has stopped. The end of the connection then resolves everything.
        let _ = self.0.send((timeout, Due::Request { id, waited: timeout }));
    }

    /// Completes after `delay`, or when the connection has ended.
    pub(crate) fn sleep(&self, delay: Duration) -> impl Future<Output = ()> + Send + Unpin + use<> {
        let (done, wait) = oneshot::channel();
        let _ = self.0.send((delay, Due::Timer(done)));
        Sleep(wait)
    }
}

struct Sleep(oneshot::Receiver<()>);

impl Future for Sleep {
    type Output = ();
    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        std::pin::Pin::new(&mut self.0).poll(cx).map(|_| ())
    }
}

struct Entry {
    at: Instant,
    due: Due,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

impl Clock {
    /// Calls `expire` for each request whose timeout has passed. Runs until all `Timers` are dropped.
    ///
    /// The entry of an answered request stays until its time is up. If entries pile up, `is_pending` finds those to remove.
    pub(crate) async fn run(
        mut self,
        is_pending: impl Fn(i64) -> bool,
        mut expire: impl FnMut(i64, Duration),
    ) {
        /// `Instant` cannot represent `Duration::MAX` from now.
        const MAX_DELAY: Duration = Duration::from_secs(60 * 60 * 24 * 365);
        const MIN_PRUNE_LEN: usize = 1024;
        let mut heap: BinaryHeap<Reverse<Entry>> = BinaryHeap::new();
        let mut prune_at = MIN_PRUNE_LEN;
        loop {
            let next = heap.peek().map(|Reverse(entry)| entry.at);
            let set = match next {
                None => self.0.recv().await,
                Some(at) => select! {
                    () = sleep_until(at) => {
                        match heap.pop().map(|Reverse(entry)| entry.due) {
                            Some(Due::Request { id, waited }) => expire(id, waited),
                            Some(Due::Timer(done)) => drop(done.send(())),
                            None => {}
                        }
                        continue;
                    },
                    set = self.0.recv() => set,
                },
            };
            let Some((delay, due)) = set else { return };
            let at = Instant::now() + delay.min(MAX_DELAY);
            heap.push(Reverse(Entry { at, due }));
            if heap.len() >= prune_at {
                heap.retain(|Reverse(entry)| match &entry.due {
                    Due::Request { id, .. } => is_pending(*id),
                    Due::Timer(done) => !done.is_closed(),
                });
                prune_at = MIN_PRUNE_LEN.max(2 * heap.len());
            }
        }
    }
}

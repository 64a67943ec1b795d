//! The task that ends what takes longer than its deadline.
//!
//! They run on the I/O thread's clock, so a caller needs no timer of its own executor.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

/// What to do when a deadline passes.
#[derive(Debug)]
pub(crate) enum Due {
    /// End a request.
    Request { id: i64, waited: Duration },
    /// Wake whoever sleeps.
    Timer(oneshot::Sender<()>),
}

/// Sets timers; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Timers(mpsc::UnboundedSender<(Duration, Due)>);

/// The timers' task.
#[derive(Debug)]
pub(crate) struct Clock(mpsc::UnboundedReceiver<(Duration, Due)>);

pub(crate) fn timers() -> (Timers, Clock) {
    let (set, get) = mpsc::unbounded_channel();
    (Timers(set), Clock(get))
}

impl Timers {
    pub(crate) fn request(&self, id: i64, deadline: Duration) {
        // After the clock has stopped the connection's end resolves everything.
        let _ = self.0.send((deadline, Due::Request { id, waited: deadline }));
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
    /// Ends requests through `expire` when their time has come. Runs as long as anybody can set a deadline.
    ///
    /// An answered request leaves its entry until it falls due; `is_pending` lets those go early when they pile up.
    pub(crate) async fn run(
        mut self,
        is_pending: impl Fn(i64) -> bool,
        mut expire: impl FnMut(i64, Duration),
    ) {
        /// Clocks cannot count to `Duration::MAX`.
        const LONGEST: Duration = Duration::from_secs(60 * 60 * 24 * 365);
        const PRUNE_FROM: usize = 1024;
        let mut heap: BinaryHeap<Reverse<Entry>> = BinaryHeap::new();
        let mut prune_at = PRUNE_FROM;
        loop {
            let next = heap.peek().map(|Reverse(entry)| entry.at);
            let set = match next {
                None => self.0.recv().await,
                Some(at) => tokio::select! {
                    biased;
                    () = sleep_until(at) => {
                        match heap.pop().map(|Reverse(entry)| entry.due) {
                            Some(Due::Request { id, waited }) => expire(id, waited),
                            Some(Due::Timer(done)) => drop(done.send(())),
                            None => {}
                        }
                        continue;
                    }
                    set = self.0.recv() => set,
                },
            };
            let Some((delay, due)) = set else { return };
            let at = Instant::now() + delay.min(LONGEST);
            heap.push(Reverse(Entry { at, due }));
            if heap.len() >= prune_at {
                heap.retain(|Reverse(entry)| match &entry.due {
                    Due::Request { id, .. } => is_pending(*id),
                    Due::Timer(done) => !done.is_closed(),
                });
                prune_at = PRUNE_FROM.max(2 * heap.len());
            }
        }
    }
}

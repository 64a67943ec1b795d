//! Why a connection sweeps, and which threads it looks for.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedMutexGuard, watch};

/// How many threads are remembered. Only a `shell_environment_policy` that removes the runtime's mark makes them necessary.
const MAX_THREADS: usize = 1_024;

/// What the sweeps of a connection need to know.
#[derive(Debug, Default)]
pub(crate) struct SweepRequests {
    requests: watch::Sender<usize>,
    /// The latest threads with interrupted turns.
    threads: Mutex<VecDeque<Arc<str>>>,
    /// The running search holds it.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl SweepRequests {
    /// Requests a sweep, because a turn of this thread was interrupted.
    pub(crate) fn request(&self, thread_id: &Arc<str>) {
        self.note(thread_id);
        self.requests.send_modify(|count| *count += 1);
    }

    /// Waits until no search runs. The next one waits until the guard is dropped.
    pub(crate) fn turn(&self) -> impl Future<Output = OwnedMutexGuard<()>> + use<> {
        self.turn.clone().lock_owned()
    }

    /// Counts the requests.
    pub(crate) fn requests(&self) -> watch::Receiver<usize> {
        self.requests.subscribe()
    }

    /// Notes a thread whose commands can become orphans.
    pub(crate) fn note(&self, thread_id: &Arc<str>) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        if threads.contains(thread_id) {
            return;
        }
        if threads.len() == MAX_THREADS {
            threads.pop_front();
        }
        threads.push_back(thread_id.clone());
    }

    /// The latest threads with interrupted turns.
    pub(crate) fn threads(&self) -> Vec<Arc<str>> {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.iter().cloned().collect()
    }
}

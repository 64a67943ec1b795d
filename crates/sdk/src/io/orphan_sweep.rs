//! Sweeps away orphaned commands: after each interrupt, and after the end of the runtime.
//!
//! A search reads files of all processes, so it runs on a thread of its own. The task only waits.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::background::thread;
use crate::io::shared::Shared;
use crate::process::orphans::{Orphans, Search};
use crate::select::{only_if, select};

/// The pauses before the searches of a sweep. A command that was starting can become an orphan some time after its turn has
/// ended: on a busy machine its sandbox takes that long.
const PAUSES: [Duration; 6] = [
    Duration::from_millis(5),
    Duration::from_millis(50),
    Duration::from_millis(150),
    Duration::from_millis(500),
    Duration::from_millis(1_000),
    Duration::from_millis(2_000),
];
/// A pause is at least this many times as long as the last search, so that many interrupts on a machine with many processes
/// cost at most a tenth of a processor.
const REST: u32 = 9;
/// The pause between the searches after the end of the runtime, and the largest number of them. They stop when nothing is left.
const FINAL_PAUSE: Duration = Duration::from_millis(10);
const MAX_FINAL_SEARCHES: usize = 100;
/// How many searches in a row must find nothing. A process that is missing in one search, because it was starting or ending, is
/// in the next.
const CLEAN_SEARCHES: usize = 2;

/// Sweeps when it is requested, until the connection ends. A new request begins the running sweep again.
pub(crate) async fn run(shared: Arc<Shared>, orphans: Arc<Orphans>, mut requests: watch::Receiver<usize>) {
    if !orphans.can_search() {
        return;
    }
    let mut rest = Duration::ZERO;
    while requests.changed().await.is_ok() {
        let mut step = 0;
        while let Some(pause) = PAUSES.get(step) {
            select! {
                () = sleep(rest.max(*pause)) => {},
                // Requests do not shorten the first pause, so that each sweep searches, however many there are.
                _ = only_if(step > 0, requests.changed()) => {
                    step = 0;
                    continue;
                },
            }
            let began = Instant::now();
            search(&shared, &orphans).await;
            rest = REST * began.elapsed();
            step += 1;
        }
    }
}

/// Kills all that a runtime has left, after it was reaped. Returns when nothing is left, or after `limit`.
pub(crate) async fn finish(shared: &Shared, orphans: &Arc<Orphans>, limit: Duration) {
    if orphans.can_search() {
        let _ = timeout(limit, search_until_clean(shared, orphans)).await;
    }
}

async fn search_until_clean(shared: &Shared, orphans: &Arc<Orphans>) {
    let mut clean = 0;
    for _ in 0..MAX_FINAL_SEARCHES {
        match search(shared, orphans).await {
            Search::Clean => clean += 1,
            Search::Unsettled => clean = 0,
        }
        if clean == CLEAN_SEARCHES {
            return;
        }
        sleep(FINAL_PAUSE).await;
    }
}

/// Has no timeout: the system can block a search for as long as it blocks one of the processes. The next search would meet the
/// same process, so it waits for this one, and at most one thread of a connection is blocked.
async fn search(shared: &Shared, orphans: &Arc<Orphans>) -> Search {
    let turn = shared.sweeps.turn().await;
    let (report, found) = oneshot::channel();
    let (orphans, threads) = (orphans.clone(), shared.sweeps.threads());
    let spawned = thread(
        "codex-sweep",
        Box::new(move || {
            // The send fails if the connection has ended.
            let _ = report.send(orphans.kill(&threads));
            drop(turn);
        }),
    );
    match spawned {
        Ok(()) => found.await.unwrap_or(Search::Unsettled),
        // Without a thread there is no search. Another one may be possible later.
        Err(_) => Search::Unsettled,
    }
}

//! The other workers of the home. One that is frozen still has its threads' locks, and a share of the engine's connections: the others
//! end it.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use serde::{Deserialize, Serialize};
use tokio::time::MissedTickBehavior;

use crate::http;
use crate::process::Process;
use crate::worker::Worker;

/// The folder of the cards, in the home.
pub(crate) const FOLDER: &str = "codex-workers";

/// How often in a row a worker may not respond. Looks are counted, and not time: after a sleep of the whole machine, all workers
/// respond again.
const MISSES: u32 = 4;

/// What a worker tells the others of its home.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Card {
    name: String,
    /// The address of its own port.
    url: String,
    worker: Process,
    runtime: Option<Process>,
}

/// The card of this worker. It is removed on drop.
struct OwnCard {
    path: PathBuf,
    written: Option<Card>,
}

impl OwnCard {
    fn write(&mut self, card: Card) -> io::Result<()> {
        if self.written.as_ref() == Some(&card) {
            return Ok(());
        }
        // A reader never sees half of it.
        let new = self.path.with_extension("new");
        fs::write(&new, serde_json::to_vec(&card)?)?;
        fs::rename(&new, &self.path)?;
        self.written = Some(card);
        Ok(())
    }
}

impl Drop for OwnCard {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Looks after the other workers of the home until the task is aborted. A worker that does not respond for `frozen_after` is killed,
/// with its runtime.
pub(crate) async fn watch(worker: Arc<Worker>, url: String, home: PathBuf, frozen_after: Duration) {
    let pause = frozen_after / MISSES;
    let folder = home.join(FOLDER);
    let Some(own) = Process::with_id(std::process::id()).filter(|_| fs::create_dir_all(&folder).is_ok())
    else {
        return;
    };
    let path = folder.join(format!("{}.json", own.file_name()));
    let mut card = OwnCard { path, written: None };
    let mut missed: HashMap<Process, u32> = HashMap::new();
    let mut looks = tokio::time::interval(pause);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let runtime = worker.codex.runtime_pid().and_then(Process::with_id);
        let _ = card.write(Card { name: worker.name.clone(), url: url.clone(), worker: own, runtime });
        for (path, other) in others(&folder, own) {
            if !other.worker.lives() {
                missed.remove(&other.worker);
                let _ = fs::remove_file(path);
                continue;
            }
            let readiness = format!("{}/readyz", other.url);
            let responds = tokio::time::timeout(pause / 2, http::send(Method::GET, &readiness, None)).await;
            let misses = missed.entry(other.worker).or_default();
            *misses = if matches!(responds, Ok(Ok(_))) { 0 } else { *misses + 1 };
            if *misses >= MISSES {
                eprintln!(
                    "codex-worker: worker {} (process {}) does not respond, and is killed",
                    other.name,
                    other.worker.pid()
                );
                other.worker.kill();
                if let Some(runtime) = other.runtime {
                    runtime.kill();
                }
            }
        }
    }
}

fn others(folder: &Path, own: Process) -> Vec<(PathBuf, Card)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let cards = entries.filter_map(|entry| {
        let card: Card = serde_json::from_slice(&fs::read(entry.path()).ok()?).ok()?;
        Some((entry.path(), card))
    });
    cards.filter(|(_, card)| card.worker != own).collect()
}

//! What a client knows of the threads that it has handles of, whichever handle it learned it through.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::id_map::IdMap;
use crate::io::shared::UnloadObserver;
use crate::session::runtime::Session;
use crate::session::thread_settings::{LoadOptions, Settings};

/// The threads of a client that handles exist of.
#[derive(Debug, Default)]
pub(crate) struct LiveThreads {
    threads: Mutex<IdMap<Weak<LiveThread>>>,
}

/// In which session a thread is loaded, and how often its server had let go of it before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) session: u64,
    closings: u64,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct LiveThread {
    id: Arc<str>,
    all: Weak<LiveThreads>,
    /// How often the server has said that it let go of it.
    closings: AtomicU64,
    /// What holds in it.
    pub(crate) holds: Ledger,
    /// What bounds the turn that runs, if one does.
    turn_bounds: Mutex<Settings>,
    /// Held while a turn that names settings is asked for, so that the next one knows whether it would join that turn.
    pub(crate) starting: tokio::sync::Mutex<()>,
    /// What it was loaded with, and where that was.
    given: Mutex<Option<(Place, LoadOptions)>>,
}

impl LiveThreads {
    fn threads(&self) -> MutexGuard<'_, IdMap<Weak<LiveThread>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, thread_id: &str) -> Option<Arc<LiveThread>> {
        self.threads().get(thread_id).and_then(Weak::upgrade)
    }

    /// The thread of this id, which there is a handle of from now on.
    pub(crate) fn enter(self: &Arc<Self>, thread_id: &str) -> Arc<LiveThread> {
        let mut threads = self.threads();
        if let Some(thread) = threads.get(thread_id).and_then(Weak::upgrade) {
            return thread;
        }
        let thread = Arc::new(LiveThread {
            id: thread_id.into(),
            all: Arc::downgrade(self),
            closings: AtomicU64::new(0),
            holds: Ledger::default(),
            turn_bounds: Mutex::default(),
            starting: tokio::sync::Mutex::default(),
            given: Mutex::default(),
        });
        threads.insert(thread.id.clone(), Arc::downgrade(&thread));
        thread
    }
}

impl UnloadObserver for LiveThreads {
    /// The server has let go of a thread.
    fn unloaded(&self, thread_id: &str) {
        let thread = self.get(thread_id);
        if let Some(thread) = thread {
            thread.close();
        }
    }
}

impl LiveThread {
    fn closings(&self) -> u64 {
        self.closings.load(Ordering::Acquire)
    }

    /// Every handle resumes it before it is next used.
    pub(crate) fn close(&self) {
        self.closings.fetch_add(1, Ordering::AcqRel);
    }

    /// Where the thread is now, if it is loaded in this session.
    pub(crate) fn place(&self, session: &Session) -> Place {
        Place { session: session.number, closings: self.closings() }
    }

    /// A turn has begun with these bounds.
    pub(crate) fn begin_turn(&self, bounds: Settings) {
        *self.turn_bounds.lock().unwrap_or_else(PoisonError::into_inner) = bounds;
    }

    pub(crate) fn turn_bounds(&self) -> Settings {
        self.turn_bounds.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn loaded_with(&self, place: Place, given: LoadOptions) {
        *self.given.lock().unwrap_or_else(PoisonError::into_inner) = Some((place, given));
    }

    /// What the thread was loaded with, if that is known.
    pub(crate) fn given(&self, session: &Session) -> Option<LoadOptions> {
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.as_ref().filter(|(place, _)| *place == self.place(session)).map(|(_, given)| given.clone())
    }
}

impl Drop for LiveThread {
    fn drop(&mut self) {
        let Some(all) = self.all.upgrade() else { return };
        let mut threads = all.threads();
        // Another one may have taken its place.
        if threads.get(&self.id).is_some_and(|thread| thread.strong_count() == 0) {
            threads.remove(&self.id);
        }
    }
}

/// Settings, with the changes of turns that the server has not answered yet.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    inner: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    settled: Settings,
    /// In the order in which they were sent.
    changes: Vec<Change>,
    next: u64,
}

#[derive(Debug)]
struct Change {
    number: u64,
    settings: Settings,
    answered: bool,
}

impl Ledger {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn replace(&self, settings: Settings) {
        let mut entries = self.entries();
        entries.settled = settings;
        entries.changes.clear();
    }

    /// All of it, with the changes under way.
    pub(crate) fn current(&self) -> Settings {
        let entries = self.entries();
        let mut current = entries.settled.clone();
        entries.changes.iter().for_each(|change| current.take(&change.settings));
        current
    }

    /// A change was sent; it counts from now on, unless it is refused.
    pub(crate) fn change(&self, settings: &Settings) -> u64 {
        let mut entries = self.entries();
        let number = entries.next;
        entries.next += 1;
        entries.changes.push(Change { number, settings: settings.clone(), answered: false });
        number
    }

    /// The server has taken the change, or refused it.
    pub(crate) fn answered(&self, number: u64, taken: bool) {
        let mut entries = self.entries();
        if taken {
            let change = entries.changes.iter_mut().find(|change| change.number == number);
            change.into_iter().for_each(|change| change.answered = true);
        } else {
            entries.changes.retain(|change| change.number != number);
        }
        // One that was sent later counts for more, whichever is answered first.
        let settled = entries.changes.iter().take_while(|change| change.answered).count();
        let changes: Vec<_> = entries.changes.drain(..settled).collect();
        changes.iter().for_each(|change| entries.settled.take(&change.settings));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str) -> Settings {
        Settings { model: Some(name.to_owned()), ..Settings::default() }
    }

    fn current(ledger: &Ledger) -> Option<String> {
        ledger.current().model
    }

    #[test]
    fn a_change_that_is_refused_leaves_a_later_one_alone() {
        let ledger = Ledger::default();
        ledger.replace(model("a"));
        let (first, second) = (ledger.change(&model("b")), ledger.change(&model("c")));
        ledger.answered(first, false);
        assert_eq!(current(&ledger).as_deref(), Some("c"));
        ledger.answered(second, false);
        assert_eq!(current(&ledger).as_deref(), Some("a"));
    }

    #[test]
    fn the_later_change_counts_whichever_is_answered_first() {
        let ledger = Ledger::default();
        let (first, second) = (ledger.change(&model("b")), ledger.change(&model("c")));
        ledger.answered(second, true);
        ledger.answered(first, true);
        assert_eq!(current(&ledger).as_deref(), Some("c"));
    }

    #[test]
    fn a_thread_without_handles_is_forgotten() {
        let all = Arc::new(LiveThreads::default());
        let thread = all.enter("t");
        all.unloaded("t");
        assert_eq!((thread.closings(), all.threads().entries().len()), (1, 1));
        drop(thread);
        assert!(all.threads().is_empty() && all.get("t").is_none());
    }
}

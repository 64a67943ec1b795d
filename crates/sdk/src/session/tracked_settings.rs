//! The settings of a thread, with the changes that the server has not answered yet.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::session::thread_settings::Settings;

/// Settings with the changes of turns whose `turn/start` is not answered yet.
///
/// Each change is kept by itself: a refusal takes back what that turn changed, and not what a later turn has set.
#[derive(Debug, Default)]
pub(crate) struct TrackedSettings {
    inner: Mutex<History>,
}

#[derive(Debug, Default)]
struct History {
    confirmed: Settings,
    /// The changes after `confirmed`, in the order of sending.
    changes: Vec<Change>,
    next_number: u64,
}

#[derive(Debug)]
struct Change {
    number: u64,
    settings: Settings,
    accepted: bool,
}

impl TrackedSettings {
    fn history(&self) -> MutexGuard<'_, History> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the settings by those that the server reports. A change whose response is still to come stays on top.
    pub(crate) fn replace(&self, settings: Settings) {
        let mut history = self.history();
        history.confirmed = settings;
        history.changes.retain(|change| !change.accepted);
    }

    /// The settings with all pending changes.
    pub(crate) fn current(&self) -> Settings {
        let history = self.history();
        let mut current = history.confirmed.clone();
        history.changes.iter().for_each(|change| current.merge(&change.settings));
        current
    }

    /// Adds a change that the server has made.
    pub(crate) fn add(&self, settings: &Settings) {
        let change = self.add_change(settings);
        self.finish_change(change, true);
    }

    /// Adds a change when its request is sent. It counts from now on, unless the server refuses it.
    pub(crate) fn add_change(&self, settings: &Settings) -> u64 {
        let mut history = self.history();
        let number = history.next_number;
        history.next_number += 1;
        history.changes.push(Change { number, settings: settings.clone(), accepted: false });
        number
    }

    /// Keeps a change that the server has accepted, or removes one that it has refused.
    pub(crate) fn finish_change(&self, number: u64, accepted: bool) {
        let mut history = self.history();
        if accepted {
            let change = history.changes.iter_mut().find(|change| change.number == number);
            change.into_iter().for_each(|change| change.accepted = true);
        } else {
            history.changes.retain(|change| change.number != number);
        }
        // The change that was sent last wins, in whatever order the responses come.
        let accepted = history.changes.iter().take_while(|change| change.accepted).count();
        let changes: Vec<_> = history.changes.drain(..accepted).collect();
        changes.iter().for_each(|change| history.confirmed.merge(&change.settings));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str) -> Settings {
        Settings { model: Some(name.to_owned()), ..Settings::default() }
    }

    fn current(settings: &TrackedSettings) -> Option<String> {
        settings.current().model
    }

    #[test]
    fn a_refused_change_does_not_undo_a_later_one() {
        let settings = TrackedSettings::default();
        settings.replace(model("a"));
        let (first, second) = (settings.add_change(&model("b")), settings.add_change(&model("c")));
        settings.finish_change(first, false);
        assert_eq!(current(&settings).as_deref(), Some("c"));
        settings.finish_change(second, false);
        assert_eq!(current(&settings).as_deref(), Some("a"));
    }

    #[test]
    fn the_later_change_wins_whichever_response_comes_first() {
        let settings = TrackedSettings::default();
        let (first, second) = (settings.add_change(&model("b")), settings.add_change(&model("c")));
        settings.finish_change(second, true);
        settings.finish_change(first, true);
        assert_eq!(current(&settings).as_deref(), Some("c"));
    }

    #[test]
    fn a_refused_change_undoes_its_own_fields_only() {
        let settings = TrackedSettings::default();
        settings.replace(Settings { personality: Some("friendly".into()), ..model("a") });
        let both = Settings { personality: Some("pragmatic".into()), ..model("b") };
        let (first, second) = (settings.add_change(&both), settings.add_change(&model("c")));
        settings.finish_change(second, true);
        settings.finish_change(first, false);
        let current = settings.current();
        assert_eq!((current.model.as_deref(), current.personality), (Some("c"), Some("friendly".into())));
    }

    #[test]
    fn a_pending_change_survives_new_settings_of_the_server() {
        let settings = TrackedSettings::default();
        let pending = settings.add_change(&model("b"));
        settings.replace(model("a"));
        assert_eq!(current(&settings).as_deref(), Some("b"));
        settings.finish_change(pending, false);
        assert_eq!(current(&settings).as_deref(), Some("a"));
    }
}

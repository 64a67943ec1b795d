//! The events of turns among what was read at once, on their way to the logs of the turns.

use std::hash::BuildHasher;
use std::ops::Range;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::frame_queue::Event;

/// Events, each with the turn that it is of.
///
/// They stay where they were read; a turn's are a chain. That is why an event costs much the same in a thousand turns as
/// in one: a turn's own memory, last touched thousands of events ago, is looked at once for all of its events, and what
/// each event looks at is small and close together.
#[derive(Debug, Default)]
pub(crate) struct Staged<'a> {
    events: Vec<Link<'a>>,
    /// In the order of their first events.
    chains: Vec<Chain>,
    /// The ids of the chains' turns, one behind the other.
    ids: String,
    /// Where the chain of a turn is.
    places: HashTable<usize>,
    hasher: RandomState,
    /// Where the chain of the latest event is.
    latest: usize,
}

#[derive(Debug)]
struct Link<'a> {
    event: Event<'a>,
    /// Where the next of the same turn is.
    next: Option<usize>,
}

#[derive(Debug)]
struct Chain {
    /// The hash of the id, for when the table grows.
    hash: u64,
    /// Where the turn's id is.
    id: Range<usize>,
    first: usize,
    last: usize,
}

impl<'a> Staged<'a> {
    /// With room for so many events.
    pub(crate) fn with_capacity(events: usize) -> Self {
        Self { events: Vec::with_capacity(events), ..Self::default() }
    }

    pub(crate) fn push(&mut self, turn_id: &str, event: Event<'a>) {
        let at = self.events.len();
        self.events.push(Link { event, next: None });
        if let Some(chain) = self.chain(turn_id) {
            let last = std::mem::replace(&mut chain.last, at);
            self.events[last].next = Some(at);
        } else {
            self.begin(turn_id, at);
        }
    }

    /// The chain of a turn. Often it is that of the latest event.
    fn chain(&mut self, turn_id: &str) -> Option<&mut Chain> {
        let Self { chains, ids, places, hasher, latest, .. } = self;
        let is_of_turn =
            |place: &usize| chains.get(*place).is_some_and(|chain| ids[chain.id.clone()] == *turn_id);
        if !is_of_turn(latest) {
            *latest = *places.find(hasher.hash_one(turn_id), is_of_turn)?;
        }
        chains.get_mut(*latest)
    }

    fn begin(&mut self, turn_id: &str, at: usize) {
        let Self { chains, ids, places, hasher, latest, .. } = self;
        *latest = chains.len();
        let (hash, start) = (hasher.hash_one(turn_id), ids.len());
        ids.push_str(turn_id);
        chains.push(Chain { hash, id: start..ids.len(), first: at, last: at });
        places.insert_unique(hash, *latest, |place| chains[*place].hash);
    }

    /// The turns and the events of each.
    pub(crate) fn by_turn(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = Event<'a>>)> {
        self.chains.iter().map(|Chain { id, first, .. }| {
            let next = |link: &&Link<'a>| Some(&self.events[link.next?]);
            let links = std::iter::successors(Some(&self.events[*first]), next);
            (&self.ids[id.clone()], links.map(|link| link.event))
        })
    }

    pub(crate) fn clear(&mut self) {
        self.events.clear();
        self.chains.clear();
        self.ids.clear();
        self.places.clear();
    }
}

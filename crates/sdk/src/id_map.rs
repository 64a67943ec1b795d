//! What is kept by the ids of threads: a list in the order of the ids. A look-up costs about what one in a hash map does,
//! and the compiler makes a fraction of the code.

use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct IdMap<V>(Vec<(Arc<str>, V)>);

impl<V> Default for IdMap<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V> IdMap<V> {
    fn place(&self, id: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| (**known).cmp(id))
    }

    pub(crate) fn get(&self, id: &str) -> Option<&V> {
        self.place(id).ok().map(|place| &self.0[place].1)
    }

    /// Keeps a value, and gives the one that was kept under the id before.
    pub(crate) fn insert(&mut self, id: Arc<str>, value: V) -> Option<V> {
        match self.place(&id) {
            Ok(place) => Some(std::mem::replace(&mut self.0[place].1, value)),
            Err(place) => {
                self.0.insert(place, (id, value));
                None
            }
        }
    }

    pub(crate) fn remove(&mut self, id: &str) -> Option<V> {
        self.place(id).ok().map(|place| self.0.remove(place).1)
    }

    /// All of them, with their ids.
    pub(crate) fn entries(&mut self) -> &mut Vec<(Arc<str>, V)> {
        &mut self.0
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

//! A map by the ids of threads, as a list sorted by the ids. A look-up costs about as much as in a hash map, and compiles to
//! a fraction of the code.

use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct ThreadMap<V>(Vec<(Arc<str>, V)>);

impl<V> Default for ThreadMap<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V> ThreadMap<V> {
    fn search(&self, id: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| (**known).cmp(id))
    }

    pub(crate) fn get(&self, id: &str) -> Option<&V> {
        self.search(id).ok().map(|index| &self.0[index].1)
    }

    /// Inserts a value, and returns the previous value of the id.
    pub(crate) fn insert(&mut self, id: Arc<str>, value: V) -> Option<V> {
        match self.search(&id) {
            Ok(index) => Some(std::mem::replace(&mut self.0[index].1, value)),
            Err(index) => {
                self.0.insert(index, (id, value));
                None
            }
        }
    }

    pub(crate) fn remove(&mut self, id: &str) -> Option<V> {
        self.search(id).ok().map(|index| self.0.remove(index).1)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Arc<str>, V)> {
        self.0.iter()
    }

    /// All entries, sorted by their ids.
    pub(crate) fn entries(&mut self) -> &mut Vec<(Arc<str>, V)> {
        &mut self.0
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

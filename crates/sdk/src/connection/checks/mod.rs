//! Properties that hold for any input, as functions that panic if one does not. The property tests, the replay of the
//! corpora and the fuzz targets call them.

pub(crate) mod decode;
pub(crate) mod envelope;
#[cfg(test)]
pub(crate) mod event_queue;
#[cfg(test)]
pub(crate) mod lifecycle;
pub(crate) mod lines;
pub(crate) mod model;
pub(crate) mod op;
pub(crate) mod reading;
pub(crate) mod restore;
pub(crate) mod router;

//! What must hold whatever comes in: functions that panic where it does not. The property tests, the replay of the
//! corpora and the fuzz targets all call these.

mod decode;
mod envelope;
#[cfg(test)]
mod frame_queue;
mod lines;
mod model;
mod op;
mod reading;
mod router;

pub(crate) use decode::decode;
pub(crate) use envelope::envelope;
pub(crate) use lines::lines;
pub(crate) use router::router;

#[cfg(test)]
pub(crate) use frame_queue::{Step, frame_queue};
#[cfg(test)]
pub(crate) use reading::Members;
#[cfg(test)]
pub(crate) use router::run;

#[cfg(test)]
pub(crate) use op::Op;

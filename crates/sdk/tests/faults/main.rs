//! What a server, the machine or the program itself can do at the wrong moment: `docs/faults.md` lists it, and where
//! each is shown. Servers are real processes here, scripted ones or the runtime.
#![cfg(all(target_os = "linux", feature = "blocking"))]

#[path = "../support/mod.rs"]
mod shared;
mod support;

mod answers;
mod bytes;
mod closing;
mod deaf;
mod drops;
mod drops_of_turns;
mod floods;
mod parent;
mod payloads;
mod silence;
mod starting;
mod table;

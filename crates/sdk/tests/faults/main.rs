//! Faults of a server, the machine or the program itself. `docs/faults.md` lists them with their tests. Servers are
//! real processes here: scripted ones, or the runtime.
#![cfg(all(unix, feature = "blocking"))]

#[path = "../support/mod.rs"]
mod shared;
mod support;

mod bytes;
mod closing;
mod deaf;
mod drops;
mod drops_of_accounts;
mod drops_of_turns;
mod floods;
#[cfg(target_os = "linux")]
mod killed;
mod limits;
#[cfg(target_os = "linux")]
mod parent;
mod payloads;
mod responses;
mod silence;
mod starting;
mod table;

//! The scripted app-server: in memory, over the SDK's transports, as a process, and with the SDK's clients.

mod client_faults;
mod clients;
mod faults;
mod frames;
mod process;
mod streams;

//! The public names, and the tests that the documents name. A program of its own: it reads sources and runs no client.
#![cfg(feature = "blocking")]

mod public_names;
mod reference;
mod vocabulary;

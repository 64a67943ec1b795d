//! Tests with fake folders and package managers. Tests that download are in `tests/`.

mod fixture;
mod install;
mod install_failures;
mod locate;
mod npm_shim;
mod pin;
mod processes;

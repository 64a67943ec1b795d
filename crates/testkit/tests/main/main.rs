//! The scripted app-server, the scripted model, and the checks for leaks: alone, and with the SDK.

mod app_server;
#[cfg(target_os = "linux")]
mod leaks;
mod model;
#[cfg(unix)]
mod proxy;
mod support;

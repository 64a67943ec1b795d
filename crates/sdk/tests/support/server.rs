//! The scripted app-server as a process.

use std::ops::Deref;

use openai_codex_testkit::{AppServer, Script};
use serde_json::Value;

use super::Trace;
use super::bounds::prepare;

/// A scripted app-server. On drop no process of it may be left.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) trace: Trace,
    server: AppServer,
}

impl Server {
    pub(crate) fn new(script: Script) -> Self {
        let program = prepare(AppServer::program).unwrap();
        let server = AppServer::with_program(script, program).unwrap();
        Self { trace: Trace::new(server.dir()), server }
    }

    /// Waits until the server has read a message of this method. Returns everything that it has read.
    pub(crate) fn wait_received(&self, method: &str) -> Vec<Value> {
        loop {
            let received = self.received().unwrap();
            if super::count(&received, method) > 0 {
                return received;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

impl Deref for Server {
    type Target = AppServer;

    fn deref(&self) -> &AppServer {
        &self.server
    }
}

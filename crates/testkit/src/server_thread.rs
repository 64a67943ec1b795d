//! The threads of the testkit's servers.

use std::convert::Infallible;
use std::io;
use std::thread::{Builder, JoinHandle};

use tokio::sync::oneshot;

use crate::owning_process::OwningProcess;

/// Ends when the server is to stop.
pub(crate) type Stopped = oneshot::Receiver<Infallible>;

/// The thread of a server. A drop stops the server and joins the thread, except in a fork, which does not have the thread.
#[derive(Debug)]
pub(crate) struct ServerThread {
    // Dropping it stops the server.
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
    process: OwningProcess,
}

impl ServerThread {
    /// Runs a server until it has stopped.
    pub(crate) fn spawn(name: &str, serve: impl FnOnce(Stopped) + Send + 'static) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let thread = Builder::new().name(name.into()).spawn(move || serve(stopped))?;
        Ok(Self { stop: Some(stop), thread: Some(thread), process: OwningProcess::current() })
    }
}

impl Drop for ServerThread {
    fn drop(&mut self) {
        let (stop, thread) = (self.stop.take(), self.thread.take());
        if !self.process.is_current() {
            // Its drop would wake the parent's thread.
            std::mem::forget(stop);
            return;
        }
        drop(stop);
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

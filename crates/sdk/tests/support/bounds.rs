//! Makes a test that hangs fail, instead of blocking the suite.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::Duration;

/// A generous limit, which distinguishes a hang from a slow machine.
const WATCHDOG: Duration = Duration::from_secs(60);

/// The numbers of started and finished preparations.
static BEGUN: AtomicUsize = AtomicUsize::new(0);
static ENDED: AtomicUsize = AtomicUsize::new(0);

/// The processes that tests have started and not ended, with the threads of the tests. A test that hangs cannot end its own.
static PROCESSES: Mutex<Vec<(ThreadId, u32)>> = Mutex::new(Vec::new());

fn processes() -> MutexGuard<'static, Vec<(ThreadId, u32)>> {
    PROCESSES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has a process killed if the test of this thread hangs.
pub(crate) fn kill_on_hang(process: u32) {
    processes().push((std::thread::current().id(), process));
}

/// Notes that a process has ended.
pub(crate) fn has_ended(process: u32) {
    processes().retain(|(_, known)| *known != process);
}

/// Runs a preparation that may take long the first time, such as an install or a build. The watchdogs wait for it.
pub(crate) fn prepare<T>(preparation: impl FnOnce() -> T) -> T {
    BEGUN.fetch_add(1, Ordering::SeqCst);
    let prepared = preparation();
    ENDED.fetch_add(1, Ordering::SeqCst);
    prepared
}

/// Runs a test on its own thread, and fails if it does not end in time.
pub(crate) fn bounded(test: impl FnOnce() + Send + 'static) {
    bounded_within(WATCHDOG, test);
}

/// Like [`bounded`], for a longer test.
pub(crate) fn bounded_within(watchdog: Duration, test: impl FnOnce() + Send + 'static) {
    bounded_steps(watchdog, |_| test());
}

/// Like [`bounded`], for a test of many steps: the limit is for each. The test sends what it has done after each step.
pub(crate) fn bounded_steps(watchdog: Duration, test: impl FnOnce(Sender<String>) + Send + 'static) {
    let (done, end) = mpsc::channel();
    let name = std::thread::current().name().unwrap_or("test").to_owned();
    let thread = std::thread::Builder::new().name(name).spawn(move || test(done)).unwrap();
    let mut ended = ENDED.load(Ordering::SeqCst);
    let mut last = None;
    loop {
        match end.recv_timeout(watchdog) {
            Ok(step) => {
                last = Some(step);
                continue;
            }
            // Dropping the sender also signals a panic.
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        let (begun, ended_now) = (BEGUN.load(Ordering::SeqCst), ENDED.load(Ordering::SeqCst));
        if begun <= ended_now && ended_now <= ended {
            kill_processes_of(thread.thread().id());
            panic!("the test hangs: nothing has ended within {watchdog:?}. The last step: {last:?}");
        }
        ended = ended_now;
    }
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn kill_processes_of(test: ThreadId) {
    for (_, process) in processes().iter().filter(|(thread, _)| *thread == test) {
        // An error means that it has ended.
        let _ = std::process::Command::new("kill").args(["-KILL", &process.to_string()]).status();
    }
}

/// Like [`bounded`], for an async test on its own executor.
pub(crate) fn bounded_async(test: impl AsyncFnOnce() + Send + 'static) {
    bounded(move || {
        let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        executor.block_on(test());
    });
}

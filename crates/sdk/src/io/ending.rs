//! The end of a connection. Everything that waits gets the same error.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::connection::on_loss::OnLoss;
use crate::error::{Error, ErrorKind};
use crate::io::closing;
use crate::io::observers::Observed;
use crate::io::shared::Shared;
use crate::trace;

impl Shared {
    /// Ends everything with one error. Later calls do nothing.
    pub(crate) fn fail(self: &Arc<Self>, error: &Error) {
        // The commands of these turns can become orphans when the runtime ends.
        self.router().threads_with_turns().iter().for_each(|thread_id| self.sweeps.note(thread_id));
        let left = closing::left_by_close(self);
        // After the first call, the client can use the hub for another connection.
        if self.route(|router| router.fail(error)) {
            self.over.store(true, Ordering::Release);
            if error.kind() != ErrorKind::Closed {
                trace::lost(error);
            }
            closing::report(self, &left);
            self.notify_observers((error.kind() != ErrorKind::Closed).then_some(error));
        }
    }

    fn notify_observers(&self, lost: Option<&Error>) {
        let greeted = self.greeted.load(Ordering::Acquire);
        match (self.on_loss, lost) {
            (OnLoss::Restart | OnLoss::RestartAgain, Some(error)) if greeted => {
                self.hub.announce(&Observed::Lost(error.clone()));
            }
            // The client starts the runtime again.
            (_, Some(error)) if error.is_home_contended() => {}
            // The supervisor reports a failed attempt, and the closing call reports a close.
            (OnLoss::RestartAgain, _) => {}
            _ => self.hub.end(lost),
        }
    }
}

//! The end of a connection: everything that waits gets the same error.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::connection::on_loss::OnLoss;
use crate::error::{Error, ErrorKind};
use crate::io::observers::Observed;
use crate::io::shared::Shared;
use crate::trace;

impl Shared {
    /// Ends everything with one error; the first call wins.
    pub(crate) fn fail(self: &Arc<Self>, error: &Error) {
        // The hub belongs to the client, and may serve another connection by the second time.
        if self.route(|router, effects| router.fail(error, effects)) {
            self.over.store(true, Ordering::Release);
            if error.kind() != ErrorKind::Closed {
                trace::lost(error);
            }
            self.tell_observers((error.kind() != ErrorKind::Closed).then_some(error));
        }
    }

    fn tell_observers(&self, lost: Option<&Error>) {
        let greeted = self.greeted.load(Ordering::Acquire);
        match (self.on_loss, lost) {
            (OnLoss::Restart | OnLoss::RestartAgain, Some(error)) if greeted => {
                self.hub.announce(&Observed::Lost(error.clone()));
            }
            // The start is made again.
            (_, Some(error)) if error.is_home_contended() => {}
            // An attempt that has failed is told by who makes it, and a close by who closes.
            (OnLoss::RestartAgain, _) => {}
            _ => self.hub.end(lost),
        }
    }
}

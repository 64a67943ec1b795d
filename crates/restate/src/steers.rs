//! The inputs that are added to a turn while it runs.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Mutex;

use tokio::sync::watch;

use crate::turn::lock;

/// Whether the turn has the input, or why that is not known.
type Steered = Result<bool, String>;

/// The steers of a turn, by id. The engine, and other workers, may repeat one.
#[derive(Default)]
pub(crate) struct Steers(Mutex<HashMap<String, watch::Receiver<Option<Steered>>>>);

impl Steers {
    /// Carries a steer out, unless that has begun before: also if nobody waits any more. Returns what became of it.
    pub(crate) async fn once(
        &self,
        id: &str,
        steering: impl Future<Output = Steered> + Send + 'static,
    ) -> Steered {
        let mut outcome = lock(&self.0)
            .entry(id.to_owned())
            .or_insert_with(|| {
                let (sender, receiver) = watch::channel(None);
                tokio::spawn(async move {
                    sender.send_replace(Some(steering.await));
                });
                receiver
            })
            .clone();
        match outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Ok(false)),
            Err(_) => Err("the worker failed; see its error output".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_repeated_steer_has_the_outcome_of_the_first() {
        let steers = Steers::default();
        let (sender, steered) = oneshot::channel();
        // Nobody waits for the first any more.
        {
            let first = steers.once("id", async { steered.await.unwrap() });
            tokio::pin!(first);
            tokio::select! {
                biased;
                _ = &mut first => panic!("it has no outcome yet"),
                () = future::ready(()) => {}
            }
        }
        let (second, ()) = tokio::join!(steers.once("id", async { panic!("twice") }), async {
            sender.send(Ok(false)).unwrap()
        });
        assert_eq!(second, Ok(false));
        assert_eq!(steers.once("id", future::pending()).await, Ok(false));
        assert_eq!(steers.once("other", async { Ok(true) }).await, Ok(true));
    }
}

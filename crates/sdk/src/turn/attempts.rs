//! Runs a turn with typed output, and further turns if the output does not fit.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::error::Result;
use crate::result::{FailedAttempt, OutputMismatch};
use crate::turn::start::TurnStart;
use crate::turn::typed::TypedResult;

impl<C: Clone> TurnStart<C> {
    pub(crate) async fn typed_result<T: DeserializeOwned + JsonSchema>(self) -> Result<TypedResult<T>> {
        let thread_id = self.thread.id.clone();
        let mut template = self.output_schema_of::<T>();
        // The timeout covers all attempts.
        template.limits.begin();
        let mut turn = template.clone();
        let session = turn.prepare().await?;
        let mut failed_attempts = Vec::new();
        let attempts = async {
            let mut result = turn.run_to_end(session.clone()).await?;
            loop {
                let error = match result.typed() {
                    Ok(typed) => return Ok(typed),
                    Err(error) => error.with_thread(Some(&thread_id)),
                };
                let (Some(mismatch), Some(result_so_far)) = (error.output_mismatch(), error.turn()) else {
                    return Err(error);
                };
                if failed_attempts.len() == template.retries_on_mismatch {
                    return Err(error);
                }
                let mut turn = template.clone().with_input(correction(mismatch));
                failed_attempts
                    .push(FailedAttempt { mismatch: mismatch.clone(), result: result_so_far.clone() });
                // The client may have restarted the runtime since the last attempt.
                let session = turn.prepare().await?;
                result = turn.run_to_end(session).await?;
            }
        };
        match attempts.await {
            Ok(typed) => Ok(TypedResult { failed_attempts, ..typed }),
            Err(error) => Err(error.with_failed_attempts(failed_attempts)),
        }
    }
}

/// The message to the model after a final response that does not fit.
fn correction(mismatch: &OutputMismatch) -> String {
    let place = match mismatch.path.as_str() {
        "" => String::new(),
        path => format!(" at `{path}`"),
    };
    format!(
        "Your last answer does not follow the requested JSON schema{place}: {}. Answer again with the whole corrected \
         JSON value and nothing else.",
        mismatch.reason
    )
}

//! Runs a turn whose final response is a value of a Rust type, and further turns if the response does not fit.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::error::Result;
#[cfg(doc)]
use crate::error::{Error, ErrorKind};
#[cfg(doc)]
use crate::result::RunResult;
use crate::result::{FailedAttempt, OutputMismatch};
use crate::schema::generate;
use crate::session::clients::AsyncCodex;
use crate::turn::start::TurnStart;
use crate::turn::typed::TypedResult;

impl<C> TurnStart<C> {
    /// Sets the schema of a type, which the final response must follow. [`RunResult::typed`] then reads the value, after a
    /// streamed turn for example. [`run_as`](TurnStart::run_as) does both.
    ///
    /// Some types, such as maps, have no strict schema. `send` and `run` then fail. Needs the feature `schemars`.
    pub fn output_schema_of<T: JsonSchema>(mut self) -> Self {
        match generate::output::<T>() {
            Ok(schema) => self.output_schema(schema),
            Err(error) => {
                self.unusable_schema = Some(error);
                self
            }
        }
    }

    /// Sets how many more attempts [`run_as`](TurnStart::run_as) makes when a final response does not fit. 0 unless set: the first
    /// mismatch is an error.
    ///
    /// Each attempt is another turn on the same thread. Its message quotes the place and the reason of the mismatch. The options that
    /// stay with the thread apply to it, unless another call has replaced them meanwhile. Each attempt costs a turn:
    /// [`TypedResult::failed_attempts`] and [`Error::failed_attempts`] hold the failed ones.
    /// A [`timeout`](Self::timeout) covers all attempts together. `run_as` makes no attempt after an interrupted or failed turn,
    /// or after a turn without a final response.
    ///
    /// `send` and `run` do not read the final response. With this option they fail with [`ErrorKind::InvalidInput`].
    pub fn retry_on_mismatch(mut self, retries: usize) -> Self {
        self.retries_on_mismatch = retries;
        self
    }
}

impl TurnStart<AsyncCodex> {
    /// Runs the turn to its end and reads its final response as a `T`. The model must follow the schema of `T`. JSON in a
    /// Markdown fence is accepted too. Needs the feature `schemars`.
    ///
    /// It replaces any [`output_schema`](Self::output_schema). A running turn with another schema, or without one, cannot be
    /// joined.
    ///
    /// Dropping the future interrupts the turn, if this call created it and no other handle holds it.
    ///
    /// # Errors
    /// - As [`run`](Self::run).
    /// - [`ErrorKind::InvalidInput`] if `T` has no strict schema, before anything is sent.
    /// - [`ErrorKind::OutputMismatch`] if the final response is not a valid `T`, after the attempts that
    ///   [`retry_on_mismatch`](Self::retry_on_mismatch) allows.
    /// - [`ErrorKind::NoOutput`] if the turn was interrupted, or ended without a final response.
    pub async fn run_as<T: DeserializeOwned + JsonSchema>(self) -> Result<TypedResult<T>> {
        self.typed_result().await
    }
}

#[cfg(feature = "blocking")]
impl TurnStart<crate::session::clients::Codex> {
    /// Runs the turn to its end and reads its final response as a `T`. The model must follow the schema of `T`. JSON in a
    /// Markdown fence is accepted too. Needs the feature `schemars`.
    ///
    /// It replaces any [`output_schema`](Self::output_schema). A running turn with another schema, or without one, cannot be
    /// joined.
    ///
    /// # Errors
    /// - As [`run`](Self::run).
    /// - [`ErrorKind::InvalidInput`] if `T` has no strict schema, before anything is sent.
    /// - [`ErrorKind::OutputMismatch`] if the final response is not a valid `T`, after the attempts that
    ///   [`retry_on_mismatch`](Self::retry_on_mismatch) allows.
    /// - [`ErrorKind::NoOutput`] if the turn was interrupted, or ended without a final response.
    #[inline]
    pub fn run_as<T: DeserializeOwned + JsonSchema>(self) -> Result<TypedResult<T>> {
        crate::block_on::wait(self.with_client::<AsyncCodex>().typed_result())
    }
}

impl TurnStart<AsyncCodex> {
    async fn typed_result<T: DeserializeOwned + JsonSchema>(self) -> Result<TypedResult<T>> {
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
                let mut turn = template.clone().followed_by(correction(mismatch));
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

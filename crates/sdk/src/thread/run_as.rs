//! Runs a turn whose final response is a value of a Rust type.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::error::Result;
use crate::options::input::TurnInput;
use crate::thread::handles::AsyncThread;
#[cfg(doc)]
use crate::turn::start::TurnStart;
use crate::turn::typed::TypedResult;

impl AsyncThread {
    /// Runs one turn to its end and reads its final response as a `T`: `thread.run_as::<Report>("…")`. The model must follow the
    /// type's schema. Needs the feature `schemars`.
    ///
    /// Dropping the future interrupts the turn, if this call created it and no other handle holds it.
    ///
    /// # Errors
    /// As [`TurnStart::run_as`].
    pub async fn run_as<T: DeserializeOwned + JsonSchema>(
        &self,
        input: impl Into<TurnInput>,
    ) -> Result<TypedResult<T>> {
        self.turn(input).run_as().await
    }
}

#[cfg(feature = "blocking")]
impl crate::thread::handles::Thread {
    /// Runs one turn to its end and reads its final response as a `T`: `thread.run_as::<Report>("…")`. The model must follow the
    /// type's schema. Needs the feature `schemars`.
    ///
    /// # Errors
    /// As [`TurnStart::run_as`].
    pub fn run_as<T: DeserializeOwned + JsonSchema>(
        &self,
        input: impl Into<TurnInput>,
    ) -> Result<TypedResult<T>> {
        self.turn(input).run_as()
    }
}

//! Reads a final response as a value of a Rust type.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Result};
use crate::result::{FailedAttempt, OutputMismatch, RunResult};
use crate::schema::generate;

/// A turn's final response as a value, with the turn's result.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TypedResult<T> {
    /// The final response.
    pub value: T,
    /// The turn's result. Its `final_response` is the text of the value.
    pub result: RunResult,
    /// The earlier turns whose final responses did not fit, in order; see
    /// [`retry_on_mismatch`](crate::TurnStart::retry_on_mismatch). `result` does not include their usage.
    pub failed_attempts: Vec<FailedAttempt>,
}

impl<T> TypedResult<T> {
    /// Returns the value only.
    pub fn into_value(self) -> T {
        self.value
    }
}

impl RunResult {
    /// Reads the final response as a `T`. Start the turn with
    /// [`output_schema_of`](crate::TurnStart::output_schema_of), or with a schema of your own. With your own schema, a `T` that is
    /// not a JSON object must be in the field `value` of one.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use openai_codex_testkit::Script;
    /// # let script = Script::standard().start_thread("t").start_turn("t", "u").agent_message("t", "u", "m", [r#"{"value": ["a.rs", "b.rs"]}"#]);
    /// # let (transport, _playing) = script.complete_turn("t", "u").connect()?;
    /// # let codex = openai_codex::Codex::with_transport(Default::default(), transport)?;
    /// # let thread = codex.thread_start().send()?;
    /// let turn = thread.turn("Which files are dead code?").output_schema_of::<Vec<String>>().send()?;
    /// // … stream it …
    /// let files: Vec<String> = turn.run()?.typed()?.into_value();
    /// # assert_eq!(files, ["a.rs", "b.rs"]);
    /// # codex.close()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// - [`ErrorKind::OutputMismatch`] if the text is not a valid `T`. [`Error::output_mismatch`] has the place.
    /// - [`ErrorKind::NoOutput`] if the turn was interrupted, or ended without a final response.
    ///
    /// [`Error::turn`] holds this result in both cases.
    pub fn typed<T: DeserializeOwned + JsonSchema>(self) -> Result<TypedResult<T>> {
        if self.is_interrupted() {
            let message = "the turn was interrupted before its final response";
            return Err(Error::new(ErrorKind::NoOutput, message).with_turn(self));
        }
        let Some(text) = self.final_response.as_deref() else {
            let message = "the turn ended without a final response";
            return Err(Error::new(ErrorKind::NoOutput, message).with_turn(self));
        };
        match read::<T>(text) {
            Ok(value) => Ok(TypedResult { value, result: self, failed_attempts: Vec::new() }),
            Err(mismatch) => {
                let message = format!("the final response is not a valid `{}`: {mismatch}", T::schema_name());
                Err(Error::new(ErrorKind::OutputMismatch, message).with_mismatch(mismatch).with_turn(self))
            }
        }
    }
}

fn read<T: DeserializeOwned + JsonSchema>(text: &str) -> Result<T, OutputMismatch> {
    #[derive(Deserialize)]
    struct Wrapped<T> {
        // `schema::WRAPPER`
        value: T,
    }
    if generate::is_wrapped::<T>() {
        read_json::<Wrapped<T>>(text).map(|wrapped| wrapped.value)
    } else {
        read_json(text)
    }
}

fn read_json<T: DeserializeOwned>(text: &str) -> Result<T, OutputMismatch> {
    let unfenced = without_fence(text);
    let mut json = serde_json::Deserializer::from_str(unfenced.as_deref().unwrap_or(text));
    let mut track = serde_path_to_error::Track::new();
    let value = T::deserialize(serde_path_to_error::Deserializer::new(&mut json, &mut track));
    let path = track.path();
    value.and_then(|value| json.end().map(|()| value)).map_err(|error| OutputMismatch {
        text: text.to_owned(),
        // An empty path would print as a dot.
        path: if path.iter().next().is_some() { path.to_string() } else { String::new() },
        line: error.line(),
        column: error.column(),
        reason: error.to_string(),
    })
}

/// The text inside of a Markdown fence. `None` if the fence does not contain the whole text. Spaces replace what is before the
/// JSON, so that lines and columns count from the start of the text.
fn without_fence(text: &str) -> Option<String> {
    const FENCE: &str = "```";
    let inside = text.trim_end().strip_suffix(FENCE)?;
    let (language, _) = inside.trim_start().strip_prefix(FENCE)?.split_once('\n')?;
    if !["", "json"].contains(&language.trim().to_ascii_lowercase().as_str()) {
        return None;
    }
    let start = inside.find(FENCE)? + FENCE.len() + language.len();
    let before = inside[..start].chars().map(|letter| if letter == '\n' { '\n' } else { ' ' });
    Some(before.chain(inside[start..].chars()).collect())
}

//! Tools whose arguments have a Rust type.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::schema::generate;
use crate::schema::generate::Arguments;
use crate::tool::call::ToolCall;
use crate::tool::definition::Tool;
use crate::tool::output::ToolOutput;
use crate::tool::reply::{IntoToolReply, ToolReply};

impl Tool {
    /// A tool with arguments of type `A`. Names consist of letters, digits, `_` and `-`.
    ///
    /// Use a struct: its fields are the arguments, and the model reads their doc comments. `()` means no arguments. Any other
    /// type becomes the argument `value`. Needs the feature `schemars`.
    pub fn new<A, R, M>(
        name: impl Into<String>,
        description: impl Into<String>,
        function: impl Fn(A) -> R + Send + Sync + 'static,
    ) -> Self
    where
        A: DeserializeOwned + JsonSchema,
        R: IntoToolReply<M>,
    {
        Self::with_context(name, description, move |arguments: A, _| function(arguments))
    }

    /// Like [`new`](Self::new), for a closure that needs to know the call.
    ///
    /// ```
    /// use openai_codex::{Tool, ToolCall};
    ///
    /// let whoami = Tool::with_context("whoami", "Which thread this is", |(): (), call: ToolCall| {
    ///     format!("the thread {}", call.thread_id())
    /// });
    /// # drop(whoami);
    /// ```
    pub fn with_context<A, R, M>(
        name: impl Into<String>,
        description: impl Into<String>,
        function: impl Fn(A, ToolCall) -> R + Send + Sync + 'static,
    ) -> Self
    where
        A: DeserializeOwned + JsonSchema,
        R: IntoToolReply<M>,
    {
        let (schema, form) = match generate::input::<A>() {
            Ok((schema, form)) => (Ok(schema), form),
            Err(error) => (Err(error), Arguments::Whole),
        };
        Self::build(name.into(), description.into(), schema, move |arguments, call| {
            match decode::<A>(arguments, form) {
                Ok(arguments) => function(arguments, call).into_tool_reply(),
                Err(mismatch) => ToolReply::from(mismatch),
            }
        })
    }
}

fn decode<A: DeserializeOwned>(arguments: Value, form: Arguments) -> Result<A, ToolOutput> {
    #[derive(Deserialize)]
    struct Wrapped<A> {
        // The name is that of `schema::generate::WRAPPER`.
        value: A,
    }
    let arguments = match form {
        // A tool without arguments ignores what the model has written.
        Arguments::None => Value::Null,
        // Some models write no arguments if none is required.
        _ if arguments.is_null() => json!({}),
        _ => arguments,
    };
    let read = match form {
        Arguments::Wrapped => {
            serde_path_to_error::deserialize::<_, Wrapped<A>>(arguments).map(|wrapped| wrapped.value)
        }
        _ => serde_path_to_error::deserialize(arguments),
    };
    read.map_err(|error| {
        let path = error.path();
        // The path of the whole value is a lone dot.
        let location = if path.iter().next().is_some() { format!(", at `{path}`") } else { String::new() };
        ToolOutput::failed(format!("the arguments do not fit the tool's schema{location}: {}", error.inner()))
    })
}

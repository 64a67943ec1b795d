//! Functions of this program that the model can call.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use openai_codex_protocol::types::DynamicToolCallResponse;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::schema::generate;
use crate::schema::generate::Arguments;
use crate::tool::call::ToolCall;
use crate::tool::output::ToolOutput;
use crate::tool::reply::{IntoToolReply, Reply, ToolReply};

/// A function of this program that the model can call: a name and a description for the model, a type for the arguments,
/// and a closure.
///
/// What the closure returns is the answer, at once or as a future: a text, a [`Json`](crate::Json) value, a [`ToolOutput`] with images,
/// `()`, or a `Result` of one, whose error the model gets to read as that of a failed call. Arguments that the type cannot
/// be read from are such a failed call too: the model is told where they broke, and can mend them.
///
/// ```
/// use openai_codex::Tool;
/// use openai_codex::schemars::{self, JsonSchema};
/// use serde::Deserialize;
///
/// #[derive(JsonSchema, Deserialize)]
/// struct Lookup {
///     /// As it is on the label, such as `AB-12`.
///     part_number: String,
/// }
///
/// let lookup = Tool::new("lookup", "How many of a part are in stock", |part: Lookup| async move {
///     match part.part_number.as_str() {
///         "AB-12" => Ok("7 pieces"),
///         other => Err(format!("there is no part {other}")),
///     }
/// });
/// assert_eq!(lookup.name(), "lookup");
/// ```
///
/// The closure may be called for several threads at once. Of the calls of one turn, the runtime makes one after the other.
#[derive(Clone)]
#[must_use = "a tool does nothing until it is given to a thread"]
pub struct Tool {
    name: Arc<str>,
    pub(crate) description: Arc<str>,
    namespace: Option<Arc<str>>,
    schema: Arc<Result<Value>>,
    pub(crate) defer_loading: bool,
    pub(crate) timeout: Option<Duration>,
    function: Arc<dyn Fn(Value, ToolCall) -> ToolReply + Send + Sync>,
}

impl Tool {
    /// A tool whose arguments are an `A`. Names consist of letters, digits, `_` and `-`.
    ///
    /// A struct is best: its fields are the arguments, and their doc comments are for the model. `()` is a tool without
    /// arguments; anything else is the argument `value`.
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

    /// As [`new`](Self::new), for a closure that wants to know which call it answers.
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
            match read::<A>(arguments, form) {
                Ok(arguments) => function(arguments, call).into_tool_reply(),
                Err(misfit) => ToolReply::from(misfit),
            }
        })
    }

    /// A tool with a JSON schema of your own making, whose arguments are the JSON as the model wrote it. The schema is
    /// sent as it is; the runtime takes it apart, and drops what it does not know, such as limits and formats.
    pub fn raw<R, M>(
        name: impl Into<String>,
        description: impl Into<String>,
        input_schema: impl Into<Value>,
        function: impl Fn(Value) -> R + Send + Sync + 'static,
    ) -> Self
    where
        R: IntoToolReply<M>,
    {
        let schema = Ok(input_schema.into());
        Self::build(name.into(), description.into(), schema, move |arguments, _| {
            function(arguments).into_tool_reply()
        })
    }

    fn build(
        name: String,
        description: String,
        schema: Result<Value>,
        function: impl Fn(Value, ToolCall) -> ToolReply + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            description: description.into(),
            namespace: None,
            schema: Arc::new(schema),
            defer_loading: false,
            timeout: None,
            function: Arc::new(function),
        }
    }

    /// The namespace of the tool: tools of different namespaces may have the same name.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into().into());
        self
    }

    /// Whether the model is not shown the tool, and has to search for it. `false` unless set. Needs a
    /// [`namespace`](Self::namespace).
    pub fn defer_loading(mut self, defer: bool) -> Self {
        self.defer_loading = defer;
        self
    }

    /// How long a call may take; then it has failed, and the model is told so. Without it, it is that of all handlers:
    /// [`CodexConfig::handler_timeout`](crate::CodexConfig::handler_timeout).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of the [`namespace`](Self::namespace), if the tool is in one.
    pub fn namespace_name(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Calls the function. What it returns is there, or still to be waited for; a closure that blocks blocks this.
    pub(crate) fn call(&self, arguments: Value, call: ToolCall) -> ToolReply {
        (self.function)(arguments, call)
    }

    pub(crate) fn input_schema(&self) -> Result<Value> {
        (*self.schema).clone().map_err(|error| {
            Error::invalid_input(format!("the tool `{}`: {error}", self.name)).with_source(error)
        })
    }
}

impl fmt::Debug for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tool = f.debug_struct("Tool");
        tool.field("namespace", &self.namespace).field("name", &self.name);
        tool.finish_non_exhaustive()
    }
}

fn read<A: DeserializeOwned>(arguments: Value, form: Arguments) -> Result<A, ToolOutput> {
    #[derive(Deserialize)]
    struct Wrapped<A> {
        // `schema::WRAPPER`
        value: A,
    }
    let arguments = match form {
        // Whatever the model has written: there is nothing to be read.
        Arguments::None => Value::Null,
        // Some models write no arguments at all where none is required.
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
        // The path of no element is a lone dot.
        let place = if path.iter().next().is_some() { format!(", at `{path}`") } else { String::new() };
        ToolOutput::failed(format!("the arguments do not fit the tool's schema{place}: {}", error.inner()))
    })
}

impl From<ToolOutput> for ToolReply {
    fn from(output: ToolOutput) -> Self {
        Self(Reply::Now(output.into()))
    }
}

impl From<ToolOutput> for DynamicToolCallResponse {
    fn from(output: ToolOutput) -> Self {
        output.into_wire()
    }
}

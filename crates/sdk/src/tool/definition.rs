//! Functions of the program that the model can call.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use openai_codex_protocol::types::DynamicToolCallResponse;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::tool::call::ToolCall;
use crate::tool::output::ToolOutput;
use crate::tool::reply::{IntoToolReply, Reply, ToolReply};

/// A function of the program that the model can call. It has a name and a description for the model, a type for the
/// arguments, and a closure.
///
/// The closure returns the result, or a future of it: a text, a [`Json`](crate::Json) value, a [`ToolOutput`] with images,
/// `()`, or a `Result` of one of these. An error becomes a failed call, whose message the model reads. Arguments that do not
/// fit the type become a failed call too. Its message says which argument is wrong, so that the model can correct it.
///
/// ```
/// use openai_codex::Tool;
/// use openai_codex::schemars::{self, JsonSchema};
/// use serde::Deserialize;
///
/// #[derive(JsonSchema, Deserialize)]
/// struct Lookup {
///     /// As printed on the label, such as `AB-12`.
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
/// The closure can run for several threads at once. The runtime makes the calls of one turn one after the other.
#[derive(Clone)]
#[must_use = "a tool does nothing until a thread has it"]
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
    /// A tool with your own JSON schema. The closure gets the arguments as JSON, as the model has written them. The runtime
    /// drops the parts of the schema that it does not support, such as limits and formats.
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

    pub(crate) fn build(
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

    /// Puts the tool into a namespace. Tools of different namespaces can have the same name.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into().into());
        self
    }

    /// Whether the model must search for the tool before it sees it. `false` by default. Needs a
    /// [`namespace`](Self::namespace).
    pub fn defer_loading(mut self, defer: bool) -> Self {
        self.defer_loading = defer;
        self
    }

    /// How long a call may take. After that it fails, with a message for the model. By default,
    /// [`CodexConfig::handler_timeout`](crate::CodexConfig::handler_timeout) applies.
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

    /// Calls the function. The reply is the result or a future of it. Blocks if the closure does.
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

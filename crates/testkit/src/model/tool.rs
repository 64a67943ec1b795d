//! Tool calls.

use serde_json::{Map, Value, json};

/// The line that ends the input of a patch.
const PATCH_END: &str = "TESTKIT_PATCH";

/// A tool call of the model.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a call does nothing until it is part of a reply"]
pub struct ModelToolCall {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) arguments: Value,
    pub(crate) call_id: Option<String>,
    pub(crate) namespace: Option<String>,
}

/// The Responses API item of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `function_call`.
    Function,
    /// `custom_tool_call`.
    Custom,
}

impl ModelToolCall {
    /// A call with all its arguments. They are usually an object. Anything else is sent unchanged, to test a malformed
    /// call.
    pub fn new(name: impl Into<String>, arguments: Value) -> Self {
        Self { kind: Kind::Function, name: name.into(), arguments, call_id: None, namespace: None }
    }

    /// A call of a custom tool, which takes a text instead of arguments.
    pub fn custom(name: impl Into<String>, input: impl Into<String>) -> Self {
        Self { kind: Kind::Custom, ..Self::new(name, Value::String(input.into())) }
    }

    /// A call of the runtime's command tool, which runs the line in a shell, in its sandbox.
    ///
    /// The argument `login` is false, so that the user's shell profile does not add to the output.
    pub fn exec_command(command: impl Into<String>) -> Self {
        Self::new("exec_command", Value::Object(Map::new())).arg("cmd", command.into()).arg("login", false)
    }

    /// Changes files with a patch, in the format between `*** Begin Patch` and `*** End Patch`. Both lines are added if
    /// they are missing.
    ///
    /// It calls the command tool with `apply_patch` and the patch as its input. Runtime 0.163.0 applies such a command
    /// itself, under its sandbox rules, and reports a file change. With some models of its catalog, such as `gpt-5.5`,
    /// it also offers a custom tool `apply_patch`; call that with [`custom`](Self::custom).
    ///
    /// ```
    /// use openai_codex_testkit::ModelToolCall;
    ///
    /// let add = ModelToolCall::apply_patch("*** Add File: note.txt\n+first line\n");
    /// let change = ModelToolCall::apply_patch("*** Update File: note.txt\n@@\n-first line\n+another line\n");
    /// # let _ = (add, change);
    /// ```
    ///
    /// # Panics
    /// If the patch has a line `TESTKIT_PATCH`, which ends the input.
    pub fn apply_patch(patch: impl AsRef<str>) -> Self {
        let patch = patch.as_ref().trim_end_matches('\n');
        assert!(patch.lines().all(|line| line != PATCH_END), "a line of the patch is {PATCH_END}");
        let patch = match patch.starts_with("*** Begin Patch") {
            true => patch.to_owned(),
            false => format!("*** Begin Patch\n{patch}\n*** End Patch"),
        };
        Self::exec_command(format!("apply_patch <<'{PATCH_END}'\n{patch}\n{PATCH_END}\n"))
    }

    /// Asks the user one to three questions.
    ///
    /// The runtime sends the client `item/tool/requestUserInput` if the turn is in plan mode: `turn/start` has a
    /// `collaborationMode` of `{"mode": "plan", "settings": {"model": "mock-model", "reasoning_effort": null,
    /// "developer_instructions": null}}`. With the configuration `features.default_mode_request_user_input = true` it
    /// does so in any mode.
    pub fn request_user_input(questions: impl IntoIterator<Item = Question>) -> Self {
        let questions: Vec<Value> = questions.into_iter().map(Question::into_value).collect();
        Self::new("request_user_input", json!({"questions": questions}))
    }

    /// Requests more permissions, for this reason. The permissions are an object with `"file_system": {"read": […],
    /// "write": […]}`, with absolute paths, or `"network": {"enabled": true}`, or both.
    ///
    /// The runtime sends the client `item/permissions/requestApproval` under three conditions: the configuration has
    /// `features.request_permissions_tool = true`, the approval policy is `on-request`, and the user is the reviewer.
    pub fn request_permissions(reason: impl Into<String>, permissions: Value) -> Self {
        Self::new("request_permissions", json!({"reason": reason.into(), "permissions": permissions}))
    }

    /// A tool of an [MCP server](crate::mcp), by the server's name in the configuration.
    pub fn mcp(server: &str, tool: impl Into<String>, arguments: Value) -> Self {
        Self::new(tool, arguments).namespace(format!("mcp__{server}"))
    }

    /// Sets an argument. `exec_command` knows `workdir`, `yield_time_ms`, `max_output_tokens`, `tty`, `shell`, `login`,
    /// `prefix_rule`, and the arguments that [`escalate`](Self::escalate) sets.
    ///
    /// # Panics
    /// If the arguments are not an object.
    pub fn arg(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        let Value::Object(arguments) = &mut self.arguments else {
            panic!("the arguments of the tool call {:?} are not an object", self.name);
        };
        arguments.insert(name.into(), value.into());
        self
    }

    /// Requests to run outside the sandbox, for this reason. With the approval policy `on-request` the runtime asks the
    /// reviewer: the client, or a model, whose verdict [`review_with`](crate::ScriptedModel::review_with) sets.
    pub fn escalate(self, justification: impl Into<String>) -> Self {
        self.arg("sandbox_permissions", "require_escalated").arg("justification", justification.into())
    }

    /// Sets the tool's namespace. For example, `multi_agent_v1` has `spawn_agent` and `wait_agent`.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Sets the id that ties the call to its output. The default is generated.
    pub fn call_id(mut self, id: impl Into<String>) -> Self {
        self.call_id = Some(id.into());
        self
    }
}

/// A question that [`ModelToolCall::request_user_input`] asks.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a question does nothing until it is asked"]
pub struct Question {
    id: String,
    header: String,
    question: String,
    options: Vec<(String, String)>,
}

impl Question {
    /// A question without options. The answer carries this id.
    pub fn new(id: impl Into<String>, header: impl Into<String>, question: impl Into<String>) -> Self {
        Self { id: id.into(), header: header.into(), question: question.into(), options: Vec::new() }
    }

    /// Adds an option. The runtime requires two or three.
    pub fn option(mut self, label: impl Into<String>, description: impl Into<String>) -> Self {
        self.options.push((label.into(), description.into()));
        self
    }

    fn into_value(self) -> Value {
        let options = self.options.into_iter();
        let options: Vec<_> =
            options.map(|(label, description)| json!({"label": label, "description": description})).collect();
        json!({"id": self.id, "header": self.header, "question": self.question, "options": options})
    }
}

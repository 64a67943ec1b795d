//! Options of the Python calls as options of the SDK's builders. The package has checked their names and classes.

use std::collections::HashMap;
use std::time::Duration;

use openai_codex::types::{
    CommandExecutionApprovalDecision, FileChangeApprovalDecision, McpServerElicitationRequestResponse,
    PermissionsRequestApprovalResponse, ReasoningSummary, SandboxMode, SandboxPolicy,
    ToolRequestUserInputResponse,
};
use openai_codex::{
    ApprovalMode, AsyncCodex, AsyncThread, CodexConfig, CommandApproval, ConnectionPolicy,
    ElicitationRequest, ExternalMessage, FileChangeApproval, GapPolicy, ImageInput, Input, InputItem,
    LocalImageInput, MentionInput, MethodClass, PermissionsApproval, RestartPolicy, Sandbox, SkillInput,
    TextInput, ThreadFork, ThreadResume, ThreadStart, TraceContext, TurnInput, TurnStart, UserInputRequest,
    WireLog,
};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use serde_json::{Value, json};

use crate::endpoint::endpoint;
use crate::every_request::EveryRequest;
use crate::handlers::{Handler, tools};
use crate::json::{seconds, to_json};

/// The text of an option: a string, or the value of an enum member.
fn text(value: &Bound<'_, PyAny>) -> PyResult<String> {
    match to_json(value)? {
        Value::String(text) => Ok(text),
        other => Err(PyTypeError::new_err(format!("a string is expected, not {other}"))),
    }
}

/// A value of a protocol type.
fn typed<T: serde::de::DeserializeOwned>(value: &Bound<'_, PyAny>) -> PyResult<T> {
    serde_json::from_value(to_json(value)?).map_err(|error| PyValueError::new_err(error.to_string()))
}

fn approval_mode(value: &Bound<'_, PyAny>) -> PyResult<ApprovalMode> {
    match &*text(value)? {
        "auto_review" => Ok(ApprovalMode::AutoReview),
        "deny_all" => Ok(ApprovalMode::DenyAll),
        "ask" => Ok(ApprovalMode::Ask),
        other => Err(PyValueError::new_err(format!("unknown approval mode {other:?}"))),
    }
}

fn sandbox(value: &Bound<'_, PyAny>) -> PyResult<Sandbox> {
    match &*text(value)? {
        "read-only" => Ok(Sandbox::ReadOnly),
        "workspace-write" => Ok(Sandbox::WorkspaceWrite),
        "full-access" | "danger-full-access" => Ok(Sandbox::FullAccess),
        other => Err(PyValueError::new_err(format!("unknown sandbox {other:?}"))),
    }
}

fn unknown(name: &str) -> PyErr {
    PyTypeError::new_err(format!("unknown option {name:?}"))
}

/// Sets a function that answers one kind of request.
macro_rules! with_handler {
    ($builder:ident, $name:expr, $value:expr) => {{
        let handler = Handler::of($value)?;
        match $name {
            "on_command_approval" => $builder.on_command_approval(move |request: CommandApproval| {
                handler
                    .reply::<CommandExecutionApprovalDecision>("CommandApproval", &command_fields(&request), request.cancellation())
            }),
            "on_file_change_approval" => $builder.on_file_change_approval(move |request: FileChangeApproval| {
                handler.reply::<FileChangeApprovalDecision>("FileChangeApproval", &file_change_fields(&request), request.cancellation())
            }),
            "on_permissions_approval" => {
                $builder.on_permissions_approval(move |request: PermissionsApproval| {
                    let fields = json!({"params": request.params});
                    handler.reply::<PermissionsRequestApprovalResponse>("PermissionsApproval", &fields, request.cancellation())
                })
            }
            "on_user_input" => $builder.on_user_input(move |request: UserInputRequest| {
                let fields = json!({"params": request.params});
                handler.reply::<ToolRequestUserInputResponse>("UserInputRequest", &fields, request.cancellation())
            }),
            "on_elicitation" => $builder.on_elicitation(move |request: ElicitationRequest| {
                let fields = json!({"params": request.params});
                handler.reply::<McpServerElicitationRequestResponse>("ElicitationRequest", &fields, request.cancellation())
            }),
            name => return Err(unknown(name)),
        }
    }};
}

/// The configuration of a client.
pub(crate) fn config(options: &Bound<'_, PyDict>) -> PyResult<CodexConfig> {
    let mut config = CodexConfig::new();
    for (name, value) in options {
        let name = name.cast::<PyString>()?.to_str()?.to_owned();
        config = match &*name {
            "codex_bin" => config.codex_bin(value.extract::<std::path::PathBuf>()?),
            "launch_args_override" => config.launch_args_override(value.extract::<Vec<String>>()?),
            "config_overrides" => config.config_overrides(value.extract::<Vec<String>>()?),
            "cwd" => config.cwd(value.extract::<std::path::PathBuf>()?),
            "env" => value
                .extract::<Vec<(String, String)>>()?
                .into_iter()
                .fold(config, |config, (name, value)| config.env(name, value)),
            "client_name" => config.client_name(text(&value)?),
            "client_title" => config.client_title(text(&value)?),
            "client_version" => config.client_version(text(&value)?),
            "experimental_api" => config.experimental_api(value.is_truthy()?),
            "env_inherit" => config.env_clear().env_inherit(value.extract::<Vec<String>>()?),
            "env_remove" => value.extract::<Vec<String>>()?.into_iter().fold(config, CodexConfig::env_remove),
            "connection_policy" => config.connection_policy(connection_policy(&value)?),
            "restart" => config.restart(restart_policy(&value)?),
            "wire_log" => {
                let (path, max_bytes, keep): (std::path::PathBuf, u64, u32) = value.extract()?;
                config.wire_log(WireLog::new(path).max_bytes(max_bytes).keep(keep))
            }
            "start_timeout" => config.start_timeout(seconds(&value)?),
            "request_timeout" => config.request_timeout(seconds(&value)?),
            "class_timeouts" => class_timeouts(config, value.cast::<PyDict>()?)?,
            "handler_timeout" => config.handler_timeout(seconds(&value)?),
            "close_timeout" => config.close_timeout(seconds(&value)?),
            "turn_idle_timeout" => config.turn_idle_timeout(seconds(&value)?),
            "coalesce_above" => config.coalesce_above(value.extract()?),
            "stream_limit" => config.stream_limit(value.extract()?),
            "connect" => config.connect(endpoint(&value)?),
            "trace_context" => config.trace_context(trace_context(value.unbind())),
            "on_any_request" => config.handler(EveryRequest(Handler::of(&value)?)),
            name if name.starts_with("on_") => with_handler!(config, name, &value),
            _ => return Err(unknown(&name)),
        };
    }
    Ok(config)
}

/// The attempts of a policy, its window, its first and its longest pause, and its jitter.
type Attempts<'py> = (usize, Bound<'py, PyAny>, Bound<'py, PyAny>, Bound<'py, PyAny>, f64);

fn connection_policy(value: &Bound<'_, PyAny>) -> PyResult<ConnectionPolicy> {
    type Fields<'py> = (Attempts<'py>, Bound<'py, PyAny>, Bound<'py, PyAny>);
    let ((max_attempts, window, initial_delay, max_delay, jitter), grace, gap_policy): Fields<'_> =
        value.extract()?;
    let gap_policy = match &*text(&gap_policy)? {
        "repair" => GapPolicy::Repair,
        "live" => GapPolicy::Live,
        other => return Err(PyValueError::new_err(format!("unknown gap policy {other:?}"))),
    };
    let policy = match max_attempts {
        0 => ConnectionPolicy::never(),
        _ => ConnectionPolicy::new().max_attempts(max_attempts).window(seconds(&window)?),
    };
    let policy =
        policy.initial_delay(seconds(&initial_delay)?).max_delay(seconds(&max_delay)?).jitter(jitter);
    Ok(policy.start_grace(seconds(&grace)?).gap_policy(gap_policy))
}

fn restart_policy(value: &Bound<'_, PyAny>) -> PyResult<RestartPolicy> {
    let (max_attempts, window, initial_delay, max_delay, jitter): Attempts<'_> = value.extract()?;
    let policy = RestartPolicy::new().max_attempts(max_attempts).window(seconds(&window)?);
    Ok(policy.initial_delay(seconds(&initial_delay)?).max_delay(seconds(&max_delay)?).jitter(jitter))
}

fn class_timeouts(mut config: CodexConfig, timeouts: &Bound<'_, PyDict>) -> PyResult<CodexConfig> {
    for (class, timeout) in timeouts {
        let class = match &*text(&class)? {
            "quick" => MethodClass::Quick,
            "slow" => MethodClass::Slow,
            "lasting" => MethodClass::Lasting,
            other => return Err(PyValueError::new_err(format!("unknown class of methods {other:?}"))),
        };
        let is_infinite = timeout.extract::<f64>()? == f64::INFINITY;
        config = config.class_timeout(class, if is_infinite { Duration::MAX } else { seconds(&timeout)? });
    }
    Ok(config)
}

/// Calls a function that returns a mapping of headers or `None`. An exception counts as `None`, so that no request fails by it.
fn trace_context(current: Py<PyAny>) -> impl Fn() -> Option<TraceContext> + Send + Sync {
    move || {
        Python::try_attach(|py| {
            let read = || -> PyResult<Option<TraceContext>> {
                let headers: Option<HashMap<String, String>> = current.bind(py).call0()?.extract()?;
                let Some(mut headers) = headers else { return Ok(None) };
                let Some(context) = headers.remove("traceparent").map(TraceContext::new) else {
                    return Ok(None);
                };
                Ok(Some(match headers.remove("tracestate") {
                    Some(state) => context.tracestate(state),
                    None => context,
                }))
            };
            read().unwrap_or_else(|error| {
                error.write_unraisable(py, Some(current.bind(py)));
                None
            })
        })
        .flatten()
    }
}

/// Sets the options that starting, resuming and forking a thread share, and those of `$own`.
macro_rules! thread_options {
    ($builder:expr, $options:expr, { $($own:literal => $method:ident($read:ident)),* $(,)? }) => {{
        let mut builder = $builder;
        for (name, value) in $options {
            let name = name.cast::<PyString>()?.to_str()?.to_owned();
            builder = match &*name {
                "approval_mode" => builder.approval_mode(approval_mode(&value)?),
                "base_instructions" => builder.base_instructions(text(&value)?),
                "config" => match to_json(&value)? {
                    Value::Object(entries) => {
                        entries.into_iter().fold(builder, |builder, (key, value)| builder.config(key, value))
                    }
                    _ => return Err(PyTypeError::new_err("config is a dict")),
                },
                "cwd" => builder.cwd(value.extract::<std::path::PathBuf>()?),
                "developer_instructions" => builder.developer_instructions(text(&value)?),
                "model" => builder.model(text(&value)?),
                "model_provider" => builder.model_provider(text(&value)?),
                "sandbox" => builder.sandbox(SandboxMode::from(sandbox(&value)?)),
                "service_tier" => builder.service_tier(text(&value)?),
                name if name.starts_with("on_") => with_handler!(builder, name, &value),
                "tools" => builder.tools(tools(&value)?),
                "trust_folder" if value.is_truthy()? => builder.trust_folder(),
                "trust_folder" => builder,
                $($own => builder.$method($read(&value)?),)*
                _ => return Err(unknown(&name)),
            };
        }
        Ok(builder)
    }};
}

fn command_fields(request: &CommandApproval) -> Value {
    json!({
        "thread_id": request.params.thread_id,
        "turn_id": request.params.turn_id,
        "item_id": request.params.item_id,
        "shell_command": request.shell_command(),
        "argv": request.argv(),
        "available_decisions": request.available_decisions(),
        "command": request.params.command,
        "cwd": request.params.cwd,
        "reason": request.params.reason,
        "params": request.params,
    })
}

fn file_change_fields(request: &FileChangeApproval) -> Value {
    json!({
        "thread_id": request.params.thread_id,
        "turn_id": request.params.turn_id,
        "item_id": request.params.item_id,
        "grant_root": request.params.grant_root,
        "reason": request.params.reason,
        "params": request.params,
    })
}

fn flag(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    value.is_truthy()
}

pub(crate) fn start_options(
    builder: ThreadStart<AsyncCodex>,
    options: &Bound<'_, PyDict>,
) -> PyResult<ThreadStart<AsyncCodex>> {
    thread_options!(builder, options, {
        "ephemeral" => ephemeral(flag),
        "personality" => personality(text),
        "service_name" => service_name(text),
        "session_start_source" => session_start_source(text),
        "thread_source" => thread_source(text),
    })
}

pub(crate) fn resume_options(
    builder: ThreadResume<AsyncCodex>,
    options: &Bound<'_, PyDict>,
) -> PyResult<ThreadResume<AsyncCodex>> {
    thread_options!(builder, options, {
        "include_turns" => include_turns(flag),
        "personality" => personality(text),
        "writer_timeout" => writer_timeout(seconds),
    })
}

pub(crate) fn fork_options(
    builder: ThreadFork<AsyncCodex>,
    options: &Bound<'_, PyDict>,
) -> PyResult<ThreadFork<AsyncCodex>> {
    thread_options!(builder, options, {
        "ephemeral" => ephemeral(flag),
        "include_turns" => include_turns(flag),
        "last_turn_id" => last_turn_id(text),
        "thread_source" => thread_source(text),
    })
}

/// A turn with its input and options.
pub(crate) fn turn_options(
    thread: &AsyncThread,
    items: &Bound<'_, PyAny>,
    options: &Bound<'_, PyDict>,
) -> PyResult<TurnStart<AsyncCodex>> {
    let mut turn = thread.turn(turn_input(items)?);
    for (name, value) in options {
        let name = name.cast::<PyString>()?.to_str()?.to_owned();
        turn = match &*name {
            "approval_mode" => turn.approval_mode(approval_mode(&value)?),
            "cwd" => turn.cwd(value.extract::<std::path::PathBuf>()?),
            "end_commands_on_interrupt" => turn.end_commands_on_interrupt(value.is_truthy()?),
            "effort" => turn.effort(text(&value)?),
            "interrupt_on_drop" => turn.interrupt_on_drop(value.is_truthy()?),
            "inactivity_timeout" => turn.inactivity_timeout(seconds(&value)?),
            "max_model_requests" => turn.max_model_requests(value.extract()?),
            "max_tokens" => turn.max_tokens(value.extract()?),
            "model" => turn.model(text(&value)?),
            "output_schema" => turn.output_schema(to_json(&value)?),
            "personality" => turn.personality(text(&value)?),
            "sandbox" => turn.sandbox(sandbox(&value)?),
            "sandbox_policy" => turn.sandbox_policy(typed::<SandboxPolicy>(&value)?),
            "service_tier" => turn.service_tier(text(&value)?),
            "source" => turn.turn_trigger(text(&value)?),
            "summary" => turn.summary(typed::<ReasoningSummary>(&value)?),
            "timeout" => turn.timeout(seconds(&value)?),
            "turn_service_tier" => turn.service_tier_for_turn(text(&value)?),
            _ => return Err(unknown(&name)),
        };
    }
    Ok(turn)
}

/// The input of a turn: a list of items, or the dict of an external message.
fn turn_input(items: &Bound<'_, PyAny>) -> PyResult<TurnInput> {
    let Ok(message) = items.cast::<PyDict>() else { return Ok(input(items)?.into()) };
    let field = |name: &str| message.get_item(name)?.ok_or_else(|| unknown(name));
    let mut external = ExternalMessage::new(text(&field("tool_name")?)?);
    if let Some(namespace) = message.get_item("namespace")?.filter(|namespace| !namespace.is_none()) {
        external = external.namespace(text(&namespace)?);
    }
    let content = field("content")?;
    Ok(match content.cast::<PyString>() {
        Ok(content) => external.text(content.to_str()?),
        Err(_) => external.items(typed::<Vec<openai_codex::types::FunctionCallOutputContentItem>>(&content)?),
    }
    .into())
}

/// Items of the user's input, as tuples of their kind and fields.
pub(crate) fn input(items: &Bound<'_, PyAny>) -> PyResult<Input> {
    let items = items.try_iter()?.map(|item| {
        let (kind, first, second): (String, String, String) = item?.extract()?;
        Ok(match &*kind {
            "text" => InputItem::from(TextInput::new(first)),
            "image" => ImageInput::new(first).into(),
            "localImage" => LocalImageInput::new(first).into(),
            "skill" => SkillInput::new(first, second).into(),
            "mention" => MentionInput::new(first, second).into(),
            _ => return Err(unknown(&kind)),
        })
    });
    Ok(items.collect::<PyResult<Vec<InputItem>>>()?.into())
}

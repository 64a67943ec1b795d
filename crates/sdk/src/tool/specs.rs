//! The descriptions of tools that the runtime gets, with checks of their names.

use openai_codex_protocol::types::{
    DynamicToolNamespaceTool, DynamicToolSpec, FunctionDynamicToolNamespaceTool, FunctionDynamicToolSpec,
    NamespaceDynamicToolSpec,
};
use serde_json::json;

use crate::error::{Error, Result};
use crate::tool::definition::Tool;

/// The limit of runtime 0.163.0.
const MAX_NAME_BYTES: usize = 128;
/// The limit of runtime 0.163.0.
const MAX_NAMESPACE_BYTES: usize = 64;

/// The tools for `dynamicTools`. The tools of a namespace are grouped, because the runtime accepts each namespace once.
///
/// # Errors
/// A name that the runtime refuses, two tools with one name, a tool whose arguments have no schema.
pub(crate) fn specs(tools: &[Tool]) -> Result<Vec<DynamicToolSpec>> {
    let mut specs: Vec<DynamicToolSpec> = Vec::with_capacity(tools.len());
    for (index, tool) in tools.iter().enumerate() {
        check(tool)?;
        let is_same =
            |other: &Tool| other.namespace_name() == tool.namespace_name() && other.name() == tool.name();
        if tools[..index].iter().any(is_same) {
            return Err(Error::invalid_input(format!("two tools have the name {}", full_name(tool))));
        }
        let Some(namespace) = tool.namespace_name() else {
            let spec = FunctionDynamicToolSpec::new(tool.name(), &*tool.description, tool.input_schema()?);
            specs.push(spec.into());
            continue;
        };
        let mut function =
            FunctionDynamicToolNamespaceTool::new(tool.name(), &*tool.description, tool.input_schema()?);
        if tool.defer_loading {
            function = function.defer_loading(true);
        }
        let function = DynamicToolNamespaceTool::from(function);
        let group = specs.iter_mut().find_map(|spec| match spec {
            DynamicToolSpec::Namespace(spec) if spec.name == namespace => Some(spec),
            _ => None,
        });
        match group {
            Some(spec) => spec.tools.push(function),
            // Without a description, the runtime uses a text of its own.
            None => specs.push(NamespaceDynamicToolSpec::new(namespace, "", [function]).into()),
        }
    }
    Ok(specs)
}

/// The same tools for an older runtime, where each tool names its namespace. Newer runtimes accept this form too if all tools
/// have it, so the specs have no `type`.
pub(crate) fn ungrouped_specs(tools: &[Tool]) -> Result<Vec<DynamicToolSpec>> {
    let specs = tools.iter().map(|tool| {
        let schema = tool.input_schema()?;
        let mut spec = json!({"name": tool.name(), "description": *tool.description, "inputSchema": schema});
        if let Some(namespace) = tool.namespace_name() {
            spec["namespace"] = namespace.into();
        }
        if tool.defer_loading {
            spec["deferLoading"] = true.into();
        }
        Ok(DynamicToolSpec::Unrecognized(spec))
    });
    specs.collect()
}

fn check(tool: &Tool) -> Result<()> {
    check_name("tool", tool.name(), MAX_NAME_BYTES)?;
    match tool.namespace_name() {
        Some(namespace) => check_name("namespace", namespace, MAX_NAMESPACE_BYTES),
        None if tool.defer_loading => Err(Error::invalid_input(format!(
            "the tool {} has `defer_loading`, which needs a namespace: call `Tool::namespace`",
            full_name(tool)
        ))),
        None => Ok(()),
    }
}

fn check_name(what: &str, name: &str, max: usize) -> Result<()> {
    let problem = if name.is_empty() {
        "is empty".to_owned()
    } else if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')) {
        "has characters other than letters from A to Z and a to z, digits, `_` and `-`".to_owned()
    } else if name.len() > max {
        format!("has more than {max} characters")
    } else if name == "mcp" || name.starts_with("mcp__") {
        "is reserved for MCP servers".to_owned()
    } else {
        return Ok(());
    };
    Err(Error::invalid_input(format!("the name of the {what} {name:?} {problem}")))
}

fn full_name(tool: &Tool) -> String {
    match tool.namespace_name() {
        Some(namespace) => format!("`{}` in the namespace `{namespace}`", tool.name()),
        None => format!("`{}`", tool.name()),
    }
}

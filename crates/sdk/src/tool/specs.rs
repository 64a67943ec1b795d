//! Tools as they are told to the runtime, with the names that it takes.

use openai_codex_protocol::types::{
    DynamicToolNamespaceTool, DynamicToolSpec, FunctionDynamicToolNamespaceTool, FunctionDynamicToolSpec,
    NamespaceDynamicToolSpec,
};
use serde_json::json;

use crate::error::{Error, Result};
use crate::tool::definition::Tool;

/// The limits of runtime 0.163.0.
const LONGEST_NAME: usize = 128;
const LONGEST_NAMESPACE: usize = 64;

/// The tools for `dynamicTools`, those of a namespace together: the runtime takes each namespace once.
///
/// # Errors
/// A name that the runtime would refuse, two tools of one name, a tool whose arguments have no schema.
pub(crate) fn specs(tools: &[Tool]) -> Result<Vec<DynamicToolSpec>> {
    let mut specs: Vec<DynamicToolSpec> = Vec::with_capacity(tools.len());
    for (index, tool) in tools.iter().enumerate() {
        check(tool)?;
        let is_same =
            |other: &Tool| other.namespace_name() == tool.namespace_name() && other.name() == tool.name();
        if tools[..index].iter().any(is_same) {
            return Err(Error::invalid_input(format!("there are two tools of the name {}", full_name(tool))));
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
        let of_it = specs.iter_mut().find_map(|spec| match spec {
            DynamicToolSpec::Namespace(spec) if spec.name == namespace => Some(spec),
            _ => None,
        });
        match of_it {
            Some(spec) => spec.tools.push(function),
            // The runtime finds words of its own where there is no description.
            None => specs.push(NamespaceDynamicToolSpec::new(namespace, "", [function]).into()),
        }
    }
    Ok(specs)
}

/// The same tools for an older runtime, which wants the namespace with each of them. Newer ones still take this form, if
/// all tools have it: hence no `type`.
pub(crate) fn one_by_one(tools: &[Tool]) -> Result<Vec<DynamicToolSpec>> {
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
    check_name("tool", tool.name(), LONGEST_NAME)?;
    match tool.namespace_name() {
        Some(namespace) => check_name("namespace", namespace, LONGEST_NAMESPACE),
        None if tool.defer_loading => Err(Error::invalid_input(format!(
            "the tool {} is to be searched for: for that it has to be in a namespace",
            full_name(tool)
        ))),
        None => Ok(()),
    }
}

fn check_name(what: &str, name: &str, longest: usize) -> Result<()> {
    let problem = if name.is_empty() {
        "is empty".to_owned()
    } else if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')) {
        "has other characters than the letters A to Z and a to z, digits, `_` and `-`".to_owned()
    } else if name.len() > longest {
        format!("has more than {longest} characters")
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

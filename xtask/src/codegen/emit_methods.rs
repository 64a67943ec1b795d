//! Generates the method markers, one file for each direction, and the method table.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::docs::{doc, with_notes};
use super::facts::{Field, Method, Shape, Span};
use super::features;
use super::plan::Plan;
use super::policy;
use super::ty::Type;

/// Paths and texts of the files.
pub fn files(plan: &Plan) -> Vec<(String, String)> {
    vec![
        ("methods.rs".to_owned(), client_requests(plan)),
        ("client_notifications.rs".to_owned(), client_notifications(plan)),
        ("server_requests.rs".to_owned(), server_requests(plan)),
        ("notifications.rs".to_owned(), notifications(plan)),
        ("params.rs".to_owned(), params(plan)),
        ("table.rs".to_owned(), table(plan)),
    ]
}

/// A line of a marker table.
fn marker(out: &mut String, plan: &Plan, method: &Method, with_response: bool) {
    let feature =
        features::of_method(&method.method).filter(|_| plan.facts.methods.client_requests.contains(method));
    let note = feature
        .map_or_else(String::new, |feature| format!("\n\n{}", features::note(&BTreeSet::from([feature]))));
    let text = with_notes(plan, format!("`{}`{note}", method.method), method.experimental, &method.span);
    out.push_str(&doc("    ", &text));
    let response =
        if with_response { format!(" -> types::{}", plan.responses[&method.method]) } else { String::new() };
    let stability = if method.experimental { "experimental" } else { "stable" };
    let name = policy::marker(&method.method);
    let place = match plan.facts.methods.client_requests.contains(method) {
        true if policy::HIGH_LEVEL.contains(&method.method.as_str()) => "here ",
        true => "where_used ",
        false => "",
    };
    let _ = writeln!(
        out,
        "    {stability} {place}{name} = {:?} ({}){response};",
        method.method,
        params_type(method)
    );
}

fn params_type(method: &Method) -> String {
    match &method.params {
        None => "()".to_owned(),
        Some(Type::Nullable(params)) => format!("Option<types::{}>", params.rust()),
        Some(params) => format!("types::{}", params.rust()),
    }
}

fn client_requests(plan: &Plan) -> String {
    let mut out = "//! Requests of the client: one marker a method.\n\nuse crate::types;\n\n\
                   client_requests! {\n"
        .to_owned();
    let of = |feature: Option<&'static str>| {
        let all = plan.facts.methods.client_requests.iter();
        all.filter(move |method| features::of_method(&method.method) == feature)
    };
    of(None).for_each(|method| marker(&mut out, plan, method, true));
    out.push_str("}\n");
    for (feature, _) in features::FEATURES {
        let _ = writeln!(out, "\n{}\nclient_requests! {{", features::attribute(&BTreeSet::from([*feature])));
        of(Some(feature)).for_each(|method| marker(&mut out, plan, method, true));
        out.push_str("}\n");
    }
    out
}

fn client_notifications(plan: &Plan) -> String {
    let mut out =
        "//! Notifications from the client: one marker per method.\n\nclient_notifications! {\n".to_owned();
    plan.facts.methods.client_notifications.iter().for_each(|method| marker(&mut out, plan, method, false));
    out + "}\n"
}

fn server_requests(plan: &Plan) -> String {
    let mut out = "//! Requests of the server: one marker a method.\n\nuse crate::types;\n\n\
                   server_requests! {\n"
        .to_owned();
    plan.facts.methods.server_requests.iter().for_each(|method| marker(&mut out, plan, method, true));
    out + "}\n"
}

fn notifications(plan: &Plan) -> String {
    let mut out = "//! Notifications of the server: one marker a method.\n\nuse crate::types;\n\n\
                   server_notifications! {\n"
        .to_owned();
    plan.facts.methods.server_notifications.iter().for_each(|method| marker(&mut out, plan, method, false));
    out + "}\n"
}

/// Generates the list of parameter types that the client sends.
fn params(plan: &Plan) -> String {
    let methods = &plan.facts.methods;
    let all = methods.client_requests.iter().chain(&methods.client_notifications);
    let mut names: Vec<&str> = all.flat_map(|method| method.params.iter().flat_map(Type::names)).collect();
    names.sort_unstable();
    names.dedup();
    let mut out = "//! The types that are parameters.\n\nuse crate::types::*;\n\n".to_owned();
    let eager = |name: &str| {
        let mut all = methods
            .client_requests
            .iter()
            .filter(|method| method.params.iter().any(|ty| ty.names().contains(&name)));
        all.any(|method| policy::HIGH_LEVEL.contains(&method.method.as_str()))
    };
    for name in names {
        if let Some(features) = plan.features.get(name) {
            let _ = writeln!(out, "{}", features::attribute(features));
        }
        let _ = writeln!(out, "params! {{ {} {name} }}", if eager(name) { "here" } else { "where_used" });
    }
    out
}

fn table(plan: &Plan) -> String {
    let methods = &plan.facts.methods;
    let runtimes: Vec<String> = methods.runtimes.iter().map(|version| format!("{version:?}")).collect();
    let mut out = format!(
        "//! The method table as lists.\n\npub use crate::method_info::{{FieldInfo, MergeKey, NotificationInfo, RequestInfo}};\n\n\
         /// The runtime version that this crate is tested with first.\n\
         pub const RUNTIME_VERSION: &str = {0:?};\n\n\
         /// The protocol has no version of its own, so this is the runtime's.\n\
         pub const PROTOCOL_VERSION: &str = RUNTIME_VERSION;\n\n\
         /// The supported runtime versions, oldest first. The lists below contain the methods of all of them.\n\
         pub static RUNTIMES: &[&str] = &[{1}];\n\n",
        openai_codex_runtime::VERSION,
        runtimes.join(", ")
    );
    for (name, what, list) in [
        ("CLIENT_REQUESTS", "Requests from the client", &methods.client_requests),
        ("SERVER_REQUESTS", "Requests from the server", &methods.server_requests),
    ] {
        let _ = writeln!(out, "/// {what}, sorted by method.\npub static {name}: &[RequestInfo] = &[");
        for method in list {
            let response = &plan.responses[&method.method];
            let _ = writeln!(
                out,
                "RequestInfo::new({:?}, {}, {response:?}){}{},",
                method.method,
                info(method),
                span(&method.span),
                fields(plan, method)
            );
        }
        out.push_str("];\n\n");
    }
    for (name, what, list) in [
        ("CLIENT_NOTIFICATIONS", "Notifications from the client", &methods.client_notifications),
        ("NOTIFICATIONS", "Notifications from the server", &methods.server_notifications),
    ] {
        let _ = writeln!(out, "/// {what}, sorted by method.\npub static {name}: &[NotificationInfo] = &[");
        for method in list {
            let merge = policy::MERGES.iter().find(|(name, _, _)| *name == method.method);
            let merge = merge.map_or_else(
                || "None".to_owned(),
                |(_, text, key)| format!("Some(MergeKey::new({text:?}, &{key:?}))"),
            );
            let _ = writeln!(
                out,
                "NotificationInfo::new({:?}, {}, {merge}){},",
                method.method,
                info(method),
                span(&method.span)
            );
        }
        out.push_str("];\n\n");
    }
    out
}

/// The call that sets the runtimes that have the method, unless all have it.
fn span(span: &Span) -> String {
    if *span == Span::default() {
        return String::new();
    }
    format!(".runtimes({:?}, {:?})", span.since, span.until)
}

/// The call that sets the parameters that only some runtimes with this method have.
fn fields(plan: &Plan, method: &Method) -> String {
    let names = method.params.iter().flat_map(Type::names);
    let mut found: BTreeMap<&str, String> = BTreeMap::new();
    for field in names.filter_map(|name| plan.facts_of(name)).flat_map(|facts| top_level(&facts.shape)) {
        if field.span != Span::default() {
            let Span { since, until } = &field.span;
            let info = format!("FieldInfo::new({:?}, {since:?}, {until:?})", field.name);
            found.insert(&field.name, info);
        }
    }
    for (_, field, version) in policy::EXACT.iter().filter(|(known, _, _)| *known == method.method) {
        found.insert(field, format!("FieldInfo::exact({field:?}, {version:?})"));
    }
    if found.is_empty() {
        return String::new();
    }
    format!(".fields(&[{}])", found.into_values().collect::<Vec<_>>().join(", "))
}

/// All fields in the JSON of the parameters, of any variant.
fn top_level(shape: &Shape) -> Vec<&Field> {
    match shape {
        Shape::Object(object) => object.fields.iter().collect(),
        Shape::Tagged { common, variants, .. } => {
            common.iter().chain(variants.iter().flat_map(|variant| &variant.object.fields)).collect()
        }
        Shape::Alias { .. } | Shape::Strings { .. } | Shape::Mixed { .. } | Shape::Shapes { .. } => {
            Vec::new()
        }
    }
}

fn info(method: &Method) -> String {
    let params = method
        .params
        .as_ref()
        .and_then(|params| params.names().first().map(|name| format!("Some({name:?})")));
    format!("{}, {}", method.experimental, params.unwrap_or_else(|| "None".to_owned()))
}

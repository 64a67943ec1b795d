//! Generates test support: for each method, a function that reads and writes its messages as the marker's types.

use std::fmt::Write as _;

use super::facts::Method;
use super::plan::Plan;
use super::policy;

/// Paths and texts of the files.
pub fn files(plan: &Plan) -> Vec<(String, String)> {
    let methods = &plan.facts.methods;
    let mut out = "//! Every method with the round trip of its types.\n\n\
         use openai_codex_protocol::{client_notifications, methods, notifications, server_requests};\n\n\
         use crate::round_trip::{Trip, client_notification, client_request, notification, server_request};\n\n"
        .to_owned();
    let lists: [(&str, &str, &str, &[Method]); 4] = [
        ("CLIENT_REQUESTS", "client_request", "methods", &methods.client_requests),
        (
            "CLIENT_NOTIFICATIONS",
            "client_notification",
            "client_notifications",
            &methods.client_notifications,
        ),
        ("SERVER_REQUESTS", "server_request", "server_requests", &methods.server_requests),
        ("NOTIFICATIONS", "notification", "notifications", &methods.server_notifications),
    ];
    for (name, function, module, list) in lists {
        let _ = writeln!(out, "pub(crate) static {name}: &[(&str, Trip)] = &[");
        for method in list {
            let marker = policy::marker(&method.method);
            let _ = writeln!(out, "({:?}, {function}::<{module}::{marker}>),", method.method);
        }
        out.push_str("];\n\n");
    }
    vec![("methods.rs".to_owned(), out)]
}

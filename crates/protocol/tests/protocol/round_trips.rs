//! Each method's messages survive decoding and encoding: minimal, maximal and future ones.

use std::collections::BTreeMap;

use openai_codex_protocol::table;
use serde_json::Value;

use crate::facts::FACTS;
use crate::methods;
use crate::round_trip::{Outcome, Trip};
use crate::samples::{Mode, samples, text};

fn round_trips(list: &str, trips: &[(&str, Trip)], responses: &BTreeMap<&str, &str>) {
    let mut failures = Vec::new();
    let mut count = 0;
    for ((method, params, _), (name, trip)) in FACTS.list(list).into_iter().zip(trips) {
        assert_eq!(method, *name);
        for mode in [Mode::Minimal, Mode::Maximal, Mode::Future] {
            let params: Vec<Option<Value>> = match params {
                None => vec![None],
                Some(expression) => samples(expression, mode)
                    .into_iter()
                    .map(|value| Some(value).filter(|value| !value.is_null()))
                    .collect(),
            };
            let answers: Vec<Option<Value>> = match responses.get(method) {
                None => vec![None],
                Some(name) => samples(name, mode).into_iter().map(Some).collect(),
            };
            for index in 0..params.len().max(answers.len()) {
                let params = &params[index % params.len()];
                let answer = &answers[index % answers.len()];
                for tags_first in [true, false] {
                    let text = |value: &Option<Value>| value.as_ref().map(|value| text(value, tags_first));
                    count += 1;
                    match trip(&(text(params), text(answer))) {
                        Ok(Outcome { params: p, answer: a, .. }) if (&p, &a) != (params, answer) => {
                            failures.push(format!("{method}: {params:?} {answer:?} became {p:?} {a:?}"));
                        }
                        // The types know everything that the facts contain: no field ended up among the unknown ones.
                        Ok(Outcome { debug, .. }) if mode != Mode::Future && !is_known(&debug) => {
                            failures.push(format!("{method}: not all is known: {debug}"));
                        }
                        Ok(_) => {}
                        Err(error) => failures.push(format!("{method}: {error}\n{params:?} {answer:?}")),
                    }
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} of {count} failed, the first:\n{}", failures.len(), failures[0]);
    println!("{list}: {count} round trips");
}

/// Whether the values with this `Debug` form contain nothing unknown.
fn is_known(debug: &str) -> bool {
    !debug.contains("Unrecognized(") && debug.split("extra: ").skip(1).all(|rest| rest.starts_with("{}"))
}

/// Each field that the facts mark as required is required.
fn required(list: &str, trips: &[(&str, Trip)], responses: &BTreeMap<&str, &str>) {
    for ((method, params, _), (_, trip)) in FACTS.list(list).into_iter().zip(trips) {
        let first = |name: Option<&str>| {
            name.map(|name| samples(name.trim_end_matches('?'), Mode::Minimal).remove(0))
        };
        let whole = (first(params), first(responses.get(method).copied()));
        let fields = |value: &Option<Value>| -> Vec<String> {
            value
                .iter()
                .flat_map(|value| value.as_object().into_iter().flatten())
                .map(|(key, _)| key.clone())
                .collect()
        };
        let may_be_missing = |name: Option<&str>, field: &str| {
            let name = name.unwrap_or("").trim_end_matches('?');
            let facts = FACTS.types.get(name);
            // Without it, the value may be another or an unknown alternative.
            if facts.is_some_and(|facts| facts["kind"] == "shapes") {
                return true;
            }
            let fields = facts.and_then(|facts| facts["fields"].as_array()).into_iter().flatten();
            fields.into_iter().any(|fact| fact["name"] == field && fact["nullable"] == true)
        };
        let text = |value: &Option<Value>| value.as_ref().map(|value| text(value, true));
        for field in fields(&whole.0).iter().filter(|field| !may_be_missing(params, field)) {
            let mut less = whole.0.clone().expect("it has fields");
            less.as_object_mut().expect("an object").remove(field);
            let trip = trip(&(text(&Some(less)), text(&whole.1)));
            assert!(trip.is_err(), "`{field}` of the parameters of `{method}` may be missing");
        }
        for field in
            fields(&whole.1).iter().filter(|field| !may_be_missing(responses.get(method).copied(), field))
        {
            let mut less = whole.1.clone().expect("it has fields");
            less.as_object_mut().expect("an object").remove(field);
            let error = trip(&(text(&whole.0), text(&Some(less)))).err().unwrap_or_default();
            assert!(error.contains(field.as_str()), "`{field}` of the answer to `{method}` may be missing");
        }
    }
}

#[test]
fn required_fields_are_required() {
    let responses = table::CLIENT_REQUESTS.iter().map(|info| (info.method, info.response)).collect();
    required("client_requests", methods::CLIENT_REQUESTS, &responses);
    let responses = table::SERVER_REQUESTS.iter().map(|info| (info.method, info.response)).collect();
    required("server_requests", methods::SERVER_REQUESTS, &responses);
    required("server_notifications", methods::NOTIFICATIONS, &BTreeMap::new());
}

#[test]
fn client_requests() {
    let responses = table::CLIENT_REQUESTS.iter().map(|info| (info.method, info.response)).collect();
    round_trips("client_requests", methods::CLIENT_REQUESTS, &responses);
}

#[test]
fn client_notifications() {
    round_trips("client_notifications", methods::CLIENT_NOTIFICATIONS, &BTreeMap::new());
}

#[test]
fn server_requests() {
    let responses = table::SERVER_REQUESTS.iter().map(|info| (info.method, info.response)).collect();
    round_trips("server_requests", methods::SERVER_REQUESTS, &responses);
}

#[test]
fn notifications() {
    round_trips("server_notifications", methods::NOTIFICATIONS, &BTreeMap::new());
}

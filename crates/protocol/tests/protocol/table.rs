//! The table and the markers match the facts.

use std::collections::BTreeSet;

use openai_codex_protocol::table::RequestInfo;
use openai_codex_protocol::{ClientRequest, NotificationKind, methods, table};

use crate::facts::FACTS;
use crate::methods as trips;
use crate::round_trip::Trip;

#[test]
fn every_runtime_has_the_expected_number_of_messages() {
    let position =
        |version: &str| table::RUNTIMES.iter().position(|known| *known == version).expect("a runtime");
    let has = |since: Option<&str>, until: Option<&str>, runtime: &str| {
        let here = position(runtime);
        since.is_none_or(|since| position(since) <= here) && until.is_none_or(|until| here <= position(until))
    };
    let requests = |list: &[RequestInfo], runtime: &str| {
        list.iter().filter(|info| has(info.since, info.until, runtime)).count()
    };
    let counts: Vec<_> = table::RUNTIMES
        .iter()
        .map(|runtime| {
            let notifications = table::NOTIFICATIONS.iter();
            let notifications = notifications.filter(|info| has(info.since, info.until, runtime)).count();
            let server_requests = requests(table::SERVER_REQUESTS, runtime);
            (*runtime, requests(table::CLIENT_REQUESTS, runtime), notifications, server_requests)
        })
        .collect();
    assert_eq!(
        counts,
        [
            ("0.133.0", 107, 64, 10),
            ("0.144.4", 122, 68, 11),
            ("0.154.0", 159, 81, 11),
            ("0.163.0", 172, 85, 11),
            ("0.169.0", 184, 86, 11),
            ("0.171.0", 189, 87, 10),
        ]
    );
    assert!(table::RUNTIMES.contains(&table::RUNTIME_VERSION));
    assert_eq!(table::CLIENT_NOTIFICATIONS.len(), 1);
}

#[test]
fn the_readme_has_the_number_of_messages() {
    let (requests, notifications) = (table::CLIENT_REQUESTS.len(), table::NOTIFICATIONS.len());
    let server_requests = table::SERVER_REQUESTS.len();
    let text = format!(
        "All {requests} requests, {notifications} notifications and {server_requests} server requests"
    );
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let read_me = std::fs::read_to_string(path).expect("the workspace has one");
    assert!(read_me.contains(&text), "README.md does not say: {text}");
}

#[test]
fn items_that_only_some_runtimes_have_are_marked() {
    let request =
        |method| table::CLIENT_REQUESTS.iter().find(|info| info.method == method).expect("a request");
    let span = |info: &RequestInfo| (info.since, info.until);
    assert_eq!(span(request("thread/start")), (None, None));
    assert_eq!(span(request("thread/items/list")), (Some("0.144.4"), None));
    assert_eq!(span(request("thread/rollback")), (None, Some("0.154.0")));
    assert_eq!(span(request("modelProvider/default/set")), (Some("0.171.0"), None));
    let fields = request("turn/start").fields;
    let field = |name| fields.iter().find(|field| field.name == name);
    let tier = field("clientUserMessageId").expect("it came later");
    assert_eq!((tier.since, tier.until, tier.exact), (Some("0.144.4"), None, false));
    let output = field("toolOutput").expect("it came later");
    assert_eq!((output.since, output.until, output.exact), (Some("0.151.0"), None, true));
    assert_eq!(field("threadId"), None);
    // Lookups use binary search.
    assert!(table::CLIENT_REQUESTS.is_sorted_by_key(|info| info.method));
}

#[test]
fn the_table_matches_the_facts() {
    let plain = |params: Option<&'static str>| params.map(|params| params.trim_end_matches('?'));
    for (list, infos) in
        [("client_requests", table::CLIENT_REQUESTS), ("server_requests", table::SERVER_REQUESTS)]
    {
        let facts: Vec<_> = FACTS.list(list).into_iter().map(|(m, p, e)| (m, plain(p), e)).collect();
        let table: Vec<_> = infos.iter().map(|info| (info.method, info.params, info.experimental)).collect();
        assert_eq!(table, facts);
        for info in infos {
            assert!(FACTS.types.contains_key(info.response), "{}", info.response);
        }
    }
    for (list, infos) in [
        ("server_notifications", table::NOTIFICATIONS),
        ("client_notifications", table::CLIENT_NOTIFICATIONS),
    ] {
        let facts: Vec<_> = FACTS.list(list).into_iter().map(|(m, p, e)| (m, plain(p), e)).collect();
        let table: Vec<_> = infos.iter().map(|info| (info.method, info.params, info.experimental)).collect();
        assert_eq!(table, facts);
    }
}

#[test]
fn every_method_has_a_marker() {
    let names = |trips: &[(&'static str, Trip)]| trips.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    let infos: Vec<_> = table::CLIENT_REQUESTS.iter().map(|info| info.method).collect();
    assert_eq!(names(trips::CLIENT_REQUESTS), infos);
    let infos: Vec<_> = table::NOTIFICATIONS.iter().map(|info| info.method).collect();
    assert_eq!(names(trips::NOTIFICATIONS), infos);
    assert_eq!(methods::ThreadStart::METHOD, "thread/start");
    assert_eq!(methods::ThreadIncrementElicitation::METHOD, "thread/increment_elicitation");
    const { assert!(!methods::ThreadStart::EXPERIMENTAL) };
    const { assert!(methods::MockExperimentalMethod::EXPERIMENTAL) };
}

#[test]
fn every_notification_has_a_kind() {
    let mut kinds = BTreeSet::new();
    for info in table::NOTIFICATIONS {
        let kind = NotificationKind::from_method(info.method).expect("a kind");
        assert_eq!(kind.method(), info.method);
        kinds.insert(kind as u8);
    }
    assert_eq!(kinds.len(), table::NOTIFICATIONS.len());
    assert_eq!(NotificationKind::from_method("item/agentMessage/delte"), None);
    assert_eq!(NotificationKind::from_method(""), None);
}

#[test]
fn only_plain_text_deltas_are_coalesced() {
    let merging: Vec<_> = table::NOTIFICATIONS.iter().filter(|info| info.merge.is_some()).collect();
    assert!(merging.len() >= 6);
    for info in merging {
        let merge = info.merge.expect("filtered");
        let facts = &FACTS.types[info.params.expect("a payload")];
        let fields = facts["fields"].as_array().expect("an object");
        let find =
            |name: &str| fields.iter().find(|field| field["name"] == name).expect("the key names fields");
        assert_eq!(find(merge.text)["type"], "string", "{}", info.method);
        let others: BTreeSet<&str> = fields
            .iter()
            .filter_map(|field| field["name"].as_str())
            .filter(|name| *name != merge.text)
            .collect();
        assert_eq!(merge.key.iter().copied().collect::<BTreeSet<_>>(), others, "{}", info.method);
        assert!(!info.method.contains("Audio") && !fields.iter().any(|field| field["name"] == "deltaBase64"));
    }
}

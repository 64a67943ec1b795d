//! The table and the markers are those of the facts.

use std::collections::BTreeSet;

use openai_codex_protocol::{ClientRequest, NotificationKind, methods, table};

use crate::facts::FACTS;
use crate::methods as trips;
use crate::round_trip::Trip;

#[test]
fn counts_are_those_of_the_runtime() {
    assert_eq!(table::RUNTIME_VERSION, "0.163.0");
    assert_eq!(table::CLIENT_REQUESTS.len(), 172);
    assert_eq!(table::CLIENT_REQUESTS.iter().filter(|info| !info.experimental).count(), 105);
    assert_eq!(table::NOTIFICATIONS.len(), 85);
    assert_eq!(table::SERVER_REQUESTS.len(), 11);
    assert_eq!(table::SERVER_REQUESTS.iter().filter(|info| !info.experimental).count(), 10);
    assert_eq!(table::CLIENT_NOTIFICATIONS.len(), 1);
}

#[test]
fn the_table_is_that_of_the_facts() {
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
fn only_plain_text_deltas_merge() {
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

//! Requests of any method.

use openai_codex::{CodexConfig, methods};
use openai_codex_testkit::Script;
use serde_json::{Value, json};

use crate::support::{sent, with_both_clients};

with_both_clients! {
    fn a_method_without_parameters_sends_no_key(start, wait) {
        let script = Script::standard().always("account/logout", json!({})).always("test/raw", json!([]));
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        wait!(codex.request::<methods::AccountLogout>(())).unwrap();
        assert_eq!(wait!(codex.request_raw("test/raw", Value::Null)).unwrap(), json!([]));
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        for method in ["account/logout", "test/raw"] {
            assert_eq!(sent(&received, method).get("params"), None, "{method}");
        }
    }

    fn models_are_listed_with_or_without_the_hidden_ones(start, wait) {
        let script = Script::standard().always("model/list", json!({"data": [], "nextCursor": null}));
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        assert!(wait!(codex.models().send()).unwrap().data.is_empty());
        wait!(codex.models().include_hidden(true).send()).unwrap();
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        let lists = received.iter().filter(|message| message["method"] == "model/list");
        let params: Vec<_> = lists.map(|message| message["params"].clone()).collect();
        assert_eq!(params, [json!({"includeHidden": false}), json!({"includeHidden": true})]);
    }
}

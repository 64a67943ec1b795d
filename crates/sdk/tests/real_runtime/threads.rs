//! Threads of the real runtime.

use openai_codex::ErrorKind;
use openai_codex::types::ThreadItem;

use crate::support::{Model, with_both_clients};

/// What kinds of items these are, users and agents alone.
fn kinds(items: &[ThreadItem]) -> Vec<&'static str> {
    let kinds = items.iter().filter_map(|item| match item {
        ThreadItem::UserMessage(_) => Some("user"),
        ThreadItem::AgentMessage(_) => Some("agent"),
        _ => None,
    });
    kinds.collect()
}

with_both_clients! {
    fn a_thread_is_read_with_its_turns_or_without(start, wait) {
        let model = Model::start();
        model.reply("one");
        model.reply("two");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.run("first")).unwrap();
        wait!(thread.run("second")).unwrap();
        let bare = wait!(thread.read().send()).unwrap().thread;
        assert_eq!((bare.id.as_str(), bare.turns.len()), (thread.id(), 0));
        let whole = wait!(thread.read().include_turns(true).send()).unwrap().thread;
        let items: Vec<_> = whole.turns.iter().flat_map(|turn| turn.items.clone()).collect();
        assert_eq!(kinds(&items), ["user", "agent", "user", "agent"]);
        wait!(codex.close()).unwrap();
    }

    fn reading_turns_of_an_ephemeral_thread_is_refused_in_the_servers_words(start, wait) {
        let model = Model::start();
        model.reply("one");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().ephemeral(true).send()).unwrap();
        wait!(thread.run("first")).unwrap();
        let error = wait!(thread.read().include_turns(true).send()).unwrap_err();
        assert_eq!((error.kind(), error.method()), (ErrorKind::InvalidRequest, Some("thread/read")));
        assert_eq!(error.thread_id(), Some(thread.id()));
        assert!(error.to_string().contains("ephemeral"), "{error}");
        wait!(codex.close()).unwrap();
    }

    fn options_of_the_start_reach_the_model(start, wait) {
        let model = Model::start();
        model.reply("ok");
        let codex = start!(model.config()).unwrap();
        let options = codex
            .thread_start()
            .model("model-of-the-thread")
            .base_instructions("be brief")
            .developer_instructions("mind the gap")
            .config("model_reasoning_effort", "high");
        let thread = wait!(options.send()).unwrap();
        wait!(thread.run("go")).unwrap();
        let request = model.last_request().unwrap();
        assert_eq!(request.model(), Some("model-of-the-thread"));
        // Runtimes before 0.163.0 have a member of the request for them.
        let instructions = request.body["instructions"].as_str();
        assert!(instructions == Some("be brief") || request.texts("developer").contains(&"be brief"));
        assert!(request.texts("developer").iter().any(|text| text.contains("mind the gap")));
        wait!(codex.close()).unwrap();
    }

    fn two_threads_are_two(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        let first = wait!(codex.thread_start().send()).unwrap();
        let second = wait!(codex.thread_start().send()).unwrap();
        assert_ne!(first.id(), second.id());
        wait!(codex.close()).unwrap();
    }
}

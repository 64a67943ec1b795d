//! Listing, resuming, forking, archiving, naming and compacting threads: what the wire carries, and what the real
//! runtime makes of it.
#![cfg(unix)]

mod support;

use openai_codex::types::{
    AskForApproval, SandboxMode, SortDirection, ThreadItem, ThreadListResponse, ThreadSortKey, TurnItemsView,
    TurnStatus,
};
use openai_codex::{ApprovalMode, CodexConfig, ErrorKind, Sandbox};
use openai_codex_testkit::app_server::{Unexpected, messages};
use openai_codex_testkit::{Reply, Script, ToolCall};
use serde_json::{Value, json};
use support::{Model, count, sent, with_both_clients};

fn opens_any_thread() -> Script {
    let answer = messages::thread_start_response("t");
    Script::standard()
        .always("thread/start", answer.clone())
        .always("thread/resume", answer.clone())
        .always("thread/fork", answer)
}

fn ids(page: &ThreadListResponse) -> Vec<&str> {
    page.data.iter().map(|thread| thread.id.as_str()).collect()
}

/// The pages of a listing: the answer depends on the cursor, so each request has its step.
fn pages(method: &str, pages: &[Value]) -> Script {
    let mut script = opens_any_thread();
    for (place, data) in pages.iter().enumerate() {
        let next = (place + 1 < pages.len()).then(|| format!("page-{}", place + 1));
        let asked = if place == 0 { json!({}) } else { json!({"cursor": format!("page-{place}")}) };
        script = script.expect_with(method, asked).respond(json!({"data": data, "nextCursor": next}));
    }
    script
}

/// The parameters of all requests of a method, in order.
fn params<'a>(received: &'a [Value], method: &str) -> Vec<&'a Value> {
    received.iter().filter(|message| message["method"] == method).map(|message| &message["params"]).collect()
}

with_both_clients! {
    // Behaviours 25 and 22: nothing set, nothing sent.
    fn a_bare_list_sends_no_option(start, wait) {
        let (transport, playing) =
            Script::standard().always("thread/list", json!({"data": []})).connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        assert!(wait!(codex.thread_list().send()).unwrap().data.is_empty());
        wait!(codex.close()).unwrap();
        assert_eq!(sent(&playing.finish().unwrap().messages(), "thread/list")["params"], json!({}));
    }

    // Behaviour 22.
    fn every_option_of_a_list_has_its_key(start, wait) {
        let (transport, playing) =
            Script::standard().always("thread/list", json!({"data": []})).connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let list = codex
            .thread_list()
            .archived(true)
            .cursor("c")
            .cwd("/repo")
            .limit(5)
            .model_providers(["p"])
            .search_term("find")
            .section_id("s")
            .sort_direction(SortDirection::Asc)
            .sort_key(ThreadSortKey::UpdatedAt)
            .source_kinds(["cli"])
            .use_state_db_only(true);
        wait!(list.send()).unwrap();
        wait!(codex.thread_list().cwd("/a").cwd("/b").send()).unwrap();
        wait!(codex.close()).unwrap();
        let received = playing.finish().unwrap().messages();
        let expected = json!({
            "archived": true, "cursor": "c", "cwd": "/repo", "limit": 5, "modelProviders": ["p"],
            "searchTerm": "find", "sectionId": "s", "sortDirection": "asc", "sortKey": "updated_at",
            "sourceKinds": ["cli"], "useStateDbOnly": true,
        });
        assert_eq!(params(&received, "thread/list"), [&expected, &json!({"cwd": ["/a", "/b"]})]);
    }

    fn all_threads_are_listed_page_by_page(start, wait) {
        let data = [json!([messages::thread("1"), messages::thread("2")]), json!([]), json!([messages::thread("3")])];
        let (transport, playing) = pages("thread/list", &data).connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let mut all = codex.thread_list().limit(2).all();
        let mut ids = Vec::new();
        while let Some(thread) = wait!(all.next()) {
            ids.push(thread.unwrap().id);
        }
        assert_eq!(ids, ["1", "2", "3"]);
        wait!(codex.close()).unwrap();
        let received = playing.finish().unwrap().messages();
        let expected = [
            json!({"limit": 2, "sortKey": "recency_at"}),
            json!({"limit": 2, "sortKey": "recency_at", "cursor": "page-1"}),
            json!({"limit": 2, "sortKey": "recency_at", "cursor": "page-2"}),
        ];
        assert_eq!(params(&received, "thread/list"), expected.iter().collect::<Vec<_>>());
    }

    fn a_page_is_asked_for_when_it_is_wanted(start, wait) {
        let data = [json!([messages::thread("1")]), json!([messages::thread("2")])];
        let (transport, playing) = pages("thread/list", &data).connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let mut pages = codex.thread_list().pages();
        assert_eq!(ids(&wait!(pages.next()).unwrap().unwrap()), ["1"]);
        drop(pages);
        wait!(codex.close()).unwrap();
        drop(playing);
    }

    fn an_error_is_the_last_page(start, wait) {
        let script = Script::standard()
            .expect("thread/list")
            .respond(json!({"data": [messages::thread("1")], "nextCursor": "more"}))
            .expect("thread/list")
            .respond_error(-32603, "lost it");
        let (transport, playing) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let mut all = codex.thread_list().all();
        assert_eq!(wait!(all.next()).unwrap().unwrap().id, "1");
        assert_eq!(wait!(all.next()).unwrap().unwrap_err().kind(), ErrorKind::Internal);
        assert!(wait!(all.next()).is_none());
        wait!(codex.close()).unwrap();
        playing.finish().unwrap();
    }

    fn a_server_that_leads_in_a_circle_is_left(start, wait) {
        let answer = json!({"data": [messages::thread("1")], "nextCursor": "again"});
        let (transport, playing) = Script::standard().always("thread/list", answer).connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let mut pages = codex.thread_list().pages();
        assert!(wait!(pages.next()).unwrap().is_ok());
        let error = wait!(pages.next()).unwrap().unwrap_err();
        assert_eq!((error.kind(), error.method()), (ErrorKind::Decode, Some("thread/list")));
        assert!(wait!(pages.next()).is_none());
        wait!(codex.close()).unwrap();
        playing.finish().unwrap();
    }

    fn turns_and_items_of_a_thread_are_paged(start, wait) {
        let turns = messages::turn("u", "completed");
        let item = json!({"turnId": "u", "item": messages::agent_message("i", "hello")});
        let script = opens_any_thread()
            .always("thread/turns/list", json!({"data": [turns]}))
            .always("thread/items/list", json!({"data": [item]}));
        let (transport, playing) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_resume("t").send()).unwrap();
        let mut turns = thread
            .turns()
            .limit(3)
            .cursor("c")
            .sort_direction(SortDirection::Desc)
            .items_view(TurnItemsView::Full)
            .all();
        assert_eq!(wait!(turns.next()).unwrap().unwrap().id, "u");
        assert!(wait!(turns.next()).is_none());
        let page = wait!(thread.items().turn_id("u").send()).unwrap();
        assert_eq!(page.data[0].turn_id, "u");
        wait!(codex.close()).unwrap();
        let received = playing.finish().unwrap().messages();
        let expected =
            json!({"threadId": "t", "limit": 3, "cursor": "c", "sortDirection": "desc", "itemsView": "full"});
        assert_eq!(sent(&received, "thread/turns/list")["params"], expected);
        assert_eq!(sent(&received, "thread/items/list")["params"], json!({"threadId": "t", "turnId": "u"}));
    }

    // Behaviours 27, 29 and 50.
    fn a_plain_resume_or_fork_sends_the_id_alone(start, wait) {
        let (transport, playing) = opens_any_thread().connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        assert_eq!(wait!(codex.thread_resume("t").send()).unwrap().id(), "t");
        wait!(codex.thread_fork(String::from("t")).send()).unwrap();
        wait!(codex.close()).unwrap();
        let received = playing.finish().unwrap().messages();
        for method in ["thread/resume", "thread/fork"] {
            assert_eq!(sent(&received, method)["params"], json!({"threadId": "t"}), "{method}");
        }
    }

    fn every_option_of_resume_and_fork_has_its_key(start, wait) {
        let (transport, playing) = opens_any_thread().connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        macro_rules! common {
            ($builder:expr) => {
                $builder
                    .approval_mode(ApprovalMode::DenyAll)
                    .base_instructions("base")
                    .config("model_reasoning_effort", "high")
                    .cwd("/repo")
                    .developer_instructions("dev")
                    .model("m")
                    .model_provider("p")
                    .sandbox(Sandbox::ReadOnly)
                    .service_tier("fast")
                    .include_turns(false)
            };
        }
        wait!(common!(codex.thread_resume("t")).personality("friendly").send()).unwrap();
        let fork = common!(codex.thread_fork("t")).ephemeral(true).last_turn_id("u").thread_source("user");
        wait!(fork.send()).unwrap();
        wait!(codex.close()).unwrap();
        let received = playing.finish().unwrap().messages();
        let common = json!({
            "threadId": "t", "approvalPolicy": "never", "baseInstructions": "base",
            "config": {"model_reasoning_effort": "high"}, "cwd": "/repo", "developerInstructions": "dev",
            "model": "m", "modelProvider": "p", "sandbox": "read-only", "serviceTier": "fast", "excludeTurns": true,
        });
        let with = |more: Value| {
            let mut all = common.clone();
            all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            all
        };
        assert_eq!(sent(&received, "thread/resume")["params"], with(json!({"personality": "friendly"})));
        let fork = with(json!({"ephemeral": true, "lastTurnId": "u", "threadSource": "user"}));
        assert_eq!(sent(&received, "thread/fork")["params"], fork);
    }

    // Behaviour 28.
    fn include_turns_is_sent_as_its_opposite(start, wait) {
        let (transport, playing) = opens_any_thread().connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        for include in [true, false] {
            wait!(codex.thread_resume("t").include_turns(include).send()).unwrap();
            wait!(codex.thread_fork("t").include_turns(include).send()).unwrap();
        }
        wait!(codex.close()).unwrap();
        let received = playing.finish().unwrap().messages();
        for method in ["thread/resume", "thread/fork"] {
            let expected = [false, true].map(|exclude| json!({"threadId": "t", "excludeTurns": exclude}));
            assert_eq!(params(&received, method), expected.iter().collect::<Vec<_>>(), "{method}");
        }
    }

    // Behaviours 15, 16 and 19.
    fn options_of_a_later_runtime_are_not_sent_to_an_older_one(start, wait) {
        for (agent, knows) in [
            ("codex-cli/0.147.0", false),
            ("codex-cli/0.151.0-alpha.6", false),
            ("codex-cli/0.0.0", false),
            ("codex-cli/0.151.0 (Linux)", true),
            ("codex-cli 0.153.0", true),
        ] {
            let mut greeting = messages::initialize_response();
            greeting["userAgent"] = agent.into();
            let opened = messages::thread_start_response("t");
            let script = Script::new()
                .expect("initialize")
                .respond(greeting)
                .expect_notification("initialized")
                .always("thread/resume", opened.clone())
                .always("thread/fork", opened)
                .always("turn/start", json!({"turn": messages::turn("u", "inProgress")}));
            let (transport, playing) = script.connect().unwrap();
            let codex = start!(CodexConfig::new(), transport).unwrap();
            let thread = wait!(codex.thread_resume("t").send()).unwrap();
            let external = openai_codex::ExternalMessage::new("ci").text("red");
            let failures = [
                wait!(codex.thread_resume("t").include_turns(true).send()).err(),
                wait!(codex.thread_fork("t").include_turns(false).send()).err(),
                wait!(thread.turn("go").turn_trigger("cron").send()).err(),
                wait!(thread.turn("go").service_tier_for_turn("fast").send()).err(),
                wait!(thread.turn(external).send()).err(),
            ];
            // What every runtime knows still goes through.
            wait!(thread.turn("go").service_tier("fast").send()).unwrap();
            wait!(codex.close()).unwrap();
            let received = playing.finish().unwrap().messages();
            assert_eq!(count(&received, "turn/start"), if knows { 4 } else { 1 }, "{agent}");
            for failure in failures {
                match failure {
                    None => assert!(knows, "{agent}"),
                    Some(error) => {
                        assert!(!knows, "{agent}: {error}");
                        assert_eq!(error.kind(), ErrorKind::UnsupportedByRuntime);
                        assert!(error.to_string().contains("Codex CLI 0.151.0 or newer"), "{error}");
                    }
                }
            }
        }
    }

    // Behaviours 30, 32 and 61.
    fn requests_about_a_thread_have_their_shapes(start, wait) {
        let unarchived = json!({"thread": messages::thread("t")});
        let script = opens_any_thread()
            .always("thread/archive", json!({}))
            .always("thread/unarchive", unarchived)
            .always("thread/name/set", json!({}));
        let (transport, playing) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        for sandbox in [Sandbox::ReadOnly, Sandbox::WorkspaceWrite, Sandbox::FullAccess] {
            wait!(codex.thread_start().sandbox(sandbox).send()).unwrap();
        }
        let thread = wait!(codex.thread_start().sandbox(SandboxMode::ReadOnly).send()).unwrap();
        wait!(thread.set_name("a name")).unwrap();
        wait!(codex.thread_archive(thread.id())).unwrap();
        assert_eq!(wait!(codex.thread_unarchive("t")).unwrap().id(), "t");
        wait!(codex.close()).unwrap();
        let received = playing.finish().unwrap().messages();
        let starts = params(&received, "thread/start");
        let modes: Vec<_> = starts.iter().map(|params| params["sandbox"].as_str().unwrap()).collect();
        assert_eq!(modes, ["read-only", "workspace-write", "danger-full-access", "read-only"]);
        assert_eq!(sent(&received, "thread/name/set")["params"], json!({"threadId": "t", "name": "a name"}));
        assert_eq!(sent(&received, "thread/archive")["params"], json!({"threadId": "t"}));
        assert_eq!(sent(&received, "thread/unarchive")["params"], json!({"threadId": "t"}));
    }

    fn an_unusable_option_is_found_before_anything_is_sent(start, wait) {
        use std::os::unix::ffi::OsStringExt;
        let (transport, playing) = Script::standard().unexpected(Unexpected::Fail).connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let folder = || std::ffi::OsString::from_vec(vec![b'/', 0xff]);
        let errors = [
            wait!(codex.thread_list().cwd(folder()).send()).unwrap_err(),
            wait!(codex.thread_list().cwd(folder()).all().next()).unwrap().unwrap_err(),
            wait!(codex.thread_resume("t").cwd(folder()).send()).unwrap_err(),
            wait!(codex.thread_fork("t").cwd(folder()).send()).unwrap_err(),
        ];
        assert!(errors.iter().all(|error| error.kind() == ErrorKind::InvalidInput), "{errors:?}");
        wait!(codex.close()).unwrap();
        playing.finish().unwrap();
    }

    // Behaviours 25, 30 and 31, on the real runtime.
    fn an_archived_thread_is_in_its_own_list_until_it_is_unarchived(start, wait) {
        let model = Model::start();
        model.reply("one");
        model.reply("two");
        model.reply("three");
        let codex = start!(model.config()).unwrap();
        let kept = wait!(codex.thread_start().send()).unwrap();
        let archived = wait!(codex.thread_start().send()).unwrap();
        wait!(kept.run("keep")).unwrap();
        wait!(archived.run("archive")).unwrap();
        wait!(codex.thread_archive(archived.id())).unwrap();
        let listed = wait!(codex.thread_list().archived(false).send()).unwrap();
        assert_eq!(ids(&listed), [kept.id()]);
        let listed = wait!(codex.thread_list().archived(true).send()).unwrap();
        assert_eq!(ids(&listed), [archived.id()]);
        let again = wait!(codex.thread_unarchive(archived.id())).unwrap();
        assert_eq!(again.id(), archived.id());
        let read = wait!(again.read().include_turns(true).send()).unwrap();
        assert_eq!(read.thread.turns.len(), 1);
        // Sorted by creation the runtime would lose one of two threads of the same second.
        let mut all = codex.thread_list().limit(1).sort_key(ThreadSortKey::RecencyAt).all();
        let mut listed = Vec::new();
        while let Some(thread) = wait!(all.next()) {
            listed.push(thread.unwrap().id);
        }
        listed.sort();
        let mut expected = [kept.id().to_owned(), archived.id().to_owned()];
        expected.sort();
        assert_eq!(listed, expected);
        wait!(codex.close()).unwrap();
    }

    // Behaviour 32, on the real runtime: also of a thread without turns.
    fn a_name_is_read_back(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.set_name("night shift")).unwrap();
        let read = wait!(thread.read().send()).unwrap();
        assert_eq!(read.thread.name.as_deref(), Some("night shift"));
        wait!(codex.close()).unwrap();
    }

    // Behaviours 27, 29, 31 and 45: a thread lives on in another process, and in its fork.
    fn threads_are_resumed_and_forked_with_their_history(start, wait) {
        let model = Model::start();
        model.reply("one");
        let codex = start!(model.config()).unwrap();
        let id = {
            let thread = wait!(codex.thread_start().send()).unwrap();
            wait!(thread.run("first")).unwrap();
            thread.id().to_owned()
        };
        wait!(codex.close()).unwrap();

        model.reply("two");
        model.reply("three");
        let codex = start!(model.config()).unwrap();
        let resumed = wait!(codex.thread_resume(&id).include_turns(false).send()).unwrap();
        assert_eq!(resumed.id(), id);
        wait!(resumed.run("second")).unwrap();
        let users: Vec<String> =
            model.last_request().unwrap().user_texts().iter().map(|text| (*text).to_owned()).collect();
        assert!(users.ends_with(&["first".into(), "second".into()]), "{users:?}");

        let fork = wait!(codex.thread_fork(&id).send()).unwrap();
        assert_ne!(fork.id(), id);
        wait!(fork.run("third")).unwrap();
        assert_eq!(model.last_request().unwrap().texts("assistant"), ["one", "two"]);
        let mut turns = resumed.turns().limit(1).sort_direction(SortDirection::Asc).all();
        let mut count = 0;
        while let Some(turn) = wait!(turns.next()) {
            assert_eq!(turn.unwrap().status, TurnStatus::Completed);
            count += 1;
        }
        assert_eq!(count, 2, "the fork's turn is its own");
        let mut items = fork.items().limit(2).sort_direction(SortDirection::Asc).all();
        let mut texts = Vec::new();
        while let Some(entry) = wait!(items.next()) {
            if let ThreadItem::AgentMessage(message) = entry.unwrap().item {
                texts.push(message.text);
            }
        }
        assert_eq!(texts, ["one", "two", "three"]);
        wait!(codex.close()).unwrap();
    }

    // Behaviour 36.
    fn unknown_and_malformed_ids_are_refused_in_the_servers_words(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        let unknown = "019a0000-0000-7000-8000-000000000000";
        for (id, words) in [(unknown, "no rollout found for thread id"), ("nonsense", "invalid session id")] {
            let error = wait!(codex.thread_resume(id).send()).unwrap_err();
            assert_eq!((error.kind(), error.json_rpc().unwrap().code), (ErrorKind::InvalidRequest, -32600));
            assert_eq!((error.method(), error.thread_id()), (Some("thread/resume"), Some(id)));
            assert!(error.to_string().contains(words), "{error}");
        }
        wait!(codex.close()).unwrap();
    }

    // Behaviours 52, 53 and 54.
    fn the_approval_mode_of_a_thread_is_kept_unless_another_is_given(start, wait) {
        let model = Model::start();
        model.reply("one");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().approval_mode(ApprovalMode::DenyAll).send()).unwrap();
        wait!(thread.run("go")).unwrap();
        macro_rules! policy {
            ($method:literal, $params:expr) => {{
                let answer = wait!(codex.request_raw($method, $params)).unwrap();
                AskForApproval::from(answer["approvalPolicy"].as_str().unwrap())
            }};
        }
        let plain = json!({"threadId": thread.id()});
        assert_eq!(policy!("thread/resume", plain.clone()), AskForApproval::Never);
        assert_eq!(policy!("thread/fork", plain), AskForApproval::Never);
        let fork = codex.thread_fork(thread.id()).approval_mode(ApprovalMode::AutoReview);
        let fork = wait!(fork.send()).unwrap();
        assert_ne!(fork.id(), thread.id());
        assert_eq!(policy!("thread/resume", json!({"threadId": fork.id()})), AskForApproval::OnRequest);
        wait!(codex.close()).unwrap();
    }

    // Behaviour 33, and what follows: the answer comes at once, and then a turn.
    fn a_compaction_is_a_turn_that_is_followed(start, wait) {
        let model = Model::start();
        model.reply("one");
        model.reply("the summary");
        model.reply("two");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.run("first")).unwrap();
        let compaction = wait!(thread.compact()).unwrap();
        let mut events = compaction.stream();
        let result = wait!(compaction.run()).unwrap();
        assert_eq!((result.turn.id.as_str(), result.turn.status), (compaction.id(), TurnStatus::Completed));
        assert!(matches!(result.items[..], [ThreadItem::ContextCompaction(_)]), "{:?}", result.items);
        assert_eq!((result.final_response, model.requests().len()), (None, 2));
        assert_eq!(model.last_request().unwrap().path, "/v1/responses");
        let first = wait!(events.next()).unwrap().unwrap();
        assert!(matches!(first, openai_codex::Notification::TurnStarted(_)), "{first:?}");
        assert_eq!(wait!(thread.run("second")).unwrap().final_response.as_deref(), Some("two"));
        wait!(codex.close()).unwrap();
    }

    fn a_compaction_interrupts_the_running_turn(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply(Reply::new().delta("never ").pause(&gate).delta("done"));
        model.reply("the summary");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        gate.wait_reached().unwrap();
        let compaction = wait!(thread.compact()).unwrap();
        assert_ne!(compaction.id(), turn.id());
        assert!(wait!(turn.run()).unwrap().is_interrupted());
        assert_eq!(wait!(compaction.run()).unwrap().turn.status, TurnStatus::Completed);
        wait!(codex.close()).unwrap();
    }

    fn a_compaction_of_an_unknown_thread_fails_as_the_server_says(start, wait) {
        let script = opens_any_thread().expect("thread/compact/start").respond_error(-32600, "thread not found: t");
        let (transport, playing) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_resume("t").send()).unwrap();
        let error = wait!(thread.compact()).unwrap_err();
        assert_eq!((error.kind(), error.thread_id()), (ErrorKind::InvalidRequest, Some("t")));
        wait!(codex.close()).unwrap();
        let received = playing.finish().unwrap().messages();
        assert_eq!(sent(&received, "thread/compact/start")["params"], json!({"threadId": "t"}));
    }

    fn the_turn_of_a_compaction_may_start_before_the_answer_comes(start, wait) {
        let item = json!({"type": "contextCompaction", "id": "i"});
        let script = opens_any_thread()
            .expect("thread/compact/start")
            .send(messages::turn_completed("t", messages::turn("before", "interrupted")))
            .send(messages::turn_started("other", "elsewhere"))
            .send(messages::turn_started("t", "c"))
            .respond(json!({}))
            .send(messages::item_completed("t", "c", item))
            .complete_turn("t", "c");
        let (transport, playing) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_resume("t").send()).unwrap();
        let compaction = wait!(thread.compact()).unwrap();
        assert_eq!(compaction.id(), "c");
        assert_eq!(wait!(compaction.run()).unwrap().items.len(), 1);
        wait!(codex.close()).unwrap();
        playing.finish().unwrap();
    }

    fn a_connection_that_is_lost_ends_the_wait_for_a_compaction(start, wait) {
        let script = opens_any_thread().expect("thread/compact/start").respond(json!({})).exit(3);
        let (transport, _playing) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_resume("t").send()).unwrap();
        let error = wait!(thread.compact()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TransportClosed);
        wait!(codex.close()).unwrap();
    }

    // Behaviour 61, on the real runtime.
    fn sandbox_presets_are_what_the_runtime_applies(start, wait) {
        let model = Model::start();
        let file = model.folder().join("made");
        let codex = start!(model.config()).unwrap();
        for (sandbox, writes) in [(Sandbox::ReadOnly, false), (Sandbox::WorkspaceWrite, true)] {
            model.reply(ToolCall::exec_command("touch made"));
            model.reply("done");
            let thread = codex.thread_start().approval_mode(ApprovalMode::DenyAll).sandbox(sandbox);
            wait!(wait!(thread.send()).unwrap().run("go")).unwrap();
            assert_eq!(file.exists(), writes, "{sandbox:?}");
        }
        wait!(codex.close()).unwrap();
    }
}

/// While a `turn/start` is under way on the thread, a turn that starts may be its own: the compaction waits for the
/// answer.
#[test]
fn a_compaction_does_not_take_the_turn_of_a_start_under_way() {
    support::bounded_async(async || {
        let script = opens_any_thread()
            .expect_as("turn", "turn/start")
            .expect_as("compaction", "thread/compact/start")
            .send(messages::turn_started("t", "u"))
            .send(messages::turn_started("t", "c"))
            .respond_to("compaction", openai_codex_testkit::app_server::Answer::Result(json!({})))
            .respond_to(
                "turn",
                openai_codex_testkit::app_server::Answer::Result(
                    json!({"turn": messages::turn("u", "inProgress")}),
                ),
            )
            .send(messages::turn_completed("t", messages::turn("u", "interrupted")))
            .complete_turn("t", "c");
        let (transport, playing) = script.connect().unwrap();
        let codex = openai_codex::AsyncCodex::with_transport(CodexConfig::new(), transport);
        let thread = codex.thread_resume("t").send().await.unwrap();
        let (turn, compaction) = tokio::join!(thread.turn("go").send(), thread.compact());
        let (turn, compaction) = (turn.unwrap(), compaction.unwrap());
        assert_eq!((turn.id(), compaction.id()), ("u", "c"));
        assert!(turn.run().await.unwrap().is_interrupted());
        assert_eq!(compaction.run().await.unwrap().turn.status, TurnStatus::Completed);
        codex.close().await.unwrap();
        playing.finished().await.unwrap();
    });
}

#[test]
fn a_blocking_listing_waits_no_longer_than_it_is_told() {
    support::bounded(|| {
        let script = Script::standard()
            .expect("thread/list")
            .expect("test/go")
            .respond(json!({}))
            .unexpected(Unexpected::Ignore);
        let (transport, _playing) = script.connect().unwrap();
        let codex = openai_codex::Codex::with_transport(CodexConfig::new(), transport).unwrap();
        let mut pages = codex.thread_list().pages();
        for _ in 0..2 {
            let error = pages.next_timeout(std::time::Duration::from_millis(20)).unwrap_err();
            assert_eq!((error.kind(), error.method()), (ErrorKind::DeadlineExceeded, Some("thread/list")));
        }
        codex.request_raw("test/go", json!({})).unwrap();
        codex.close().unwrap();
        // The second wait went on with the request of the first; now it has ended with the client.
        assert_eq!(pages.next_timeout(std::time::Duration::MAX).unwrap_err().kind(), ErrorKind::Closed);
        assert!(pages.next().is_none());
    });
}

/// Dropping the future of `compact` leaves nothing behind: the next turn is whose it is.
#[test]
fn a_compaction_that_nobody_waits_for_takes_no_turn() {
    support::bounded_async(async || {
        let script = opens_any_thread()
            .expect("thread/compact/start")
            .respond(json!({}))
            .expect("test/go")
            .respond(json!({}))
            .start_turn("t", "u")
            .complete_turn("t", "u");
        let (transport, playing) = script.connect().unwrap();
        let codex = openai_codex::AsyncCodex::with_transport(CodexConfig::new(), transport);
        let thread = codex.thread_resume("t").send().await.unwrap();
        {
            let mut compaction = std::pin::pin!(thread.compact());
            tokio::select! {
                biased;
                _ = &mut compaction => panic!("its turn has not started"),
                answer = codex.request_raw("test/go", json!({})) => drop(answer.unwrap()),
            }
        }
        let result = thread.run("go").await.unwrap();
        assert_eq!(result.turn.id, "u");
        codex.close().await.unwrap();
        playing.finished().await.unwrap();
    });
}

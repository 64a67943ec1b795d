//! Listings and their pages.

use openai_codex::types::{SortDirection, ThreadSortKey, TurnItemsView};
use openai_codex::{CodexConfig, ErrorKind};
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::{Unexpected, messages};
use serde_json::{Value, json};

use crate::support::{bounded, ids, opens_any_thread, params, sent, with_both_clients};

/// The pages of a listing. The response depends on the cursor, so each request has its step.
fn pages(method: &str, pages: &[Value]) -> Script {
    let mut script = opens_any_thread();
    for (place, data) in pages.iter().enumerate() {
        let next = (place + 1 < pages.len()).then(|| format!("page-{}", place + 1));
        let params = if place == 0 { json!({}) } else { json!({"cursor": format!("page-{place}")}) };
        script = script.expect_with(method, params).respond(json!({"data": data, "nextCursor": next}));
    }
    script
}

with_both_clients! {
    fn a_bare_list_sends_no_option(start, wait) {
        let (transport, running) =
            Script::standard().always("thread/list", json!({"data": []})).connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        assert!(wait!(codex.thread_list().send()).unwrap().data.is_empty());
        wait!(codex.close()).unwrap();
        assert_eq!(sent(&running.finish().unwrap().messages(), "thread/list")["params"], json!({}));
    }

    fn a_thread_whose_first_turn_is_just_beginning_has_no_items_and_no_record_of_the_turn(start, wait) {
        let (no_items, no_turns) = ("thread/items/list is not supported yet", "list_turns is not supported yet");
        let turns = json!({"data": [messages::turn("u", "inProgress")]});
        let (transport, running) = Script::standard()
            .start_thread("t")
            .start_turn("t", "u")
            .expect("thread/items/list")
            .respond_error(-32601, no_items)
            .expect("thread/turns/list")
            .respond(turns)
            .expect("thread/items/list")
            .respond(json!({"data": []}))
            .expect("thread/read")
            .respond_error(-32601, no_turns)
            .expect("thread/turns/list")
            .respond_error(-32601, no_turns)
            .expect("thread/read")
            .respond(json!({"thread": messages::thread("t")}))
            .connect()
            .unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        assert!(wait!(thread.items().send()).unwrap().data.is_empty());
        let error = wait!(thread.recover(turn.id())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TurnLost);
        assert!(error.to_string().contains("call `recover` again later"), "{error}");
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }

    fn every_option_of_a_list_has_its_key(start, wait) {
        let (transport, running) =
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
        let received = running.finish().unwrap().messages();
        let expected = json!({
            "archived": true, "cursor": "c", "cwd": "/repo", "limit": 5, "modelProviders": ["p"],
            "searchTerm": "find", "sectionId": "s", "sortDirection": "asc", "sortKey": "updated_at",
            "sourceKinds": ["cli"], "useStateDbOnly": true,
        });
        assert_eq!(params(&received, "thread/list"), [&expected, &json!({"cwd": ["/a", "/b"]})]);
    }

    fn all_threads_are_listed_page_by_page(start, wait) {
        let data = [json!([messages::thread("1"), messages::thread("2")]), json!([]), json!([messages::thread("3")])];
        let (transport, running) = pages("thread/list", &data).connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let mut all = codex.thread_list().limit(2).all();
        let mut ids = Vec::new();
        while let Some(thread) = wait!(all.next()) {
            ids.push(thread.unwrap().id);
        }
        assert_eq!(ids, ["1", "2", "3"]);
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        let expected = [
            json!({"limit": 2, "sortKey": "recency_at"}),
            json!({"limit": 2, "sortKey": "recency_at", "cursor": "page-1"}),
            json!({"limit": 2, "sortKey": "recency_at", "cursor": "page-2"}),
        ];
        assert_eq!(params(&received, "thread/list"), expected.iter().collect::<Vec<_>>());
    }

    fn a_page_is_requested_on_demand(start, wait) {
        let data = [json!([messages::thread("1")]), json!([messages::thread("2")])];
        let (transport, running) = pages("thread/list", &data).connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let mut pages = codex.thread_list().pages();
        assert_eq!(ids(&wait!(pages.next()).unwrap().unwrap()), ["1"]);
        drop(pages);
        wait!(codex.close()).unwrap();
        drop(running);
    }

    fn an_error_ends_the_listing(start, wait) {
        let script = Script::standard()
            .expect("thread/list")
            .respond(json!({"data": [messages::thread("1")], "nextCursor": "more"}))
            .expect("thread/list")
            .respond_error(-32603, "lost it");
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let mut all = codex.thread_list().all();
        assert_eq!(wait!(all.next()).unwrap().unwrap().id, "1");
        assert_eq!(wait!(all.next()).unwrap().unwrap_err().kind(), ErrorKind::Internal);
        assert!(wait!(all.next()).is_none());
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }

    fn a_listing_whose_cursors_repeat_ends_with_an_error(start, wait) {
        // The cursors that the server names, one after the other, and how many pages come before the error.
        for (cursors, pages) in [(vec!["a", "a"], 2), (vec!["a", "b", "a"], 3), (vec!["a", "b", "c", "b"], 4)] {
            let last = *cursors.last().unwrap();
            let script = cursors.into_iter().enumerate().fold(Script::standard(), |script, (number, cursor)| {
                let page = json!({"data": [messages::thread(&number.to_string())], "nextCursor": cursor});
                script.expect("thread/list").respond(page)
            });
            let (transport, running) = script.connect().unwrap();
            let codex = start!(CodexConfig::new(), transport).unwrap();
            let mut all = codex.thread_list().all();
            for number in 0..pages {
                assert_eq!(wait!(all.next()).unwrap().unwrap().id, number.to_string());
            }
            let error = wait!(all.next()).unwrap().unwrap_err();
            assert_eq!((error.kind(), error.method()), (ErrorKind::Decode, Some("thread/list")));
            assert!(error.to_string().contains(&format!("{last:?}")), "{error}");
            assert!(wait!(all.next()).is_none());
            wait!(codex.close()).unwrap();
            running.finish().unwrap();
        }
    }

    fn turns_and_items_of_a_thread_are_paged(start, wait) {
        let turns = messages::turn("u", "completed");
        let item = json!({"turnId": "u", "item": messages::agent_message("i", "hello")});
        let script = opens_any_thread()
            .always("thread/turns/list", json!({"data": [turns]}))
            .always("thread/items/list", json!({"data": [item]}));
        let (transport, running) = script.connect().unwrap();
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
        let received = running.finish().unwrap().messages();
        let expected =
            json!({"threadId": "t", "limit": 3, "cursor": "c", "sortDirection": "desc", "itemsView": "full"});
        assert_eq!(sent(&received, "thread/turns/list")["params"], expected);
        assert_eq!(sent(&received, "thread/items/list")["params"], json!({"threadId": "t", "turnId": "u"}));
    }
}

#[test]
fn a_blocking_listing_respects_its_timeout() {
    bounded(|| {
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
            assert_eq!((error.kind(), error.method()), (ErrorKind::Timeout, Some("thread/list")));
        }
        codex.request_raw("test/go", json!({})).unwrap();
        codex.close().unwrap();
        // The second wait went on with the request of the first; now it has ended with the client.
        assert_eq!(pages.next_timeout(std::time::Duration::MAX).unwrap_err().kind(), ErrorKind::Closed);
        assert!(pages.next().is_none());
    });
}

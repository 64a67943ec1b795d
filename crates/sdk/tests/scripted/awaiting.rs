//! Async builders can be awaited, which does the same as their `send`.

use openai_codex::{AsyncCodex, CodexConfig};
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::messages;
use serde_json::json;

use crate::support::{bounded_async, opens_any_thread};

#[test]
fn an_awaited_builder_sends_its_request() {
    bounded_async(async || {
        let page = || json!({"data": [], "nextCursor": null});
        let script = opens_any_thread()
            .expect("turn/start")
            .respond(json!({"turn": messages::turn("u", "inProgress")}))
            .complete_turn("t", "u")
            .expect("thread/read")
            .respond(json!({"thread": messages::thread("t")}))
            .then(
                ["thread/list", "thread/turns/list", "thread/items/list", "model/list"]
                    .into_iter()
                    .fold(Script::new(), |script, method| script.expect(method).respond(page())),
            )
            .expect("account/read")
            .respond(json!({"account": null, "requiresOpenaiAuth": true}));
        let (transport, running) = script.connect().unwrap();
        let codex = AsyncCodex::with_transport(CodexConfig::new(), transport);
        let thread = codex.thread_start().await.unwrap();
        codex.thread_resume("t").await.unwrap();
        codex.thread_fork("t").await.unwrap();
        let turn = thread.turn("go").await.unwrap();
        assert_eq!((turn.id(), turn.run().await.unwrap().turn.id.as_str()), ("u", "u"));
        assert_eq!(thread.read().await.unwrap().thread.id, "t");
        assert!(codex.thread_list().await.unwrap().data.is_empty());
        assert!(thread.turns().await.unwrap().data.is_empty());
        assert!(thread.items().await.unwrap().data.is_empty());
        assert!(codex.models().await.unwrap().data.is_empty());
        assert!(codex.account().await.unwrap().account.is_none());
        codex.close().await.unwrap();
        running.finish().unwrap();
    });
}

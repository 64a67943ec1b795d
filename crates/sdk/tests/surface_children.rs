//! Which streams receive the events of sub-agents.
#![cfg(unix)]

mod support;

use openai_codex::{ApprovalMode, CodexConfig, Notification, Sandbox};
use openai_codex_testkit::{ModelReply, ModelToolCall, RecordedRequest, Script};
use serde_json::json;
use support::{Model, with_both_clients};

fn says(text: &'static str) -> impl Fn(&RecordedRequest) -> bool + Send {
    move |request| request.last_user_text() == Some(text)
}

with_both_clients! {
    // Runtimes before 0.163.0 do not name the turn that a sub-agent's turn works for.
    fn a_sub_agent_is_identified_by_the_item_that_assigned_its_work(start, wait) {
        let item = json!({
            "type": "collabAgentToolCall", "id": "i", "tool": "spawnAgent", "status": "completed",
            "senderThreadId": "t", "receiverThreadIds": ["c"], "prompt": "help", "agentsStates": {},
        });
        let below = json!({"id": "w", "items": [], "status": "inProgress"});
        let script = Script::standard()
            .start_thread("t")
            .start_turn("t", "u")
            .notify("item/completed", json!({"threadId": "t", "turnId": "u", "item": item, "completedAtMs": 1}))
            .notify("turn/started", json!({"threadId": "c", "turn": below}))
            .agent_message("c", "w", "m", ["from below"])
            .complete_turn("c", "w")
            .complete_turn("t", "u");
        let (transport, playing) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("delegate").send()).unwrap();
        let mut family = turn.stream().with_children();
        let (mut below, mut ends) = (String::new(), Vec::new());
        while let Some(event) = wait!(family.next()) {
            match event.unwrap() {
                Notification::AgentMessageDelta(delta) => below += &delta.delta,
                Notification::TurnCompleted(done) => ends.push(done.turn.id),
                _ => {}
            }
        }
        assert_eq!((below.as_str(), ends), ("from below", vec!["w".to_owned(), "u".to_owned()]));
        wait!(codex.close()).unwrap();
        playing.finish().unwrap();
    }

    fn a_sub_agents_turn_reaches_a_stream_with_children(start, wait) {
        let model = Model::start();
        let spawn = ModelToolCall::new("spawn_agent", json!({"message": "help", "task_name": "helper"}));
        model.reply_when(says("delegate"), spawn.namespace("multi_agent_v1"));
        model.reply_when(says("help"), ModelReply::new().delta("from ").delta("below"));
        // The turn goes on when its sub-agent is done.
        let gate = model.gate();
        model.reply_when(says("delegate"), ModelReply::new().pause(&gate).delta("from above"));
        // The news of the sub-agent's end makes the model speak once more.
        model.reply_when(|request| request.last_user_text() != Some("help"), ", and noted");

        let codex = start!(model.config()).unwrap();
        let builder = codex.thread_start().approval_mode(ApprovalMode::DenyAll).sandbox(Sandbox::ReadOnly);
        let thread = wait!(builder.send()).unwrap();
        let turn = wait!(thread.turn("delegate").send()).unwrap();
        let mut family = turn.stream().with_children();
        let mut own = turn.stream();
        let (mut above, mut below, mut ends) = (String::new(), String::new(), Vec::new());
        while let Some(event) = wait!(family.next()) {
            match event.unwrap() {
                Notification::AgentMessageDelta(delta) if delta.turn_id == turn.id() => above += &delta.delta,
                Notification::AgentMessageDelta(delta) => {
                    assert_ne!(delta.thread_id, thread.id());
                    below += &delta.delta;
                }
                Notification::TurnCompleted(done) => {
                    ends.push(done.turn.id);
                    gate.release();
                }
                _ => {}
            }
        }
        assert_eq!((above.as_str(), below.as_str()), ("from above, and noted", "from below"));
        assert_eq!(ends.len(), 2);
        assert_eq!(ends[1], turn.id(), "the stream ends with its own turn");
        while let Some(event) = wait!(own.next()) {
            assert_eq!(event.unwrap().thread_id().unwrap_or(thread.id()), thread.id());
        }
        let result = wait!(turn.run()).unwrap();
        assert_eq!(result.final_response.as_deref(), Some(", and noted"));
        assert!(model.unanswered().is_empty());
        wait!(codex.close()).unwrap();
    }
}

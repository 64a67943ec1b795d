//! Sub-agents on the real runtime: whose events come to which stream.
#![cfg(unix)]

mod support;

use openai_codex::{ApprovalMode, Notification, Sandbox};
use openai_codex_testkit::{RecordedRequest, Reply, ToolCall};
use serde_json::json;
use support::{Model, with_both_clients};

fn says(text: &'static str) -> impl Fn(&RecordedRequest) -> bool + Send {
    move |request| request.last_user_text() == Some(text)
}

with_both_clients! {
    fn a_sub_agents_turn_comes_to_the_stream_that_wants_it(start, wait) {
        let model = Model::start();
        let spawn = ToolCall::new("spawn_agent", json!({"message": "help", "task_name": "helper"}));
        model.reply_when(says("delegate"), spawn.namespace("multi_agent_v1"));
        model.reply_when(says("help"), Reply::new().delta("from ").delta("below"));
        // The turn goes on when its sub-agent is done.
        let gate = model.gate();
        model.reply_when(says("delegate"), Reply::new().pause(&gate).delta("from above"));
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

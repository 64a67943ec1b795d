//! Streams of turns and of their sub-agents, and text streams.

use std::time::Duration;

use openai_codex::types::{CodexErrorInfo, ThreadItem, TurnStatus};
use openai_codex::{ApprovalMode, Codex, ErrorKind, Notification, Sandbox};
use openai_codex_testkit::{ModelReply, RecordedRequest};

use crate::support::{Model, bounded, spawn_subagent, with_both_clients};

with_both_clients! {
    fn deltas_come_in_order_then_the_item_then_the_end(start, wait) {
        let model = Model::start();
        model.reply(ModelReply::new().delta("he").delta("llo"));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        let mut stream = turn.stream();
        let (mut deltas, mut items, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(event) = wait!(stream.next()) {
            assert!(ends.is_empty(), "nothing comes after the end");
            match event.unwrap() {
                Notification::AgentMessageDelta(delta) => deltas.push(delta.delta),
                Notification::ItemCompleted(done) => {
                    if let ThreadItem::AgentMessage(message) = done.item {
                        items.push(message.text);
                    }
                }
                Notification::TurnCompleted(done) => ends.push(done.turn.status),
                Notification::Unknown(event) => panic!("the pinned runtime sends what is known: {event:?}"),
                Notification::Undecodable(event) => panic!("{event:?}"),
                _ => {}
            }
        }
        assert_eq!(deltas, ["he", "llo"]);
        assert_eq!(items, ["hello"]);
        assert_eq!(ends, [TurnStatus::Completed]);
        assert!(wait!(stream.next()).is_none());
        wait!(codex.close()).unwrap();
    }

    fn turns_of_two_threads_see_only_their_own_events(start, wait) {
        let model = Model::start();
        let (left_gate, right_gate) = (model.gate(), model.gate());
        model.reply_when(
            |request| request.last_user_text() == Some("left"),
            ModelReply::new().delta("l1").pause(&left_gate).delta("l2"),
        );
        model.reply_when(
            |request| request.last_user_text() == Some("right"),
            ModelReply::new().delta("r1").pause(&right_gate).delta("r2"),
        );
        let codex = start!(model.config()).unwrap();
        let left = wait!(codex.thread_start().send()).unwrap();
        let right = wait!(codex.thread_start().send()).unwrap();
        let left = wait!(left.turn("left").send()).unwrap();
        let right = wait!(right.turn("right").send()).unwrap();
        let mut streams = [left.stream(), right.stream()];
        // Both wait at their gates at the same time, and then end one after the other.
        for gate in [&left_gate, &right_gate] {
            gate.wait_reached().unwrap();
        }
        right_gate.release();
        left_gate.release();
        let mut seen = [String::new(), String::new()];
        let mut open = [true, true];
        while open.contains(&true) {
            for side in 0..2 {
                let Some(event) = wait!(streams[side].next()) else {
                    open[side] = false;
                    continue;
                };
                if let Notification::AgentMessageDelta(delta) = event.unwrap() {
                    seen[side].push_str(&delta.delta);
                }
            }
        }
        assert_eq!(seen, ["l1l2", "r1r2"]);
        wait!(codex.close()).unwrap();
    }

    fn an_open_stream_blocks_no_other_request(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        let mut stream = turn.stream();
        gate.wait_reached().unwrap();
        assert!(!wait!(codex.models().send()).unwrap().data.is_empty());
        assert_eq!(wait!(thread.read().send()).unwrap().thread.id, thread.id());
        gate.release();
        let mut ended = false;
        while let Some(event) = wait!(stream.next()) {
            ended = matches!(event.unwrap(), Notification::TurnCompleted(_));
        }
        assert!(ended);
        wait!(codex.close()).unwrap();
    }

    fn a_stream_that_is_dropped_disturbs_no_other(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        let mut early = turn.stream();
        let mut other = turn.stream();
        wait!(early.next()).unwrap().unwrap();
        drop(early);
        gate.release();
        let mut last = None;
        while let Some(event) = wait!(other.next()) {
            last = Some(event.unwrap());
        }
        assert!(matches!(last, Some(Notification::TurnCompleted(_))));
        assert_eq!(wait!(turn.run()).unwrap().final_response.as_deref(), Some("hello"));
        wait!(codex.close()).unwrap();
    }
}

#[test]
fn a_wait_that_runs_out_of_time_loses_nothing() {
    bounded(|| {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let codex = Codex::with_config(model.config()).unwrap();
        let turn = codex.thread_start().send().unwrap().turn("go").send().unwrap();
        let mut stream = turn.stream();
        let mut text = String::new();
        while text.is_empty() {
            if let Some(Notification::AgentMessageDelta(delta)) =
                stream.next_timeout(Duration::from_secs(30)).unwrap()
            {
                text.push_str(&delta.delta);
            }
        }
        // Nothing arrives while the gate is closed.
        let error = stream.next_timeout(Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        gate.release();
        while let Some(event) = stream.next_timeout(Duration::MAX).unwrap() {
            if let Notification::AgentMessageDelta(delta) = event {
                text.push_str(&delta.delta);
            }
        }
        assert_eq!(text, "hello");
        codex.close().unwrap();
    });
}

fn says(text: &'static str) -> impl Fn(&RecordedRequest) -> bool + Send {
    move |request| request.last_user_text() == Some(text)
}

with_both_clients! {
    fn a_sub_agents_turn_reaches_a_stream_with_children(start, wait) {
        let model = Model::start();
        model.reply_when(says("delegate"), spawn_subagent());
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

    fn a_text_stream_has_only_the_text_of_its_turn(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        let left = ModelReply::new().delta("le").pause(&gate).delta("ft");
        model.reply_when(|request| request.last_user_text() == Some("left"), left);
        let right = ModelReply::new().delta("ri").delta("ght");
        model.reply_when(|request| request.last_user_text() == Some("right"), right);
        let codex = start!(model.config()).unwrap();
        let threads = [wait!(codex.thread_start().send()).unwrap(), wait!(codex.thread_start().send()).unwrap()];
        let left = wait!(threads[0].turn("left").send()).unwrap();
        gate.wait_reached().unwrap();
        let right = wait!(threads[1].turn("right").send()).unwrap();
        let mut texts = [String::new(), String::new()];
        let mut stream = right.stream_text();
        while let Some(piece) = wait!(stream.next()) {
            texts[1].push_str(&piece.unwrap());
        }
        gate.release();
        let mut stream = left.stream_text();
        while let Some(piece) = wait!(stream.next()) {
            texts[0].push_str(&piece.unwrap());
        }
        assert_eq!(texts, ["left", "right"]);
        assert_eq!(wait!(left.run()).unwrap().final_response.as_deref(), Some("left"));
        assert!(wait!(left.stream_text().next()).is_none(), "a later stream has what comes from then on: nothing");
        wait!(codex.close()).unwrap();
    }

    fn a_stream_of_a_failed_turn_ends_with_its_completion(start, wait) {
        let model = Model::start();
        model.reply(ModelReply::new().delta("half").fail_with("insufficient_quota", "no money"));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        let mut stream = turn.stream();
        let mut last = None;
        while let Some(event) = wait!(stream.next()) {
            last = Some(event.unwrap());
        }
        let Some(Notification::TurnCompleted(completed)) = last else { panic!("{last:?}") };
        assert_eq!(completed.turn.status, TurnStatus::Failed);
        wait!(codex.close()).unwrap();
    }

    fn a_text_stream_of_a_failed_turn_ends_with_the_reason(start, wait) {
        let model = Model::start();
        model.reply(ModelReply::new().delta("half").fail_with("insufficient_quota", "no money"));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        let mut stream = turn.stream_text();
        assert_eq!(wait!(stream.next()).unwrap().unwrap(), "half");
        let error = wait!(stream.next()).unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TurnFailed);
        assert_eq!(error.turn_error_info(), Some(&CodexErrorInfo::UsageLimitExceeded), "{error}");
        assert!(wait!(stream.next()).is_none());
        assert_eq!(wait!(turn.run()).unwrap_err().turn_error_info(), error.turn_error_info());
        wait!(codex.close()).unwrap();
    }
}

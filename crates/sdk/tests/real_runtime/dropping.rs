//! Which drops interrupt a turn of the real runtime, and which do not.

use std::pin::pin;
use std::time::Duration;

use openai_codex::types::TurnStatus;
use openai_codex::{AsyncCodex, AsyncEvents, ErrorKind, Event, Notification};
use openai_codex_testkit::ModelReply;

use crate::support::{Model, bounded_async, with_both_clients};

/// The status of the next turn that ends.
async fn next_end(events: &mut AsyncEvents) -> TurnStatus {
    loop {
        let event = events.next().await.unwrap().unwrap();
        if let Event::Notification(Notification::TurnCompleted(done)) = event {
            return done.turn.status;
        }
    }
}

#[test]
fn a_run_that_is_dropped_is_interrupted_and_the_thread_goes_on() {
    bounded_async(async || {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        model.reply("again");
        let codex = AsyncCodex::with_config(model.config());
        let mut events = codex.events();
        let thread = codex.thread_start().send().await.unwrap();
        {
            let mut run = pin!(thread.run("go"));
            tokio::select! {
                result = &mut run => panic!("{result:?}"),
                reached = gate.reached() => reached.unwrap(),
            }
        }
        assert_eq!(next_end(&mut events).await, TurnStatus::Interrupted);
        assert_eq!(thread.run("go on").await.unwrap().final_response.as_deref(), Some("again"));
        codex.close().await.unwrap();
    });
}

#[test]
fn a_handle_that_is_dropped_lets_the_turn_go_on() {
    bounded_async(async || {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let codex = AsyncCodex::with_config(model.config());
        let mut events = codex.events();
        let thread = codex.thread_start().send().await.unwrap();
        let turn = thread.turn("go").send().await.unwrap();
        gate.reached().await.unwrap();
        drop(turn);
        gate.release();
        assert_eq!(next_end(&mut events).await, TurnStatus::Completed);
        codex.close().await.unwrap();
    });
}

with_both_clients! {
    fn a_run_past_its_timeout_is_interrupted(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let codex = start!(model.config()).unwrap();
        let mut events = codex.events();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let error = wait!(thread.turn("go").timeout(Duration::from_millis(500)).run()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        let status = loop {
            let event = wait!(events.next()).unwrap().unwrap();
            if let Event::Notification(Notification::TurnCompleted(done)) = event {
                break done.turn.status;
            }
        };
        assert_eq!(status, TurnStatus::Interrupted);
        wait!(codex.close()).unwrap();
    }
}

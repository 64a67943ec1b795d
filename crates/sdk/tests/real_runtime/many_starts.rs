//! Many concurrent turn starts: the client sends a few at a time.

use openai_codex::{ApprovalMode, AsyncCodex};
use openai_codex_testkit::ModelReply;
use tokio::task::JoinSet;

use crate::support::{Model, bounded_async};

// Of so many concurrent requests, runtime 0.163.0 refuses some and does not respond to others.
#[test]
fn two_hundred_concurrent_turns_all_start() {
    bounded_async(async || {
        const TURNS: usize = 200;
        let model = Model::start();
        let gate = model.gate();
        model.fallback(ModelReply::new().pause(&gate).delta("done"));
        let codex = AsyncCodex::with_config(model.config());
        let mut threads = Vec::new();
        for _ in 0..TURNS {
            let thread = codex.thread_start().approval_mode(ApprovalMode::DenyAll).ephemeral(true);
            threads.push(thread.send().await.unwrap());
        }
        let mut starts = JoinSet::new();
        for thread in threads {
            starts.spawn(async move { thread.turn("go").send().await });
        }
        let started = starts.join_all().await;
        gate.release();
        for turn in started {
            assert_eq!(turn.unwrap().run().await.unwrap().final_response.as_deref(), Some("done"));
        }
        codex.close().await.unwrap();
    });
}

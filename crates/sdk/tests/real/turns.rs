//! Turns from end to end, their usage, and many at once.

use openai_codex::types::TurnStatus;
use openai_codex::{ApprovalMode, AsyncCodex};
use openai_codex_testkit::{ModelReply, ModelToolCall, Usage};
use tokio::task::JoinSet;

use crate::support::{Model, bounded_async, texts, with_both_clients};

with_both_clients! {
    fn a_turn_reaches_the_model_and_its_result_comes_back(start, wait) {
        let model = Model::start();
        model.reply(ModelReply::text("Hi.").usage(Usage::new(11, 7).cached(3).reasoning(5)));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let result = wait!(thread.run("hello")).unwrap();

        let request = model.last_request().unwrap();
        assert_eq!((request.model(), request.last_user_text()), (Some("mock-model"), Some("hello")));
        assert_eq!(request.body["stream"], true);
        assert_eq!(result.final_response.as_deref(), Some("Hi."));
        assert_eq!(texts(&result.items), ["Hi."]);
        assert!(result.unreadable.is_empty(), "{:?}", result.unreadable);
        let usage = result.usage.unwrap();
        for counts in [&usage.last, &usage.total] {
            let numbers = [
                counts.input_tokens, counts.cached_input_tokens, counts.output_tokens,
                counts.reasoning_output_tokens, counts.total_tokens,
            ];
            assert_eq!(numbers, [11, 3, 7, 5, 18]);
        }
        assert_eq!(result.turn.status, TurnStatus::Completed);
        assert!(result.turn.error.is_none() && result.turn.started_at.is_some());
        assert!(result.turn.completed_at.is_some() && result.turn.duration_ms.is_some());
        wait!(codex.close()).unwrap();
    }

    fn a_second_turn_adds_to_the_threads_usage(start, wait) {
        let model = Model::start();
        model.reply(ModelReply::text("a").usage(Usage::new(10, 1)));
        model.reply(ModelReply::text("b").usage(Usage::new(20, 2)));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.run("one")).unwrap();
        let usage = wait!(thread.run("two")).unwrap().usage.unwrap();
        assert_eq!((usage.last.total_tokens, usage.total.total_tokens), (22, 33));
        wait!(codex.close()).unwrap();
    }

    fn the_model_of_a_turn_reaches_the_request(start, wait) {
        let model = Model::start();
        model.reply("ok");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.turn("hello").model("another-model").run()).unwrap();
        assert_eq!(model.last_request().unwrap().model(), Some("another-model"));
        wait!(codex.close()).unwrap();
    }

    fn a_handles_result_is_that_of_run(start, wait) {
        let model = Model::start();
        model.reply("hello");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        let result = wait!(turn.run()).unwrap();
        assert_eq!((result.turn.id.as_str(), turn.thread_id()), (turn.id(), thread.id()));
        assert_eq!(result.final_response.as_deref(), Some("hello"));
        assert!(result.items.len() >= 2, "the user's message too: {:?}", result.items);
        wait!(codex.close()).unwrap();
    }

    // The server's `last` is one model request; a turn can make many.
    fn usage_of_the_turn_and_of_the_thread_are_separate(start, wait) {
        let model = Model::start();
        let call = || ModelReply::from(ModelToolCall::exec_command("true"));
        model.reply(call().usage(Usage::new(10, 1).cached(3)));
        model.reply(ModelReply::text("one").usage(Usage::new(20, 2).reasoning(1)));
        model.reply(call().usage(Usage::new(40, 4)));
        model.reply(ModelReply::text("two").usage(Usage::new(80, 8)));
        model.reply(ModelReply::text("summary").usage(Usage::new(100, 10)));
        model.reply(ModelReply::text("three").usage(Usage::new(200, 20)));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let counts = |result: &openai_codex::RunResult| {
            let (turn, usage) = (result.turn_usage.as_ref().unwrap(), result.usage.as_ref().unwrap());
            [turn, &usage.total].map(|usage| (usage.input_tokens, usage.output_tokens, usage.total_tokens))
        };
        let first = wait!(thread.run("first")).unwrap();
        assert_eq!(counts(&first), [(30, 3, 33), (30, 3, 33)]);
        let usage = first.turn_usage.unwrap();
        assert_eq!((usage.cached_input_tokens, usage.reasoning_output_tokens), (3, 1));
        let second = wait!(thread.run("second")).unwrap();
        assert_eq!(counts(&second), [(120, 12, 132), (150, 15, 165)]);
        assert_eq!(second.usage.unwrap().last.total_tokens, 88);
        let compaction = wait!(wait!(thread.compact()).unwrap().run()).unwrap();
        assert_eq!(counts(&compaction), [(100, 10, 110), (250, 25, 275)]);
        let third = wait!(thread.run("third")).unwrap();
        assert_eq!(counts(&third), [(200, 20, 220), (450, 45, 495)]);
        wait!(codex.close()).unwrap();
    }
}

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

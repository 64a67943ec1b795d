//! One turn from end to end.

use openai_codex::types::TurnStatus;
use openai_codex_testkit::{ModelReply, Usage};

use crate::support::{Model, texts, with_both_clients};

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
}

//! Which of a turn's messages is its final response.

use openai_codex::types::{MessagePhase, ThreadItem};
use openai_codex_testkit::{ModelReply, Phase};

use crate::support::{Model, with_both_clients};

use Phase::{Commentary, FinalAnswer};

type Case = (&'static [(Option<Phase>, &'static str)], Option<&'static str>);

const CASES: &[Case] = &[
    (&[(None, "one"), (None, "two")], Some("two")),
    (&[(None, "one"), (None, "")], Some("")),
    (&[(Some(Commentary), "one")], None),
    (&[(Some(Commentary), "one"), (Some(FinalAnswer), "two")], Some("two")),
    (&[(Some(FinalAnswer), "one"), (Some(Commentary), "two")], Some("one")),
];

fn reply(messages: &[(Option<Phase>, &str)]) -> ModelReply {
    messages.iter().fold(ModelReply::new(), |reply, (phase, text)| match phase {
        Some(phase) => reply.message(*text, *phase),
        None => reply.delta(*text).end_message(),
    })
}

fn wire(phase: Phase) -> MessagePhase {
    match phase {
        Commentary => MessagePhase::Commentary,
        _ => MessagePhase::FinalAnswer,
    }
}

with_both_clients! {
    fn the_final_response_is_the_last_final_answer_or_the_last_message_without_a_phase(start, wait) {
        let model = Model::start();
        let codex = start!(model.config()).unwrap();
        for (messages, expected) in CASES {
            model.reply(reply(messages));
            let thread = wait!(codex.thread_start().send()).unwrap();
            let result = wait!(thread.run("go")).unwrap();
            assert_eq!(result.final_response.as_deref(), *expected, "{messages:?}");
            let mut seen = Vec::new();
            for item in &result.items {
                if let ThreadItem::AgentMessage(message) = item {
                    seen.push((message.phase.clone(), message.text.as_str()));
                }
            }
            let sent: Vec<_> = messages.iter().map(|(phase, text)| (phase.map(wire), *text)).collect();
            assert_eq!(seen, sent);
        }
        wait!(codex.close()).unwrap();
    }
}

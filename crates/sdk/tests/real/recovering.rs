//! The partial result of a turn whose end was lost, and the runtime's record of it.

use openai_codex::types::ThreadItem;
use openai_codex::{ErrorKind, RestartPolicy};
use openai_codex_testkit::{ModelReply, ModelToolCall};

use crate::death::kill;
use crate::support::{Model, version, with_both_clients};

#[cfg(target_os = "linux")]
with_both_clients! {
    fn the_error_of_a_lost_turn_holds_its_partial_result(start, wait) {
        let model = Model::start();
        model.reply(ModelReply::new().delta("first").call(ModelToolCall::exec_command("echo hi")));
        let gate = model.gate();
        model.reply(ModelReply::new().pause(&gate).delta("llo"));
        let codex = start!(model.config().restart(RestartPolicy::new())).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        gate.wait_reached().unwrap();
        kill(&model);
        let error = wait!(turn.run()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TransportClosed);
        let result = error.turn().unwrap();
        assert_eq!(result.turn.id, turn.id());
        assert!(result.items.iter().any(|item| matches!(item, ThreadItem::CommandExecution(_))), "{result:?}");

        // The new runtime reads what the old one stored.
        let recovered = wait!(turn.recover()).unwrap();
        assert!(recovered.is_interrupted(), "{recovered:?}");
        assert!(matches!(recovered.items.first(), Some(ThreadItem::UserMessage(_))), "{recovered:?}");
        assert_eq!(wait!(thread.recover(turn.id())).unwrap(), recovered);
        wait!(codex.close()).unwrap();
    }

    // Some milliseconds after its response to the start, the runtime refuses requests about the turns and items of a new thread.
    fn a_thread_can_be_read_while_its_first_turn_begins(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.fallback(ModelReply::new().pause(&gate).delta("too late"));
        let codex = start!(model.config()).unwrap();
        for first in 0..12 {
            let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
            let turn = wait!(thread.turn("go").send()).unwrap();
            for call in 0..4 {
                match (first + call) % 4 {
                    // Runtimes before 0.154.0 never list items.
                    0 if ["0.133.0", "0.144.4"].contains(&version()) => {}
                    0 => drop(wait!(thread.items().send()).unwrap()),
                    1 => assert_eq!(wait!(thread.follow()).unwrap().unwrap().id(), turn.id()),
                    2 => {
                        if let Some(id) = turn.client_message_id() {
                            drop(wait!(thread.find_turn(id)).unwrap());
                        }
                    }
                    _ => {
                        let error = wait!(thread.recover(turn.id())).unwrap_err();
                        assert_eq!(error.kind(), ErrorKind::TurnLost, "{error}");
                        assert!(error.to_string().contains("call `recover` again later"), "{error}");
                    }
                }
            }
            wait!(turn.interrupt()).unwrap();
        }
        wait!(codex.close()).unwrap();
    }

    fn a_finished_turn_is_recovered_with_its_final_response(start, wait) {
        let model = Model::start();
        model.reply("done");
        model.reply(ModelReply::failed("boom"));
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        let result = wait!(turn.run()).unwrap();
        let recovered = wait!(turn.recover()).unwrap();
        assert_eq!((recovered.final_response, recovered.turn.status), (result.final_response, result.turn.status));

        let failed = wait!(thread.turn("fail").send()).unwrap();
        assert_eq!(wait!(failed.run()).unwrap_err().kind(), ErrorKind::TurnFailed);
        assert_eq!(wait!(failed.recover()).unwrap_err().kind(), ErrorKind::TurnFailed);

        let running = wait!(thread.turn("go on").send()).unwrap();
        gate.wait_reached().unwrap();
        for id in [running.id(), "01a220f8-0000-7000-8000-000000000000"] {
            assert_eq!(wait!(thread.recover(id)).unwrap_err().kind(), ErrorKind::TurnLost);
        }
        gate.release();
        wait!(running.run()).unwrap();
        wait!(codex.close()).unwrap();
    }

    fn a_compaction_can_be_interrupted_right_after_its_start(start, wait) {
        let model = Model::start();
        model.reply("done");
        let gate = model.gate();
        model.reply(ModelReply::new().pause(&gate).delta("summary"));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.run("go")).unwrap();
        let compaction = wait!(thread.compact()).unwrap();
        wait!(compaction.interrupt()).unwrap();
        assert!(wait!(compaction.run()).unwrap().is_interrupted());
        wait!(codex.close()).unwrap();
    }
}

//! Moving a thread between two homes.

use openai_codex::types::TurnStatus;
use openai_codex::{ErrorKind, Rollout};
use openai_codex_testkit::ModelReply;

use crate::support::{Model, with_both_clients};

with_both_clients! {
    fn a_thread_goes_on_in_another_home_with_its_whole_history(start, wait) {
        let (here, there) = (Model::start(), Model::start());
        here.reply("first");
        here.reply("second");
        let codex = start!(here.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.run("one")).unwrap();
        wait!(thread.run("two")).unwrap();
        let rollout = wait!(thread.export()).unwrap();
        assert_eq!(rollout.thread_id(), thread.id());
        assert!(!format!("{rollout:?}").contains("data"), "it leaves out the conversation");
        wait!(codex.close()).unwrap();

        // It can be stored in between.
        let stored = serde_json::to_string(&rollout).unwrap();
        let rollout: Rollout = serde_json::from_str(&stored).unwrap();
        there.reply("third");
        let codex = start!(there.config()).unwrap();
        let thread = wait!(codex.thread_import(&rollout)).unwrap();
        assert_eq!(thread.id(), rollout.thread_id());
        assert_eq!(wait!(thread.run("three")).unwrap().final_response.as_deref(), Some("third"));
        let request = there.last_request().unwrap();
        let said: Vec<_> = request.user_texts().into_iter().filter(|text| !text.starts_with('<')).collect();
        assert_eq!(said, ["one", "two", "three"]);
        let turns = wait!(thread.read().include_turns(true).send()).unwrap().thread.turns;
        assert_eq!(turns.len(), 3);
        assert!(turns.iter().all(|turn| turn.status == TurnStatus::Completed));

        let error = wait!(codex.thread_import(&rollout)).err().unwrap();
        assert_eq!((error.kind(), error.thread_id()), (ErrorKind::InvalidInput, Some(rollout.thread_id())));
        wait!(codex.close()).unwrap();
    }

    fn a_thread_without_a_whole_history_is_not_exported(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        // It has not run yet, and has a history without turns.
        wait!(thread.export()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        let error = wait!(thread.export()).unwrap_err();
        assert_eq!((error.kind(), error.thread_id()), (ErrorKind::InvalidInput, Some(thread.id())));
        gate.release();
        wait!(turn.run()).unwrap();
        wait!(thread.export()).unwrap();
        let ephemeral = wait!(codex.thread_start().ephemeral(true).send()).unwrap();
        assert_eq!(wait!(ephemeral.export()).unwrap_err().kind(), ErrorKind::ThreadNotFound);
        wait!(codex.close()).unwrap();
    }
}

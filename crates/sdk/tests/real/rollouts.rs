//! Moving a thread between two homes.

use openai_codex::types::{ThreadStatus, TurnStatus};
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
        assert!(error.to_string().contains("with more turns"), "{error}");
        wait!(codex.close()).unwrap();
    }

    fn a_thread_moves_back_into_a_home_that_has_its_first_turns(start, wait) {
        let (here, there) = (Model::with_fallback("done"), Model::with_fallback("done"));
        let inputs = |model: &Model| {
            let request = model.last_request().unwrap();
            let texts = request.user_texts().into_iter().filter(|text| !text.starts_with('<'));
            texts.map(str::to_owned).collect::<Vec<_>>()
        };
        let codex = start!(here.config()).unwrap();
        let other = start!(there.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.run("one")).unwrap();
        let moved = wait!(other.thread_import(&wait!(thread.export()).unwrap())).unwrap();
        wait!(moved.run("two")).unwrap();
        let back = wait!(moved.export()).unwrap();
        // The second import finds the work of the first one done. The runtime has the thread loaded before.
        for _ in 0..2 {
            wait!(codex.thread_import(&back)).unwrap();
        }
        // Handles that were there before know the turns too.
        wait!(thread.run("three")).unwrap();
        assert_eq!(inputs(&here), ["one", "two", "three"]);
        assert_eq!(wait!(thread.read().include_turns(true).send()).unwrap().thread.turns.len(), 3);

        // Turns ran in both homes.
        wait!(moved.run("other")).unwrap();
        let diverged = wait!(moved.export()).unwrap();
        let error = wait!(codex.thread_import(&diverged)).err().unwrap();
        assert_eq!((error.kind(), error.thread_id()), (ErrorKind::InvalidInput, Some(thread.id())));
        assert!(error.to_string().contains("in both homes"), "{error}");
        wait!(thread.run("four")).unwrap();
        assert_eq!(inputs(&here), ["one", "two", "three", "four"]);
        wait!(codex.close()).unwrap();
        wait!(other.close()).unwrap();
    }

    fn an_import_that_was_cut_off_is_completed_by_the_next_one(start, wait) {
        let (here, there) = (Model::with_fallback("done"), Model::with_fallback("done"));
        let codex = start!(here.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.run("one")).unwrap();
        let rollout = wait!(thread.export()).unwrap();
        let path = wait!(thread.read().send()).unwrap().thread.path.unwrap();
        let path = std::path::Path::new(&*path);
        let whole = std::fs::read(path).unwrap();
        let other = start!(there.config()).unwrap();
        let archive = there.home().join("archived_sessions");
        std::fs::create_dir_all(&archive).unwrap();
        let first_line = whole.iter().position(|byte| *byte == b'\n').unwrap();
        for length in [0, first_line / 2, first_line + 10, whole.len() - 1, whole.len()] {
            std::fs::write(archive.join(path.file_name().unwrap()), &whole[..length]).unwrap();
            let moved = wait!(other.thread_import(&rollout)).unwrap();
            let stored = wait!(moved.read().send()).unwrap().thread.path.unwrap();
            assert!(!stored.contains("archived_sessions"), "{stored}");
            assert!(std::fs::read(&*stored).unwrap() == whole, "{length}");
            wait!(other.thread_archive(moved.id())).unwrap();
        }
        let moved = wait!(other.thread_import(&rollout)).unwrap();
        wait!(moved.run("two")).unwrap();
        assert!(there.last_request().unwrap().user_texts().contains(&"one"));
        wait!(codex.close()).unwrap();
        wait!(other.close()).unwrap();
    }

    fn a_history_that_the_runtime_has_compressed_is_compared_too(start, wait) {
        let (here, there) = (Model::with_fallback("done"), Model::with_fallback("done"));
        let codex = start!(here.config()).unwrap();
        let other = start!(there.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.run("one")).unwrap();
        let path = wait!(thread.read().send()).unwrap().thread.path.unwrap().to_string();
        let moved = wait!(other.thread_import(&wait!(thread.export()).unwrap())).unwrap();
        wait!(codex.close()).unwrap();
        wait!(moved.run("two")).unwrap();
        let back = wait!(moved.export()).unwrap();
        // The runtime compresses only files that have not changed for long.
        let file = std::fs::File::options().append(true).open(&path).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        let codex = start!(here.config()).unwrap();
        wait!(codex.request_raw("rollout/compress", serde_json::Value::Null)).unwrap();
        let compressed = std::path::PathBuf::from(format!("{path}.zst"));
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while !compressed.exists() || std::path::Path::new(&path).exists() {
            assert!(std::time::Instant::now() < deadline, "the runtime does not compress the file");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let thread = wait!(codex.thread_import(&back)).unwrap();
        wait!(thread.run("three")).unwrap();
        assert!(here.last_request().unwrap().user_texts().contains(&"two"));
        wait!(codex.close()).unwrap();
        wait!(other.close()).unwrap();
    }

    fn a_thread_that_another_runtime_has_loaded_is_not_replaced(start, wait) {
        let (here, there) = (Model::with_fallback("done"), Model::with_fallback("done"));
        let other = start!(there.config()).unwrap();
        let codex = start!(here.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.run("one")).unwrap();
        let moved = wait!(other.thread_import(&wait!(thread.export()).unwrap())).unwrap();
        wait!(moved.run("two")).unwrap();
        let back = wait!(moved.export()).unwrap();
        let second = start!(here.config()).unwrap();
        let error = wait!(second.thread_import(&back)).err().unwrap();
        assert_eq!((error.kind(), error.thread_id()), (ErrorKind::ThreadInUse, Some(thread.id())));
        wait!(codex.close()).unwrap();
        let thread = wait!(second.thread_import(&back)).unwrap();
        wait!(thread.run("three")).unwrap();
        assert!(here.last_request().unwrap().user_texts().contains(&"two"));
        wait!(second.close()).unwrap();
        wait!(other.close()).unwrap();
    }

    fn a_fork_moves_after_its_source(start, wait) {
        let (here, there) = (Model::with_fallback("done"), Model::with_fallback("done"));
        let codex = start!(here.config()).unwrap();
        let other = start!(there.config()).unwrap();
        let source = wait!(codex.thread_start().send()).unwrap();
        wait!(source.run("one")).unwrap();
        let fork = wait!(codex.thread_fork(source.id()).send()).unwrap();
        wait!(fork.run("two")).unwrap();
        let of_source = wait!(source.export()).unwrap();
        let of_fork = wait!(fork.export()).unwrap();
        assert_eq!(of_source.base_thread_id(), None);
        // Runtimes before 0.163.0 copy the history.
        if let Some(base) = of_fork.base_thread_id() {
            assert_eq!(base, source.id());
            let error = wait!(other.thread_import(&of_fork)).err().unwrap();
            assert_eq!((error.kind(), error.thread_id()), (ErrorKind::InvalidInput, Some(fork.id())));
            assert!(error.to_string().contains("import that thread first"), "{error}");
            wait!(other.thread_import(&of_source)).unwrap();
        }
        let moved = wait!(other.thread_import(&of_fork)).unwrap();
        wait!(moved.run("three")).unwrap();
        let request = there.last_request().unwrap();
        let said: Vec<_> = request.user_texts().into_iter().filter(|text| !text.starts_with('<')).collect();
        assert_eq!(said, ["one", "two", "three"]);
        wait!(codex.close()).unwrap();
        wait!(other.close()).unwrap();
    }

    fn a_damaged_history_is_refused_and_the_whole_one_is_taken(start, wait) {
        let (here, there) = (Model::with_fallback("done"), Model::with_fallback("done"));
        let codex = start!(here.config()).unwrap();
        let other = start!(there.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.run("one")).unwrap();
        let whole = wait!(thread.export()).unwrap();
        let stored = serde_json::to_value(&whole).unwrap();
        // Nothing, the Base64 of `garbage`, and a part of the first line.
        for data in ["", "Z2FyYmFnZQ==", &stored["data"].as_str().unwrap()[..400]] {
            let mut damaged = stored.clone();
            damaged["data"] = data.into();
            let damaged: Rollout = serde_json::from_value(damaged).unwrap();
            assert_eq!(damaged.base_thread_id(), None);
            let error = wait!(other.thread_import(&damaged)).err().unwrap();
            assert_eq!((error.kind(), error.thread_id()), (ErrorKind::InvalidInput, Some(thread.id())));
        }
        let moved = wait!(other.thread_import(&whole)).unwrap();
        wait!(moved.run("two")).unwrap();
        assert!(there.last_request().unwrap().user_texts().contains(&"one"));
        wait!(codex.close()).unwrap();
        wait!(other.close()).unwrap();
    }

    fn a_thread_is_exported_when_a_turn_has_ended_whose_end_the_client_does_not_see(start, wait) {
        let model = Model::with_fallback("done");
        let codex = start!(model.config()).unwrap();
        for interrupts in [false, true] {
            let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
            wait!(thread.run("one")).unwrap();
            let gate = model.gate();
            model.reply(ModelReply::new().delta("he").pause(&gate).delta("llo"));
            let turn = wait!(thread.turn("two").send()).unwrap();
            gate.wait_reached().unwrap();
            wait!(thread.unsubscribe()).unwrap();
            assert_eq!(wait!(thread.export()).unwrap_err().kind(), ErrorKind::InvalidInput);
            match interrupts {
                true => drop(wait!(turn.interrupt()).unwrap()),
                false => gate.release(),
            }
            while matches!(wait!(thread.read().send()).unwrap().thread.status, ThreadStatus::Active(_)) {}
            wait!(thread.export()).unwrap();
            gate.release();
        }
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

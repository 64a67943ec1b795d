//! A service tier is in force, or the call that names it fails before anything runs.

use openai_codex::types::Model as CatalogModel;
use openai_codex::{ErrorKind, RestartPolicy};
use serde_json::{Value, json};

use crate::death::kill;
use crate::support::{Model, with_both_clients};

/// The models of the catalog that have this tier.
pub(crate) fn with_tier(tier: &str, catalog: Vec<CatalogModel>) -> Vec<String> {
    let has_it =
        |model: &CatalogModel| model.service_tiers.iter().flatten().any(|offered| offered.id == tier);
    catalog.into_iter().filter(has_it).map(|model| model.model).collect()
}

/// The tier of the last model request.
fn sent(model: &Model) -> Value {
    model.last_request().unwrap().body["service_tier"].clone()
}

with_both_clients! {
    fn a_service_tier_that_the_runtime_drops_is_an_error(start, wait) {
        let model = Model::start();
        model.reply("first");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
        wait!(thread.run("one")).unwrap();
        let errors = [
            wait!(codex.thread_start().service_tier("nonsense").send()).err(),
            wait!(codex.thread_start().config("service_tier", "nonsense").send()).err(),
            wait!(codex.thread_fork(thread.id()).service_tier("nonsense").send()).err(),
            wait!(codex.thread_resume(thread.id()).service_tier("nonsense").send()).err(),
            wait!(thread.turn("two").service_tier("nonsense").send()).err(),
            // The runtime offers this one for other models.
            wait!(thread.turn("two").service_tier("fast").send()).err(),
        ];
        for error in errors {
            let error = error.unwrap();
            assert_eq!(error.kind(), ErrorKind::OptionNotApplied, "{error}");
            assert!(error.to_string().contains("`service_tier`"), "{error}");
        }
        assert_eq!(model.requests().len(), 1);
        wait!(codex.thread_archive(thread.id())).unwrap();
        wait!(codex.thread_unarchive(thread.id())).unwrap();
        let error = wait!(codex.thread_resume(thread.id()).service_tier("nonsense").send()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OptionNotApplied, "of a thread that is not loaded: {error}");
        wait!(codex.close()).unwrap();
    }

    fn a_turn_and_a_resume_accept_the_service_tiers_that_a_start_accepts(start, wait) {
        let model = Model::with_fallback("done");
        let codex = start!(model.config()).unwrap();
        let catalog = wait!(codex.models().include_hidden(true).send()).unwrap().data;
        let known = &with_tier("priority", catalog)[0];
        let names = [known.clone(), format!("{known}-later"), format!("vendor/{known}"), known.to_uppercase(), "other".to_owned()];
        let mut accepted = Vec::new();
        for name in names {
            let thread = wait!(codex.thread_start().cwd(model.folder()).model(&name).send()).unwrap();
            for (tier, on_the_wire) in [("fast", "priority"), ("flex", "flex"), ("priority", "priority")] {
                let by_start = wait!(codex.thread_start().model(&name).service_tier(tier).send()).is_ok();
                let by_turn = wait!(thread.turn("go").service_tier(tier).run());
                assert_eq!(by_turn.is_ok(), by_start, "{name}, {tier}");
                let by_resume = wait!(codex.thread_resume(thread.id()).service_tier(tier).send());
                assert_eq!(by_resume.is_ok(), by_start, "{name}, {tier}");
                if by_start {
                    assert_eq!(sent(&model), on_the_wire, "{name}, {tier}");
                    accepted.push((name.clone(), tier));
                }
            }
        }
        assert!(accepted.contains(&(known.clone(), "fast")) && !accepted.contains(&("other".to_owned(), "fast")), "{accepted:?}");
        wait!(codex.close()).unwrap();
    }

    fn a_model_that_does_not_have_the_threads_service_tier_is_an_error(start, wait) {
        let model = Model::with_fallback("done");
        let codex = start!(model.config()).unwrap();
        let catalog = wait!(codex.models().send()).unwrap().data;
        let known = &with_tier("priority", catalog)[0];
        for named_by_a_turn in [false, true] {
            let start = codex.thread_start().cwd(model.folder()).model(known);
            let thread = if named_by_a_turn { wait!(start.send()) } else { wait!(start.service_tier("fast").send()) }.unwrap();
            let turn = thread.turn("one");
            wait!(if named_by_a_turn { turn.service_tier("fast") } else { turn }.run()).unwrap();
            let sent_before = model.requests().len();
            let of_a_turn = wait!(thread.turn("two").model("other").send()).unwrap_err();
            let of_a_loaded_thread = wait!(codex.thread_resume(thread.id()).model("other").send()).unwrap_err();
            wait!(codex.thread_archive(thread.id())).unwrap();
            wait!(codex.thread_unarchive(thread.id())).unwrap();
            let of_an_unloaded_thread = wait!(codex.thread_resume(thread.id()).model("other").send()).unwrap_err();
            for error in [of_a_turn, of_a_loaded_thread, of_an_unloaded_thread] {
                assert_eq!(error.kind(), ErrorKind::OptionNotApplied, "{error}");
                assert!(error.to_string().contains("`service_tier` is \"fast\""), "{error}");
            }
            assert_eq!(model.requests().len(), sent_before);
            wait!(thread.run("three")).unwrap();
            let body = model.last_request().unwrap().body;
            assert_eq!((body["model"].as_str(), body["service_tier"].as_str()), (Some(&**known), Some("priority")));
            wait!(thread.turn("four").model("other").service_tier("default").run()).unwrap();
            assert_eq!((model.last_request().unwrap().model(), sent(&model)), (Some("other"), Value::Null));
            wait!(thread.turn("five").model("another").run()).unwrap();
        }
        wait!(codex.close()).unwrap();
    }

    fn a_service_tier_that_an_entry_turns_off_is_an_error(start, wait) {
        let model = Model::with_fallback("done");
        let codex = start!(model.config()).unwrap();
        let catalog = wait!(codex.models().send()).unwrap().data;
        let known = &with_tier("priority", catalog)[0];
        let start = || codex.thread_start().cwd(model.folder()).model(known);
        let mut errors = Vec::new();
        for (key, value) in [("features.fast_mode", json!(false)), ("features", json!({"fast_mode": false}))] {
            let thread = wait!(start().config(key, value.clone()).send()).unwrap();
            wait!(thread.turn("one").service_tier("flex").run()).unwrap();
            assert_eq!(sent(&model), "flex");
            errors.push(wait!(thread.turn("two").service_tier("fast").send()).err().unwrap());
            errors.push(wait!(thread.turn("two").service_tier_for_turn("priority").send()).err().unwrap());
            errors.push(wait!(codex.thread_resume(thread.id()).service_tier("fast").send()).unwrap_err());
            let with_tier = wait!(start().service_tier("fast").send()).unwrap();
            wait!(with_tier.run("one")).unwrap();
            wait!(codex.thread_archive(with_tier.id())).unwrap();
            wait!(codex.thread_unarchive(with_tier.id())).unwrap();
            errors.push(wait!(codex.thread_resume(with_tier.id()).config(key, value).send()).unwrap_err());
        }
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::OptionNotApplied, "{error}");
            assert!(error.to_string().contains("`features.fast_mode` is off"), "{error}");
        }
        wait!(codex.close()).unwrap();
    }

    fn a_service_tier_that_the_users_configuration_turns_off_is_an_error(start, wait) {
        let model = Model::with_fallback("done");
        model.add_config("features.fast_mode = false\n").unwrap();
        let codex = start!(model.config()).unwrap();
        let catalog = wait!(codex.models().send()).unwrap().data;
        let known = &with_tier("priority", catalog)[0];
        let thread = wait!(codex.thread_start().cwd(model.folder()).model(known).send()).unwrap();
        for turn in [thread.turn("one").service_tier("fast"), thread.turn("one").service_tier_for_turn("priority")] {
            let error = wait!(turn.send()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::OptionNotApplied, "{error}");
            assert!(error.to_string().contains("`features.fast_mode` is off"), "{error}");
        }
        // The entry of a thread comes before that of the user.
        let start = codex.thread_start().cwd(model.folder()).model(known).config("features.fast_mode", true);
        let thread = wait!(start.send()).unwrap();
        wait!(thread.turn("two").service_tier("fast").run()).unwrap();
        assert_eq!(sent(&model), "priority");
        wait!(codex.close()).unwrap();
    }

    // The runtime stores the model of a thread with its turns.
    fn a_service_tier_fits_the_model_that_a_restarted_runtime_has_forgotten(start, wait) {
        let model = Model::with_fallback("done");
        let codex = start!(model.config().restart(RestartPolicy::new())).unwrap();
        let catalog = wait!(codex.models().send()).unwrap().data;
        let known = &with_tier("priority", catalog)[0];
        let thread = wait!(codex.thread_start().cwd(model.folder()).model(known).send()).unwrap();
        wait!(codex.thread_resume(thread.id()).send()).unwrap();
        kill(&model);
        while wait!(codex.models().send()).is_err() {}
        let resumed = wait!(codex.thread_resume(thread.id()).service_tier("priority").send()).unwrap();
        for thread in [thread, resumed] {
            wait!(thread.run("go")).unwrap();
            let body = model.last_request().unwrap().body;
            assert_eq!((body["model"].as_str(), body["service_tier"].as_str()), (Some(&**known), Some("priority")));
        }
        wait!(codex.close()).unwrap();
    }

    fn a_service_tier_for_one_turn_is_checked_too(start, wait) {
        let model = Model::with_fallback("done");
        let codex = start!(model.config()).unwrap();
        let catalog = wait!(codex.models().send()).unwrap().data;
        let known = &with_tier("priority", catalog)[0];
        let thread = wait!(codex.thread_start().cwd(model.folder()).model(known).send()).unwrap();
        for tier in ["fast", "priority"] {
            wait!(thread.turn("go").service_tier_for_turn(tier).run()).unwrap();
            assert_eq!(sent(&model), "priority");
            wait!(thread.run("go")).unwrap();
            assert_eq!(sent(&model), Value::Null);
        }
        for turn in [thread.turn("go").service_tier_for_turn("nonsense"), thread.turn("go").model("other").service_tier_for_turn("fast")] {
            let error = wait!(turn.send()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::OptionNotApplied, "{error}");
            assert!(error.to_string().contains("`service_tier_for_turn`"), "{error}");
        }
        wait!(codex.close()).unwrap();
    }
}

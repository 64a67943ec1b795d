//! A service tier is in force, or the call that names it fails before anything runs.

use openai_codex::ErrorKind;
use openai_codex::types::Model as CatalogModel;
use serde_json::Value;

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
        let model = Model::start();
        model.fallback("done");
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

    fn a_service_tier_for_one_turn_is_checked_too(start, wait) {
        let model = Model::start();
        model.fallback("done");
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

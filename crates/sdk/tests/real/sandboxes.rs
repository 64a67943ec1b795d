//! A named sandbox allows no more than it says, also if the thread had one of the same kind that allowed more.

use openai_codex::types::{ReadOnlySandboxPolicy, WorkspaceWriteSandboxPolicy};
use openai_codex::{ErrorKind, Event, RestartPolicy, Sandbox};
use openai_codex_testkit::ModelReply;
use serde_json::{Value, json};

use crate::death::kill;
use crate::support::{Model, ended_beside, with_both_clients};

/// The sandbox that the runtime has for a loaded thread.
macro_rules! effective {
    ($codex:ident, $thread_id:expr, $wait:ident) => {
        $wait!($codex.request_raw("thread/resume", json!({"threadId": $thread_id}))).unwrap()["sandbox"].take()
    };
}

/// Makes the runtime forget a thread.
macro_rules! unload {
    ($model:ident, $codex:ident, $thread_id:expr, $killed:ident, $wait:ident) => {
        match $killed {
            true => {
                let mut events = $codex.events();
                kill(&$model);
                while !matches!($wait!(events.next()), Some(Ok(Event::RuntimeLost(_)))) {}
            }
            false => {
                $wait!($codex.thread_archive($thread_id)).unwrap();
                drop($wait!($codex.thread_unarchive($thread_id)).unwrap());
            }
        }
    };
}

fn networked() -> ReadOnlySandboxPolicy {
    ReadOnlySandboxPolicy::new().network_access(true)
}

fn roots(sandbox: &Value) -> &Value {
    &sandbox["writableRoots"]
}

with_both_clients! {
    fn a_resume_with_a_preset_takes_back_what_a_turn_has_added(start, wait) {
        let model = Model::with_fallback("done");
        let codex = start!(model.config()).unwrap();
        let options = codex.thread_start().cwd(model.folder()).sandbox(Sandbox::ReadOnly);
        let thread = wait!(options.send()).unwrap();
        wait!(thread.turn("one").sandbox_policy(networked()).run()).unwrap();
        assert_eq!(effective!(codex, thread.id(), wait)["networkAccess"], true);
        wait!(codex.thread_resume(thread.id()).sandbox(Sandbox::ReadOnly).send()).unwrap();
        wait!(thread.run("two")).unwrap();
        assert_eq!(effective!(codex, thread.id(), wait)["networkAccess"], false);

        let extra = tempfile::tempdir().unwrap();
        let extra = extra.path().to_str().unwrap();
        let wide = WorkspaceWriteSandboxPolicy::new().writable_roots([extra.to_owned()]);
        wait!(thread.turn("three").sandbox_policy(wide).run()).unwrap();
        assert_eq!(roots(&effective!(codex, thread.id(), wait)), &json!([extra]));
        wait!(codex.thread_resume(thread.id()).sandbox(Sandbox::WorkspaceWrite).send()).unwrap();
        wait!(thread.run("four")).unwrap();
        assert_eq!(roots(&effective!(codex, thread.id(), wait)), &json!([]));

        // A sandbox that allows less than the preset stays.
        let narrow = WorkspaceWriteSandboxPolicy::new().exclude_slash_tmp(true);
        wait!(thread.turn("five").sandbox_policy(narrow).run()).unwrap();
        wait!(codex.thread_resume(thread.id()).sandbox(Sandbox::WorkspaceWrite).send()).unwrap();
        assert_eq!(effective!(codex, thread.id(), wait)["excludeSlashTmp"], true);
        wait!(codex.close()).unwrap();
    }

    fn a_preset_does_not_apply_to_a_running_turn_that_is_allowed_more(start, wait) {
        let model = Model::start();
        model.reply("ready");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(model.sandboxed(codex.thread_start(), Sandbox::ReadOnly).send()).unwrap();
        wait!(thread.run("one")).unwrap();
        let read_only = wait!(codex.thread_resume(thread.id()).sandbox(Sandbox::ReadOnly).send()).unwrap();
        let gate = model.gate();
        model.reply(ModelReply::new().pause(&gate).delta("done"));
        let turn = wait!(thread.turn("two").sandbox_policy(networked()).send()).unwrap();
        gate.wait_reached().unwrap();
        let resumed = wait!(codex.thread_resume(thread.id()).sandbox(Sandbox::ReadOnly).send());
        assert_eq!(resumed.unwrap_err().kind(), ErrorKind::OptionNotApplied);
        let joined = wait!(read_only.turn("three").send()).unwrap_err();
        assert_eq!((joined.kind(), joined.method()), (ErrorKind::OptionNotApplied, Some("turn/start")));
        assert!(joined.to_string().contains("another handle"), "{joined}");
        gate.release();
        wait!(turn.run()).unwrap();
        wait!(codex.close()).unwrap();
    }

    // The runtime adds the user's roots to every sandbox that writes to the workspace.
    fn the_users_roots_are_part_of_a_mode_only_when_a_thread_is_loaded_with_it(start, wait) {
        let (model, extra) = (Model::start(), tempfile::tempdir().unwrap());
        model.fallback("done");
        let extra = extra.path().to_str().unwrap();
        let entries = format!("[sandbox_workspace_write]\nnetwork_access = true\nwritable_roots = [{extra:?}]\n");
        model.add_config(&entries).unwrap();
        let codex = start!(model.config()).unwrap();
        let writes = || codex.thread_start().cwd(model.folder()).sandbox(Sandbox::WorkspaceWrite);
        let thread = wait!(writes().send()).unwrap();
        wait!(thread.run("one")).unwrap();
        let configured = effective!(codex, thread.id(), wait);
        assert_eq!((&configured["networkAccess"], roots(&configured)), (&json!(true), &json!([extra])));
        let resume = |id: &str| codex.thread_resume(id).sandbox(Sandbox::WorkspaceWrite);
        wait!(resume(thread.id()).send()).unwrap();
        assert_eq!(effective!(codex, thread.id(), wait), configured);
        wait!(codex.thread_fork(thread.id()).sandbox(Sandbox::WorkspaceWrite).send()).unwrap();

        wait!(thread.turn("two").sandbox(Sandbox::ReadOnly).run()).unwrap();
        let error = wait!(resume(thread.id()).send()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OptionNotApplied);
        assert!(error.to_string().contains(extra), "{error}");
        // The thread has its earlier sandbox in its next turn.
        wait!(thread.run("three")).unwrap();
        assert_eq!(effective!(codex, thread.id(), wait)["type"], "readOnly");
        let stored = thread.id().to_owned();
        wait!(codex.close()).unwrap();

        let codex = start!(model.config()).unwrap();
        let resumed = codex.thread_resume(&stored).sandbox(Sandbox::WorkspaceWrite);
        let resumed = wait!(resumed.send()).unwrap();
        assert_eq!(effective!(codex, resumed.id(), wait), configured);
        wait!(codex.close()).unwrap();
    }

    fn a_thread_that_is_loaded_again_keeps_the_sandbox_of_a_turn_with_the_users_roots(start, wait) {
        for (named_by_entry, killed) in [(false, true), (true, false)] {
            let (model, extra, own) = (Model::with_fallback("done"), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let (extra, own) = (extra.path().to_str().unwrap(), own.path().to_str().unwrap());
            if !named_by_entry {
                model.add_config(&format!("[sandbox_workspace_write]\nwritable_roots = [{extra:?}]\n")).unwrap();
            }
            let codex = start!(model.config().restart(RestartPolicy::new())).unwrap();
            let mut options = codex.thread_start().cwd(model.folder()).sandbox(Sandbox::ReadOnly);
            if named_by_entry {
                options = options.config("sandbox_workspace_write.writable_roots", json!([extra]));
            }
            let thread = wait!(options.send()).unwrap();
            let policy = WorkspaceWriteSandboxPolicy::new().writable_roots([own.to_owned()]).exclude_slash_tmp(true);
            wait!(thread.turn("one").sandbox_policy(policy).run()).unwrap();
            let had = effective!(codex, thread.id(), wait);
            let has = |root: &str| roots(&had).as_array().unwrap().contains(&json!(root));
            assert!(has(extra) && has(own), "{had}");
            wait!(codex.thread_resume(thread.id()).send()).unwrap();
            assert_eq!(effective!(codex, thread.id(), wait), had);
            unload!(model, codex, thread.id(), killed, wait);
            wait!(thread.run("two")).unwrap();
            assert_eq!(effective!(codex, thread.id(), wait), had);
            unload!(model, codex, thread.id(), killed, wait);
            wait!(codex.thread_resume(thread.id()).send()).unwrap();
            assert_eq!(effective!(codex, thread.id(), wait), had);
            unload!(model, codex, thread.id(), killed, wait);
            wait!(thread.turn("three").sandbox(Sandbox::ReadOnly).run()).unwrap();
            assert_eq!(effective!(codex, thread.id(), wait)["type"], "readOnly");
            wait!(codex.close()).unwrap();
        }
    }

    fn a_root_that_is_not_the_users_does_not_stay_with_the_sandbox_of_a_turn(start, wait) {
        let (model, extra, other) = (Model::with_fallback("done"), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (extra, other) = (extra.path().to_str().unwrap(), other.path().to_str().unwrap());
        model.add_config(&format!("[sandbox_workspace_write]\nwritable_roots = [{extra:?}]\n")).unwrap();
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().cwd(model.folder()).sandbox(Sandbox::ReadOnly).send()).unwrap();
        wait!(thread.turn("one").sandbox(Sandbox::WorkspaceWrite).run()).unwrap();
        let had = effective!(codex, thread.id(), wait);
        assert!(roots(&had).as_array().unwrap().contains(&json!(extra)), "{had}");
        // As another program does it.
        let wider = json!({"threadId": thread.id(), "sandboxPolicy": {"type": "workspaceWrite", "writableRoots": [other]}});
        wait!(codex.request_raw("thread/settings/update", wider)).unwrap();
        wait!(codex.thread_resume(thread.id()).send()).unwrap();
        assert_eq!(effective!(codex, thread.id(), wait), had);
        wait!(codex.close()).unwrap();
    }

    fn a_subagent_gets_no_network_that_it_did_not_have(start, wait) {
        for sandbox in [Sandbox::ReadOnly, Sandbox::WorkspaceWrite] {
            let model = Model::start();
            model.delegate("below");
            // The end of a sub-agent can make the turn above it send another request.
            model.fallback("noted");
            let codex = start!(model.config()).unwrap();
            let mut events = codex.events();
            let thread = wait!(model.sandboxed(codex.thread_start(), sandbox).send()).unwrap();
            wait!(thread.run("delegate")).unwrap();
            let helper = ended_beside!(thread, events, wait);
            wait!(thread.turn("again").sandbox_policy(networked()).run()).unwrap();
            assert_eq!(effective!(codex, thread.id(), wait)["networkAccess"], true);
            let of_helper = effective!(codex, helper, wait);
            assert_eq!((&of_helper["type"], &of_helper["networkAccess"]), (&json!("readOnly"), &json!(false)));
            wait!(codex.close()).unwrap();
        }
    }
}

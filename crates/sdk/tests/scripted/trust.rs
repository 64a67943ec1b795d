//! The requests that keep a folder untrusted without a decision.

use std::path::{Path, PathBuf};

use openai_codex::{CodexConfig, ErrorKind, Sandbox};
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::{Response, messages};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{count, opens_any_thread, sent, with_both_clients};

/// A folder for the tests, with its links resolved.
fn folder() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    (dir, path)
}

fn level(path: &Path, level: &str) -> Value {
    json!({path.to_str().unwrap(): {"trust_level": level}})
}

/// A server whose user has this configuration.
fn configured(config: Value) -> Script {
    opens_any_thread().always("config/read", json!({"config": config, "origins": {}, "layers": []}))
}

with_both_clients! {
    fn an_undecided_folder_is_sent_as_untrusted(start, wait) {
        let (_dir, path) = folder();
        for sandbox in [Sandbox::WorkspaceWrite, Sandbox::FullAccess] {
            // None of these is a decision: another folder, another level, none.
            let mut projects = level(&path.join("below"), "trusted");
            projects[path.parent().unwrap().to_str().unwrap()] = json!({"trust_level": "trusted"});
            projects[path.to_str().unwrap()] = json!({"trust_level": null, "other": 1});
            let script = configured(json!({"projects": projects}));
            let (transport, running) = script.connect().unwrap();
            let codex = start!(CodexConfig::new(), transport).unwrap();
            wait!(codex.thread_start().cwd(&path).sandbox(sandbox).config("a", 1).send()).unwrap();
            wait!(codex.close()).unwrap();
            let received = running.finish().unwrap().messages();
            assert_eq!(sent(&received, "config/read")["params"], json!({"cwd": path, "includeLayers": true}));
            let params = &sent(&received, "thread/start")["params"];
            assert_eq!(params["config"], json!({"a": 1, "projects": level(&path, "untrusted")}));
            assert_eq!(params["cwd"], json!(path));
        }
    }

    fn read_only_threads_and_threads_without_a_folder_need_no_decision(start, wait) {
        let (transport, running) = opens_any_thread().connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        wait!(codex.thread_start().cwd("/repo").sandbox(Sandbox::ReadOnly).send()).unwrap();
        wait!(codex.thread_start().sandbox(Sandbox::WorkspaceWrite).send()).unwrap();
        wait!(codex.thread_resume("t").cwd("/repo").sandbox(Sandbox::FullAccess).send()).unwrap();
        wait!(codex.thread_fork("t").cwd("/repo").sandbox(Sandbox::FullAccess).send()).unwrap();
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        assert_eq!(count(&received, "config/read"), 0);
        for message in received.iter().filter(|message| message["method"] != "initialize") {
            assert_eq!(message["params"]["config"], Value::Null, "{message}");
        }
    }

    fn without_a_sandbox_the_settings_decide(start, wait) {
        let (_dir, path) = folder();
        for (config, own, writes) in [
            (json!({}), None, false),
            (json!({"sandbox_mode": null, "default_permissions": null}), None, false),
            (json!({"sandbox_mode": "workspace-write"}), None, true),
            (json!({"default_permissions": ":workspace"}), None, true),
            (json!({}), Some("sandbox_mode"), true),
            (json!({}), Some("default_permissions"), true),
        ] {
            let (transport, running) = configured(config).connect().unwrap();
            let codex = start!(CodexConfig::new(), transport).unwrap();
            let mut options = codex.thread_start().cwd(&path);
            if let Some(own) = own {
                options = options.config(own, "x");
            }
            wait!(options.send()).unwrap();
            wait!(codex.close()).unwrap();
            let received = running.finish().unwrap().messages();
            let params = &sent(&received, "thread/start")["params"];
            let expected = if writes { level(&path, "untrusted") } else { Value::Null };
            assert_eq!((&params["config"]["projects"], params.get("sandbox")), (&expected, None));
            assert_eq!(params.get("config").is_some(), writes || own.is_some());
        }
    }

    fn the_users_decision_applies(start, wait) {
        let (_dir, path) = folder();
        let sub = path.join("repository/sub");
        std::fs::create_dir_all(path.join("repository/.git")).unwrap();
        std::fs::write(path.join("repository/.git/HEAD"), "").unwrap();
        std::fs::create_dir_all(&sub).unwrap();
        std::os::unix::fs::symlink(&sub, path.join("link")).unwrap();
        let link = path.join("link");
        let root = path.join("repository");
        // The client repeats a decision about the repository for the folder, so that it applies whatever the runtime
        // considers a repository.
        for (cwd, decided, inherits) in
            [(&sub, &sub, false), (&sub, &root, true), (&link, &link, false), (&link, &sub, false)]
        {
            for decision in ["trusted", "untrusted"] {
                let script = configured(json!({"projects": level(decided, decision)}));
                let (transport, running) = script.connect().unwrap();
                let codex = start!(CodexConfig::new(), transport).unwrap();
                wait!(codex.thread_start().cwd(cwd).sandbox(Sandbox::WorkspaceWrite).send()).unwrap();
                wait!(codex.close()).unwrap();
                let received = running.finish().unwrap().messages();
                let expected = inherits.then(|| json!({"projects": level(cwd, decision)}));
                let params = &sent(&received, "thread/start")["params"];
                assert_eq!(params.get("config"), expected.as_ref(), "{cwd:?} {decided:?}");
            }
        }
    }

    fn the_runtimes_exclusion_of_a_repositorys_configuration_applies(start, wait) {
        let (_dir, path) = folder();
        let sub = path.join("sub");
        std::fs::create_dir_all(path.join(".git")).unwrap();
        std::fs::write(path.join(".git/HEAD"), "").unwrap();
        std::fs::create_dir(&sub).unwrap();
        for (decided, reason, expected) in [
            (&path, json!("not trusted"), level(&sub, "untrusted")),
            (&path, Value::Null, level(&sub, "trusted")),
            // A decision about the folder itself applies, whatever the runtime excludes above it.
            (&sub, json!("not trusted"), Value::Null),
        ] {
            let layer = json!({
                "name": {"type": "project", "dotCodexFolder": path.join(".codex")}, "config": {}, "version": "1",
                "disabledReason": reason,
            });
            let config = json!({"projects": level(decided, "trusted")});
            let response = json!({"config": config, "origins": {}, "layers": [layer]});
            let (transport, running) = opens_any_thread().always("config/read", response).connect().unwrap();
            let codex = start!(CodexConfig::new(), transport).unwrap();
            wait!(codex.thread_start().cwd(&sub).sandbox(Sandbox::WorkspaceWrite).send()).unwrap();
            wait!(codex.close()).unwrap();
            let received = running.finish().unwrap().messages();
            assert_eq!(sent(&received, "thread/start")["params"]["config"]["projects"], expected);
        }
    }

    fn the_runtimes_exclusion_of_a_worktree_overrides_the_programs_trust_in_its_main_checkout(start, wait) {
        let (_dir, path) = folder();
        let (main, tree) = (path.join("main"), path.join("tree"));
        let admin = main.join(".git/worktrees/tree");
        std::fs::create_dir_all(&admin).unwrap();
        std::fs::create_dir(&tree).unwrap();
        std::fs::write(tree.join(".git"), format!("gitdir: {}\n", admin.display())).unwrap();
        std::fs::write(admin.join("commondir"), "../..\n").unwrap();
        std::fs::write(admin.join("gitdir"), format!("{}\n", tree.join(".git").display())).unwrap();
        for (level_of_main, reason, handed_down) in [
            ("trusted", json!("not trusted"), "untrusted"),
            ("trusted", Value::Null, "trusted"),
            ("untrusted", Value::Null, "untrusted"),
        ] {
            let layer = json!({
                "name": {"type": "project", "dotCodexFolder": tree.join(".codex")}, "config": {}, "version": "1",
                "disabledReason": reason,
            });
            let response = json!({"config": {}, "origins": {}, "layers": [layer]});
            let (transport, running) = opens_any_thread().always("config/read", response).connect().unwrap();
            let codex = start!(CodexConfig::new(), transport).unwrap();
            let options = codex.thread_start().cwd(&tree).config("projects", level(&main, level_of_main));
            wait!(options.sandbox(Sandbox::WorkspaceWrite).send()).unwrap();
            wait!(codex.close()).unwrap();
            let received = running.finish().unwrap().messages();
            let mut expected = level(&main, level_of_main);
            expected[tree.to_str().unwrap()] = json!({"trust_level": handed_down});
            assert_eq!(sent(&received, "thread/start")["params"]["config"], json!({"projects": expected}));
            // The client passes distrust on without a request.
            assert_eq!(count(&received, "config/read"), usize::from(level_of_main == "trusted"));
        }
    }

    fn a_server_without_config_read_gets_the_cautious_request(start, wait) {
        let (_dir, path) = folder();
        for code in [-32601, -32603, -32600] {
            let script = opens_any_thread().always_respond("config/read", Response::error(code, "no"));
            let (transport, running) = script.connect().unwrap();
            let codex = start!(CodexConfig::new(), transport).unwrap();
            wait!(codex.thread_start().cwd(&path).sandbox(Sandbox::FullAccess).send()).unwrap();
            wait!(codex.thread_start().cwd(&path).send()).unwrap();
            wait!(codex.close()).unwrap();
            let received = running.finish().unwrap().messages();
            let starts = crate::support::params(&received, "thread/start");
            assert_eq!(starts[0]["config"]["projects"], level(&path, "untrusted"));
            assert_eq!((starts[1].get("config"), &starts[1]["sandbox"]), (None, &json!("read-only")));
        }
    }

    fn an_overloaded_config_read_starts_nothing(start, wait) {
        let busy = Response::error(-32001, "Server overloaded; retry later.");
        let (transport, running) = opens_any_thread().always_respond("config/read", busy).connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let options = codex.thread_start().cwd("/repo").sandbox(Sandbox::FullAccess);
        let error = wait!(options.send()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ServerBusy);
        wait!(codex.close()).unwrap();
        assert_eq!(count(&running.finish().unwrap().messages(), "thread/start"), 0);
    }

    fn the_programs_project_settings_apply(start, wait) {
        let (_dir, path) = folder();
        let text = path.to_str().unwrap();
        let untrusted = json!({"trust_level": "untrusted"});
        for (key, value, expected, reads) in [
            // The server's decision about the folder.
            ("projects".to_owned(), level(&path, "trusted"), level(&path, "trusted"), 0),
            ("projects./other".to_owned(), untrusted.clone(), json!({"/other": untrusted, text: untrusted}), 1),
            // A decision about another folder.
            ("projects".to_owned(), json!({"/other": untrusted}), json!({"/other": untrusted, text: untrusted}), 1),
            (
                "projects".to_owned(),
                json!({text: {"more": 1}}),
                json!({text: {"more": 1, "trust_level": "untrusted"}}),
                1,
            ),
            // Invalid, so that the server reports it.
            ("projects".to_owned(), json!(5), json!(5), 1),
            ("projects".to_owned(), json!({text: 5}), json!({text: 5}), 1),
        ] {
            let (transport, running) = opens_any_thread().connect().unwrap();
            let codex = start!(CodexConfig::new(), transport).unwrap();
            let options = codex.thread_start().cwd(&path).sandbox(Sandbox::WorkspaceWrite).config(key, value);
            wait!(options.send()).unwrap();
            wait!(codex.close()).unwrap();
            let received = running.finish().unwrap().messages();
            assert_eq!(sent(&received, "thread/start")["params"]["config"], json!({"projects": expected}));
            assert_eq!(count(&received, "config/read"), reads);
        }
    }

    fn dotted_keys_and_a_table_become_one_table(start, wait) {
        let (transport, running) = opens_any_thread().connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let options = codex
            .thread_start()
            .cwd("/repo")
            .sandbox(Sandbox::WorkspaceWrite)
            .config("projects", json!({"/other": {"trust_level": "trusted"}}))
            .config("projects./repo.trust_level", "untrusted");
        wait!(options.send()).unwrap();
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        let projects = json!({"/other": {"trust_level": "trusted"}, "/repo": {"trust_level": "untrusted"}});
        assert_eq!(sent(&received, "thread/start")["params"]["config"], json!({"projects": projects}));
        assert_eq!(count(&received, "config/read"), 0);
    }

    fn trust_folder_is_sent_without_config_read(start, wait) {
        let (_dir, path) = folder();
        let (root, sub) = (path.join("repository"), path.join("repository/sub"));
        std::fs::create_dir_all(root.join(".git")).unwrap();
        std::fs::write(root.join(".git/HEAD"), "").unwrap();
        std::fs::create_dir_all(&sub).unwrap();
        let mut stored = messages::thread("t");
        stored["status"] = json!({"type": "notLoaded"});
        let script = opens_any_thread().always("thread/read", json!({"thread": stored}));
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        wait!(codex.thread_start().cwd(&sub).sandbox(Sandbox::ReadOnly).trust_folder().send()).unwrap();
        wait!(codex.thread_resume("t").cwd(&sub).trust_folder().send()).unwrap();
        // The thread's own folder.
        wait!(codex.thread_resume("t").trust_folder().send()).unwrap();
        wait!(codex.thread_fork("t").trust_folder().config("projects./scripted.trust_level", "untrusted").send())
            .unwrap();
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        assert_eq!((count(&received, "config/read"), count(&received, "thread/read")), (0, 4));
        let mut both = level(&sub, "trusted");
        both[root.to_str().unwrap()] = json!({"trust_level": "trusted"});
        let scripted = level(Path::new("/scripted"), "trusted");
        let resumes = crate::support::params(&received, "thread/resume");
        assert_eq!(sent(&received, "thread/start")["params"]["config"], json!({"projects": both}));
        assert_eq!(resumes[0]["config"], json!({"projects": both}));
        assert_eq!(resumes[1], &json!({"threadId": "t", "config": {"projects": scripted}}));
        // The program's explicit settings win.
        let fork = json!({"projects": level(Path::new("/scripted"), "untrusted")});
        assert_eq!(sent(&received, "thread/fork")["params"]["config"], fork);
    }

    fn trust_folder_without_a_folder_is_refused(start, wait) {
        let (transport, running) = opens_any_thread().connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let error = wait!(codex.thread_start().trust_folder().send()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("cwd"), "{error}");
        wait!(codex.close()).unwrap();
        assert_eq!(count(&running.finish().unwrap().messages(), "thread/start"), 0);
    }
}

//! Folders that bring code of their own: nothing of it runs, and nothing is recorded, without a decision.
//!
//! The folders here bring an MCP server whose start leaves a mark. A turn of a thread waits for the MCP servers, so
//! after a turn the mark is there or never will be.

use std::path::{Path, PathBuf};
use std::process::Command;

use openai_codex::types::{TextUserInput, ThreadForkParams, ThreadStartParams, TurnStartParams, UserInput};
use openai_codex::{ApprovalMode, ErrorKind, Event, Notification, Sandbox, methods};
use openai_codex_testkit::ModelToolCall;
use serde_json::json;
use tempfile::TempDir;

use crate::support::{Model, with_both_clients};

/// A place for hostile folders.
struct Place {
    _dir: TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap();
        Self { _dir: dir, path }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A folder with an MCP server, without version control.
    fn plain(&self, name: &str) -> PathBuf {
        let folder = self.at(name);
        std::fs::create_dir_all(folder.join(".codex")).unwrap();
        let server = format!("[mcp_servers.planted]\ncommand = \"touch\"\nargs = [{:?}]\n", self.mark());
        std::fs::write(folder.join(".codex/config.toml"), server).unwrap();
        folder
    }

    /// A repository with an MCP server.
    fn repository(&self, name: &str) -> PathBuf {
        let folder = self.plain(name);
        git(&folder, &["init", "-q"]);
        folder
    }

    fn mark(&self) -> PathBuf {
        self.at("mark")
    }

    /// Whether an MCP server has started since the last check.
    fn marked(&self) -> bool {
        std::fs::remove_file(self.mark()).is_ok()
    }
}

fn git(folder: &Path, args: &[&str]) {
    let identity = ["-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false"];
    assert!(Command::new("git").current_dir(folder).args(identity).args(args).status().unwrap().success());
}

fn worktree(repository: &Path, path: &Path) {
    git(repository, &["add", "-A"]);
    git(repository, &["commit", "-qm", "all"]);
    git(repository, &["worktree", "add", "-q", path.to_str().unwrap()]);
}

fn decide(model: &Model, folder: &Path, level: &str) {
    model.add_config(&format!("[projects.{folder:?}]\ntrust_level = {level:?}\n")).unwrap();
}

/// Queues replies for this many turns.
fn reply_times(model: &Model, turns: usize) {
    (0..turns).for_each(|_| model.reply("ok"));
}

/// The user's configuration, in which the runtime records trust.
fn recorded(model: &Model) -> String {
    std::fs::read_to_string(model.home().join("config.toml")).unwrap()
}

with_both_clients! {
    // The behavior that the other tests protect against. If this fails, the runtime has changed, and the page
    // `guide::trust` needs an update.
    fn the_runtime_alone_records_an_undecided_folder_and_runs_its_servers(start, wait) {
        let (model, place) = (Model::start(), Place::new());
        let codex = start!(model.config()).unwrap();
        let mut events = codex.events();
        for folder in [place.repository("repository"), place.plain("plain")] {
            let before = recorded(&model);
            let params = ThreadStartParams::new().cwd(folder.to_str().unwrap()).sandbox(Sandbox::WorkspaceWrite);
            let started = wait!(codex.request::<methods::ThreadStart>(params)).unwrap();
            reply_times(&model, 1);
            let params = TurnStartParams::new(started.thread.id, [UserInput::from(TextUserInput::new("go"))]);
            wait!(codex.request::<methods::TurnStart>(params)).unwrap();
            let mut done = false;
            while !done {
                let event = wait!(events.next()).unwrap().unwrap();
                done = matches!(event, Event::Notification(Notification::TurnCompleted(_)));
            }
            assert!(place.marked(), "{folder:?}");
            // As a repository: for an old runtime, a folder above with an empty `.git` may be one too.
            let after = recorded(&model);
            let sections = folder.ancestors().map(|at| format!("[projects.{at:?}]"));
            let new = sections.filter(|section| after.contains(section) && !before.contains(section));
            assert_eq!(new.count(), 1, "{folder:?}: {after}");
        }
        wait!(codex.close()).unwrap();
    }

    fn an_undecided_folder_stays_undecided_whatever_the_sandbox(start, wait) {
        let (model, place) = (Model::start(), Place::new());
        let codex = start!(model.config()).unwrap();
        let before = recorded(&model);
        for folder in [place.repository("repository"), place.plain("plain")] {
            for sandbox in
                [Some(Sandbox::WorkspaceWrite), Some(Sandbox::FullAccess), Some(Sandbox::ReadOnly), None]
            {
                let mut options = codex.thread_start().cwd(&folder);
                if let Some(sandbox) = sandbox {
                    options = options.sandbox(sandbox);
                }
                reply_times(&model, 1);
                wait!(wait!(options.send()).unwrap().run("go")).unwrap();
                assert!(!place.marked(), "{folder:?} {sandbox:?}");
                assert_eq!(recorded(&model), before, "{folder:?} {sandbox:?}");
            }
        }
        // A client with this folder as its own.
        wait!(codex.close()).unwrap();
        let codex = start!(model.config().cwd(place.at("repository"))).unwrap();
        for sandbox in [Sandbox::WorkspaceWrite, Sandbox::FullAccess] {
            let thread = wait!(codex.thread_start().sandbox(sandbox).send()).unwrap();
            reply_times(&model, 1);
            wait!(thread.run("go")).unwrap();
        }
        assert!(!place.marked());
        assert_eq!(recorded(&model), before);
        wait!(codex.close()).unwrap();
    }

    fn an_undecided_folder_is_known_by_all_its_names(start, wait) {
        let (model, place) = (Model::start(), Place::new());
        let repository = place.repository("repository");
        let sub = place.plain("repository/sub/below");
        std::os::unix::fs::symlink(&repository, place.at("link")).unwrap();
        std::os::unix::fs::symlink(&sub, place.at("link-to-sub")).unwrap();
        worktree(&repository, &place.at("worktree"));
        // Near a trusted folder, but not trusted.
        let outer = place.repository("outer");
        let inner = place.repository("outer/inner");
        let forged = place.plain("forged");
        std::fs::create_dir_all(outer.join(".git/worktrees/forged")).unwrap();
        let pointer = format!("gitdir: {}\n", outer.join(".git/worktrees/forged").display());
        std::fs::write(forged.join(".git"), pointer).unwrap();
        let hollow = place.at("hollow");
        std::fs::create_dir_all(hollow.join(".git")).unwrap();
        let in_hollow = place.plain("hollow/sub");
        for trusted in [&outer, &hollow, &repository.join("sub"), &place.at("repository/"), &place.path] {
            decide(&model, trusted, "trusted");
        }
        let codex = start!(model.config()).unwrap();
        let before = recorded(&model);
        for folder in [
            sub,
            place.at("link"),
            place.at("link/sub/below"),
            place.at("link-to-sub"),
            place.at("worktree"),
            place.at("worktree/sub/below"),
            place.at("repository/sub/../"),
            place.at("link/../repository"),
            inner,
            forged,
            in_hollow,
        ] {
            let options = codex.thread_start().cwd(&folder).sandbox(Sandbox::WorkspaceWrite);
            reply_times(&model, 1);
            wait!(wait!(options.send()).unwrap().run("go")).unwrap();
            assert!(!place.marked(), "{folder:?}");
            assert_eq!(recorded(&model), before, "{folder:?}");
        }
        wait!(codex.close()).unwrap();
    }

    fn a_folder_that_the_user_trusts_is_used_as_configured(start, wait) {
        let (model, place) = (Model::start(), Place::new());
        let (repository, plain) = (place.repository("repository"), place.plain("plain"));
        std::fs::create_dir(repository.join("sub")).unwrap();
        std::os::unix::fs::symlink(&repository, place.at("link")).unwrap();
        worktree(&repository, &place.at("worktree"));
        // Not a repository, but a project root for the runtime. It would record the folder in it.
        let half = place.at("half");
        let in_half = place.plain("half/sub");
        std::fs::write(half.join(".git"), "nonsense").unwrap();
        // A trusted folder inside an untrusted one.
        place.repository("undecided");
        let inside = place.plain("undecided/inside");
        for trusted in [&repository, &plain, &half, &inside] {
            decide(&model, trusted, "trusted");
        }
        let codex = start!(model.config()).unwrap();
        let before = recorded(&model);
        for folder in [
            place.at("link"),
            place.at("link/sub"),
            place.at("worktree"),
            repository.join("sub"),
            repository,
            plain,
            in_half,
            inside,
        ] {
            for sandbox in [Some(Sandbox::WorkspaceWrite), Some(Sandbox::ReadOnly), None] {
                let mut options = codex.thread_start().cwd(&folder);
                if let Some(sandbox) = sandbox {
                    options = options.sandbox(sandbox);
                }
                reply_times(&model, 1);
                wait!(wait!(options.send()).unwrap().run("go")).unwrap();
                assert!(place.marked(), "{folder:?} {sandbox:?}");
                assert_eq!(recorded(&model), before, "{folder:?} {sandbox:?}");
            }
        }
        wait!(codex.close()).unwrap();
    }

    fn a_worktree_of_a_bare_repository_that_the_user_trusts_is_used_as_configured(start, wait) {
        let (model, place) = (Model::start(), Place::new());
        let seed = place.repository("seed");
        worktree(&seed, &place.at("unused"));
        let container = place.at("container");
        std::fs::create_dir(&container).unwrap();
        git(&container, &["clone", "-q", "--bare", seed.to_str().unwrap(), ".bare"]);
        std::fs::write(container.join(".git"), "gitdir: ./.bare\n").unwrap();
        git(&container, &["worktree", "add", "-q", "tree"]);
        decide(&model, &container, "trusted");
        let codex = start!(model.config()).unwrap();
        let before = recorded(&model);
        let options = codex.thread_start().cwd(container.join("tree")).sandbox(Sandbox::WorkspaceWrite);
        reply_times(&model, 1);
        wait!(wait!(options.send()).unwrap().run("go")).unwrap();
        assert!(place.marked());
        assert_eq!(recorded(&model), before);
        wait!(codex.close()).unwrap();
    }

    fn a_folder_that_the_user_does_not_trust_stays_so(start, wait) {
        let (model, place) = (Model::start(), Place::new());
        let repository = place.repository("repository");
        let sub = place.plain("repository/sub");
        decide(&model, &repository, "untrusted");
        let codex = start!(model.config()).unwrap();
        let before = recorded(&model);
        for folder in [&repository, &sub] {
            let options = codex.thread_start().cwd(folder).sandbox(Sandbox::FullAccess);
            reply_times(&model, 1);
            wait!(wait!(options.send()).unwrap().run("go")).unwrap();
            assert!(!place.marked(), "{folder:?}");
        }
        assert_eq!(recorded(&model), before);
        wait!(codex.close()).unwrap();
    }

    fn a_sandbox_from_the_configuration_applies(start, wait) {
        let place = Place::new();
        let folder = place.repository("repository");
        for (users, own) in [
            (Some("sandbox_mode = \"workspace-write\"\n"), None),
            (Some("default_permissions = \":workspace\"\n"), None),
            (None, Some(("sandbox_mode", "danger-full-access"))),
            (None, Some(("default_permissions", ":workspace"))),
        ] {
            let model = Model::start();
            model.add_config(users.unwrap_or_default()).unwrap();
            let codex = start!(model.config()).unwrap();
            let before = recorded(&model);
            let mut options = codex.thread_start().cwd(&folder);
            if let Some((key, value)) = own {
                options = options.config(key, value);
            }
            reply_times(&model, 1);
            wait!(wait!(options.send()).unwrap().run("go")).unwrap();
            assert!(!place.marked(), "{users:?} {own:?}");
            assert_eq!(recorded(&model), before, "{users:?} {own:?}");
            wait!(codex.close()).unwrap();
        }
    }

    fn without_any_sandbox_an_undecided_folder_is_only_read(start, wait) {
        let (model, place) = (Model::start(), Place::new());
        let folder = place.repository("repository");
        model.reply(ModelToolCall::exec_command("echo x > written"));
        model.reply("done");
        let codex = start!(model.config()).unwrap();
        let options = codex.thread_start().approval_mode(ApprovalMode::DenyAll).cwd(&folder);
        wait!(wait!(options.send()).unwrap().run("go")).unwrap();
        assert!(!folder.join("written").exists());
        wait!(codex.close()).unwrap();
    }

    fn resuming_forking_and_turns_record_nothing_and_run_nothing(start, wait) {
        let (model, place) = (Model::start(), Place::new());
        let (first, second) = (place.repository("first"), place.repository("second"));
        let codex = start!(model.config()).unwrap();
        let before = recorded(&model);
        reply_times(&model, 11);
        let thread = wait!(codex.thread_start().cwd(&first).sandbox(Sandbox::ReadOnly).send()).unwrap();
        wait!(thread.run("go")).unwrap();
        for sandbox in [Sandbox::WorkspaceWrite, Sandbox::FullAccess] {
            let turn = thread.turn("go").cwd(&second).sandbox(sandbox);
            wait!(turn.run()).unwrap();
            let turn = thread.turn("go").cwd(&first).sandbox_policy(sandbox);
            wait!(turn.run()).unwrap();
        }
        wait!(codex.close()).unwrap();
        for sandbox in [Sandbox::WorkspaceWrite, Sandbox::FullAccess] {
            // The runtime ignores options for a loaded thread.
            let codex = start!(model.config()).unwrap();
            let fork = wait!(codex.thread_fork(thread.id()).cwd(&second).sandbox(sandbox).send()).unwrap();
            wait!(fork.run("go")).unwrap();
            let fork = wait!(codex.thread_fork(thread.id()).sandbox(sandbox).send()).unwrap();
            wait!(fork.run("go")).unwrap();
            let resume = codex.thread_resume(thread.id()).cwd(&second).sandbox(sandbox);
            let resumed = wait!(resume.send()).unwrap();
            wait!(resumed.run("go")).unwrap();
            wait!(codex.close()).unwrap();
        }
        assert!(!place.marked());
        assert_eq!(recorded(&model), before);
    }

    fn a_folder_that_the_program_trusts_is_used_and_not_recorded(start, wait) {
        let (model, place) = (Model::start(), Place::new());
        let repository = place.repository("repository");
        let sub = repository.join("sub");
        std::fs::create_dir(&sub).unwrap();
        let codex = start!(model.config()).unwrap();
        let before = recorded(&model);
        let mut id = String::new();
        reply_times(&model, 8);
        for folder in [&repository, &sub, &place.plain("plain")] {
            for sandbox in [Sandbox::ReadOnly, Sandbox::WorkspaceWrite] {
                let options = codex.thread_start().cwd(folder).sandbox(sandbox).trust_folder();
                let thread = wait!(options.send()).unwrap();
                wait!(thread.run("go")).unwrap();
                assert!(place.marked(), "{folder:?} {sandbox:?}");
                id = thread.id().to_owned();
            }
        }
        wait!(codex.close()).unwrap();
        let codex = start!(model.config()).unwrap();
        let fork = wait!(codex.thread_fork(&id).trust_folder().send()).unwrap();
        wait!(fork.run("go")).unwrap();
        assert!(place.marked());
        let resumed = wait!(codex.thread_resume(&id).trust_folder().send()).unwrap();
        wait!(resumed.run("go")).unwrap();
        assert!(place.marked());
        assert_eq!(recorded(&model), before);
        wait!(codex.close()).unwrap();
    }

    fn the_programs_project_settings_apply(start, wait) {
        let (model, place) = (Model::start(), Place::new());
        let folder = place.repository("repository");
        let text = folder.to_str().unwrap();
        let codex = start!(model.config()).unwrap();
        let before = recorded(&model);
        for (key, value, runs) in [
            ("projects".to_owned(), json!({text: {"trust_level": "trusted"}}), true),
            ("projects".to_owned(), json!({text: {"trust_level": "untrusted"}}), false),
            ("projects".to_owned(), json!({"/other": {"trust_level": "trusted"}}), false),
            ("projects./other.trust_level".to_owned(), json!("trusted"), false),
        ] {
            let options = codex.thread_start().cwd(&folder).config(&key, value);
            let options = options.sandbox(Sandbox::WorkspaceWrite);
            reply_times(&model, 1);
            wait!(wait!(options.send()).unwrap().run("go")).unwrap();
            assert_eq!(place.marked(), runs, "{key}");
        }
        assert_eq!(recorded(&model), before);
        wait!(codex.close()).unwrap();
    }

    // When the client asks about the worktree, the runtime does not know the program's decision yet.
    fn a_programs_trust_in_a_main_checkout_does_not_extend_to_a_worktrees_configuration(start, wait) {
        let (model, place) = (Model::start(), Place::new());
        let (main, tree) = (place.repository("main"), place.at("tree"));
        worktree(&main, &tree);
        let codex = start!(model.config()).unwrap();
        let options = || codex.thread_start().cwd(&tree).sandbox(Sandbox::WorkspaceWrite);
        reply_times(&model, 2);
        let projects = json!({main.to_str().unwrap(): {"trust_level": "trusted"}});
        wait!(wait!(options().config("projects", projects).send()).unwrap().run("go")).unwrap();
        assert!(!place.marked());
        wait!(wait!(options().trust_folder().send()).unwrap().run("go")).unwrap();
        assert!(place.marked());
        wait!(codex.close()).unwrap();
    }

    // A folder's rules let commands out of any sandbox. Its hooks are commands.
    fn rules_and_hooks_of_an_undecided_folder_have_no_effect(start, wait) {
        let (model, place) = (Model::start(), Place::new());
        let folder = place.at("repository");
        std::fs::create_dir_all(folder.join(".codex/rules")).unwrap();
        git(&folder, &["init", "-q"]);
        let rule = "prefix_rule(pattern = [\"touch\"], decision = \"allow\")\n";
        std::fs::write(folder.join(".codex/rules/own.rules"), rule).unwrap();
        let hook = json!({"hooks": [{"type": "command", "command": format!("touch {}", place.mark().display())}]});
        let hooks = json!({"hooks": {"SessionStart": [hook], "UserPromptSubmit": [hook]}});
        std::fs::write(folder.join(".codex/hooks.json"), hooks.to_string()).unwrap();
        // Not in the folder for temporary files, which a writing sandbox includes.
        let outside = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let escaped = outside.path().join("escaped");
        let codex = start!(model.config()).unwrap();
        for (sandbox, trusted) in [
            (Sandbox::WorkspaceWrite, false),
            (Sandbox::ReadOnly, false),
            (Sandbox::ReadOnly, true),
        ] {
            model.reply(ModelToolCall::exec_command(format!("touch {}", escaped.display())));
            model.reply("done");
            let mut options =
                codex.thread_start().approval_mode(ApprovalMode::DenyAll).cwd(&folder).sandbox(sandbox);
            for folder in ["exclude_slash_tmp", "exclude_tmpdir_env_var"] {
                options = options.config(format!("sandbox_workspace_write.{folder}"), true);
            }
            if trusted {
                options = options.trust_folder();
            }
            reply_times(&model, 1);
            wait!(wait!(options.send()).unwrap().run("go")).unwrap();
            assert_eq!(escaped.exists(), trusted, "{sandbox:?}");
            // The runtime also requires a review of each hook.
            assert!(!place.marked());
        }
        wait!(codex.close()).unwrap();
    }

    fn instructions_of_a_folder_reach_the_model_unless_it_is_untrusted(start, wait) {
        let (model, place) = (Model::start(), Place::new());
        let folder = place.repository("repository");
        std::fs::write(folder.join("AGENTS.md"), "mind the gap").unwrap();
        let codex = start!(model.config()).unwrap();
        for (sandbox, trusted, reach) in [
            (Sandbox::ReadOnly, false, true),
            (Sandbox::WorkspaceWrite, false, false),
            (Sandbox::WorkspaceWrite, true, true),
        ] {
            let mut options = codex.thread_start().cwd(&folder).sandbox(sandbox);
            if trusted {
                options = options.trust_folder();
            }
            reply_times(&model, 1);
            wait!(wait!(options.send()).unwrap().run("go")).unwrap();
            let request = model.last_request().unwrap();
            let reached = request.user_texts().iter().any(|text| text.contains("mind the gap"));
            assert_eq!(reached, reach, "{sandbox:?} {trusted}");
        }
        wait!(codex.close()).unwrap();
    }

    // A surprise of runtime 0.163.0, which the documentation mentions. With 0.169.0 no fork may write more than its
    // thread.
    fn a_fork_has_the_default_sandbox_of_its_folder(start, wait) {
        let (model, place) = (Model::start(), Place::new());
        let (decided, undecided) = (place.repository("decided"), place.repository("undecided"));
        decide(&model, &decided, "untrusted");
        reply_times(&model, 2);
        let codex = start!(model.config()).unwrap();
        let mut sandboxes = Vec::new();
        for (folder, sandbox) in [(&decided, Sandbox::ReadOnly), (&undecided, Sandbox::WorkspaceWrite)] {
            let thread = wait!(codex.thread_start().cwd(folder).sandbox(sandbox).send()).unwrap();
            wait!(thread.run("go")).unwrap();
            let fork = wait!(codex.request::<methods::ThreadFork>(ThreadForkParams::new(thread.id()))).unwrap();
            sandboxes.push(serde_json::to_value(fork.sandbox).unwrap()["type"].clone());
        }
        assert_eq!(sandboxes, ["workspaceWrite", "readOnly"]);
        wait!(codex.close()).unwrap();
    }

    fn a_configuration_that_cannot_be_read_is_the_error_of_the_start(start, wait) {
        let (model, place) = (Model::start(), Place::new());
        let codex = start!(model.config()).unwrap();
        std::fs::write(model.home().join("config.toml"), "[broken").unwrap();
        for sandbox in [Sandbox::ReadOnly, Sandbox::WorkspaceWrite] {
            let options = codex.thread_start().cwd(place.at("")).sandbox(sandbox);
            let error = wait!(options.send()).unwrap_err();
            assert_eq!((error.kind(), error.method()), (ErrorKind::InvalidRequest, Some("thread/start")));
            assert!(error.to_string().contains("config.toml"), "{error}");
        }
        wait!(codex.close()).unwrap();
    }
}

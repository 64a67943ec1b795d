//! Successful installs with fake package managers.

use std::fs;
use std::sync::{Arc, Mutex};

use super::fixture::{Home, mode, mode_of, npm_brings, pip_brings};
use crate::{Environment, PackageManager, Progress, Source, locate};

#[test]
fn an_install_is_private_and_found_by_locate() {
    let home = Home::new();
    home.package_manager("npm", &npm_brings());
    let steps = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&steps);
    let runtime =
        home.options().progress(move |step| seen.lock().unwrap().push(step.clone())).install().unwrap();

    assert_eq!((runtime.program(), runtime.source()), (&*home.place().join("bin/codex"), Source::Managed));
    assert_eq!(runtime, locate(None, &home.environment()).unwrap());
    assert_eq!(home.leftovers(), Vec::<std::path::PathBuf>::new());
    assert_eq!((mode_of(&home.cache().join("openai-codex")), mode_of(&home.runtimes())), (0o700, 0o700));
    assert_eq!(
        *steps.lock().unwrap(),
        [
            Progress::Started { package_manager: PackageManager::Npm },
            Progress::Verifying,
            Progress::Installed { dir: home.place() }
        ]
    );
}

#[test]
fn a_filled_cache_needs_no_package_manager() {
    let home = Home::new();
    home.package_manager("npm", &npm_brings());
    let first = home.options().install().unwrap();
    let cache = Environment::empty().set("CODEX_RUNTIME_CACHE", home.cache());
    let second =
        home.options().environment(cache.clone()).progress(|step| panic!("{step}")).install().unwrap();
    assert_eq!(first, second);
    assert_eq!(locate(None, &cache).unwrap(), first);
    assert_eq!(home.runs("npm"), 1);
}

#[test]
fn npm_runs_no_scripts_and_gets_the_install_folder() {
    let home = Home::new();
    home.package_manager(
        "npm",
        &format!("echo \"$@\" > '{}'\n{}", home.path("arguments").display(), npm_brings()),
    );
    home.options().install().unwrap();
    let arguments = fs::read_to_string(home.path("arguments")).unwrap();
    assert!(arguments.starts_with("ci --prefix ") && arguments.contains("--ignore-scripts"), "{arguments}");
}

#[test]
fn pip_is_used_if_npm_is_missing() {
    let home = Home::new();
    home.package_manager(
        "python3",
        &format!("echo \"$@\" > '{}'\n{}", home.path("arguments").display(), pip_brings()),
    );
    let runtime = home.options().install().unwrap();
    assert_eq!(runtime.program(), home.place().join("bin/codex"));
    let arguments = fs::read_to_string(home.path("arguments")).unwrap();
    for part in ["-m pip install", "--require-hashes", "--only-binary=:all:", "--no-deps"] {
        assert!(arguments.contains(part), "{arguments}");
    }
}

#[test]
fn pip_is_used_if_npm_fails() {
    let home = Home::new();
    home.package_manager("npm", "exit 1");
    home.package_manager("pip", &pip_brings());
    home.options().install().unwrap();
    assert_eq!((home.runs("npm"), home.runs("pip")), (1, 1));
}

#[test]
fn a_python_without_pip_is_skipped() {
    let home = Home::new();
    home.package_manager("python3", "echo '/usr/bin/python3: No module named pip' >&2; exit 1");
    home.package_manager("pip3", &pip_brings());
    home.options().install().unwrap();
    assert_eq!((home.runs("python3"), home.runs("pip3")), (1, 1));
}

#[test]
fn a_package_manager_can_be_selected() {
    let home = Home::new();
    home.package_manager("npm", &npm_brings());
    home.package_manager("python3", &pip_brings());
    home.options().package_manager(PackageManager::Pip).install().unwrap();
    assert_eq!((home.runs("npm"), home.runs("python3")), (0, 1));
}

#[test]
fn a_time_limit_can_be_any_duration() {
    let home = Home::new();
    home.package_manager("npm", &npm_brings());
    home.options().deadline(std::time::Duration::MAX).install().unwrap();
}

#[test]
fn leftovers_are_removed_and_a_damaged_install_is_replaced() {
    let home = Home::new();
    home.package_manager("npm", &npm_brings());
    let program = home.put_managed();
    fs::remove_file(&program).unwrap();
    let left = home.runtimes().join(".staging-of-a-killed-one");
    fs::create_dir_all(left.join("node_modules")).unwrap();

    assert_eq!(home.options().install().unwrap().program(), program);
    assert_eq!((left.exists(), program.is_file()), (false, true));
}

#[test]
fn readable_folders_are_made_private() {
    let home = Home::new();
    home.package_manager("npm", &npm_brings());
    let top = home.cache().join("openai-codex");
    fs::create_dir_all(&top).unwrap();
    mode(&top, 0o755);
    home.options().install().unwrap();
    assert_eq!(mode_of(&top), 0o700);
}

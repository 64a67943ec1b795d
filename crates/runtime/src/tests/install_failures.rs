//! Failed installs: their errors, and their leftovers.

use std::fs;
use std::time::Duration;

use super::fixture::{Home, mode, npm_brings};
use crate::{Environment, Error, PackageManager};

/// Expects a failed install that leaves nothing that is or looks like an install.
fn fails(home: &Home, options: crate::InstallOptions) -> Error {
    let error = options.install().unwrap_err();
    assert_eq!(home.leftovers(), Vec::<std::path::PathBuf>::new(), "{error}");
    assert!(!home.place().exists(), "{error}");
    error
}

#[test]
fn missing_npm_and_pip_are_an_error() {
    let home = Home::new();
    let error = fails(&home, home.options());
    assert!(matches!(error, Error::NoPackageManager { .. }), "{error:?}");
    let error = error.to_string();
    for part in ["cannot find npm or pip", &home.bin().display().to_string(), "Install Node.js", "CODEX_BIN"]
    {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_python_without_pip_counts_as_missing_pip() {
    let home = Home::new();
    home.package_manager("python3", "echo 'No module named pip' >&2; exit 1");
    let error = fails(&home, home.options());
    assert!(matches!(error, Error::NoPackageManager { .. }), "{error:?}");
}

#[test]
fn a_missing_path_is_an_error() {
    let home = Home::new();
    let bare = Environment::empty().set("CODEX_RUNTIME_CACHE", home.cache());
    let error = fails(&home, home.options().environment(bare));
    assert!(error.to_string().contains("PATH names no absolute folder"), "{error}");
}

#[test]
fn a_missing_home_is_an_error() {
    let home = Home::new();
    let error = fails(&home, home.options().environment(Environment::empty().set("PATH", home.bin())));
    assert!(matches!(error, Error::NoCacheDir), "{error:?}");
}

#[test]
fn if_both_package_managers_fail_both_are_quoted() {
    let home = Home::new();
    home.package_manager("npm", "echo 'npm error code E404' >&2; exit 3");
    home.package_manager("python3", "echo 'no matching distribution'; exit 4");
    let error = fails(&home, home.options());
    let Error::ClientsFailed { failures } = &error else { panic!("{error:?}") };
    assert_eq!(
        [failures[0].package_manager, failures[1].package_manager],
        [PackageManager::Npm, PackageManager::Pip]
    );
    let error = error.to_string();
    for part in
        ["npm error code E404", "exit status: 3", "no matching distribution", "exit status: 4", "npm ci"]
    {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn only_the_end_of_a_long_output_is_quoted() {
    let home = Home::new();
    home.package_manager("npm", "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; exit 1");
    let error = fails(&home, home.options());
    let Error::ClientsFailed { failures } = &error else { panic!("{error:?}") };
    assert!(failures[0].output_tail.ends_with("line 2999") && failures[0].output_tail.len() <= 4096);
}

#[test]
fn a_package_manager_that_installs_nothing_is_an_error() {
    let home = Home::new();
    home.package_manager("npm", "exit 0");
    let error = fails(&home, home.options()).to_string();
    assert!(error.contains("without installing `node_modules/@openai/codex-"), "{error}");
}

#[test]
fn a_package_manager_that_cannot_start_is_an_error() {
    let home = Home::new();
    super::fixture::put(&home.bin().join("npm"), "#!/no/such/interpreter\n", 0o755);
    let error = fails(&home, home.options()).to_string();
    assert!(error.contains("could not start"), "{error}");
}

#[test]
fn a_wrong_hash_is_an_error() {
    let home = Home::new();
    home.package_manager("npm", &npm_brings());
    home.package_manager("python3", "exit 1");
    let mut options = home.options();
    options.pin.as_mut().unwrap().programs[0].1 = "0".repeat(64);
    let error = fails(&home, options);
    assert!(
        matches!(&error, Error::HashMismatch { file, package_manager: PackageManager::Npm, .. } if file == "bin/codex")
    );
    assert!(error.to_string().contains(&"0".repeat(64)), "{error}");
    assert_eq!(home.runs("python3"), 0, "a wrong hash must not fall back to pip");
}

#[test]
fn a_missing_program_in_the_package_is_an_error() {
    let home = Home::new();
    home.package_manager("npm", &npm_brings());
    let mut options = home.options();
    options.pin.as_mut().unwrap().programs.push(("bin/other".to_owned(), String::new()));
    let error = fails(&home, options);
    assert!(matches!(&error, Error::Io { path, .. } if path.ends_with("bin/other")), "{error:?}");
}

#[test]
fn a_held_lock_times_out() {
    let home = Home::new();
    fs::create_dir_all(home.runtimes()).unwrap();
    mode(&home.runtimes(), 0o700);
    mode(&home.cache().join("openai-codex"), 0o700);
    let lock = fs::File::create(home.runtimes().join(".lock")).unwrap();
    lock.lock().unwrap();
    let error = fails(&home, home.options().deadline(Duration::ZERO));
    assert!(matches!(error, Error::LockTimeout { .. }), "{error:?}");
}

#[test]
fn a_folder_that_others_may_write_to_is_refused() {
    let home = Home::new();
    home.package_manager("npm", &npm_brings());
    fs::create_dir_all(home.runtimes()).unwrap();
    mode(&home.cache().join("openai-codex"), 0o777);
    let error = fails(&home, home.options());
    assert!(matches!(error, Error::UnsafeCache { .. }), "{error:?}");
    assert!(
        error.to_string().contains("mode 0777") && error.to_string().contains("CODEX_RUNTIME_CACHE"),
        "{error}"
    );
    assert_eq!(home.runs("npm"), 0);
}

#[test]
fn a_folder_of_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can give a folder away");
        return;
    }
    let home = Home::new();
    let top = home.cache().join("openai-codex");
    fs::create_dir_all(&top).unwrap();
    mode(&top, 0o700);
    std::os::unix::fs::chown(&top, Some(12345), None).unwrap();
    let error = fails(&home, home.options());
    assert!(error.to_string().contains("belongs to user 12345"), "{error}");
}

#[test]
fn a_file_in_place_of_the_folder_is_refused() {
    let home = Home::new();
    fs::create_dir_all(home.cache()).unwrap();
    fs::write(home.cache().join("openai-codex"), "").unwrap();
    let error = fails(&home, home.options());
    assert!(matches!(error, Error::UnsafeCache { .. }), "{error:?}");
}

#[test]
fn a_cache_that_cannot_be_created_is_an_error() {
    let home = Home::new();
    fs::write(home.cache(), "").unwrap();
    let error = fails(&home, home.options());
    assert!(matches!(error, Error::Io { .. }) && error.to_string().contains("cache"), "{error:?}");
}

#[test]
fn a_callback_that_panics_leaves_nothing() {
    let home = Home::new();
    home.package_manager("npm", &npm_brings());
    let options = home.options().progress(|_| panic!("the caller's own fault"));
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| options.install()));
    assert!(outcome.is_err());
    assert_eq!((home.leftovers().len(), home.place().exists()), (0, false));
    home.options().install().unwrap();
}

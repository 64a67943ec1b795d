//! Real installs, one through npm and one through pip. Each downloads about 160 MB unless the package manager has it in
//! its cache. They need the network and both package managers, which the suite does not: `cargo xtask test-installs`
//! runs them.
#![cfg(unix)]

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use openai_codex_runtime::{
    Environment, InstallOptions, PackageManager, Progress, Source, VERSION, locate, managed_dir,
};
use tempfile::TempDir;

/// Installs into an empty cache with the programs of `PATH`, expects that only `package manager` does it, and checks the result.
fn installs(path: OsString, package_manager: PackageManager) {
    let cache = TempDir::new().unwrap();
    let without_path = Environment::empty().set("CODEX_RUNTIME_CACHE", cache.path());
    let runtime = InstallOptions::new()
        .environment(without_path.clone().set("PATH", path))
        .progress(move |step| {
            eprintln!("{step}");
            assert!(
                !matches!(step, Progress::Started { package_manager: started } if *started != package_manager)
            );
        })
        .install()
        .unwrap();

    assert!(runtime.program().starts_with(managed_dir(&without_path).unwrap()));
    assert!(runtime.path_dir().unwrap().join("rg").is_file());
    assert_eq!(version(runtime.program()), format!("codex-cli {VERSION}"));
    // No package manager is reachable now, so this uses neither one nor the network.
    let again = InstallOptions::new()
        .environment(without_path.clone())
        .progress(|step| panic!("{step}"))
        .install()
        .unwrap();
    assert_eq!(again, runtime);
    assert_eq!((locate(None, &without_path).unwrap(), runtime.source()), (again, Source::Managed));
}

/// The program's own version output.
fn version(program: &Path) -> String {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
#[ignore = "downloads; `cargo xtask test-installs` runs it"]
fn npm_installs_the_pinned_runtime() {
    installs(std::env::var_os("PATH").unwrap_or_default(), PackageManager::Npm);
}

#[test]
#[ignore = "downloads; `cargo xtask test-installs` runs it"]
fn pip_installs_the_pinned_runtime_if_npm_is_missing() {
    let python = python();
    let bin = TempDir::new().unwrap();
    std::os::unix::fs::symlink(&python, bin.path().join("python3")).unwrap();
    installs(bin.path().into(), PackageManager::Pip);
}

/// The interpreter itself: a version manager's shim would need the rest of `PATH`.
fn python() -> String {
    let script = "import sys; print(sys.executable)";
    let output = Command::new("python3").args(["-c", script]).output().expect("python3, for the test of pip");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

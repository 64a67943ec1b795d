//! The search order of `locate`, and its errors.

use std::ffi::OsStr;
use std::path::Path;

use super::fixture::{Home, link, mode, put};
use crate::{Environment, Error, Source, VERSION, locate, managed_dir};

fn text(result: Result<crate::Runtime, Error>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn the_search_order_is_named_program_variable_managed_install_path() {
    let home = Home::new();
    let (explicit, variable, on_path) =
        (home.path("explicit"), home.path("variable"), home.bin().join("codex"));
    for program in [&explicit, &variable, &on_path] {
        put(program, "", 0o755);
    }
    let managed = home.put_managed();
    let environment = home.environment();
    let with_variable = environment.clone().set("CODEX_BIN", &variable);

    let found = locate(Some(&explicit), &with_variable).unwrap();
    assert_eq!((found.program(), found.source()), (&*explicit, Source::Explicit));
    let found = locate(None, &with_variable).unwrap();
    assert_eq!((found.program(), found.source()), (&*variable, Source::Environment));
    let found = locate(None, &environment).unwrap();
    assert_eq!((found.program(), found.source()), (&*managed, Source::Managed));
    let found = locate(None, &Environment::empty().set("PATH", home.bin())).unwrap();
    assert_eq!((found.program(), found.source()), (&*on_path, Source::Path));
}

#[test]
fn a_missing_named_program_is_an_error_even_if_another_exists() {
    let home = Home::new();
    home.put_managed();
    let nowhere = home.path("nowhere");
    let error = locate(Some(&nowhere), &home.environment()).unwrap_err();
    assert!(
        matches!(&error, Error::Missing { source: Source::Explicit, path } if *path == nowhere),
        "{error:?}"
    );
    assert!(error.to_string().contains(&format!("`codex_bin` names `{}`", nowhere.display())), "{error}");

    let error = locate(None, &home.environment().set("CODEX_BIN", &nowhere)).unwrap_err();
    assert!(
        matches!(&error, Error::Missing { source: Source::Environment, path } if *path == nowhere),
        "{error:?}"
    );
    assert!(error.to_string().contains("CODEX_BIN") && error.to_string().contains("unset it"), "{error}");
}

#[test]
fn a_path_below_a_file_counts_as_missing() {
    let home = Home::new();
    put(&home.path("file"), "", 0o755);
    let error = locate(Some(&home.path("file/codex")), &home.environment()).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error:?}");
}

#[test]
fn a_named_program_that_cannot_run_is_an_error_with_the_reason() {
    let home = Home::new();
    let plain = home.path("plain");
    put(&plain, "", 0o644);
    link("gone", &home.path("dangling"));
    for (path, reason) in [
        (home.bin(), "a folder"),
        (plain, "without execute permission"),
        (home.path("dangling"), "a link to `gone`"),
        ("/dev/null".into(), "not a regular file"),
    ] {
        let error = locate(Some(&path), &home.environment()).unwrap_err();
        assert!(matches!(error, Error::NotAProgram { .. }), "{error:?}");
        let error = error.to_string();
        assert!(error.contains(reason) && error.contains(&path.display().to_string()), "{error}");
    }
}

#[test]
fn a_relative_path_is_made_absolute() {
    let error = locate(Some(Path::new("no-such-codex")), &Environment::empty()).unwrap_err();
    let here = std::env::current_dir().unwrap().join("no-such-codex");
    assert!(matches!(&error, Error::Missing { path, .. } if *path == here), "{error:?}");
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let home = Home::new();
    home.put_managed();
    let found = locate(None, &home.environment().set("CODEX_BIN", "")).unwrap();
    assert_eq!(found.source(), Source::Managed);
}

#[test]
fn unusable_programs_and_relative_folders_on_path_are_skipped() {
    let home = Home::new();
    put(&home.path("plain/codex"), "", 0o644);
    put(&home.path("folder/codex/x"), "", 0o755);
    put(&home.path("good/codex"), "", 0o755);
    let dirs = ["", "relative", "nowhere", "plain", "folder", "good"];
    let path = dirs.map(|dir| if matches!(dir, "" | "relative") { dir.into() } else { home.path(dir) });
    let path = std::env::join_paths(&path).unwrap();
    let found = locate(None, &Environment::empty().set("PATH", &path)).unwrap();
    assert_eq!(found.program(), home.path("good/codex"));
}

#[test]
fn skipped_programs_on_path_are_in_the_error() {
    let home = Home::new();
    put(&home.bin().join("codex"), "", 0o644);
    let error = text(locate(None, &home.environment()));
    let skipped =
        format!("`{}` on PATH: a file without execute permission", home.bin().join("codex").display());
    assert!(error.contains(&skipped), "{error}");
}

#[test]
fn the_error_lists_every_place_and_the_commands() {
    let home = Home::new();
    let error = locate(None, &home.environment()).unwrap_err();
    let Error::NotFound { looked } = &error else { panic!("{error:?}") };
    assert_eq!(looked.len(), 3, "{looked:?}");
    let error = error.to_string();
    let place = managed_dir(&home.environment()).unwrap();
    for part in [
        "CODEX_BIN: not set",
        &format!("`{}`: not installed", place.display()),
        &format!("`codex` on PATH: in none of {}", home.bin().display()),
        "`cargo xtask runtime`",
        "`openai_codex::runtime::install()`",
        &format!("`npm install -g @openai/codex@{VERSION}`"),
        "`codex_bin`",
    ] {
        assert!(error.contains(part), "{part} is not in:\n{error}");
    }
}

#[test]
fn an_empty_environment_is_an_error() {
    let error = text(locate(None, &Environment::empty()));
    assert!(error.contains("HOME is not set") && error.contains("PATH names no absolute folder"), "{error}");
}

#[test]
fn an_install_without_its_marker_or_program_is_refused() {
    let home = Home::new();
    let program = home.put_managed();
    mode(&program, 0o644);
    assert!(text(locate(None, &home.environment())).contains("damaged"));
    mode(&program, 0o755);
    std::fs::remove_file(home.place().join(".complete")).unwrap();
    assert!(text(locate(None, &home.environment())).contains("not a complete install"));
}

#[test]
fn an_install_in_a_folder_that_others_may_write_to_is_refused() {
    let home = Home::new();
    home.put_managed();
    mode(&home.runtimes(), 0o770);
    let error = text(locate(None, &home.environment()));
    assert!(error.contains("others may write to it (mode 0770)"), "{error}");
}

#[test]
fn the_cache_folder_comes_from_the_usual_variables() {
    let dir = |environment: &Environment| managed_dir(environment).unwrap().display().to_string();
    let home = Environment::empty().set("HOME", "/home/u");
    let usual = if cfg!(target_os = "macos") { "/home/u/Library/Caches/" } else { "/home/u/.cache/" };
    assert!(dir(&home).starts_with(&format!("{usual}openai-codex/runtime/{VERSION}-")), "{}", dir(&home));
    if !cfg!(target_os = "macos") {
        assert!(dir(&home.clone().set("XDG_CACHE_HOME", "/x")).starts_with("/x/openai-codex/"));
        // The specification says to ignore relative ones.
        assert!(dir(&home.clone().set("XDG_CACHE_HOME", "x")).starts_with(usual));
    }
    let ours = home.set("XDG_CACHE_HOME", "/x").set("CODEX_RUNTIME_CACHE", "/ours");
    assert!(dir(&ours).starts_with("/ours/openai-codex/"));
}

#[test]
fn the_bundled_folder_is_first_on_the_childs_path_and_there_only_once() {
    let home = Home::new();
    home.put_managed();
    let found = locate(None, &home.environment()).unwrap();
    let bundled = home.place().join("codex-path");
    assert_eq!(found.path_dir(), Some(&*bundled));

    let join = |dirs: &[&Path]| std::env::join_paths(dirs).unwrap();
    let inherited = join(&["/usr/bin".as_ref(), &bundled, "/bin".as_ref(), &bundled]);
    let expected = join(&[&bundled, "/usr/bin".as_ref(), "/bin".as_ref()]);
    assert_eq!(found.child_path(Some(&inherited)).unwrap(), expected);
    assert_eq!(found.child_path(Some(&expected)).unwrap(), expected);
    assert_eq!(found.child_path(None).unwrap(), bundled);
    assert_eq!(found.child_path(Some(OsStr::new(""))).unwrap(), bundled);
}

#[test]
fn the_bundled_folder_stays_off_the_childs_path_if_a_program_is_named() {
    let home = Home::new();
    let program = home.put_managed();
    for found in [
        locate(Some(&program), &home.environment()).unwrap(),
        locate(None, &home.environment().set("CODEX_BIN", &program)).unwrap(),
    ] {
        assert_eq!((found.path_dir(), found.child_path(Some(OsStr::new("/bin")))), (None, None));
    }
}

//! Finding the native program behind npm's launcher.

use std::fs;
use std::path::{Path, PathBuf};

use super::fixture::{Home, link, platform, put};
use crate::pin::npm_package;
use crate::{Error, Source, locate};

/// npm's script in the package `modules/@openai/codex`.
fn put_script(modules: &Path) -> PathBuf {
    let script = modules.join("@openai/codex/bin/codex.js");
    put(&script, "#!/usr/bin/env node\nimport { spawn } from 'node:child_process';\n", 0o755);
    script
}

/// The native program below `vendor`, and its helper.
fn put_native(vendor: &Path) -> PathBuf {
    let root = vendor.join(platform().triple);
    put(&root.join("codex-path/rg"), "", 0o755);
    let program = root.join("bin/codex");
    put(&program, "\x7fELF", 0o755);
    program
}

fn platform_package(modules: &Path) -> PathBuf {
    modules.join(npm_package(platform()))
}

#[test]
fn npms_link_leads_to_the_platform_package() {
    for nested in [true, false] {
        let home = Home::new();
        let modules = home.path("lib/node_modules");
        put_script(&modules);
        // `npm install -g` nests it, `npm install` puts it beside the launcher's package.
        let parent = if nested { modules.join("@openai/codex/node_modules") } else { modules };
        let native = put_native(&platform_package(&parent).join("vendor"));
        link("../lib/node_modules/@openai/codex/bin/codex.js", &home.bin().join("codex"));

        let found = locate(None, &home.environment()).unwrap();
        assert_eq!((found.program(), found.source()), (&*native, Source::Path));
        assert_eq!(
            found.path_dir(),
            native.parent().unwrap().parent().map(|root| root.join("codex-path")).as_deref()
        );
    }
}

#[test]
fn pnpms_shim_leads_to_the_native_program() {
    let home = Home::new();
    let store = home.path("global/5/.pnpm");
    put_script(&store.join("codex@1/node_modules"));
    let native = put_native(&platform_package(&store.join("native@1/node_modules")).join("vendor"));
    link(
        platform_package(&store.join("native@1/node_modules")),
        &platform_package(&store.join("codex@1/node_modules")),
    );
    link(store.join("codex@1/node_modules/@openai/codex"), &home.path("global/5/node_modules/@openai/codex"));
    let shim = "#!/bin/sh\nbasedir=$(dirname \"$(echo \"$0\" | sed -e 's,\\\\,/,g')\")\n\
                if [ -x \"$basedir/node\" ]; then\n\
                exec \"$basedir/node\" \"$basedir/../global/5/node_modules/@openai/codex/bin/codex.js\" \"$@\"\nfi\n";
    put(&home.bin().join("codex"), shim, 0o755);
    let found = locate(None, &home.environment()).unwrap();
    assert_eq!(found.program(), native);
    assert!(found.path_dir().is_some());
}

#[test]
fn a_shim_may_contain_the_full_path_of_the_script() {
    let home = Home::new();
    let modules = home.path("lib with space/node_modules");
    let script = put_script(&modules);
    let native = put_native(&platform_package(&modules).join("vendor"));
    put(&home.bin().join("codex"), &format!("#!/bin/sh\nexec node '{}' \"$@\"\n", script.display()), 0o755);
    let found = locate(None, &home.environment()).unwrap();
    assert_eq!(found.program(), native);
}

#[test]
fn older_packages_contain_the_program() {
    let home = Home::new();
    let script = put_script(&home.path("node_modules"));
    let root = home.path("node_modules/@openai/codex/vendor").join(platform().triple);
    put(&root.join("codex/codex"), "\x7fELF", 0o755);
    put(&root.join("path/rg"), "", 0o755);
    link(script, &home.bin().join("codex"));
    let found = locate(None, &home.environment()).unwrap();
    assert_eq!((found.program(), found.path_dir()), (&*root.join("codex/codex"), Some(&*root.join("path"))));
}

#[test]
fn a_launcher_without_its_program_is_skipped_and_reported() {
    let home = Home::new();
    let script = put_script(&home.path("node_modules"));
    link(&script, &home.bin().join("codex"));
    let error = locate(None, &home.environment()).unwrap_err().to_string();
    assert!(
        error.contains("without its native program") && error.contains(&npm_package(platform())),
        "{error}"
    );

    let next = home.path("next/codex");
    put(&next, "", 0o755);
    let path = std::env::join_paths([home.bin(), home.path("next")]).unwrap();
    assert_eq!(locate(None, &home.environment().set("PATH", path)).unwrap().program(), next);

    let error = locate(Some(&script), &home.environment()).unwrap_err();
    assert!(matches!(error, Error::NotAProgram { .. }), "{error:?}");
}

#[test]
fn a_shim_without_its_script_is_skipped_and_reported() {
    let home = Home::new();
    put(&home.bin().join("codex"), "#!/bin/sh\nexec node \"$basedir/@openai/codex/bin/codex.js\"\n", 0o755);
    let error = locate(None, &home.environment()).unwrap_err().to_string();
    assert!(error.contains("@openai/codex/bin/codex.js`, which does not exist"), "{error}");
}

#[test]
fn a_named_launcher_leads_to_its_program() {
    let home = Home::new();
    let modules = home.path("node_modules");
    let script = put_script(&modules);
    let native = put_native(&platform_package(&modules).join("vendor"));
    let found = locate(Some(&script), &home.environment()).unwrap();
    assert_eq!((found.program(), found.path_dir(), found.source()), (&*native, None, Source::Explicit));
    let found = locate(None, &home.environment().set("CODEX_BIN", &script)).unwrap();
    assert_eq!((found.program(), found.source()), (&*native, Source::Environment));
}

#[test]
fn a_users_own_script_runs_unchanged() {
    let home = Home::new();
    let wrapper = home.bin().join("codex");
    put(&wrapper, "#!/bin/sh\nexec /opt/codex \"$@\"\n", 0o755);
    assert_eq!(locate(None, &home.environment()).unwrap().program(), wrapper);
    // Also a file too short for a first line.
    fs::write(&wrapper, "#").unwrap();
    assert_eq!(locate(None, &home.environment()).unwrap().program(), wrapper);
}

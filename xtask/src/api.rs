//! `cargo xtask api`: the public API of our crates as text, so that a change of the API shows in a diff.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Failure;
use crate::cargo::{cargo_with, root};

/// The generated protocol crate is missing: its vendored facts list its contents.
const CRATES: [&str; 4] =
    ["openai-codex", "openai-codex-macros", "openai-codex-runtime", "openai-codex-testkit"];

/// Writes the snapshots. With `check`, fails if they differ.
pub(crate) fn snapshot(check: bool) -> Result<(), Failure> {
    // Use a separate folder: the variable that lets a stable rustdoc write JSON would rebuild everything.
    let target = root().join("target").join("api");
    let mut stale = Vec::new();
    for name in CRATES {
        let api = public_api(name, &target)?;
        let path = root().join("docs").join("api").join(format!("{name}.txt"));
        if fs::read_to_string(&path).is_ok_and(|committed| committed == api) {
            continue;
        }
        if check {
            stale.push(name);
        } else {
            fs::create_dir_all(path.parent().unwrap_or(&path))?;
            fs::write(&path, api)?;
            eprintln!("wrote {}", path.display());
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    let crates = stale.join(", ");
    Err(format!(
        "the public API of {crates} has changed; run `cargo xtask api` and read the diff of docs/api"
    )
    .into())
}

fn public_api(name: &str, target: &Path) -> Result<String, Failure> {
    let target_dir = target.to_string_lossy();
    cargo_with(
        &[
            &[
                "rustdoc",
                "--quiet",
                "--package",
                name,
                "--lib",
                "--all-features",
                "--target-dir",
                &target_dir,
            ][..],
            &["--", "-Zunstable-options", "--output-format=json", "--cap-lints=allow"],
        ]
        .concat(),
        &[("RUSTC_BOOTSTRAP", "1")],
    )?;
    let json: PathBuf = target.join("doc").join(name.replace('-', "_")).with_extension("json");
    let api = public_api::Builder::from_rustdoc_json(&json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()
        .map_err(|error| {
            format!("{error}; the crate `public-api` and rustc must speak the same version of rustdoc's JSON")
        })?;
    Ok(api.items().map(|item| format!("{item}\n")).collect())
}

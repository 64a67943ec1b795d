//! Asks a runtime for its schemas.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value as Json;

use super::Result;
use super::extract::extract;
use super::facts::Facts;

/// Runs the runtime in `codex_bin` and extracts the facts.
pub fn facts_of(codex_bin: &Path) -> Result<Facts> {
    let scratch = Scratch::new()?;
    let run = |arguments: &[&str]| -> Result<String> {
        let output =
            Command::new(codex_bin).args(arguments).env("CODEX_HOME", scratch.path("home")?).output()?;
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout)?);
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        Err(format!("`codex {}` failed: {stderr}", arguments.join(" ")).into())
    };
    let dump = |command: &str, folder: &str, experimental: bool| -> Result<PathBuf> {
        let out = scratch.path(folder)?;
        let mut arguments =
            vec!["app-server", command, "--out", out.to_str().ok_or("unreadable temporary folder")?];
        arguments.extend(experimental.then_some("--experimental"));
        run(&arguments)?;
        Ok(out)
    };
    let version = run(&["--version"])?;
    let version =
        version.split_whitespace().last().ok_or("the runtime does not print its version")?.to_owned();
    let schema = |folder: PathBuf| -> Result<Json> {
        Ok(serde_json::from_slice(&fs::read(folder.join("codex_app_server_protocol.schemas.json"))?)?)
    };
    let full = schema(dump("generate-json-schema", "full", true)?)?;
    let stable = schema(dump("generate-json-schema", "stable", false)?)?;
    let doubles = doubles(&dump("generate-ts", "ts", true)?)?;
    extract(&version, &full, &stable, &doubles)
}

/// The fields (type, name) that the TypeScript form shows as `| null | null`. The JSON schema does not distinguish
/// doubly optional fields from plain ones.
fn doubles(folder: &Path) -> Result<BTreeSet<(String, String)>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(doubles(&path)?);
            continue;
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path)?;
        for (end, _) in text.match_indices("| null | null") {
            let before = &text[..end];
            let (declaration, _) = before.rsplit_once(':').ok_or("a double option without a name")?;
            let start = declaration
                .rfind(|c: char| !(c.is_alphanumeric() || "_?".contains(c)))
                .map_or(0, |at| at + 1);
            found.insert((name.clone(), declaration[start..].trim_end_matches('?').to_owned()));
        }
    }
    Ok(found)
}

/// A temporary folder that is removed on drop.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("codex-schema-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    fn path(&self, name: &str) -> Result<PathBuf> {
        let path = self.0.join(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

//! Finds the native program behind npm's `codex`, which is a Node script.
//!
//! Node would cost a process, its start-up time, and an extra hop for each signal.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::environment::is_executable_file;
use crate::pin::{self, Platform};

const SCRIPT: &str = "@openai/codex/bin/codex.js";
/// The shims of package managers are a few hundred bytes long.
const SHIM_BYTES: u64 = 16 * 1024;

/// The kind of a program on disk.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Launcher {
    /// Not a launcher: run it directly.
    No,
    /// A launcher of this native program.
    Of(PathBuf),
    /// A launcher without its native program.
    Broken(String),
}

/// Looks behind `program`, which exists.
pub(crate) fn look_behind(program: &Path) -> Launcher {
    let Some(script) = launcher_script(program) else { return Launcher::No };
    let Ok(script) = script.canonicalize() else {
        return Launcher::Broken(format!("a launcher of `{}`, which does not exist", script.display()));
    };
    let Some(platform) = pin::platform() else {
        return Launcher::Broken("npm's launcher; no native program is known for this platform".to_owned());
    };
    match script.parent().and_then(Path::parent).and_then(|package| native_program(package, platform)) {
        Some(native) => Launcher::Of(native),
        None => Launcher::Broken(format!(
            "npm's launcher `{}` without its native program (package `{}`; installed with --omit=optional?)",
            script.display(),
            pin::npm_package(platform)
        )),
    }
}

/// The `codex.js` that `program` is, links to, or starts (as a shim of pnpm or the like).
fn launcher_script(program: &Path) -> Option<PathBuf> {
    let target = program.canonicalize().ok()?;
    if target.ends_with(SCRIPT) {
        return Some(target);
    }
    let mut start = [0; 2];
    let mut file = File::open(&target).ok()?;
    file.read_exact(&mut start).ok()?;
    if &start != b"#!" {
        return None;
    }
    let mut text = Vec::new();
    file.take(SHIM_BYTES).read_to_end(&mut text).ok()?;
    shim_target(&String::from_utf8_lossy(&text), target.parent()?)
}

/// Parses `exec node "$basedir/global/5/node_modules/@openai/codex/bin/codex.js" "$@"`, where `$basedir` is the shim's
/// folder.
fn shim_target(text: &str, shim_dir: &Path) -> Option<PathBuf> {
    text.match_indices(SCRIPT).find_map(|(at, _)| {
        let quote = text[at + SCRIPT.len()..].chars().next().filter(|next| matches!(next, '"' | '\''));
        let start = match quote {
            Some(quote) => text[..at].rfind(quote),
            None => text[..at].rfind([' ', '\t', '\n', '=']),
        };
        let start = start.map_or(0, |before| before + 1);
        let path = &text[start..at + SCRIPT.len()];
        match path.strip_prefix("$basedir/").or_else(|| path.strip_prefix("${basedir}/")) {
            Some(relative) => Some(shim_dir.join(relative)),
            None => Some(PathBuf::from(path)).filter(|path| path.is_absolute()),
        }
    })
}

/// The places where Node, and the launchers of old and new packages, look for it.
fn native_program(package: &Path, platform: &Platform) -> Option<PathBuf> {
    let platform_package = pin::npm_package(platform);
    let vendors = package
        .ancestors()
        .map(|ancestor| ancestor.join("node_modules").join(&platform_package).join("vendor"))
        .chain([package.join("vendor")]);
    for vendor in vendors {
        let root = vendor.join(platform.triple);
        // Older packages have it in `codex/`.
        for program in [root.join("bin/codex"), root.join("codex/codex")] {
            if is_executable_file(&program) {
                return program.canonicalize().ok();
            }
        }
    }
    None
}

/// The folder of helper programs (`rg`) that belongs to `program`.
pub(crate) fn bundled_path_dir(program: &Path) -> Option<PathBuf> {
    let program = program.canonicalize().ok()?;
    let root = program.parent()?.parent()?;
    [root.join("codex-path"), root.join("path")].into_iter().find(|dir| dir.join("rg").is_file())
}

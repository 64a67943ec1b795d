//! Finds the runtime.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use crate::cache::Cache;
use crate::environment::{Environment, is_executable};
use crate::error::{Error, Place, unsupported};
use crate::npm_shim::{Launcher, bundled_path_dir, look_behind};
use crate::pin::{self, Pin};
use crate::{VERSION, marker};

/// A codex program, and how it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    program: PathBuf,
    path_dir: Option<PathBuf>,
    source: Source,
}

/// How a runtime was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// The caller named it.
    Explicit,
    /// The environment variable `CODEX_BIN` named it.
    Environment,
    /// The pinned version in this user's cache.
    Managed,
    /// `codex` on `PATH`, of any version.
    Path,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Explicit => "codex_bin",
            Self::Environment => "CODEX_BIN",
            Self::Managed => "managed install",
            Self::Path => "PATH",
        })
    }
}

impl Runtime {
    /// The absolute path of the program.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The folder of helper programs that belongs to it, for the child's `PATH`. `None` if there is none, or if the
    /// caller or `CODEX_BIN` named the program: they then decide about its `PATH` too.
    #[must_use]
    pub fn path_dir(&self) -> Option<&Path> {
        self.path_dir.as_deref()
    }

    /// How it was found.
    #[must_use]
    pub fn source(&self) -> Source {
        self.source
    }

    /// The `PATH` for the child: [`path_dir`](Self::path_dir) first and only once, then the folders of `inherited`.
    /// `None` if nothing changes.
    #[must_use]
    pub fn child_path(&self, inherited: Option<&OsStr>) -> Option<OsString> {
        let dir = self.path_dir()?;
        let rest = inherited.filter(|path| !path.is_empty());
        let rest = rest.iter().flat_map(|path| env::split_paths(path)).filter(|entry| entry != dir);
        // This fails only if the folder's name contains a separator. Such a folder cannot be on a PATH.
        env::join_paths(std::iter::once(dir.to_owned()).chain(rest)).ok()
    }

    pub(crate) fn managed(program: PathBuf) -> Self {
        Self::bundled(program, Source::Managed)
    }

    fn bundled(program: PathBuf, source: Source) -> Self {
        Self { path_dir: bundled_path_dir(&program), program, source }
    }
}

/// Finds the runtime to start: `explicit`, else `CODEX_BIN`, else the managed install, else `codex` on `PATH`.
///
/// Only checks paths: it downloads nothing and starts no process. So it accepts any program; one that is not codex
/// fails at its start.
///
/// # Errors
/// A named program is missing or cannot run. If no program is named and none is found, the error lists every place with
/// the reason.
pub fn locate(explicit: Option<&Path>, environment: &Environment) -> Result<Runtime, Error> {
    if let Some(path) = explicit {
        return named(path, Source::Explicit);
    }
    if let Some(path) = environment.get("CODEX_BIN") {
        return named(Path::new(path), Source::Environment);
    }
    let mut looked = vec![place("the environment variable CODEX_BIN", "not set")];
    match managed(environment) {
        Ok(runtime) => return Ok(runtime),
        Err(place) => looked.push(place),
    }
    match on_path(environment) {
        Ok(runtime) => Ok(runtime),
        Err(places) => {
            looked.extend(places);
            Err(Error::NotFound { looked })
        }
    }
}

/// The folder of the pinned runtime, whether or not it is installed.
///
/// # Errors
/// No variable names a cache folder, or the platform is not supported.
pub fn managed_dir(environment: &Environment) -> Result<PathBuf, Error> {
    let pin = Pin::recorded(pin::platform().ok_or_else(unsupported)?);
    let cache = Cache::below(&environment.cache_dir().ok_or(Error::NoCacheDir)?);
    Ok(cache.runtimes.join(pin.folder()))
}

/// Checks a program that the caller or a variable names.
fn named(path: &Path, source: Source) -> Result<Runtime, Error> {
    // Resolve it against the current folder now, because the child may run in another.
    let path = std::path::absolute(path).map_err(|e| Error::io("make absolute", path, e))?;
    let unusable = |reason| Error::NotAProgram { source, path: path.clone(), reason };
    match check(&path) {
        Check::Absent => Err(Error::Missing { source, path }),
        Check::Unusable(reason) => Err(unusable(reason)),
        Check::Program(program) => Ok(Runtime { program, path_dir: None, source }),
    }
}

fn managed(environment: &Environment) -> Result<Runtime, Place> {
    let what = format!("the managed install of version {VERSION}");
    let dir = managed_dir(environment).map_err(|e| place(&what, &e.to_string()))?;
    let what = format!("{what}, `{}`", dir.display());
    if let Some(dir) = environment.cache_dir() {
        Cache::below(&dir).check().map_err(|e| place(&what, &e.to_string()))?;
    }
    marker::check(&dir).map(Runtime::managed).map_err(|reason| place(&what, &reason))
}

fn on_path(environment: &Environment) -> Result<Runtime, Vec<Place>> {
    let dirs = environment.search_path();
    let mut places = Vec::new();
    for dir in &dirs {
        let candidate = dir.join("codex");
        match check(&candidate) {
            Check::Absent => {}
            Check::Unusable(reason) => {
                places.push(place(&format!("`{}` on PATH", candidate.display()), &reason))
            }
            Check::Program(program) => return Ok(Runtime::bundled(program, Source::Path)),
        }
    }
    if places.is_empty() {
        let reason = match dirs.as_slice() {
            [] => "PATH names no absolute folder".to_owned(),
            dirs => {
                let dirs: Vec<_> = dirs.iter().map(|dir| dir.display().to_string()).collect();
                format!("in none of {}", dirs.join(", "))
            }
        };
        places.push(place("`codex` on PATH", &reason));
    }
    Err(places)
}

enum Check {
    Absent,
    Unusable(String),
    /// The native program, behind npm's launcher if the path is one.
    Program(PathBuf),
}

fn check(path: &Path) -> Check {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(e) if is_absence(&e) => {
            return match fs::read_link(path) {
                Ok(target) => {
                    Check::Unusable(format!("a link to `{}`, which does not exist", target.display()))
                }
                Err(_) => Check::Absent,
            };
        }
        Err(e) => return Check::Unusable(e.to_string()),
    };
    if !metadata.is_file() {
        return Check::Unusable(kind(&metadata).to_owned());
    }
    match look_behind(path) {
        Launcher::Of(native) => Check::Program(native),
        Launcher::Broken(reason) => Check::Unusable(reason),
        Launcher::No if is_executable(&metadata) => Check::Program(path.to_owned()),
        Launcher::No => Check::Unusable("a file without execute permission (chmod +x sets it)".to_owned()),
    }
}

/// The file is missing, or a parent of it is not a folder.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn kind(metadata: &Metadata) -> &'static str {
    if metadata.is_dir() { "a folder" } else { "not a regular file" }
}

fn place(what: &str, reason: &str) -> Place {
    Place { what: what.to_owned(), reason: reason.to_owned() }
}

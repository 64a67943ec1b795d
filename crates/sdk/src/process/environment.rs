//! The environment variables of the runtime.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::process::Command;

use openai_codex_runtime::Environment;

use crate::error::{Error, Result};

/// How the environment of the runtime differs from that of this process.
#[derive(Clone, Default)]
pub(crate) struct ChildEnvironment {
    /// The values of what was set, and `None` for what was removed.
    changes: Vec<(OsString, Option<OsString>)>,
    /// Whether nothing but `inherited` comes from this process.
    cleared: bool,
    inherited: Vec<OsString>,
}

/// Values can be secrets, so only names are shown.
impl fmt::Debug for ChildEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut set, mut removed) = (Vec::new(), Vec::new());
        for (name, value) in &self.changes {
            if value.is_some() { set.push(name) } else { removed.push(name) }
        }
        f.debug_struct("ChildEnvironment")
            .field("set", &set)
            .field("removed", &removed)
            .field("cleared", &self.cleared)
            .field("inherited", &self.inherited)
            .finish()
    }
}

impl ChildEnvironment {
    pub(crate) fn set(&mut self, name: OsString, value: OsString) {
        self.change(name, Some(value));
    }

    pub(crate) fn remove(&mut self, name: OsString) {
        self.change(name, None);
    }

    fn change(&mut self, name: OsString, value: Option<OsString>) {
        match self.changes.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.changes.push((name, value)),
        }
    }

    /// What was set (`Some`) or removed (`None`), if the variable was either.
    fn changed(&self, name: &OsStr) -> Option<Option<&OsString>> {
        let change = self.changes.iter().find(|(known, _)| *known == *name);
        change.map(|(_, value)| value.as_ref())
    }

    pub(crate) fn clear(&mut self) {
        self.cleared = true;
    }

    pub(crate) fn inherit(&mut self, names: impl Iterator<Item = OsString>) {
        for name in names {
            if !self.inherited.contains(&name) {
                self.inherited.push(name);
            }
        }
    }

    /// Refuses what no environment can hold.
    pub(crate) fn validate(&self) -> Result<()> {
        let mut unusable = None;
        for (name, value) in &self.changes {
            if value.as_ref().is_some_and(|value| value.as_encoded_bytes().contains(&0)) {
                return Err(Error::invalid_config(format!(
                    "the value of the environment variable {name:?} holds a NUL byte"
                )));
            }
            unusable = unusable.or(is_unusable(name).then_some(name));
        }
        match unusable.or_else(|| self.inherited.iter().find(|name| is_unusable(name))) {
            Some(name) => Err(Error::invalid_config(format!(
                "{name:?} cannot be the name of an environment variable: it is empty, or holds `=` or a NUL byte"
            ))),
            None => Ok(()),
        }
    }

    /// The value that the runtime finds.
    pub(crate) fn get(&self, name: impl AsRef<OsStr>) -> Option<OsString> {
        let name = name.as_ref();
        match self.changed(name) {
            Some(value) => value.cloned(),
            None if self.cleared && !self.inherited.iter().any(|inherited| inherited == name) => None,
            None => env::var_os(name),
        }
    }

    /// What decides which runtime is started: `CODEX_BIN` and `PATH` as the runtime has them. Where the managed install is
    /// kept is this process's business, which has put it there, unless a variable was set for it.
    pub(crate) fn for_locating(&self) -> Environment {
        const CACHE: &str = "CODEX_RUNTIME_CACHE";
        let cache = self.changed(OsStr::new(CACHE)).flatten().cloned();
        let variables = [
            ("CODEX_BIN", self.get("CODEX_BIN")),
            ("PATH", self.get("PATH")),
            (CACHE, cache.or_else(|| env::var_os(CACHE))),
            ("XDG_CACHE_HOME", env::var_os("XDG_CACHE_HOME")),
            ("HOME", env::var_os("HOME")),
        ];
        let mut environment = Environment::empty();
        for (name, value) in variables {
            if let Some(value) = value {
                environment = environment.set(name, value);
            }
        }
        environment
    }

    /// Gives a command this environment.
    pub(crate) fn apply(&self, command: &mut Command) {
        if self.cleared {
            command.env_clear();
            for name in &self.inherited {
                if let Some(value) = env::var_os(name) {
                    command.env(name, value);
                }
            }
        }
        for (name, value) in &self.changes {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
    }
}

fn is_unusable(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.is_empty() || name.contains(&b'=') || name.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[(&str, &str)]) -> ChildEnvironment {
        let mut environment = ChildEnvironment::default();
        for (name, value) in names {
            environment.set(name.into(), value.into());
        }
        environment
    }

    #[test]
    fn what_is_inherited_set_and_removed() {
        let mut environment = set(&[("A", "1"), ("HOME", "/there")]);
        assert_eq!(environment.get("A").unwrap(), "1");
        assert_eq!(environment.get("HOME").unwrap(), "/there");
        assert_eq!(environment.get("PATH"), env::var_os("PATH"));
        environment.remove("PATH".into());
        assert_eq!(environment.get("PATH"), None);
        environment.clear();
        environment.inherit(["HOME".into(), "PATH".into(), "CARGO_MANIFEST_DIR".into()].into_iter());
        assert_eq!(environment.get("A").unwrap(), "1", "what is set stays");
        assert_eq!(environment.get("HOME").unwrap(), "/there", "and counts");
        assert_eq!(environment.get("PATH"), None, "what is removed is not inherited");
        assert!(environment.get("CARGO_MANIFEST_DIR").is_some());
        assert_eq!(environment.get("CARGO_PKG_NAME"), None);
        let mut command = Command::new("true");
        environment.apply(&mut command);
        let names: Vec<_> = command.get_envs().filter_map(|(name, value)| value.and(Some(name))).collect();
        assert_eq!(names, ["A", "CARGO_MANIFEST_DIR", "HOME"]);
    }

    #[test]
    fn the_runtime_is_looked_for_in_its_own_environment_and_the_cache_of_this_process() {
        let mut environment = set(&[("PATH", "/there"), ("HOME", "/elsewhere")]);
        let found = environment.for_locating();
        assert_eq!(found.get("PATH").unwrap(), "/there");
        assert_eq!(found.get("HOME"), env::var_os("HOME").as_deref());
        environment.set("CODEX_RUNTIME_CACHE".into(), "/cache".into());
        environment.clear();
        assert_eq!(environment.for_locating().get("CODEX_RUNTIME_CACHE").unwrap(), "/cache");
        assert_eq!(ChildEnvironment { cleared: true, ..set(&[]) }.for_locating().get("PATH"), None);
    }

    #[test]
    fn debug_shows_no_values() {
        assert!(!format!("{:?}", set(&[("KEY", "sk-secret")])).contains("sk-secret"));
    }
}

//! The environment variables of the runtime.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::process::Command;

use openai_codex_runtime::Environment;

use crate::error::{Error, Result};

/// How the runtime's environment differs from that of this process.
#[derive(Clone, Default)]
pub(crate) struct ChildEnvironment {
    /// Each changed variable: its value, or `None` if it was removed.
    changes: Vec<(OsString, Option<OsString>)>,
    /// Whether only the variables in `inherited` come from this process.
    cleared: bool,
    inherited: Vec<OsString>,
}

/// Shows only names, because values can be secrets.
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
        match self.changes.iter_mut().find(|(changed_name, _)| *changed_name == name) {
            Some((_, old)) => *old = value,
            None => self.changes.push((name, value)),
        }
    }

    /// The change of a variable, if there is one: its value, or `None` if it was removed.
    fn changed(&self, name: &OsStr) -> Option<Option<&OsString>> {
        let change = self.changes.iter().find(|(changed_name, _)| *changed_name == *name);
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

    /// Fails for names and values that no environment can hold.
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

    /// The value in the runtime's environment.
    pub(crate) fn get(&self, name: impl AsRef<OsStr>) -> Option<OsString> {
        let name = name.as_ref();
        match self.changed(name) {
            Some(value) => value.cloned(),
            None if self.cleared && !self.inherited.iter().any(|inherited| inherited == name) => None,
            None => env::var_os(name),
        }
    }

    /// The environment that decides which runtime starts. `CODEX_BIN` and `PATH` come from the runtime's environment. The cache of
    /// the managed install belongs to this process, unless the program has set a variable for it.
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

    /// Sets this environment on a command.
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
    fn variables_are_inherited_set_and_removed() {
        let mut environment = set(&[("A", "1"), ("HOME", "/there")]);
        assert_eq!(environment.get("A").unwrap(), "1");
        assert_eq!(environment.get("HOME").unwrap(), "/there");
        assert_eq!(environment.get("PATH"), env::var_os("PATH"));
        environment.remove("PATH".into());
        assert_eq!(environment.get("PATH"), None);
        environment.clear();
        environment.inherit(["HOME".into(), "PATH".into(), "CARGO_MANIFEST_DIR".into()].into_iter());
        assert_eq!(environment.get("A").unwrap(), "1", "a set variable stays");
        assert_eq!(environment.get("HOME").unwrap(), "/there", "a set variable wins over an inherited one");
        assert_eq!(environment.get("PATH"), None, "a removed variable is not inherited");
        assert!(environment.get("CARGO_MANIFEST_DIR").is_some());
        assert_eq!(environment.get("CARGO_PKG_NAME"), None);
        let mut command = Command::new("true");
        environment.apply(&mut command);
        let names: Vec<_> = command.get_envs().filter_map(|(name, value)| value.and(Some(name))).collect();
        assert_eq!(names, ["A", "CARGO_MANIFEST_DIR", "HOME"]);
    }

    #[test]
    fn the_runtime_is_located_by_its_own_path_and_the_cache_of_this_process() {
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

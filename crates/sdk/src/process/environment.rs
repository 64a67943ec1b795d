//! The environment variables of the runtime.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::process::Command;

use openai_codex_runtime::Environment;

use crate::{Error, Result};

/// How the environment of the runtime differs from that of this process.
#[derive(Clone, Default)]
pub(crate) struct ChildEnvironment {
    /// The values of what was set, and `None` for what was removed.
    changes: BTreeMap<OsString, Option<OsString>>,
    /// Whether nothing but `inherited` comes from this process.
    cleared: bool,
    inherited: BTreeSet<OsString>,
}

/// Values can be secrets, so only names are shown.
impl fmt::Debug for ChildEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |set: bool| self.changes.iter().filter(move |(_, value)| value.is_some() == set);
        f.debug_struct("ChildEnvironment")
            .field("set", &names(true).map(|(name, _)| name).collect::<Vec<_>>())
            .field("removed", &names(false).map(|(name, _)| name).collect::<Vec<_>>())
            .field("cleared", &self.cleared)
            .field("inherited", &self.inherited)
            .finish()
    }
}

impl ChildEnvironment {
    pub(crate) fn set(&mut self, name: OsString, value: OsString) {
        self.changes.insert(name, Some(value));
    }

    pub(crate) fn remove(&mut self, name: OsString) {
        self.changes.insert(name, None);
    }

    pub(crate) fn clear(&mut self) {
        self.cleared = true;
    }

    pub(crate) fn inherit(&mut self, names: impl Iterator<Item = OsString>) {
        self.inherited.extend(names);
    }

    /// Refuses what no environment can hold.
    pub(crate) fn validate(&self) -> Result<()> {
        let values = self.changes.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        if let Some((name, _)) = values.into_iter().find(|(_, value)| value.as_encoded_bytes().contains(&0)) {
            return Err(Error::invalid_config(format!(
                "the value of the environment variable {name:?} holds a NUL byte"
            )));
        }
        let names = self.changes.keys().chain(&self.inherited);
        match names.into_iter().find(|name| is_unusable(name)) {
            Some(name) => Err(Error::invalid_config(format!(
                "{name:?} cannot be the name of an environment variable: it is empty, or holds `=` or a NUL byte"
            ))),
            None => Ok(()),
        }
    }

    /// The value that the runtime finds.
    pub(crate) fn get(&self, name: impl AsRef<OsStr>) -> Option<OsString> {
        let name = name.as_ref();
        match self.changes.get(name) {
            Some(value) => value.clone(),
            None if self.cleared && !self.inherited.contains(name) => None,
            None => env::var_os(name),
        }
    }

    /// What decides which runtime is started: `CODEX_BIN` and `PATH` as the runtime has them. Where the managed install is
    /// kept is this process's business, which has put it there, unless a variable was set for it.
    pub(crate) fn for_locating(&self) -> Environment {
        let variables = ["CODEX_BIN", "PATH"].into_iter().map(|name| (name, self.get(name)));
        let set = |name| self.changes.get(OsStr::new(name)).cloned().flatten();
        let cache = [(
            "CODEX_RUNTIME_CACHE",
            set("CODEX_RUNTIME_CACHE").or_else(|| env::var_os("CODEX_RUNTIME_CACHE")),
        )];
        let places = ["XDG_CACHE_HOME", "HOME"].into_iter().map(|name| (name, env::var_os(name)));
        let all = variables.chain(cache).chain(places);
        all.fold(Environment::empty(), |environment, (name, value)| match value {
            Some(value) => environment.set(name, value),
            None => environment,
        })
    }

    /// Gives a command this environment.
    pub(crate) fn apply(&self, command: &mut Command) {
        if self.cleared {
            command.env_clear();
            let inherited = self.inherited.iter().filter_map(|name| Some((name, env::var_os(name)?)));
            command.envs(inherited);
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

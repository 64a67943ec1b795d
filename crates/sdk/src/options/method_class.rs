//! How long requests may wait for their responses: by the class of their method.

use std::time::Duration;

/// The timeout of [`MethodClass::Quick`], unless another is set.
pub(crate) const QUICK: Duration = Duration::from_secs(30);
const SLOW: Duration = Duration::from_secs(300);

/// The class of a method, by what the server does before it responds. It decides how long a request may wait; see
/// [`CodexConfig::class_timeout`](crate::CodexConfig::class_timeout).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MethodClass {
    /// The server only looks something up or records something. 30 seconds unless set.
    Quick,
    /// The server loads, writes, computes or contacts something, as for most methods of threads, turns, accounts and plugins. 5
    /// minutes unless set.
    Slow,
    /// The server responds when a command, a tool or a user has finished. No timeout unless set.
    Lasting,
}

impl MethodClass {
    /// Returns the class of a method. An unknown method is slow if its family is slow, and quick otherwise.
    ///
    /// ```
    /// use openai_codex::MethodClass;
    ///
    /// assert_eq!(MethodClass::of("turn/interrupt"), MethodClass::Quick);
    /// assert_eq!(MethodClass::of("thread/start"), MethodClass::Slow);
    /// assert_eq!(MethodClass::of("command/exec"), MethodClass::Lasting);
    /// ```
    pub fn of(method: &str) -> Self {
        if LASTING.contains(&method) {
            Self::Lasting
        } else if QUICK_IN_SLOW_FAMILIES.contains(&method) {
            Self::Quick
        } else if SLOW_METHODS.contains(&method)
            || SLOW_FAMILIES.iter().any(|family| method.starts_with(family))
        {
            Self::Slow
        } else {
            Self::Quick
        }
    }
}

const LASTING: &[&str] =
    &["command/exec", "mcpServer/tool/call", "userVerification/verify", "userVerification/enroll"];
const QUICK_IN_SLOW_FAMILIES: &[&str] = &["thread/read"];
const SLOW_FAMILIES: &[&str] =
    &["thread/", "account/", "plugin/", "marketplace/", "app/", "mcpServer", "environment/", "review/"];
const SLOW_METHODS: &[&str] = &[
    "turn/start",
    "model/list",
    "skills/list",
    "hooks/list",
    "externalAgentConfig/import",
    "externalAgentConfig/detect",
    "feedback/upload",
    "fuzzyFileSearch",
    "rollout/compress",
    "memory/reset",
    "windowsSandbox/setupStart",
];

/// The timeouts of the classes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClassTimeouts {
    quick: Option<Duration>,
    slow: Option<Duration>,
    lasting: Option<Duration>,
}

impl Default for ClassTimeouts {
    fn default() -> Self {
        Self { quick: Some(QUICK), slow: Some(SLOW), lasting: None }
    }
}

impl ClassTimeouts {
    /// The same timeout for all of them.
    pub(crate) fn all(timeout: Duration) -> Self {
        Self { quick: Some(timeout), slow: Some(timeout), lasting: Some(timeout) }
    }

    pub(crate) fn set(&mut self, class: MethodClass, timeout: Duration) {
        *self.of_class(class) = Some(timeout);
    }

    /// How long a request of this method may wait. `None`: without a limit.
    pub(crate) fn of_method(mut self, method: &str) -> Option<Duration> {
        *self.of_class(MethodClass::of(method))
    }

    fn of_class(&mut self, class: MethodClass) -> &mut Option<Duration> {
        match class {
            MethodClass::Quick => &mut self.quick,
            MethodClass::Slow => &mut self.slow,
            MethodClass::Lasting => &mut self.lasting,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openai_codex_protocol::table::CLIENT_REQUESTS;

    fn methods(class: MethodClass) -> Vec<&'static str> {
        let methods = CLIENT_REQUESTS.iter().map(|request| request.method);
        methods.filter(|method| MethodClass::of(method) == class).collect()
    }

    #[test]
    fn every_listed_method_and_family_is_in_the_protocol() {
        let known = |name: &&str| CLIENT_REQUESTS.iter().any(|request| request.method == *name);
        for name in [LASTING, QUICK_IN_SLOW_FAMILIES, SLOW_METHODS].concat() {
            assert!(known(&name), "{name}");
        }
        for family in SLOW_FAMILIES {
            assert!(CLIENT_REQUESTS.iter().any(|request| request.method.starts_with(family)), "{family}");
        }
    }

    #[test]
    fn only_methods_that_wait_for_a_user_or_a_command_have_no_timeout() {
        let mut lasting = methods(MethodClass::Lasting);
        lasting.sort_unstable();
        let mut named = LASTING.to_vec();
        named.sort_unstable();
        assert_eq!(lasting, named);
        let timeouts = ClassTimeouts::default();
        for request in CLIENT_REQUESTS {
            let timeout = timeouts.of_method(request.method);
            assert_eq!(timeout.is_none(), named.contains(&request.method), "{}", request.method);
        }
        assert_eq!(timeouts.of_method("thread/resume"), Some(SLOW));
        assert_eq!(timeouts.of_method("thread/read"), Some(QUICK));
        assert_eq!(timeouts.of_method("turn/interrupt"), Some(QUICK));
    }

    #[test]
    fn a_class_is_set_alone_or_all_are() {
        let second = Duration::from_secs(1);
        let mut timeouts = ClassTimeouts::default();
        timeouts.set(MethodClass::Lasting, second);
        let of = |timeouts: ClassTimeouts| {
            ["config/read", "turn/start", "command/exec"].map(|method| timeouts.of_method(method))
        };
        assert_eq!(of(timeouts), [Some(QUICK), Some(SLOW), Some(second)]);
        assert_eq!(of(ClassTimeouts::all(second)), [Some(second); 3]);
    }
}

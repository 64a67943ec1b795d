//! Which options a runtime knows: those that came later are refused before they are sent to an older one, which would
//! ignore them without a word.

use std::cmp::Ordering;

use openai_codex_protocol::types::InitializeResponse;

use crate::checkout::Checkout;
use crate::{Error, ErrorKind, Result};

/// The first runtime that knows `excludeTurns`, `serviceTierForTurn`, `toolOutput` and `turnTrigger`.
const GATE: [u64; 3] = [0, 151, 0];

/// The first runtime that answers a `turn/start` on a busy thread with the turn that runs. Older ones answer with a new id,
/// and no event ever names it: the input becomes part of the running turn, or is lost with it.
pub(crate) const JOINS: [u64; 3] = [0, 148, 0];

/// The first runtime, of those seen, that sorts threads by `recency_at`.
pub(crate) const RECENCY: [u64; 3] = [0, 142, 0];

/// The first runtime, of those seen, that takes the tools of a namespace together.
pub(crate) const TOOLS_TOGETHER: [u64; 3] = [0, 144, 4];

/// Whether a runtime is known to be older than this version.
pub(crate) fn is_older(metadata: &InitializeResponse, first: [u64; 3]) -> bool {
    let version = reported(metadata).and_then(|version| parse(version.trim()));
    version.is_some_and(|(numbers, rest)| numbers != [0, 0, 0] && precedes(numbers, rest, first))
}

/// The version that a runtime reports: that of its `serverInfo`, if it sends one, or else that in its user agent.
pub(crate) fn reported(metadata: &InitializeResponse) -> Option<&str> {
    let told = metadata.extra.get("serverInfo").and_then(|info| info.get("version")?.as_str());
    told.filter(|version| !version.trim().is_empty()).or_else(|| of_user_agent(&metadata.user_agent))
}

/// The version in a user agent: `name/1.2.3 (…)`, or `name 1.2.3`.
fn of_user_agent(user_agent: &str) -> Option<&str> {
    let (name, rest) = user_agent.split_once('/').or_else(|| user_agent.split_once(char::is_whitespace))?;
    let version = rest.split_whitespace().next()?;
    (!name.trim().is_empty()).then_some(version)
}

/// Refuses a field of some parameters that the runtime does not know, or that nobody can tell whether it does.
pub(crate) async fn require(
    params: &str,
    field: &str,
    metadata: &InitializeResponse,
    checkout: &Checkout,
) -> Result<()> {
    let version = reported(metadata).unwrap_or("unknown");
    let why = match standing(version) {
        Standing::Knows => return Ok(()),
        Standing::TooOld => format!("the reported version is {version:?}"),
        Standing::Unversioned => match checkout.knows(params, field).await {
            Some(Ok(true)) => return Ok(()),
            Some(Ok(false)) => "this checkout does not support it".to_owned(),
            Some(Err(why)) => format!("this one has no version, and cannot say what it knows: {why}"),
            None => "this one has no version. Cannot verify an unversioned CLI that was started by a command line of \
                     one's own"
                .to_owned(),
        },
    };
    let message = format!("`{field}` needs Codex CLI 0.151.0 or newer: {why}");
    Err(Error::new(ErrorKind::UnsupportedByRuntime, message))
}

#[derive(Debug, PartialEq)]
enum Standing {
    Knows,
    TooOld,
    /// Built from a checkout: version 0.0.0.
    Unversioned,
}

fn standing(version: &str) -> Standing {
    let Some((numbers, rest)) = parse(version.trim()) else { return Standing::TooOld };
    if numbers == [0, 0, 0] {
        return Standing::Unversioned;
    }
    if precedes(numbers, rest, GATE) { Standing::TooOld } else { Standing::Knows }
}

/// Whether a version comes before this one.
fn precedes(numbers: [u64; 3], rest: &str, first: [u64; 3]) -> bool {
    match numbers.cmp(&first) {
        Ordering::Greater => false,
        // A pre-release comes before its release; what is after it (`.post1`, `+build`) does not.
        Ordering::Equal => rest.starts_with(|c: char| c == '-' || c.is_ascii_alphabetic()),
        Ordering::Less => true,
    }
}

/// The three numbers that a version begins with, and what follows.
fn parse(version: &str) -> Option<([u64; 3], &str)> {
    let mut rest = version;
    let mut numbers = [0; 3];
    for (place, number) in numbers.iter_mut().enumerate() {
        if place > 0 {
            rest = rest.strip_prefix('.')?;
        }
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        *number = rest[..end].parse().ok()?;
        rest = &rest[end..];
    }
    Some((numbers, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(field: &str, metadata: &InitializeResponse) -> Result<()> {
        let checkout = Checkout::default();
        let checked = require("TurnStartParams", field, metadata, &checkout);
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(checked)
    }

    fn metadata(user_agent: &str, server: Option<&str>) -> InitializeResponse {
        let mut metadata = serde_json::json!({
            "userAgent": user_agent, "codexHome": "/h", "platformFamily": "unix", "platformOs": "linux",
        });
        if let Some(version) = server {
            metadata["serverInfo"] = serde_json::json!({"name": "codex", "version": version});
        }
        serde_json::from_value(metadata).unwrap()
    }

    #[test]
    fn the_version_is_read_from_the_metadata() {
        let reports = |agent, server| reported(&metadata(agent, server)).map(str::to_owned);
        assert_eq!(reports("codex-cli/1.2.3", None).as_deref(), Some("1.2.3"));
        let real = "codex_rust_sdk/0.163.0 (Debian 12; x86_64) x (y; 0.1.0)";
        assert_eq!(reports(real, None).as_deref(), Some("0.163.0"));
        assert_eq!(reports("codex-cli 0.153.0", None).as_deref(), Some("0.153.0"));
        assert_eq!(reports("unknown", Some("0.153.0")).as_deref(), Some("0.153.0"));
        for bad in ["", "codex", "/1.2", "codex/", "  "] {
            assert_eq!(reports(bad, None), None, "{bad:?}");
        }
    }

    /// Behaviour 15.
    #[test]
    fn older_and_unknown_runtimes_are_refused() {
        for version in ["0.147.0", "0.149.0", "0.151.0-alpha.6", "0.151.0a6", "unknown", "", "1"] {
            let metadata = metadata(&format!("codex-cli/{version}"), Some(version));
            let error = check("toolOutput", &metadata).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnsupportedByRuntime);
            let text = error.to_string();
            assert!(text.contains("`toolOutput` needs Codex CLI 0.151.0 or newer"), "{text}");
        }
    }

    /// Behaviour 16.
    #[test]
    fn newer_runtimes_are_accepted() {
        for agent in [
            "codex-cli/0.151.0 (Linux)",
            "codex-cli 0.153.0",
            "codex-cli/0.154.0-alpha.1",
            "codex-cli/0.154.0-alpha.1.2",
            "codex-cli/0.151.0.post1",
            "codex-cli/1.0.0",
        ] {
            assert!(check("toolOutput", &metadata(agent, None)).is_ok(), "{agent}");
        }
        assert!(check("toolOutput", &metadata("unknown", Some("0.153.0"))).is_ok());
    }

    #[test]
    fn only_a_version_that_says_so_is_older() {
        let older = |version: &str| is_older(&metadata(&format!("codex-cli/{version}"), None), JOINS);
        for version in ["0.133.0", "0.147.9", "0.148.0-alpha.1"] {
            assert!(older(version), "{version}");
        }
        for version in ["0.148.0", "0.148.0+build", "1.0.0", "0.0.0", "unknown", ""] {
            assert!(!older(version), "{version}");
        }
    }

    /// Behaviour 18.
    #[test]
    fn a_checkout_of_an_unknown_program_cannot_be_verified() {
        let error = check("turnTrigger", &metadata("codex-cli/0.0.0", None)).unwrap_err();
        assert!(error.to_string().contains("Cannot verify an unversioned CLI"), "{error}");
    }
}

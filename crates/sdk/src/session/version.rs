//! What a runtime of a version supports. The client refuses other requests and parameters before it sends them.

use std::cmp::Ordering;

use openai_codex_protocol::table::{CLIENT_REQUESTS, FieldInfo, RUNTIMES, RequestInfo};
use openai_codex_protocol::types::InitializeResponse;

use crate::background::Boxed;
use crate::error::{Error, ErrorKind, Result};
use crate::json_scan::set_members;
use crate::session::schema_probe::SchemaProbe;

/// The first runtime that returns the running turn for a `turn/start` on a busy thread. Older ones return a new id that no event
/// ever names: the input joins the running turn, or is lost.
pub(crate) const JOINS: [u64; 3] = [0, 148, 0];

/// The first runtime that can leave the turns out of its response to a resume.
pub(crate) const EXCLUDES_TURNS: [u64; 3] = [0, 151, 0];

/// The first tested runtime that sorts threads by `recency_at`.
pub(crate) const RECENCY: [u64; 3] = [0, 142, 0];

/// The first tested runtime that reports the client's id of an input.
pub(crate) const CLIENT_IDS: [u64; 3] = [0, 144, 4];

/// The first tested runtime that offers the service tier `flex` for every model.
pub(crate) const FLEX_OF_EVERY_MODEL: [u64; 3] = [0, 163, 0];

/// The first tested runtime that accepts the tools of a namespace together.
pub(crate) const TOOLS_TOGETHER: [u64; 3] = [0, 144, 4];

/// Whether a runtime is known to be older than `first`.
pub(crate) fn is_older(metadata: &InitializeResponse, first: [u64; 3]) -> bool {
    let version = reported(metadata).and_then(|version| parse(version.trim()));
    version.is_some_and(|(numbers, rest)| numbers != [0, 0, 0] && precedes(numbers, rest, first))
}

/// The version that a runtime reports, in `serverInfo` or else in its user agent.
pub(crate) fn reported(metadata: &InitializeResponse) -> Option<&str> {
    let version = metadata.extra.get("serverInfo").and_then(|info| info.get("version")?.as_str());
    version.filter(|version| !version.trim().is_empty()).or_else(|| of_user_agent(&metadata.user_agent))
}

/// The version in a user agent, which is `name/1.2.3 (…)` or `name 1.2.3`.
fn of_user_agent(user_agent: &str) -> Option<&str> {
    let (name, rest) = user_agent.split_once('/').or_else(|| user_agent.split_once(char::is_whitespace))?;
    let version = rest.split_whitespace().next()?;
    (!name.trim().is_empty()).then_some(version)
}

/// Refuses a request that the runtime does not have, and parameters that it would silently ignore.
///
/// `params`: the parameters as JSON text. Requests and parameters pass if the table does not list them, or if they may work.
pub(crate) fn check<'a>(
    method: &'a str,
    params: Option<&'a str>,
    metadata: &'a InitializeResponse,
    probe: &'a SchemaProbe,
) -> Boxed<'a, Result<()>> {
    Box::pin(async move {
        let Some(request) = limited(method) else { return Ok(()) };
        let version = reported(metadata).unwrap_or("unknown");
        let runtime = Runtime::of(version);
        if runtime.lacks(request.since, request.until) {
            let known = known_to(request.since, request.until);
            let message =
                format!("the runtime does not have `{method}`: {known}; the reported version is {version:?}");
            return Err(Error::new(ErrorKind::UnsupportedByRuntime, message));
        }
        for field in doubtful_and_set(request, params.unwrap_or_default(), &runtime) {
            check_field(request, field, &runtime, version, probe).await?;
        }
        Ok(())
    })
}

/// The parameters that are set and that the runtime may not support.
fn doubtful_and_set(request: &RequestInfo, params: &str, runtime: &Runtime<'_>) -> Vec<&'static FieldInfo> {
    let mut doubtful: Vec<&FieldInfo> =
        request.fields.iter().filter(|field| runtime.is_doubtful(field)).collect();
    if !doubtful.is_empty() {
        let set = set_members(params);
        doubtful.retain(|field| set.iter().any(|name| name == field.name));
    }
    doubtful
}

/// Whether the client may send this parameter.
pub(crate) fn supports<'a>(
    method: &'a str,
    field: &'a str,
    metadata: &'a InitializeResponse,
    probe: &'a SchemaProbe,
) -> Boxed<'a, bool> {
    Box::pin(async move {
        let params = serde_json::json!({ field: true }).to_string();
        check(method, Some(&params), metadata, probe).await.is_ok()
    })
}

async fn check_field(
    request: &RequestInfo,
    field: &FieldInfo,
    runtime: &Runtime<'_>,
    version: &str,
    probe: &SchemaProbe,
) -> Result<()> {
    let why = match runtime {
        Runtime::Version(..) | Runtime::Unknown => format!("the reported version is {version:?}"),
        Runtime::Unversioned => match probe.has_field(request.params.unwrap_or_default(), field.name).await {
            Some(Ok(true)) => return Ok(()),
            Some(Ok(false)) => "this checkout does not support it".to_owned(),
            Some(Err(_)) | None if !field.exact => return Ok(()),
            Some(Err(why)) => format!("this build has no version, and does not report its schema: {why}"),
            None => "this build has no version. Cannot verify an unversioned CLI that was started with \
                     launch_args_override or before_spawn"
                .to_owned(),
        },
    };
    let (method, name) = (request.method, field.name);
    let message = match field.since.filter(|_| field.exact) {
        Some(first) => format!("`{name}` needs Codex CLI {first} or newer: {why}"),
        None => {
            let known = known_to(field.since, field.until);
            format!("the runtime does not support the parameter `{name}` of `{method}`: {known}; {why}")
        }
    };
    Err(Error::new(ErrorKind::UnsupportedByRuntime, message))
}

/// The table's entry of a request that not all runtimes have, or not with all parameters.
fn limited(method: &str) -> Option<&'static RequestInfo> {
    let at = CLIENT_REQUESTS.binary_search_by_key(&method, |request| request.method).ok()?;
    let request = &CLIENT_REQUESTS[at];
    let everywhere = request.since.is_none() && request.until.is_none() && request.fields.is_empty();
    (!everywhere).then_some(request)
}

/// A runtime's version.
#[derive(Debug, PartialEq)]
enum Runtime<'a> {
    /// The version's numbers, and the text after them.
    Version([u64; 3], &'a str),
    /// A build from a checkout, which reports 0.0.0.
    Unversioned,
    /// The version cannot be read.
    Unknown,
}

impl<'a> Runtime<'a> {
    fn of(version: &'a str) -> Self {
        match parse(version.trim()) {
            Some(([0, 0, 0], _)) => Self::Unversioned,
            Some((numbers, rest)) => Self::Version(numbers, rest),
            None => Self::Unknown,
        }
    }

    /// Whether the runtime is known to lack what the runtimes from `since` to `until` have. Nothing is known about a version
    /// between two of the table. A newer version counts as the newest one.
    fn lacks(&self, since: Option<&str>, until: Option<&str>) -> bool {
        let Self::Version(numbers, rest) = *self else { return false };
        let is_before =
            |version: &str| parse(version).is_some_and(|(first, _)| precedes(numbers, rest, first));
        let is = |version: &str| parse(version).is_some_and(|(first, _)| numbers == first);
        let (before, after) = neighbours(since, until);
        before.is_some_and(|before| is_before(before) || is(before))
            || after.is_some_and(|after| !is_before(after))
    }

    /// Whether the runtime may not support this parameter, judged by its version.
    fn is_doubtful(&self, field: &FieldInfo) -> bool {
        match self {
            Self::Version(numbers, rest) if field.exact => {
                let first = field.since.and_then(parse);
                first.is_some_and(|(first, _)| precedes(*numbers, rest, first))
            }
            Self::Version(..) => self.lacks(field.since, field.until),
            Self::Unversioned => true,
            Self::Unknown => field.exact,
        }
    }
}

/// The last runtime of the table before `since`, and the first one after `until`.
fn neighbours(since: Option<&str>, until: Option<&str>) -> (Option<&'static str>, Option<&'static str>) {
    let position = |version: &str| RUNTIMES.iter().position(|known| *known == version);
    let before = since.and_then(position).and_then(|at| at.checked_sub(1)).map(|at| RUNTIMES[at]);
    let after = until.and_then(position).and_then(|at| RUNTIMES.get(at + 1)).copied();
    (before, after)
}

/// A text that says which runtimes have it.
fn known_to(since: Option<&str>, until: Option<&str>) -> String {
    match (since, until, neighbours(since, until)) {
        (Some(since), None, (Some(before), _)) => {
            format!("Codex CLI {since} and newer have it, {before} and older do not")
        }
        (None, Some(until), (_, Some(after))) => {
            format!("Codex CLI {until} and older have it, {after} and newer do not")
        }
        (Some(since), Some(until), _) => format!("only Codex CLI {since} to {until} are known to have it"),
        _ => "not all versions have it".to_owned(),
    }
}

/// Whether a version comes before `first`.
fn precedes(numbers: [u64; 3], rest: &str, first: [u64; 3]) -> bool {
    match numbers.cmp(&first) {
        Ordering::Greater => false,
        // A pre-release comes before its release. A later build (`.post1`, `+build`) does not.
        Ordering::Equal => rest.starts_with(|c: char| c == '-' || c.is_ascii_alphabetic()),
        Ordering::Less => true,
    }
}

/// The first three numbers of a version, and the text after them.
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

    fn check_request(method: &str, params: &str, metadata: &InitializeResponse) -> Result<()> {
        let probe = SchemaProbe::default();
        let checked = super::check(method, Some(params), metadata, &probe);
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(checked)
    }

    fn check(field: &str, metadata: &InitializeResponse) -> Result<()> {
        check_request("turn/start", &format!("{{\"{field}\": false}}"), metadata)
    }

    fn of_version(version: &str) -> InitializeResponse {
        metadata(&format!("codex-cli/{version}"), Some(version))
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
    fn only_a_known_lower_version_is_older() {
        let older = |version: &str| is_older(&metadata(&format!("codex-cli/{version}"), None), JOINS);
        for version in ["0.133.0", "0.147.9", "0.148.0-alpha.1"] {
            assert!(older(version), "{version}");
        }
        for version in ["0.148.0", "0.148.0+build", "1.0.0", "0.0.0", "unknown", ""] {
            assert!(!older(version), "{version}");
        }
    }

    #[test]
    fn what_a_runtime_is_known_to_lack_is_refused() {
        let text = |version, method, params| {
            check_request(method, params, &of_version(version)).err().map(|error| {
                assert_eq!(error.kind(), ErrorKind::UnsupportedByRuntime);
                error.to_string()
            })
        };
        let items = text("0.133.0", "thread/items/list", "{}").unwrap();
        assert!(items.contains("Codex CLI 0.144.4 and newer have it, 0.133.0 and older do not"), "{items}");
        for (version, method) in [
            ("0.133.0-alpha.1", "thread/items/list"),
            ("0.90.0", "thread/items/list"),
            ("0.171.0", "thread/rollback"),
            ("0.163.0", "thread/rollback"),
            ("1.0.0", "thread/rollback"),
            ("0.169.0", "thread/realtime/list"),
        ] {
            assert!(text(version, method, "{}").is_some(), "{method} of {version}");
        }
        for (version, method) in [
            ("0.144.4", "thread/items/list"),
            // Between two versions of the table.
            ("0.140.0", "thread/items/list"),
            ("0.160.0", "thread/rollback"),
            ("0.163.0-alpha.1", "thread/rollback"),
            ("unknown", "thread/rollback"),
            ("0.0.0", "thread/rollback"),
            ("9.0.0", "thread/realtime/list"),
            ("0.133.0", "thread/of/tomorrow"),
            ("0.133.0", "thread/start"),
        ] {
            assert_eq!(text(version, method, "{}"), None, "{method} of {version}");
        }
    }

    #[test]
    fn a_parameter_that_would_be_ignored_is_refused() {
        let set = r#"{"clientUserMessageId": "m"}"#;
        let error = check_request("turn/start", set, &of_version("0.133.0")).unwrap_err().to_string();
        assert!(error.contains("the parameter `clientUserMessageId` of `turn/start`"), "{error}");
        for (version, params) in [
            ("0.133.0", r#"{"clientUserMessageId": null}"#),
            ("0.133.0", r#"{"ofTomorrow": 1, "input": [{"clientUserMessageId": 1}]}"#),
            ("0.133.0", "[1]"),
            ("0.140.0", set),
            ("0.144.4", set),
            ("unknown", set),
            ("0.0.0", set),
        ] {
            assert!(check_request("turn/start", params, &of_version(version)).is_ok(), "{version} {params}");
        }
        let gone = r#"{"persistExtendedHistory": true}"#;
        assert!(check_request("thread/start", gone, &of_version("0.133.0")).is_ok());
        assert!(check_request("thread/start", gone, &of_version("0.163.0")).is_err());
    }

    #[test]
    fn a_checkout_of_an_unknown_program_cannot_be_verified() {
        let error = check("turnTrigger", &metadata("codex-cli/0.0.0", None)).unwrap_err();
        assert!(error.to_string().contains("Cannot verify an unversioned CLI"), "{error}");
    }
}

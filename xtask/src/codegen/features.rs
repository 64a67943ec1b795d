//! Assigns requests, and the types that only they use, to the protocol crate's cargo features.
//!
//! Requests that most programs need have no feature. All notifications and server requests are available without
//! features, so the client can type everything that it receives.

use std::collections::BTreeSet;

/// The feature that enables all others.
pub const ALL: &str = "full";

/// Each feature, with the prefixes of its methods.
pub const FEATURES: &[(&str, &[&str])] = &[
    (
        "accounts",
        &[
            "account/bedrock/",
            "account/gatewayOAuth/",
            "account/gcp/",
            "account/rateLimitResetCredit/",
            "account/securitySetup/",
            "account/sendAddCreditsNudgeEmail",
            "account/workspaceMessages/",
            "accountSession/",
            "userVerification/",
        ],
    ),
    ("apps", &["app/", "hooks/", "skills/"]),
    ("environments", &["environment/", "remoteControl/"]),
    ("external-agents", &["externalAgentConfig/"]),
    ("files", &["fs/", "fuzzyFileSearch"]),
    ("mcp", &["config/mcpServer/", "mcpServer/", "mcpServerStatus/"]),
    ("model-providers", &["modelProvider/"]),
    ("plugins", &["marketplace/", "plugin/"]),
    ("processes", &["command/", "process/"]),
    ("projects", &["project/", "thread/section/", "threadSection/"]),
    ("realtime", &["thread/realtime/", "thread/timeline/"]),
    (
        "server",
        &[
            "collaborationMode/",
            "experimentalFeature/",
            "feedback/",
            "mock/",
            "permissionProfile/",
            "rollout/",
            "server/",
            "windowsSandbox/",
        ],
    ),
    (
        "thread-extras",
        &[
            "memory/",
            "thread/attachment",
            "thread/goal/",
            "thread/guardianReview",
            "thread/memory",
            "thread/prediction/",
            "thread/queue/",
            "thread/sample",
            "thread/search",
        ],
    ),
];

/// The feature of a client request. `None` if it needs no feature.
pub fn of_method(method: &str) -> Option<&'static str> {
    let found = FEATURES.iter().find(|(_, heads)| heads.iter().any(|head| method.starts_with(head)));
    found.map(|(feature, _)| *feature)
}

/// The attribute of an item that any of these features enables.
pub fn attribute(features: &BTreeSet<&str>) -> String {
    let each: Vec<String> = features.iter().map(|feature| format!("feature = {feature:?}")).collect();
    match each.as_slice() {
        [one] => format!("#[cfg({one})]"),
        several => format!("#[cfg(any({}))]", several.join(", ")),
    }
}

/// Adds these features' attribute before each item of `text`. An item starts at the start of a line.
pub fn gated(text: &str, features: &BTreeSet<&str>) -> String {
    let attribute = attribute(features);
    let is_item = |line: &str| {
        line.starts_with("impl ")
            || line.starts_with("pub type ")
            || (line.ends_with("! {") && !line.starts_with(' '))
    };
    let line =
        |line: &str| if is_item(line) { format!("{attribute}\n{line}\n") } else { format!("{line}\n") };
    text.lines().map(line).collect()
}

/// The sentence for the documentation.
pub fn note(features: &BTreeSet<&str>) -> String {
    let each: Vec<String> = features.iter().map(|feature| format!("`{feature}`")).collect();
    match each.as_slice() {
        [one] => format!("Needs the cargo feature {one}."),
        several => format!("Needs one of the cargo features {}.", several.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn both_crates_declare_every_feature() {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("crates");
        let protocol = fs::read_to_string(crates.join("protocol/Cargo.toml")).unwrap();
        let sdk = fs::read_to_string(crates.join("sdk/Cargo.toml")).unwrap();
        for (feature, _) in FEATURES {
            assert!(protocol.contains(&format!("\n{feature} = []\n")), "{feature}");
            assert!(protocol.contains(&format!("\n    \"{feature}\",\n")), "`{ALL}` lacks {feature}");
            let forwarded = format!("\n{feature} = [\"openai-codex-protocol/{feature}\"]\n");
            assert!(sdk.contains(&forwarded), "{feature}");
        }
    }

    #[test]
    fn every_item_gets_the_attribute() {
        let text = "object! {\n    received\n    A\n}\n\nimpl From<A> for B {\n}\n";
        let gated = gated(text, &BTreeSet::from(["x", "y"]));
        let attribute = "#[cfg(any(feature = \"x\", feature = \"y\"))]\n";
        let wanted = format!(
            "{attribute}object! {{\n    received\n    A\n}}\n\n{attribute}impl From<A> for B {{\n}}\n"
        );
        assert_eq!(gated, wanted);
    }
}

//! What the schema does not say, stated once and by hand.

use super::naming::upper_camel;

/// Answers whose type is not named after the parameters.
pub const RESPONSES: &[(&str, &str)] = &[
    ("memory/reset", "MemoryResetResponse"),
    ("rollout/compress", "RolloutCompressResponse"),
    ("account/gatewayOAuth/read", "GatewayOAuthReadResponse"),
    ("account/gatewayOAuth/login", "GatewayOAuthLoginResponse"),
    ("account/gatewayOAuth/cancel", "GatewayOAuthCancelResponse"),
    ("remoteControl/enable", "RemoteControlEnableResponse"),
    ("remoteControl/disable", "RemoteControlDisableResponse"),
    ("remoteControl/status/read", "RemoteControlStatusReadResponse"),
    ("config/mcpServer/reload", "McpServerRefreshResponse"),
    ("windowsSandbox/readiness", "WindowsSandboxReadinessResponse"),
    ("account/logout", "LogoutAccountResponse"),
    ("account/rateLimits/read", "GetAccountRateLimitsResponse"),
    ("account/usage/read", "GetAccountTokenUsageResponse"),
    ("account/workspaceMessages/read", "GetWorkspaceMessagesResponse"),
    ("externalAgentConfig/import/readHistories", "ExternalAgentConfigImportHistoriesReadResponse"),
    ("config/value/write", "ConfigWriteResponse"),
    ("config/batchWrite", "ConfigWriteResponse"),
    ("configRequirements/read", "ConfigRequirementsReadResponse"),
    ("account/securitySetup/read", "GetAccountSecuritySetupResponse"),
    ("accountSession/list", "AccountSessionsResponse"),
    ("modelProvider/default/set", "ConfigWriteResponse"),
];

/// Parameters for which more is known than the schemas of the supported runtimes say: method, field, and the first runtime
/// that is to be trusted with it. The reference SDK draws the same lines, and refuses them also where the version of the
/// runtime is not known.
pub const EXACT: &[(&str, &str, &str)] = &[
    // 0.144.4 has the field, and so may some runtimes that do not heed it.
    ("thread/fork", "excludeTurns", "0.151.0"),
    ("thread/resume", "excludeTurns", "0.151.0"),
    // First seen in 0.154.0. Older runtimes ignore them without a word.
    ("turn/start", "serviceTierForTurn", "0.151.0"),
    ("turn/start", "toolOutput", "0.151.0"),
    ("turn/start", "turnTrigger", "0.151.0"),
];

/// Deltas of a turn's items that are plain text and may be concatenated: the field that holds the text and the fields that,
/// with the method, tell one stream from another. Base64 payloads are left out, they do not concatenate; so are realtime
/// transcripts, which belong to no turn and whose streams have no key of their own.
pub const MERGES: &[(&str, &str, &[&str])] = &[
    ("item/agentMessage/delta", "delta", &["threadId", "turnId", "itemId"]),
    ("item/plan/delta", "delta", &["threadId", "turnId", "itemId"]),
    ("item/commandExecution/outputDelta", "delta", &["threadId", "turnId", "itemId"]),
    ("item/fileChange/outputDelta", "delta", &["threadId", "turnId", "itemId"]),
    ("item/reasoning/summaryTextDelta", "delta", &["threadId", "turnId", "itemId", "summaryIndex"]),
    ("item/reasoning/textDelta", "delta", &["threadId", "turnId", "itemId", "contentIndex"]),
];

/// Known values of types that the schema shows as plain strings: for the efforts, what `model/list` of the runtime names and
/// its configuration accepts.
pub const KNOWN_VALUES: &[(&str, &[&str])] =
    &[("ReasoningEffort", &["none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra"])];

/// Fields whose type changed between runtimes, and the type that takes what any of them sends.
pub const WIDER: &[(&str, &str)] = &[
    // Both are enumerations of strings, and those keep values that they do not know.
    ("ConfigRequirements.allowedWindowsSandboxImplementations", "[WindowsSandboxImplementation]"),
    ("ThreadSearchParams.sortKey", "ThreadSearchSortKey"),
    // A string is one of its alternatives.
    ("ThreadItemsListParams.cursor", "ThreadItemsListCursor"),
    // 0.144.4 has another type in its schema, and answers that the method is not supported yet.
    ("ThreadItemsListResponse.data", "[ThreadItemEntry]"),
];

/// Types whose kind changed between runtimes: the kind of the pinned runtime holds.
pub const RESHAPED: &[&str] = &[
    // A function without a tag in 0.133.0. The SDK writes that form itself.
    "DynamicToolSpec",
    // The tag was a plain field until 0.144.4: the JSON is the same.
    "HookMetadata",
];

/// Types whose forms in several runtimes have nothing in common: arbitrary JSON.
pub const OPAQUE: &[&str] = &[
    // An object with an `action` in 0.169.0, a union with a `mode` in 0.171.0.
    "AgentMessageDisplay",
];

/// Fields that `Debug` must not show.
const SECRETS: &[&str] = &[
    "accessToken",
    "apiKey",
    "authBearerToken",
    "manualPairingCode",
    "pairingCode",
    "secretAccessKey",
    "sessionToken",
    "token",
];

/// Whether `Debug` must not show a field.
pub fn is_secret(wire: &str) -> bool {
    SECRETS.contains(&wire)
}

/// Payloads of more than this many estimated bytes are boxed in enums.
pub const BOX_ABOVE: usize = 200;

/// Requests that the SDK makes itself. The code that writes and reads them is made in the protocol crate, once, together with
/// that of the notifications, whose types they share; that of the others where they are used.
pub const HIGH_LEVEL: &[&str] = &[
    "account/login/cancel",
    "account/login/start",
    "account/logout",
    "account/rateLimits/read",
    "account/read",
    "initialize",
    "model/list",
    "thread/archive",
    "thread/backgroundTerminals/list",
    "thread/backgroundTerminals/terminate",
    "thread/compact/start",
    "thread/fork",
    "thread/items/list",
    "thread/list",
    "thread/loaded/list",
    "thread/name/set",
    "thread/read",
    "thread/resume",
    "thread/settings/update",
    "thread/start",
    "thread/turns/list",
    "thread/unarchive",
    "thread/unsubscribe",
    "turn/interrupt",
    "turn/start",
    "turn/steer",
];

/// Method names that an event loop meets most; they are looked up first.
pub const HOT: &[&str] = &["item/agentMessage/delta", "item/started", "item/completed"];

/// First path segments of methods that share a file.
const DOMAINS: &[(&str, &[&str])] = &[
    ("account", &["account", "accountSession", "attestation", "userVerification"]),
    (
        "config",
        &[
            "config",
            "configRequirements",
            "configWarning",
            "experimentalFeature",
            "permissionProfile",
            "windows",
            "windowsSandbox",
            "collaborationMode",
        ],
    ),
    ("external_agent", &["externalAgentConfig"]),
    ("environment", &["environment", "remoteControl"]),
    ("fs", &["fs", "fuzzyFileSearch"]),
    ("item", &["item", "autoApprovalReview"]),
    ("mcp", &["mcpServer", "mcpServerStatus"]),
    ("model", &["model", "modelProvider"]),
    ("plugin", &["plugin", "marketplace"]),
    ("apps", &["app", "skills", "hooks", "hook"]),
    ("process", &["process", "command"]),
    ("project", &["project", "threadSection"]),
    ("thread", &["thread", "memory", "rollout"]),
    ("turn", &["turn", "review"]),
];

/// Heads of methods that would make the file of their first segment too long, and the file they go to instead.
const PARTS: &[(&str, &str)] = &[
    ("thread/realtime/", "realtime"),
    ("thread/timeline/", "realtime"),
    ("thread/queue/", "thread_queue"),
    ("thread/attachment", "thread_queue"),
    ("thread/start", "thread_start"),
    ("thread/resume", "thread_start"),
    ("thread/fork", "thread_start"),
    ("thread/settings/", "thread_start"),
    ("thread/list", "thread_history"),
    ("thread/read", "thread_history"),
    ("thread/search", "thread_history"),
    ("thread/items/", "thread_history"),
    ("thread/turns/", "thread_history"),
    ("thread/loaded/", "thread_history"),
    ("thread/goal/", "thread_goal"),
    ("thread/prediction/", "thread_goal"),
    ("thread/backgroundTerminals/", "thread_goal"),
];

/// The file of what only `method` uses.
pub fn domain_of_method(method: &str) -> &'static str {
    if let Some((_, domain)) = PARTS.iter().find(|(head, _)| method.starts_with(head)) {
        return domain;
    }
    let head = method.split('/').next().unwrap_or(method);
    DOMAINS.iter().find(|(_, heads)| heads.contains(&head)).map_or("server", |(domain, _)| domain)
}

/// The file of a type that several domains use, by the head of its name.
pub fn domain_of_shared(name: &str) -> &'static str {
    const HEADS: &[(&str, &str)] = &[
        ("ThreadRealtime", "realtime"),
        ("Thread", "thread"),
        ("Turn", "turn"),
        ("Mcp", "mcp"),
        ("Config", "config"),
        ("Plugin", "plugin"),
        ("App", "apps"),
        ("Hook", "apps"),
        ("Skill", "apps"),
        ("Fs", "fs"),
        ("Model", "model"),
        ("Account", "account"),
        ("Environment", "environment"),
    ];
    HEADS.iter().find(|(head, _)| name.starts_with(head)).map_or("shared", |(_, domain)| domain)
}

/// Types with a place of their own, whatever uses them.
pub fn domain_override(name: &str) -> Option<&'static str> {
    const HEADS: &[(&str, &str)] = &[
        ("ResponseItem", "response_item"),
        ("ResponsesApi", "response_item"),
        ("ContentItem", "response_item"),
        ("AgentMessageInputContent", "response_item"),
        ("FunctionCallOutput", "response_item"),
        ("InternalChatMessage", "response_item"),
        ("LocalShell", "response_item"),
        ("ReasoningItem", "response_item"),
        ("ConfigurationReasoning", "response_item"),
        ("UserInput", "item"),
        ("CommandAction", "item"),
        ("FileUpdateChange", "item"),
        ("PatchChangeKind", "item"),
        ("DynamicTool", "item"),
        ("FileSystem", "permission"),
        ("Permission", "permission"),
        ("AdditionalPermission", "permission"),
        ("AdditionalFileSystem", "permission"),
        ("AdditionalNetwork", "permission"),
        ("RequestPermission", "permission"),
        ("GrantedPermission", "permission"),
        ("SandboxPolicy", "permission"),
        ("AskForApproval", "permission"),
        ("ActivePermission", "permission"),
        ("McpElicitation", "elicitation"),
        ("McpServerElicitation", "elicitation"),
    ];
    if name == "ThreadItem" {
        return Some("item");
    }
    HEADS.iter().find(|(head, _)| name.starts_with(head)).map(|(_, domain)| *domain)
}

/// Name of the marker type of a method.
pub fn marker(method: &str) -> String {
    upper_camel(method)
}

/// Types that the protocol crate writes by hand.
pub const BY_HAND: &[&str] = &["RequestId"];

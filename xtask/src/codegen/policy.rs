//! Hand-written facts that the schema does not state.

use super::naming::upper_camel;

/// Response types that are not named after the parameters.
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

/// Parameters that need a newer runtime than the schemas say: method, field, and the first accepted runtime. The Python
/// SDK draws the same lines, and also refuses them if the version of the runtime is unknown.
pub const EXACT: &[(&str, &str, &str)] = &[
    // 0.144.4 has the field, but some runtimes may ignore it.
    ("thread/fork", "excludeTurns", "0.151.0"),
    ("thread/resume", "excludeTurns", "0.151.0"),
    // First seen in 0.154.0. Older runtimes ignore them silently.
    ("turn/start", "serviceTierForTurn", "0.151.0"),
    ("turn/start", "toolOutput", "0.151.0"),
    ("turn/start", "turnTrigger", "0.151.0"),
];

/// Plain-text deltas of a turn's items, which may be concatenated: the field with the text, and the fields that, with
/// the method, identify a stream. Base64 payloads are missing because they do not concatenate. Realtime transcripts are
/// missing because they belong to no turn and their streams have no key.
pub const MERGES: &[(&str, &str, &[&str])] = &[
    ("item/agentMessage/delta", "delta", &["threadId", "turnId", "itemId"]),
    ("item/plan/delta", "delta", &["threadId", "turnId", "itemId"]),
    ("item/commandExecution/outputDelta", "delta", &["threadId", "turnId", "itemId"]),
    ("item/fileChange/outputDelta", "delta", &["threadId", "turnId", "itemId"]),
    ("item/reasoning/summaryTextDelta", "delta", &["threadId", "turnId", "itemId", "summaryIndex"]),
    ("item/reasoning/textDelta", "delta", &["threadId", "turnId", "itemId", "contentIndex"]),
];

/// Types that the server sends often, and the types of their fields. The macros expand the fastest decoder for each. All other
/// types share one decoder, which costs less compile time.
pub const STREAMED: &[&str] = &[
    "AgentMessageDeltaNotification",
    "CommandExecutionOutputDeltaNotification",
    "FileChangeOutputDeltaNotification",
    "PlanDeltaNotification",
    "ReasoningSummaryTextDeltaNotification",
    "ReasoningTextDeltaNotification",
    "ThreadTokenUsageUpdatedNotification",
    "ThreadTokenUsage",
    "TokenUsageBreakdown",
    "ItemStartedNotification",
    "ItemCompletedNotification",
    "ThreadItem",
    "AgentMessageThreadItem",
    "CommandExecutionThreadItem",
    "FileChangeThreadItem",
    "McpToolCallThreadItem",
    "PlanThreadItem",
    "ReasoningThreadItem",
    "UserMessageThreadItem",
    "WebSearchThreadItem",
    "FileUpdateChange",
    "PatchChangeKind",
    "UpdatePatchChangeKind",
    "UserInput",
    "WebSearchAction",
    "SearchWebSearchAction",
];

/// Known values of types that the schema shows as plain strings. For efforts: the values that the runtime's
/// `model/list` returns and its configuration accepts.
pub const KNOWN_VALUES: &[(&str, &[&str])] =
    &[("ReasoningEffort", &["none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra"])];

/// Fields whose type changed between runtimes, with a type that accepts the values of all.
pub const WIDER: &[(&str, &str)] = &[
    // Both are string enumerations, which keep unknown values.
    ("ConfigRequirements.allowedWindowsSandboxImplementations", "[WindowsSandboxImplementation]"),
    ("ThreadSearchParams.sortKey", "ThreadSearchSortKey"),
    // A string is one of its alternatives.
    ("ThreadItemsListParams.cursor", "ThreadItemsListCursor"),
    // 0.144.4 has another type in its schema, and responds that it does not support the method yet.
    ("ThreadItemsListResponse.data", "[ThreadItemEntry]"),
];

/// Types whose kind changed between runtimes. The pinned runtime's kind applies.
pub const RESHAPED: &[&str] = &[
    // A function without a tag in 0.133.0. The SDK writes that form itself.
    "DynamicToolSpec",
    // The tag was a plain field until 0.144.4. The JSON is the same.
    "HookMetadata",
];

/// Types whose forms in several runtimes have nothing in common. They become arbitrary JSON.
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

/// Enums box payloads with more than this many estimated bytes.
pub const BOX_ABOVE: usize = 200;

/// Requests that the SDK sends itself. The protocol crate instantiates the code that writes and reads them, once,
/// together with that of the notifications, whose types they share. Other requests are instantiated where a program
/// uses them.
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

/// The most frequent method names of an event loop. They are looked up first.
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

/// Method prefixes that would make the file of their first segment too long, with the file that they go to instead.
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

/// The file of a type that only `method` uses.
pub fn domain_of_method(method: &str) -> &'static str {
    if let Some((_, domain)) = PARTS.iter().find(|(head, _)| method.starts_with(head)) {
        return domain;
    }
    let head = method.split('/').next().unwrap_or(method);
    DOMAINS.iter().find(|(_, heads)| heads.contains(&head)).map_or("server", |(domain, _)| domain)
}

/// The file of a type that several domains use, by its prefix.
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

/// Types with a fixed file, independent of their uses.
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

/// The name of a method's marker type.
pub fn marker(method: &str) -> String {
    upper_camel(method)
}

/// Types that the protocol crate defines by hand.
pub const BY_HAND: &[&str] = &["RequestId"];

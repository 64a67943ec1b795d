//! A program can import everything from the SDK and the testkit: no name is ambiguous.
#![deny(ambiguous_glob_imports)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use openai_codex::*;
use openai_codex_testkit::*;

/// Uses and lists each name. A name that both crates have does not compile.
macro_rules! names {
    ($($name:ident),* $(,)?) => {
        #[allow(unused_imports, reason = "the import is the test")]
        mod each {
            use super::{$($name as _),*};
        }

        const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

names! {
    AcceptEveryApproval, AccountRead, AppServer, ApprovalMode, AsyncChatgptLoginHandle, AsyncCodex,
    AsyncDeviceCodeLoginHandle, AsyncEntries, AsyncEvents, AsyncPages, AsyncTextStream, AsyncThread,
    AsyncTurnHandle, AsyncTurnStream, Cancellation, ChatgptLoginHandle, ClientRequest, Codex,
    CodexConfig, CommandApproval, ConnectionPolicy, DecodeError, DeviceCodeLoginHandle, ElicitationRequest, Endpoint, Ensure, EnsureOutcome, Ensured,
    Entries,
    Error, ErrorGroup, ErrorKind, Event, Events, ExternalMessage, FailedAttempt, FaultyProxy, FileChangeApproval, GapPolicy, Gate, HalfDone, HandlerRequest,
    ImageInput, Input, InputItem, IntoReply, IntoToolOutput, IntoToolReply, Json, JsonRpcError,
    LocalImageInput, McpServer, MentionInput, MethodClass, ModelReply, ModelToolCall, Models,
    Notification, OutputMismatch, Paged, Pages, PermissionsApproval, Phase, Question, Reasoning,
    RecordedRequest, Reply, RequestHandler, Responder, RestartPolicy, Result, RetryPolicy, Rollout, RunResult,
    Sandbox, SandboxChoice, Script, ScriptedModel, SkillInput, TextInput, TextStream, Thread,
    ThreadFork, ThreadItems, ThreadList, ThreadRead, ThreadResume, ThreadStart, ThreadTurns, Tool,
    ToolCall, ToolCallRequest, ToolOutput, ToolReply, TraceContext, TurnHandle, TurnInput, TurnStart,
    TurnStream, TypedResult, UndecodableNotification, UnknownNotification, UnknownRequest, Usage, UserInputRequest,
    Verdict, WaitError, WireLog, app_server, guide, is_retryable_error, leaks, mcp, testing_guide,
    coalesced_count, methods, model, proxy, retry_on_overload, retry_on_overload_async, runtime, schemars,
    tool, transport, types,
}

/// The names at the root of a crate, from the snapshot of its public API.
fn snapshot(package: &str) -> BTreeSet<String> {
    const ITEMS: [&str; 8] = ["enum", "fn", "mod", "static", "struct", "trait", "type", "use"];
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/api").join(package).with_extension("txt");
    let root = format!("{}::", package.replace('-', "_"));
    let text = fs::read_to_string(path).unwrap();
    let paths = text.lines().filter(|line| !line.starts_with("impl")).filter_map(|line| {
        let mut words = line.split_whitespace().skip_while(|word| !ITEMS.contains(word));
        words.nth(1)?.strip_prefix(&root)
    });
    let names = paths.filter_map(|path| {
        let end = path.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(path.len());
        let (name, rest) = path.split_at(end);
        (!rest.starts_with("::")).then(|| name.to_owned())
    });
    names.collect()
}

#[test]
fn every_public_name_is_listed_above() {
    for package in ["openai-codex", "openai-codex-testkit"] {
        let names = snapshot(package);
        assert!(names.len() > 10, "{names:?}");
        let missing: Vec<_> = names.iter().filter(|name| !NAMES.contains(&name.as_str())).collect();
        assert!(missing.is_empty(), "add these names of {package} to the list above: {missing:?}");
    }
}

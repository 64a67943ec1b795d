#![doc = include_str!("../README.md")]

mod account;
mod approval;
mod background;
mod by_id;
mod checkout;
mod client;
mod config;
mod connection;
mod error;
mod events;
mod external_message;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
pub mod guide;
mod handler;
mod input;
mod method_class;
mod models;
mod owning_process;
mod paging;
mod park;
mod process;
mod restart;
mod retry;
mod sandbox;
mod schema;
mod thread;
mod tool;
mod trace;
mod trace_context;
pub mod transport;
mod turn;
mod version;
mod wire_log;

pub use account::{AccountRead, AsyncChatgptLoginHandle, AsyncDeviceCodeLoginHandle};
#[cfg(feature = "blocking")]
pub use account::{ChatgptLoginHandle, DeviceCodeLoginHandle};
pub use approval::ApprovalMode;
pub use client::AsyncCodex;
#[cfg(feature = "blocking")]
pub use client::Codex;
pub use config::CodexConfig;
pub use error::{Error, ErrorKind, JsonRpcError, OutputMismatch, Result, is_retryable_error};
#[cfg(feature = "blocking")]
pub use events::Events;
pub use events::{AsyncEvents, Event};
pub use external_message::{ExternalMessage, TurnInput};
pub use handler::{
    AcceptEveryApproval, Cancellation, CommandApproval, ElicitationRequest, FileChangeApproval,
    HandlerRequest, IntoReply, PermissionsApproval, Reply, RequestHandler, Responder, ToolCallRequest,
    UserInputRequest,
};
pub use input::{ImageInput, Input, InputItem, LocalImageInput, MentionInput, SkillInput, TextInput};
pub use method_class::MethodClass;
pub use models::Models;
pub use paging::{AsyncEntries, AsyncPages, Paged};
#[cfg(feature = "blocking")]
pub use paging::{Entries, Pages};
pub use restart::RestartPolicy;
pub use retry::{RetryPolicy, retry_on_overload, retry_on_overload_async};
pub use sandbox::{Sandbox, SandboxChoice};
#[cfg(feature = "blocking")]
pub use thread::Thread;
pub use thread::{
    AsyncThread, ThreadFork, ThreadItems, ThreadList, ThreadRead, ThreadResume, ThreadStart, ThreadTurns,
};
pub use tool::{IntoToolOutput, IntoToolReply, Json, Tool, ToolCall, ToolOutput, ToolReply};
pub use turn::{
    AsyncTextStream, AsyncTurnHandle, AsyncTurnStream, FailedAttempt, RunResult, TurnStart, TypedResult,
    merged_count,
};
#[cfg(feature = "blocking")]
pub use turn::{TextStream, TurnHandle, TurnStream};

pub use trace_context::TraceContext;
pub use wire_log::WireLog;

#[cfg(feature = "macros")]
#[doc = include_str!("tool_attribute.md")]
pub use openai_codex_macros::tool;
pub use openai_codex_protocol::{
    ClientRequest, DecodeError, Notification, UndecodableNotification, UnknownNotification, methods, types,
};
/// Finding and installing the Codex runtime.
pub use openai_codex_runtime as runtime;
/// The crate whose `JsonSchema` types have, for [`TurnStart::run_as`]. A program that does not depend on it itself brings
/// its name into scope: `use openai_codex::schemars::{self, JsonSchema};`.
pub use schemars;

/// For the code that `#[tool]` generates: the program needs no serde of its own.
#[cfg(feature = "macros")]
#[doc(hidden)]
pub mod __private {
    pub use serde;
}

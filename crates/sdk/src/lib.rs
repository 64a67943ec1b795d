#![doc = include_str!("../README.md")]

mod approval;
mod checkout;
mod client;
pub mod concepts;
mod config;
mod connection;
mod error;
mod events;
mod external_message;
mod handler;
mod input;
mod models;
mod paging;
mod park;
mod process;
mod restart;
mod retry;
mod sandbox;
mod thread;
pub mod transport;
mod turn;
mod version;

pub use approval::ApprovalMode;
pub use client::AsyncCodex;
#[cfg(feature = "blocking")]
pub use client::Codex;
pub use config::CodexConfig;
pub use error::{Error, ErrorKind, JsonRpcError, Result, is_retryable_error};
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
pub use turn::{AsyncTextStream, AsyncTurnHandle, AsyncTurnStream, RunResult, TurnStart, merged_count};
#[cfg(feature = "blocking")]
pub use turn::{TextStream, TurnHandle, TurnStream};

pub use openai_codex_protocol::{
    ClientRequest, DecodeError, Notification, UndecodableNotification, UnknownNotification, methods, types,
};
/// Finding and installing the Codex runtime.
pub use openai_codex_runtime as runtime;

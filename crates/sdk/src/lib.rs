// The first definition of a link wins: in rustdoc these replace the links to files at the end of the README.
//! [approvals]: guide::approvals
//! [cancellation]: guide::cancellation
//! [durable]: guide::durable
//! [endpoints]: guide::endpoints
//! [errors]: guide::errors
//! [inputs]: guide::inputs
//! [login]: guide::login
//! [observing]: guide::observing
//! [restart]: guide::restart
//! [streaming]: guide::streaming
//! [testing]: guide::testing
//! [threads]: guide::threads
//! [timeouts]: guide::timeouts
//! [tools]: guide::tools
//! [trust]: guide::trust
//! [typed_output]: guide::typed_output
//!
#![doc = include_str!("../README.md")]

pub(crate) mod account;
pub(crate) mod background;
pub(crate) mod block_on;
pub(crate) mod cancellation;
pub(crate) mod client;
pub(crate) mod codec;
pub(crate) mod config;
pub(crate) mod connection;
pub(crate) mod dispatch;
#[cfg(feature = "endpoints")]
pub(crate) mod endpoint;
pub(crate) mod error;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
pub mod guide;
pub(crate) mod handler;
pub(crate) mod into_future;
pub(crate) mod io;
pub(crate) mod json_scan;
pub(crate) mod models;
pub(crate) mod options;
pub(crate) mod owning_process;
pub(crate) mod paging;
pub(crate) mod process;
#[doc(hidden)]
#[cfg(feature = "raw")]
pub mod raw;
pub(crate) mod result;
pub(crate) mod retry;
#[cfg(any(feature = "schemars", feature = "raw"))]
pub(crate) mod schema;
pub(crate) mod select;
pub(crate) mod session;
pub(crate) mod shared_redactor;
pub(crate) mod thread;
pub(crate) mod thread_map;
pub(crate) mod tool;
pub(crate) mod trace;
pub mod transport;
pub(crate) mod turn;
pub(crate) mod wire_log;

pub use crate::account::handles::{AsyncChatgptLoginHandle, AsyncDeviceCodeLoginHandle};
#[cfg(feature = "blocking")]
pub use crate::account::handles::{ChatgptLoginHandle, DeviceCodeLoginHandle};
pub use crate::account::read::AccountRead;
pub use crate::cancellation::Cancellation;
pub use crate::config::CodexConfig;
#[cfg(feature = "endpoints")]
pub use crate::endpoint::address::Endpoint;
pub use crate::error::{Error, ErrorGroup, ErrorKind, JsonRpcError, Result, is_retryable_error};
pub use crate::handler::accept_all::AcceptEveryApproval;
pub use crate::handler::reply::{IntoReply, Reply, Responder};
pub use crate::handler::request::HandlerRequest;
pub use crate::handler::request_handler::{
    CommandApproval, ElicitationRequest, FileChangeApproval, PermissionsApproval, RequestHandler,
    ToolCallRequest, UserInputRequest,
};
pub use crate::models::Models;
pub use crate::options::approval::ApprovalMode;
pub use crate::options::connection_policy::ConnectionPolicy;
pub use crate::options::external_message::ExternalMessage;
pub use crate::options::gap_policy::GapPolicy;
pub use crate::options::input::{
    ImageInput, Input, InputItem, LocalImageInput, MentionInput, SkillInput, TextInput, TurnInput,
};
pub use crate::options::method_class::MethodClass;
pub use crate::options::restart_policy::RestartPolicy;
pub use crate::options::sandbox::{Sandbox, SandboxChoice};
pub use crate::paging::{AsyncEntries, AsyncPages, Paged};
#[cfg(feature = "blocking")]
pub use crate::paging::{Entries, Pages};
pub use crate::result::FailedAttempt;
pub use crate::result::OutputMismatch;
pub use crate::result::RunResult;
pub use crate::retry::{RetryPolicy, retry_on_overload, retry_on_overload_async};
pub use crate::session::clients::AsyncCodex;
#[cfg(feature = "blocking")]
pub use crate::session::clients::Codex;
#[cfg(feature = "blocking")]
pub use crate::session::events::Events;
pub use crate::session::events::{AsyncEvents, Event};
pub use crate::thread::ensure::{Ensure, EnsureOutcome, Ensured};
pub use crate::thread::fork::ThreadFork;
pub use crate::thread::half_done::HalfDone;
pub use crate::thread::handles::AsyncThread;
#[cfg(feature = "blocking")]
pub use crate::thread::handles::Thread;
pub use crate::thread::history::{ThreadItems, ThreadTurns};
pub use crate::thread::list::ThreadList;
pub use crate::thread::read::ThreadRead;
pub use crate::thread::resume::ThreadResume;
pub use crate::thread::rollout::Rollout;
pub use crate::thread::start::ThreadStart;
pub use crate::tool::call::ToolCall;
pub use crate::tool::definition::Tool;
pub use crate::tool::output::{IntoToolOutput, Json, ToolOutput};
pub use crate::tool::reply::{IntoToolReply, ToolReply};
pub use crate::turn::coalesced_count::coalesced_count;
pub use crate::turn::handles::AsyncTurnHandle;
#[cfg(feature = "blocking")]
pub use crate::turn::handles::TurnHandle;
pub use crate::turn::start::TurnStart;
pub use crate::turn::stream::AsyncTurnStream;
#[cfg(feature = "blocking")]
pub use crate::turn::stream::TurnStream;
pub use crate::turn::text::AsyncTextStream;
#[cfg(feature = "blocking")]
pub use crate::turn::text::TextStream;
#[cfg(feature = "schemars")]
pub use crate::turn::typed::TypedResult;

pub use crate::options::trace_context::TraceContext;
pub use crate::wire_log::WireLog;

#[cfg(feature = "macros")]
#[doc = include_str!("tool_attribute.md")]
pub use openai_codex_macros::tool;
pub use openai_codex_protocol::{
    ClientRequest, DecodeError, Notification, UndecodableNotification, UnknownNotification, UnknownRequest,
    methods, types,
};
/// Finding and installing the Codex runtime.
pub use openai_codex_runtime as runtime;
/// The crate whose `JsonSchema` types have, for [`TurnStart::run_as`] and [`Tool::new`]. The feature `schemars` adds them. A
/// program that does not depend on it itself brings its name into scope: `use openai_codex::schemars::{self, JsonSchema};`.
#[cfg(feature = "schemars")]
pub use schemars;

/// For the code that `#[tool]` generates: the program needs no serde of its own.
#[cfg(feature = "macros")]
#[doc(hidden)]
pub mod __private {
    pub use serde;
}

//! Events, results and responses as JSON text.
//!
//! For fronts in other languages, which build their own objects from the JSON of the server. Not for Rust programs: nothing here
//! is stable.

mod unmanaged;

use std::borrow::Cow;
use std::fmt;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use openai_codex_protocol::types::ThreadItem;
use openai_codex_protocol::{ClientRequest, methods};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::connection::event::{Event, OwnedEvent};
use crate::connection::turn_buffer::End;
use crate::error::{Error, ErrorKind, Result};
use crate::handler::reply::{Reply, Responder, State};
use crate::paging::{AsyncPages, Paged};
use crate::result::RunResult;
use crate::schema::write;
use crate::schema::write::Purpose;
use crate::session::clients::AsyncCodex;
use crate::session::events::AsyncEvents;
use crate::thread::handles::AsyncThread;
use crate::thread::list::in_an_order_that_pages_keep;
use crate::thread::resume::ThreadResume;
use crate::tool::definition::Tool;
use crate::tool::output::ToolOutput;
use crate::turn::handles::AsyncTurnHandle;
use crate::turn::recover;
use crate::turn::start::TurnStart;
use crate::turn::stream::AsyncTurnStream;

pub use unmanaged::{RawLogin, RawTurn, notify, start_login, start_thread, start_turn};

/// Makes a request by its method's name. Returns its result as JSON text.
///
/// # Errors
/// As [`AsyncCodex::request`].
pub async fn request(codex: &AsyncCodex, method: &str, params: Option<&RawValue>) -> Result<String> {
    codex.core.session().await?.call_raw(method, params).await
}

/// Starts a turn that is interrupted when its last handle is dropped, until [`keep_on_drop`] is called. Without `keep_events`,
/// the handle keeps no events, and its first stream begins when it is opened.
///
/// # Errors
/// As [`TurnStart::send`].
pub async fn start(turn: TurnStart<AsyncCodex>, keep_events: bool) -> Result<AsyncTurnHandle> {
    turn.handle_with(keep_events).await
}

/// Lets a turn continue when its last handle is dropped.
pub fn keep_on_drop(turn: &AsyncTurnHandle) {
    turn.guard.set_interrupt_on_drop(false);
}

/// The result of a turn that has ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct RawResult {
    /// As [`RunResult::final_response`].
    pub final_response: Option<String>,
    /// The parameters of each `item/completed`.
    pub items: Vec<Box<str>>,
    /// The parameters of the last `thread/tokenUsage/updated`.
    pub usage: Option<Box<str>>,
    /// As [`RunResult::turn_usage`], as JSON text.
    pub turn_usage: Option<String>,
    /// The response to `turn/start`.
    pub started: Option<std::sync::Arc<str>>,
    /// The parameters of `turn/completed`. `None` if it never came.
    pub completed: Option<Box<str>>,
    /// The error of a turn that failed, exceeded a limit or was lost. The other fields are what it produced.
    pub error: Option<Error>,
}

/// Waits for the turn's end and returns its result.
pub async fn run(turn: &AsyncTurnHandle) -> RawResult {
    let (digest, end) = turn.guard.end().await;
    let completed = match &end {
        End::Completed(event) => Some(event.clone().into_text()),
        End::Lost(_) => None,
    };
    let items: Vec<_> = digest.items.iter().cloned().map(OwnedEvent::into_text).collect();
    let usage = digest.usage.clone().map(OwnedEvent::into_text);
    let started = digest.start_response.clone();
    let assembled = RunResult::assemble(turn.thread_id(), digest, end);
    let (result, error) = match assembled {
        Ok(result) => (Some(result), None),
        Err(error) => (error.turn().cloned(), Some(error)),
    };
    let (mut items, mut result) = (items, result);
    if completed.is_some()
        && let Some(recorded) = turn.guard.recorded_items().await
        && recorded.len() >= items.len()
    {
        items = recorded.iter().filter_map(item_completed).collect();
        result = result.map(|result| result.with_items(recorded));
    }
    let (final_response, turn_usage) = match result {
        Some(result) => (result.final_response, result.turn_usage),
        None => (None, None),
    };
    let turn_usage = turn_usage.and_then(|usage| serde_json::to_string(&usage).ok());
    RawResult { final_response, items, usage, turn_usage, started, completed, error }
}

/// The parameters of an `item/completed` with a recorded item. Of the other members, only the item is read.
fn item_completed(item: &ThreadItem) -> Option<Box<str>> {
    let ids = json!({"item": item, "threadId": "", "turnId": "", "completedAtMs": 0});
    serde_json::to_string(&ids).ok().map(Into::into)
}

/// Reads the result of a turn from the runtime's records, by the ids of its thread and of itself.
///
/// # Errors
/// As [`AsyncTurnHandle::recover`].
pub async fn recover(codex: &AsyncCodex, thread_id: &str, turn_id: &str) -> Result<RunResult> {
    recover::recover(&codex.core, thread_id, turn_id).await
}

type PollPage = dyn FnMut(&mut Context<'_>) -> Poll<Option<Result<String>>> + Send;

/// The pages of a listing.
pub struct RawPages(Box<PollPage>);

/// Lists by the method of a listing: `thread/list`, `thread/turns/list`, `thread/items/list` or `model/list`. The method and the
/// parameters are those of the first page. `thread`: the thread of the listing, if there is a handle.
///
/// # Errors
/// Why the parameters are unusable.
pub fn pages(
    codex: &AsyncCodex,
    thread: Option<&AsyncThread>,
    method: &str,
    params: Value,
) -> std::result::Result<RawPages, String> {
    fn typed<P: DeserializeOwned>(params: Value) -> std::result::Result<Result<P>, String> {
        serde_json::from_value(params).map(Ok).map_err(|error| error.to_string())
    }
    fn raw<R: Paged<Response: Serialize>>(mut pages: AsyncPages<R>) -> RawPages {
        RawPages(Box::new(move |context| {
            let page = ready!(pin!(pages.next()).poll(context));
            Poll::Ready(page.map(|page| {
                let unwritable = |error: serde_json::Error| Error::new(ErrorKind::Decode, error.to_string());
                serde_json::to_string(&page?).map_err(unwritable)
            }))
        }))
    }
    let (core, thread) = (codex.core.clone(), thread.map(|thread| thread.state.clone()));
    Ok(match method {
        methods::ThreadList::METHOD => {
            raw(AsyncPages::<methods::ThreadList>::new(core, typed(params)?, thread)
                .prepared(in_an_order_that_pages_keep))
        }
        methods::ThreadTurnsList::METHOD => {
            raw(AsyncPages::<methods::ThreadTurnsList>::new(core, typed(params)?, thread))
        }
        methods::ThreadItemsList::METHOD => {
            raw(AsyncPages::<methods::ThreadItemsList>::new(core, typed(params)?, thread))
        }
        methods::ModelList::METHOD => {
            raw(AsyncPages::<methods::ModelList>::new(core, typed(params)?, thread))
        }
        other => return Err(format!("{other} is not the method of a listing")),
    })
}

impl RawPages {
    /// Waits for the next page as JSON text. `None` after the last. The next call continues a pending request.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<String>>> {
        (self.0)(context)
    }
}

impl fmt::Debug for RawPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RawPages")
    }
}

/// A handle of another client's thread, for the client of the builder. That client may be closed. The handle has the handlers and tools
/// of the builder. Its first use resumes the thread, with its instructions, configuration entries and settings, as after a restart.
pub fn adopt(resume: ThreadResume<AsyncCodex>, thread: &AsyncThread) -> AsyncThread {
    resume.adopt(thread)
}

/// Observes the events of a thread, by its id.
pub fn thread_events(codex: &AsyncCodex, thread_id: &str) -> AsyncEvents {
    AsyncEvents::new(codex.core.clone(), Some(thread_id.into()))
}

/// One event of a stream.
#[derive(Debug)]
#[non_exhaustive]
pub struct RawEvent<'a> {
    /// Its method.
    pub method: Cow<'a, str>,
    /// Its parameters as JSON text, if it has any.
    pub params: Option<&'a str>,
}

/// The events of a turn; see [`AsyncTurnHandle::stream`].
#[derive(Debug)]
pub struct RawStream {
    events: AsyncTurnStream,
}

impl RawStream {
    /// Opens a stream.
    pub fn open(turn: &AsyncTurnHandle) -> Self {
        Self { events: turn.stream() }
    }

    /// As [`AsyncTurnStream::with_children`].
    pub fn with_children(self) -> Self {
        Self { events: self.events.with_children() }
    }

    /// Reads the next event that has been taken from the client. `None` if all were read: then [`poll_take`](Self::poll_take) more.
    pub fn pop<T>(&mut self, mut read: impl FnMut(RawEvent<'_>) -> T) -> Option<T> {
        self.events.pop_with(|event: Event<'_>| {
            let (method, params) = event.parts();
            read(RawEvent { method, params })
        })
    }

    /// Waits for events and takes all that are there. `None` after the last. The caller has popped all that were taken before.
    pub fn poll_take(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<()>>> {
        self.events.poll_batch(context)
    }
}

/// The strict form of a JSON schema, which the service requires of a final response. The flag says whether the value is wrapped in the
/// field `value` of an object, because the root must be an object.
///
/// # Errors
/// Why the schema has no strict form.
pub fn output_schema(schema: &Value) -> std::result::Result<(Value, bool), String> {
    let wrapped = !write::has_object_root(schema);
    Ok((write::document(schema, Purpose::Output, wrapped)?, wrapped))
}

/// Whether the server still waits for a response.
pub fn is_wanted<R>(responder: &Responder<R>) -> bool {
    responder.is_wanted()
}

/// A tool whose function responds later. The function gets the arguments as the model has written them.
///
/// # Errors
/// Why the arguments cannot have this schema.
pub fn tool(
    name: impl Into<String>,
    description: impl Into<String>,
    schema: &Value,
    function: impl Fn(Value, Responder<ToolOutput>) + Send + Sync + 'static,
) -> std::result::Result<Tool, String> {
    let schema = write::document(schema, Purpose::Input, false)?;
    Ok(Tool::raw(name, description, schema, move |arguments: Value| {
        let (responder, reply) = Reply::later();
        function(arguments, responder);
        async move {
            match reply.0 {
                State::Now(output) => output,
                State::Later(output) => output.await,
                State::Pass => Err("the tool has no output".to_owned()),
            }
        }
    }))
}

//! Requests to the server, and their pending responses.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use openai_codex_protocol::ClientRequest;
use openai_codex_protocol::methods::TurnInterrupt;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::codec::frame;
use crate::connection::effect::Response;
use crate::connection::envelope;
use crate::connection::intent::Intent;
use crate::connection::repeatable::AfterLoss;
use crate::connection::request_window::Slot;
use crate::connection::waiter::Waiter;
use crate::dispatch::registry::HandlerSet;
use crate::error::{Error, ErrorKind, Result};
use crate::io::shared::{Connection, Message, OutgoingRequest, Shared};
use crate::io::tokens::{IoHost, ReplySender, ResponseObserver};
use crate::json_scan::text_member;
use crate::options::method_class::MethodClass;
use crate::options::trace_context::{TraceContext, TraceSource};
use crate::trace;

/// The method whose parameters hold keys and tokens.
pub(crate) const LOGIN_METHOD: &str = "account/login/start";

/// A request to send.
#[derive(Debug)]
pub(crate) struct ClientCall<'a> {
    pub(crate) method: &'a str,
    pub(crate) params: Option<&'a RawValue>,
    /// The thread of the request, if the parameters do not name it.
    pub(crate) thread_id: Option<&'a str>,
    /// How long to wait for the response.
    pub(crate) timeout: Option<Duration>,
    /// The trace that the request is part of.
    pub(crate) trace: Option<TraceContext>,
    /// The handlers that the thread in the response gets.
    pub(crate) handlers: Option<HandlerSet>,
    pub(crate) observer: Option<Box<dyn ResponseObserver>>,
    pub(crate) intent: Intent<IoHost>,
    /// Whether it restores what was lost with a transport.
    pub(crate) restores: bool,
}

impl<'a> ClientCall<'a> {
    /// A request of which only the response matters.
    pub(crate) fn new(method: &'a str, params: Option<&'a RawValue>) -> Self {
        Self {
            method,
            params,
            thread_id: None,
            timeout: None,
            trace: None,
            handlers: None,
            observer: None,
            intent: Intent::Plain,
            restores: false,
        }
    }
}

/// A request. Without parameters, it has no `params` member.
struct Request<'a> {
    method: &'a str,
    id: i64,
    params: Option<&'a RawValue>,
    trace: Option<TraceContext>,
}

impl Serialize for Request<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        members.serialize_entry("method", self.method)?;
        members.serialize_entry("id", &self.id)?;
        if let Some(params) = self.params {
            members.serialize_entry("params", params)?;
        }
        if let Some(trace) = &self.trace {
            members.serialize_entry("trace", trace)?;
        }
        members.end()
    }
}

/// A notification.
pub(crate) struct ClientNotification<'a> {
    pub(crate) method: &'a str,
    pub(crate) params: Option<&'a RawValue>,
}

impl Serialize for ClientNotification<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        members.serialize_entry("method", self.method)?;
        if let Some(params) = self.params {
            members.serialize_entry("params", params)?;
        }
        members.end()
    }
}

impl Connection {
    /// Sends a request as part of the caller's trace. The caller can drop the pending response at any time.
    pub(crate) fn send(&self, call: ClientCall<'_>) -> Result<Pending> {
        // This calls the program's code, so it holds no lock.
        let trace = self.shared.trace_context.as_ref().and_then(TraceSource::current);
        self.shared.send_request(ClientCall { trace, ..call })
    }

    /// Sends a notification.
    pub(crate) fn notify(&self, method: &str, params: Option<&RawValue>) {
        self.shared.send(Message::Notification, frame(&ClientNotification { method, params }));
    }
}

impl Shared {
    /// Sends a request. The caller can drop the pending response at any time.
    pub(crate) fn send_request(self: &Arc<Self>, call: ClientCall<'_>) -> Result<Pending> {
        let ClientCall { method, params, thread_id, timeout, trace, handlers, observer, intent, restores } =
            call;
        self.process.check().map_err(|error| error.with_method(method).with_thread(thread_id))?;
        // A raw request can name its thread in the parameters only.
        let in_params =
            params.filter(|_| thread_id.is_none()).and_then(|params| envelope::thread_of(params.get()));
        let thread_id = thread_id.or(in_params.as_deref());
        if let Some(params) = params.filter(|_| method == LOGIN_METHOD) {
            self.secrets.add(params.get());
        }
        let (sender, response) = oneshot::channel();
        let handlers = handlers.filter(|handlers| !handlers.is_empty());
        let reply = ReplySender { sender, handlers, observer };
        let waiter = Waiter::new(reply, method, thread_id).with_client_id(self.client_id(method, params));
        let registered = self.router().register(waiter, intent);
        // What the waiter holds can wake tasks when it is dropped.
        let id = registered.map_err(|(error, _waiter)| error.with_method(method).with_thread(thread_id))?;
        let frame = frame(&Request { method, id, params, trace });
        if let Err(why) = self.check_size(frame.len()) {
            drop(self.route(|router| router.cancel(id)));
            let error = Error::invalid_input(format!("{why}; the client has not sent it"));
            return Err(error.with_method(method).with_thread(thread_id));
        }
        // A request that may wait for a person or a command leaves the others their slots.
        let slot = match MethodClass::of(method) {
            MethodClass::Lasting => Slot::None,
            _ if timeout.is_none() => Slot::None,
            _ if method == TurnInterrupt::METHOD => Slot::Interrupt,
            _ => Slot::Usual,
        };
        self.send(Message::Request(OutgoingRequest { id, slot, restores }), frame);
        if let Some(timeout) = timeout {
            self.timers.request(id, timeout);
        }
        let span = trace::request(method, id, thread_id);
        Ok(Pending { shared: self.clone(), id, response, span })
    }

    /// The client's id of the message that a request sends, if the client looks for it after a loss.
    fn client_id(&self, method: &str, params: Option<&RawValue>) -> Option<Arc<str>> {
        let looks = self.reconnect.is_some() && AfterLoss::of(method) == AfterLoss::LookForMessage;
        let id = text_member(params.filter(|_| looks)?.get(), "clientUserMessageId")?;
        Some(id.as_ref().into())
    }
}

/// A pending response. Dropping it cancels the wait, and also the request if it has not been written yet.
#[derive(Debug)]
pub(crate) struct Pending {
    shared: Arc<Shared>,
    id: i64,
    response: oneshot::Receiver<(Response, u32)>,
    span: trace::Span,
}

impl Pending {
    /// The response, and the number of the transport over which it came. That transport may be lost by the time the caller gets it.
    pub(crate) async fn with_transport(mut self) -> Result<(String, u32)> {
        poll_fn(|context| self.poll_response(context)).await
    }

    fn poll_response(&mut self, context: &mut Context<'_>) -> Poll<Result<(String, u32)>> {
        Pin::new(&mut self.response).poll(context).map(|received| {
            let response = match received {
                Ok((response, transport)) => response.map(|response| (response, transport)),
                Err(_) => Err(Error::new(
                    ErrorKind::TransportClosed,
                    "the connection ended while the request was under way",
                )),
            };
            response.inspect_err(|error| self.span.failed(error))
        })
    }
}

impl Future for Pending {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Response> {
        self.poll_response(context).map(|response| Ok(response?.0))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.shared.process.is_current() {
            return;
        }
        // The waiter is dropped without the lock on the router.
        self.response.close();
        let reply = self.shared.route(|router| router.cancel(self.id));
        if let Some(observer) = reply.and_then(|reply| reply.observer) {
            self.shared.begin(Box::pin(keep_until_started(self.shared.clone(), self.id, observer)));
        }
    }
}

/// Keeps the observer of a cancelled start as long as the server can still start the turn.
async fn keep_until_started(shared: Arc<Shared>, id: i64, observer: Box<dyn ResponseObserver>) {
    const PAUSE: Duration = Duration::from_millis(10);
    while shared.router().can_start(id) {
        sleep(PAUSE).await;
    }
    drop(observer);
}

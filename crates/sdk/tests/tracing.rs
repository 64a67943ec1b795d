//! The spans of a program, compared with the page `guide::observing`. A program of its own: the subscriber is global.
#![cfg(feature = "tracing")]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::sync::{Arc, LazyLock, Mutex};

use openai_codex::types::{ApiKeyLoginAccountParams, CommandExecutionApprovalDecision, LoginAccountParams};
use openai_codex::{Codex, CodexConfig, methods};
use openai_codex_testkit::app_server::messages;
use openai_codex_testkit::{Script, Usage};
use serde_json::json;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

const CHAPTER: &str = include_str!("../src/guide/observing.md");

/// Everything that a subscriber could print.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Values of fields, as they are printed.
#[derive(Clone, Debug, Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

#[derive(Clone, Debug)]
struct Span {
    /// The names of its parent spans and its own, outermost first.
    path: Vec<&'static str>,
    level: Level,
    /// The fields that it can have.
    declared: Vec<&'static str>,
    fields: Fields,
}

impl Span {
    #[track_caller]
    fn has(&self, field: &str, value: &str) {
        assert_eq!(self.fields.0.get(field).map(String::as_str), Some(value), "{field} of {self:?}");
    }
}

/// All spans and events of the client.
#[derive(Clone, Debug, Default)]
struct Seen {
    spans: Vec<Span>,
    events: Vec<(Level, Fields)>,
}

impl Seen {
    /// The first span of this name with this value of a field.
    #[track_caller]
    fn span(&self, name: &str, field: &str, value: &str) -> &Span {
        let is_it = |span: &&Span| {
            span.path.last() == Some(&name)
                && span.fields.0.get(field).is_some_and(|recorded| recorded == value)
        };
        self.spans.iter().find(is_it).unwrap_or_else(|| panic!("no {name} with {field}={value} in {self:#?}"))
    }
}

#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Seen>>);

/// The path of a span among the recorded ones.
struct Place(usize);

fn is_of_the_client(target: &str) -> bool {
    target == "openai_codex"
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Collector {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let metadata = attributes.metadata();
        if !is_of_the_client(metadata.target()) {
            return;
        }
        let span = context.span(id).unwrap();
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let path = span.scope().from_root().map(|span| span.name()).collect();
        let declared = metadata.fields().iter().map(|field| field.name()).collect();
        let mut seen = self.0.lock().unwrap();
        span.extensions_mut().insert(Place(seen.spans.len()));
        seen.spans.push(Span { path, level: *metadata.level(), declared, fields });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let place = span.extensions().get::<Place>().map(|place| place.0);
        if let Some(place) = place {
            values.record(&mut self.0.lock().unwrap().spans[place].fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if is_of_the_client(metadata.target()) {
            let mut fields = Fields::default();
            event.record(&mut fields);
            self.0.lock().unwrap().events.push((*metadata.level(), fields));
        }
    }
}

/// The recording of a program that uses many features inside its own span. The subscriber is global, because the
/// client's threads create spans too, so all tests use the same run.
static RUN: LazyLock<(String, Seen)> = LazyLock::new(|| {
    let (lines, collector) = (Lines::default(), Collector::default());
    let writer = lines.clone();
    let printer = tracing_subscriber::fmt::layer()
        .with_span_events(FmtSpan::CLOSE)
        .with_ansi(false)
        .with_writer(move || writer.clone());
    let subscriber = tracing_subscriber::registry().with(printer).with(collector.clone());
    tracing::subscriber::set_global_default(subscriber).unwrap();

    tracing::info_span!(target: "program", "program").in_scope(|| {
        do_a_bit_of_everything();
        lose_the_connection();
    });
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let seen = collector.0.lock().unwrap().clone();
    (text, seen)
});

fn do_a_bit_of_everything() {
    let (thread, turn) = ("thread-1", "turn-1");
    let ask = json!({"threadId": thread, "turnId": turn, "itemId": "i", "startedAtMs": 1, "command": "said-command"});
    let script = Script::standard()
        .expect("account/login/start")
        .respond_error(-32600, "refused: sk-secret")
        .expect("thread/resume")
        .respond_error(-32600, "no said-thread")
        .line("said-nonsense")
        .start_thread(thread)
        .start_turn(thread, turn)
        .ask("a", "item/commandExecution/requestApproval", ask.clone())
        .ask("b", "item/fileChange/requestApproval", ask)
        .send(messages::token_usage(thread, turn, Usage::new(31, 7)))
        .agent_message(thread, turn, "m", ["said-answer"])
        .complete_turn(thread, turn)
        .start_turn(thread, "turn-2")
        .fail_turn(thread, "turn-2", "said-failure");
    let (transport, running) = script.connect().unwrap();
    let config = CodexConfig::new()
        .env("OPENAI_API_KEY", "sk-secret")
        .on_command_approval(|_| Err::<CommandExecutionApprovalDecision, _>("said-reason"));
    let codex = Codex::with_transport(config, transport).unwrap();
    let login = LoginAccountParams::ApiKey(ApiKeyLoginAccountParams::new("sk-secret"));
    codex.request::<methods::AccountLoginStart>(login).unwrap_err();
    codex.thread_resume("thread-0").send().unwrap_err();
    let thread = codex.thread_start().send().unwrap();
    thread.run("said-prompt").unwrap();
    thread.run("said-prompt").unwrap_err();
    codex.close().unwrap();
    running.finish().unwrap();
}

fn lose_the_connection() {
    let (transport, running) = Script::standard().expect("test/end").exit(0).connect().unwrap();
    let codex = Codex::with_transport(CodexConfig::new(), transport).unwrap();
    codex.request_raw("test/end", json!({})).unwrap_err();
    codex.close().unwrap();
    running.finish().unwrap();
}

#[test]
fn a_turns_span_has_its_ids_its_status_and_its_usage() {
    let (_, seen) = &*RUN;
    let turn = seen.span("invoke_agent codex", "codex.turn.id", "turn-1");
    turn.has("gen_ai.operation.name", "invoke_agent");
    turn.has("gen_ai.provider.name", "openai");
    turn.has("gen_ai.agent.name", "codex");
    turn.has("gen_ai.conversation.id", "thread-1");
    turn.has("codex.turn.status", "completed");
    turn.has("gen_ai.usage.input_tokens", "31");
    turn.has("gen_ai.usage.output_tokens", "7");
    assert!(!turn.fields.0.contains_key("error.type"), "{turn:?}");
    let failed = seen.span("invoke_agent codex", "codex.turn.id", "turn-2");
    failed.has("codex.turn.status", "failed");
    failed.has("error.type", "TurnFailed");
}

#[test]
fn the_span_of_an_opening_has_its_operation_and_its_thread() {
    let (_, seen) = &*RUN;
    let opened = seen.span("codex.thread.open", "codex.operation", "ThreadStart");
    opened.has("gen_ai.conversation.id", "thread-1");
    assert!(!opened.fields.0.contains_key("error.type"), "{opened:?}");
    let refused = seen.span("codex.thread.open", "codex.operation", "ThreadResume");
    refused.has("error.type", "InvalidRequest");
}

#[test]
fn the_spans_of_requests_have_the_method_and_the_error_kind() {
    let (_, seen) = &*RUN;
    let started = seen.span("codex.request", "rpc.method", "turn/start");
    started.has("otel.kind", "client");
    started.has("rpc.system.name", "jsonrpc");
    started.has("gen_ai.conversation.id", "thread-1");
    assert!(started.fields.0.contains_key("jsonrpc.request.id"), "{started:?}");
    let refused = seen.span("codex.request", "rpc.method", "account/login/start");
    refused.has("error.type", "InvalidRequest");
    let served = seen.span("codex.server_request", "rpc.method", "item/commandExecution/requestApproval");
    served.has("otel.kind", "server");
    served.has("rpc.system.name", "jsonrpc");
    served.has("gen_ai.conversation.id", "thread-1");
    served.has("codex.turn.id", "turn-1");
    served.has("error.type", "HandlerFailed");
}

#[test]
fn the_spans_of_calls_are_children_of_the_current_span() {
    let (_, seen) = &*RUN;
    for name in ["codex.client.start", "codex.thread.open", "invoke_agent codex"] {
        let mut spans = seen.spans.iter().filter(|span| span.path.last() == Some(&name)).peekable();
        assert!(spans.peek().is_some(), "no {name}");
        assert!(spans.all(|span| span.path == ["program", name]), "{name} in {seen:#?}");
    }
    let path = |method| seen.span("codex.request", "rpc.method", method).path.join(" > ");
    assert_eq!(path("account/login/start"), "program > codex.request");
    // That of a turn begins before its request and is not entered for it: the two are siblings.
    assert_eq!(path("turn/start"), "program > codex.request");
    // The client itself is in a span when it asks the server for a thread.
    assert_eq!(path("thread/start"), "program > codex.thread.open > codex.request");
}

#[test]
fn the_guide_names_every_span_with_its_level_and_fields() {
    let (_, seen) = &*RUN;
    let mut documented = BTreeMap::new();
    for row in CHAPTER.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, level, _, fields] = cells[..] else { panic!("another table: {row}") };
        let fields: Vec<_> = fields.split(", ").map(|field| field.trim_matches('`')).collect();
        documented.insert(name.trim_matches('`'), (level.to_owned(), fields));
    }
    let made: BTreeMap<_, _> = seen
        .spans
        .iter()
        .map(|span| (*span.path.last().unwrap(), (span.level.as_str().to_lowercase(), span.declared.clone())))
        .collect();
    assert_eq!(made, documented);
}

#[test]
fn events_report_what_belongs_to_no_call() {
    let (_, seen) = &*RUN;
    let mut events: Vec<_> = seen
        .events
        .iter()
        .map(|(level, fields)| {
            let more = fields.0.iter().find(|(name, _)| **name != "message");
            (level.as_str(), more.map_or("", |(_, value)| value.as_str()))
        })
        .collect();
    // The order of the client's own threads does not matter.
    events.sort_unstable();
    let expected = [
        ("DEBUG", "item/fileChange/requestApproval"),
        ("ERROR", "TransportClosed"),
        ("WARN", ""),
        ("WARN", "item/commandExecution/requestApproval"),
    ];
    assert_eq!(events, expected);
}

#[test]
fn spans_and_events_contain_no_content_and_no_secret() {
    let (text, seen) = &*RUN;
    assert!(text.contains("invoke_agent codex"), "{text}");
    for said in ["sk-secret", "said-"] {
        assert!(!text.contains(said), "{said} in {text}");
        assert!(!format!("{seen:?}").contains(said), "{said} in {seen:#?}");
    }
}

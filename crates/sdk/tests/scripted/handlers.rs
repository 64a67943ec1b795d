//! Every server request, with a handler that responds, fails, panics, is late, or is canceled.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use openai_codex::types::{
    ApplyPatchApprovalParams, AttestationGenerateParams, AttestationGenerateResponse,
    ChatgptAuthTokensRefreshParams, ChatgptAuthTokensRefreshResponse, CommandExecutionApprovalDecision,
    CurrentTimeReadParams, CurrentTimeReadResponse, DynamicToolCallOutputContentItem,
    DynamicToolCallResponse, ExecCommandApprovalParams, FileChangeApprovalDecision,
    InputTextDynamicToolCallOutputContentItem, McpServerElicitationRequestResponse,
    PermissionsRequestApprovalResponse, ReviewDecision, ToolRequestUserInputAnswer,
    ToolRequestUserInputResponse,
};
use openai_codex::{
    CodexConfig, CommandApproval, ElicitationRequest, Event, FileChangeApproval, HandlerRequest,
    PermissionsApproval, Reply, RequestHandler, ToolCallRequest, UserInputRequest,
};
use openai_codex_protocol::{UnknownRequest, table};
use openai_codex_testkit::Script;
use serde_json::{Value, json};

use crate::support::with_both_clients;

/// A method that no version has.
pub(super) const UNKNOWN: &str = "of/tomorrow";

/// Each method with parameters and the response of [`Responds`].
pub(super) fn cases() -> Vec<(&'static str, Value, Value)> {
    let item = |more: Value| {
        let mut params = json!({"threadId": "t", "turnId": "u", "itemId": "i", "startedAtMs": 1});
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        params
    };
    vec![
        (
            "account/chatgptAuthTokens/refresh",
            json!({"reason": "unauthorized"}),
            json!({"accessToken": "new", "chatgptAccountId": "a"}),
        ),
        (
            "applyPatchApproval",
            json!({"conversationId": "t", "callId": "c", "fileChanges": {"a": {"type": "add", "content": "x"}}}),
            json!({"decision": "approved"}),
        ),
        ("attestation/generate", json!({}), json!({"token": "true"})),
        ("currentTime/read", json!({"threadId": "t"}), json!({"currentTimeAt": 7})),
        (
            "execCommandApproval",
            json!({"conversationId": "t", "callId": "c", "command": ["ls"], "cwd": "/", "parsedCmd": []}),
            json!({"decision": "approved_for_session"}),
        ),
        (
            "item/commandExecution/requestApproval",
            item(json!({"command": "ls", "availableDecisions": ["accept", "cancel"]})),
            json!({"decision": "accept"}),
        ),
        ("item/fileChange/requestApproval", item(json!({})), json!({"decision": "acceptForSession"})),
        (
            "item/permissions/requestApproval",
            item(
                json!({"cwd": "/", "permissions": {"network": {"enabled": true}, "fileSystem": {"write": ["/a"]}}}),
            ),
            json!({"permissions": {"network": {"enabled": true}}}),
        ),
        (
            "item/tool/call",
            json!({"threadId": "t", "turnId": "u", "callId": "c", "tool": "x", "arguments": {}}),
            json!({"contentItems": [{"type": "inputText", "text": "found"}], "success": true}),
        ),
        (
            "item/tool/requestUserInput",
            item(json!({"isBlocking": true, "questions": [{"id": "q", "header": "h", "question": "?"}]})),
            json!({"answers": {"q": {"answers": ["blue"]}}}),
        ),
        (
            "mcpServer/elicitation/request",
            json!({"threadId": "t", "serverName": "s", "mode": "url", "elicitationId": "e", "message": "m", "url": "u"}),
            json!({"action": "accept", "content": {"a": 1}}),
        ),
        (UNKNOWN, json!({"threadId": "t", "a": 1}), json!({"b": 2})),
    ]
}

/// Lets the closure decide what to do with each method. These are the results on success.
struct Responds<F>(F);

/// The reaction to a request.
enum Do {
    Respond,
    Fail,
    Panic,
    /// Never responds.
    Wait,
    /// Creates a file, waits for the cancellation, reports it, and responds anyway.
    AwaitCancellation(PathBuf, Sender<bool>),
}

impl<F: Fn() -> Do + Send + Sync + 'static> Responds<F> {
    fn reply<P, R: Send + 'static>(&self, request: HandlerRequest<P>, response: R) -> Reply<R> {
        match (self.0)() {
            Do::Respond => Reply::now(response),
            Do::Fail => Reply::error("no idea"),
            Do::Panic => panic!("a bug"),
            Do::Wait => Reply::future(std::future::pending::<R>()),
            Do::AwaitCancellation(begun, cancelled_tx) => {
                std::fs::write(begun, "").unwrap();
                let cancelled = request.cancellation().wait_timeout(Duration::from_secs(30));
                cancelled_tx.send(cancelled).unwrap();
                Reply::now(response)
            }
        }
    }
}

impl<F: Fn() -> Do + Send + Sync + 'static> RequestHandler for Responds<F> {
    fn command_approval(&self, request: CommandApproval) -> Reply<CommandExecutionApprovalDecision> {
        let offered = request.available_decisions()[0].clone();
        self.reply(request, offered)
    }

    fn file_change_approval(&self, request: FileChangeApproval) -> Reply<FileChangeApprovalDecision> {
        self.reply(request, FileChangeApprovalDecision::AcceptForSession)
    }

    fn permissions_approval(
        &self,
        request: PermissionsApproval,
    ) -> Reply<PermissionsRequestApprovalResponse> {
        let subset = request.grant_network();
        self.reply(request, subset)
    }

    fn user_input(&self, request: UserInputRequest) -> Reply<ToolRequestUserInputResponse> {
        let answers = BTreeMap::from([("q".to_owned(), ToolRequestUserInputAnswer::new(["blue"]))]);
        self.reply(request, ToolRequestUserInputResponse::new(answers))
    }

    fn elicitation(&self, request: ElicitationRequest) -> Reply<McpServerElicitationRequestResponse> {
        let accepted = request.accept(json!({"a": 1}));
        self.reply(request, accepted)
    }

    fn tool_call(&self, request: ToolCallRequest) -> Reply<DynamicToolCallResponse> {
        let text = InputTextDynamicToolCallOutputContentItem::new("found");
        let content = [DynamicToolCallOutputContentItem::InputText(text)];
        self.reply(request, DynamicToolCallResponse::new(content, true))
    }

    fn refresh_chatgpt_auth_tokens(
        &self,
        request: HandlerRequest<ChatgptAuthTokensRefreshParams>,
    ) -> Reply<ChatgptAuthTokensRefreshResponse> {
        self.reply(request, ChatgptAuthTokensRefreshResponse::new("new", "a"))
    }

    fn attestation(
        &self,
        request: HandlerRequest<AttestationGenerateParams>,
    ) -> Reply<AttestationGenerateResponse> {
        self.reply(request, AttestationGenerateResponse::new("true"))
    }

    fn current_time(&self, request: HandlerRequest<CurrentTimeReadParams>) -> Reply<CurrentTimeReadResponse> {
        self.reply(request, CurrentTimeReadResponse::new(7))
    }

    fn apply_patch_approval(
        &self,
        request: HandlerRequest<ApplyPatchApprovalParams>,
    ) -> Reply<ReviewDecision> {
        assert_eq!(request.thread_id(), Some("t"));
        self.reply(request, ReviewDecision::Approved)
    }

    fn exec_command_approval(
        &self,
        request: HandlerRequest<ExecCommandApprovalParams>,
    ) -> Reply<ReviewDecision> {
        self.reply(request, ReviewDecision::ApprovedForSession)
    }

    fn unknown(&self, request: HandlerRequest<UnknownRequest>) -> Reply<Value> {
        assert_eq!(request.params.value().unwrap()["a"], 1);
        self.reply(request, json!({"b": 2}))
    }
}

/// A turn in which the server sends a request and waits for the response.
pub(super) fn turn_asking(method: &str, params: Value) -> Script {
    Script::standard()
        .start_thread("t")
        .start_turn("t", "u")
        .ask("ask-1", method, params)
        .complete_turn("t", "u")
}

pub(super) fn responses(received: &[Value]) -> Vec<&Value> {
    received.iter().filter(|message| message["id"] == "ask-1").collect()
}

/// The response to the server when a handler fails: an error, or a failed call.
fn failure(response: &Value) -> &str {
    if response["result"]["success"] == false {
        return response["result"]["contentItems"][0]["text"].as_str().unwrap();
    }
    assert_eq!(response["error"]["code"], -32603);
    response["error"]["message"].as_str().unwrap()
}

#[test]
fn the_cases_cover_all_server_requests() {
    let mut all: Vec<_> = table::SERVER_REQUESTS.iter().map(|request| request.method).collect();
    all.push(UNKNOWN);
    assert_eq!(cases().iter().map(|(method, ..)| *method).collect::<Vec<_>>(), all);
}

with_both_clients! {
    fn a_handlers_decision_is_the_response(start, wait) {
        for (method, params, expected) in cases() {
            let (transport, running) = turn_asking(method, params).connect().unwrap();
            let codex = start!(CodexConfig::new().handler(Responds(|| Do::Respond)), transport).unwrap();
            let thread = wait!(codex.thread_start().send()).unwrap();
            wait!(thread.run("go")).unwrap();
            wait!(codex.close()).unwrap();
            let received = running.finish().unwrap().messages();
            assert_eq!(responses(&received), [&json!({"id": "ask-1", "result": expected})], "{method}");
        }
    }

    fn a_handler_that_fails_or_panics_responds_with_an_error_and_emits_an_event(start, wait) {
        type Way = fn() -> Do;
        for (way, expected) in [((|| Do::Fail) as Way, "no idea"), (|| Do::Panic, "a bug")] {
            for (method, params, _) in cases() {
                let (transport, running) = turn_asking(method, params).connect().unwrap();
                let codex = start!(CodexConfig::new().handler(Responds(way)), transport).unwrap();
                let mut events = codex.events();
                let thread = wait!(codex.thread_start().send()).unwrap();
                wait!(thread.run("go")).unwrap();
                loop {
                    let event = wait!(events.next()).unwrap().unwrap();
                    if let Event::HandlerFailed { method: failed, message, .. } = event {
                        assert_eq!(failed, method);
                        assert!(message.contains(expected), "{message}");
                        break;
                    }
                }
                wait!(codex.close()).unwrap();
                let received = running.finish().unwrap().messages();
                let responses = responses(&received);
                assert_eq!(responses.len(), 1, "{method}");
                assert!(failure(responses[0]).contains(expected), "{method}");
            }
        }
    }

    fn a_handler_that_times_out_responds_with_an_error(start, wait) {
        for (method, params, _) in cases() {
            let (transport, running) = turn_asking(method, params).connect().unwrap();
            let config = CodexConfig::new().handler_timeout(Duration::from_millis(1));
            let codex = start!(config.handler(Responds(|| Do::Wait)), transport).unwrap();
            let thread = wait!(codex.thread_start().send()).unwrap();
            wait!(thread.run("go")).unwrap();
            wait!(codex.close()).unwrap();
            let received = running.finish().unwrap().messages();
            let responses = responses(&received);
            assert_eq!(responses.len(), 1, "{method}");
            assert!(failure(responses[0]).contains("did not respond within 1ms"), "{method}");
        }
    }

    fn a_handler_is_canceled_when_its_response_is_no_longer_wanted(start, wait) {
        for (method, params, _) in cases() {
            let folder = tempfile::tempdir().unwrap();
            let begun = folder.path().join("begun");
            let script = Script::standard()
                .start_thread("t")
                .start_turn("t", "u")
                .request("ask-1", method, params)
                .await_file(&begun)
                .notify("serverRequest/resolved", json!({"threadId": "t", "requestId": "ask-1"}))
                .complete_turn("t", "u");
            let (transport, running) = script.connect().unwrap();
            let (cancelled_tx, cancelled_rx) = mpsc::channel();
            let handler = Responds(move || Do::AwaitCancellation(begun.clone(), cancelled_tx.clone()));
            let codex = start!(CodexConfig::new().handler(handler), transport).unwrap();
            let thread = wait!(codex.thread_start().send()).unwrap();
            wait!(thread.run("go")).unwrap();
            assert!(cancelled_rx.recv().unwrap(), "{method}");
            wait!(codex.close()).unwrap();
            let received = running.finish().unwrap().messages();
            assert!(responses(&received).is_empty(), "{method}: {received:?}");
        }
    }

    fn the_end_of_a_turn_cancels_its_requests(start, wait) {
        let (method, params, _) = cases().remove(5);
        let folder = tempfile::tempdir().unwrap();
        let begun = folder.path().join("begun");
        let script = Script::standard()
            .start_thread("t")
            .start_turn("t", "u")
            .request("ask-1", method, params)
            .await_file(&begun)
            .complete_turn("t", "u")
            .expect_response("ask-1");
        let (transport, running) = script.connect().unwrap();
        let (cancelled_tx, cancelled_rx) = mpsc::channel();
        let handler = Responds(move || Do::AwaitCancellation(begun.clone(), cancelled_tx.clone()));
        let codex = start!(CodexConfig::new().handler(handler), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.run("go")).unwrap();
        assert!(cancelled_rx.recv().unwrap());
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        assert!(responses(&received)[0]["error"]["message"].as_str().unwrap().contains("has ended"));
    }

    fn closing_cancels_and_does_not_wait_for_handlers(start, wait) {
        let (method, params, _) = cases().remove(5);
        let script = Script::standard().start_thread("t").start_turn("t", "u").request("ask-1", method, params);
        let (transport, _playing) = script.connect().unwrap();
        let (begun, begins) = mpsc::channel();
        let (cancelled_tx, cancelled_rx) = mpsc::channel();
        let config = CodexConfig::new().on_command_approval(move |request| {
            begun.send(()).unwrap();
            cancelled_tx.send(request.cancellation().wait_timeout(Duration::from_secs(30))).unwrap();
            CommandExecutionApprovalDecision::Accept
        });
        let codex = start!(config, transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let _turn = wait!(thread.turn("go").send()).unwrap();
        begins.recv().unwrap();
        wait!(codex.close()).unwrap();
        assert!(cancelled_rx.recv().unwrap());
    }

    fn an_undecodable_request_is_declined_without_calling_a_handler(start, wait) {
        let params = json!({"threadId": "t", "turnId": "u", "itemId": 7});
        let (transport, running) = turn_asking("item/fileChange/requestApproval", params).connect().unwrap();
        let codex = start!(CodexConfig::new().handler(Responds(|| Do::Respond)), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.run("go")).unwrap();
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        assert_eq!(responses(&received)[0]["result"], json!({"decision": "decline"}));
    }

    fn a_repeated_request_does_not_call_the_handler_again(start, wait) {
        let (method, params, _) = cases().remove(5);
        let script = Script::standard()
            .start_thread("t")
            .start_turn("t", "u")
            .request("ask-1", method, params.clone())
            .request("ask-1", method, params.clone())
            .expect_response("ask-1")
            // It may also come again while the response is on its way.
            .request("ask-1", method, params)
            .expect_response("ask-1")
            .complete_turn("t", "u");
        let (transport, running) = script.connect().unwrap();
        let (called_tx, called_rx) = mpsc::channel();
        let config = CodexConfig::new().on_command_approval(move |_| {
            called_tx.send(()).unwrap();
            CommandExecutionApprovalDecision::Accept
        });
        let codex = start!(config, transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.run("go")).unwrap();
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        // Two or three, depending on whether the first response or the second request was faster.
        let accepted = json!({"id": "ask-1", "result": {"decision": "accept"}});
        assert!(responses(&received).iter().all(|response| **response == accepted), "{received:?}");
        assert_eq!(called_rx.try_iter().count(), 1);
    }
}

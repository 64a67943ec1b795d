//! Every request of the server, with a handler that answers, fails, panics, is late, or is no longer wanted.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
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
use openai_codex_testkit::app_server::{Answer, messages};
use serde_json::{Value, json};

use crate::support::with_both_clients;

/// A method that no version knows.
const UNKNOWN: &str = "of/tomorrow";

/// Each method with parameters and the answer of [`Answers`].
fn cases() -> Vec<(&'static str, Value, Value)> {
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

/// Lets `answer` decide what to do about each method; what it gives on success stands here.
struct Answers<F>(F);

/// What is to be done about a request.
enum Do {
    Answer,
    Fail,
    Panic,
    /// Answers never.
    Wait,
    /// Makes a file, waits for the cancellation, tells of it, and answers all the same.
    AwaitCancellation(PathBuf, Sender<bool>),
}

impl<F: Fn() -> Do + Send + Sync + 'static> Answers<F> {
    fn reply<P, R: Send + 'static>(&self, request: HandlerRequest<P>, answer: R) -> Reply<R> {
        match (self.0)() {
            Do::Answer => Reply::now(answer),
            Do::Fail => Reply::error("no idea"),
            Do::Panic => panic!("a bug"),
            Do::Wait => Reply::future(std::future::pending::<R>()),
            Do::AwaitCancellation(begun, told) => {
                std::fs::write(begun, "").unwrap();
                let cancelled = request.cancellation().wait_timeout(Duration::from_secs(30));
                told.send(cancelled).unwrap();
                Reply::now(answer)
            }
        }
    }
}

impl<F: Fn() -> Do + Send + Sync + 'static> RequestHandler for Answers<F> {
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

/// A turn in which the server asks, and waits for the answer.
fn turn_asking(method: &str, params: Value) -> Script {
    Script::standard()
        .start_thread("t")
        .start_turn("t", "u")
        .ask("ask-1", method, params)
        .complete_turn("t", "u")
}

fn answers(received: &[Value]) -> Vec<&Value> {
    received.iter().filter(|message| message["id"] == "ask-1").collect()
}

/// What the server is told of a handler's failure: an error, or a failed call.
fn failure(answer: &Value) -> &str {
    if answer["result"]["success"] == false {
        return answer["result"]["contentItems"][0]["text"].as_str().unwrap();
    }
    assert_eq!(answer["error"]["code"], -32603);
    answer["error"]["message"].as_str().unwrap()
}

#[test]
fn the_cases_are_all_requests_of_the_protocol() {
    let mut all: Vec<_> = table::SERVER_REQUESTS.iter().map(|request| request.method).collect();
    all.push(UNKNOWN);
    assert_eq!(cases().iter().map(|(method, ..)| *method).collect::<Vec<_>>(), all);
}

with_both_clients! {
    fn a_handler_answers(start, wait) {
        for (method, params, expected) in cases() {
            let (transport, playing) = turn_asking(method, params).connect().unwrap();
            let codex = start!(CodexConfig::new().handler(Answers(|| Do::Answer)), transport).unwrap();
            let thread = wait!(codex.thread_start().send()).unwrap();
            wait!(thread.run("go")).unwrap();
            wait!(codex.close()).unwrap();
            let received = playing.finish().unwrap().messages();
            assert_eq!(answers(&received), [&json!({"id": "ask-1", "result": expected})], "{method}");
        }
    }

    fn a_handler_that_fails_or_panics_answers_with_an_error_and_is_an_event(start, wait) {
        type Way = fn() -> Do;
        for (way, expected) in [((|| Do::Fail) as Way, "no idea"), (|| Do::Panic, "a bug")] {
            for (method, params, _) in cases() {
                let (transport, playing) = turn_asking(method, params).connect().unwrap();
                let codex = start!(CodexConfig::new().handler(Answers(way)), transport).unwrap();
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
                let received = playing.finish().unwrap().messages();
                let answers = answers(&received);
                assert_eq!(answers.len(), 1, "{method}");
                assert!(failure(answers[0]).contains(expected), "{method}");
            }
        }
    }

    fn a_handler_that_outlives_its_deadline_answers_with_an_error(start, wait) {
        for (method, params, _) in cases() {
            let (transport, playing) = turn_asking(method, params).connect().unwrap();
            let config = CodexConfig::new().handler_deadline(Duration::from_millis(1));
            let codex = start!(config.handler(Answers(|| Do::Wait)), transport).unwrap();
            let thread = wait!(codex.thread_start().send()).unwrap();
            wait!(thread.run("go")).unwrap();
            wait!(codex.close()).unwrap();
            let received = playing.finish().unwrap().messages();
            let answers = answers(&received);
            assert_eq!(answers.len(), 1, "{method}");
            assert!(failure(answers[0]).contains("no answer within 1ms"), "{method}");
        }
    }

    fn a_handler_is_told_that_its_answer_is_no_longer_wanted(start, wait) {
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
            let (transport, playing) = script.connect().unwrap();
            let (told, tells) = mpsc::channel();
            let handler = Answers(move || Do::AwaitCancellation(begun.clone(), told.clone()));
            let codex = start!(CodexConfig::new().handler(handler), transport).unwrap();
            let thread = wait!(codex.thread_start().send()).unwrap();
            wait!(thread.run("go")).unwrap();
            assert!(tells.recv().unwrap(), "{method}");
            wait!(codex.close()).unwrap();
            let received = playing.finish().unwrap().messages();
            assert!(answers(&received).is_empty(), "{method}: {received:?}");
        }
    }

    fn the_end_of_a_turn_cancels_what_it_has_asked(start, wait) {
        let (method, params, _) = cases().remove(5);
        let folder = tempfile::tempdir().unwrap();
        let begun = folder.path().join("begun");
        let script = Script::standard()
            .start_thread("t")
            .start_turn("t", "u")
            .request("ask-1", method, params)
            .await_file(&begun)
            .complete_turn("t", "u")
            .expect_answer("ask-1");
        let (transport, playing) = script.connect().unwrap();
        let (told, tells) = mpsc::channel();
        let handler = Answers(move || Do::AwaitCancellation(begun.clone(), told.clone()));
        let codex = start!(CodexConfig::new().handler(handler), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.run("go")).unwrap();
        assert!(tells.recv().unwrap());
        wait!(codex.close()).unwrap();
        let received = playing.finish().unwrap().messages();
        assert!(answers(&received)[0]["error"]["message"].as_str().unwrap().contains("has ended"));
    }

    fn closing_cancels_and_does_not_wait_for_handlers(start, wait) {
        let (method, params, _) = cases().remove(5);
        let script = Script::standard().start_thread("t").start_turn("t", "u").request("ask-1", method, params);
        let (transport, _playing) = script.connect().unwrap();
        let (begun, begins) = mpsc::channel();
        let (told, tells) = mpsc::channel();
        let config = CodexConfig::new().on_command_approval(move |request| {
            begun.send(()).unwrap();
            told.send(request.cancellation().wait_timeout(Duration::from_secs(30))).unwrap();
            CommandExecutionApprovalDecision::Accept
        });
        let codex = start!(config, transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let _turn = wait!(thread.turn("go").send()).unwrap();
        begins.recv().unwrap();
        wait!(codex.close()).unwrap();
        assert!(tells.recv().unwrap());
    }

    fn what_cannot_be_read_is_declined_without_asking_anybody(start, wait) {
        let params = json!({"threadId": "t", "turnId": "u", "itemId": 7});
        let (transport, playing) = turn_asking("item/fileChange/requestApproval", params).connect().unwrap();
        let codex = start!(CodexConfig::new().handler(Answers(|| Do::Answer)), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.run("go")).unwrap();
        wait!(codex.close()).unwrap();
        let received = playing.finish().unwrap().messages();
        assert_eq!(answers(&received)[0]["result"], json!({"decision": "decline"}));
    }

    fn what_comes_again_is_not_asked_twice(start, wait) {
        let (method, params, _) = cases().remove(5);
        let script = Script::standard()
            .start_thread("t")
            .start_turn("t", "u")
            .request("ask-1", method, params.clone())
            .request("ask-1", method, params.clone())
            .expect_answer("ask-1")
            // It may also come again when the answer is on its way.
            .request("ask-1", method, params)
            .expect_answer("ask-1")
            .complete_turn("t", "u");
        let (transport, playing) = script.connect().unwrap();
        let (asked, asks) = mpsc::channel();
        let config = CodexConfig::new().on_command_approval(move |_| {
            asked.send(()).unwrap();
            CommandExecutionApprovalDecision::Accept
        });
        let codex = start!(config, transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.run("go")).unwrap();
        wait!(codex.close()).unwrap();
        let received = playing.finish().unwrap().messages();
        // Two or three, as the first answer was quicker than the second request or not.
        let accepted = json!({"id": "ask-1", "result": {"decision": "accept"}});
        assert!(answers(&received).iter().all(|answer| **answer == accepted), "{received:?}");
        assert_eq!(asks.try_iter().count(), 1);
    }

    fn what_a_handler_passes_on_the_next_one_answers(start, wait) {
        struct Passes;
        impl RequestHandler for Passes {}
        let (method, params, _) = cases().remove(5);
        let (transport, playing) = turn_asking(method, params).connect().unwrap();
        let config = CodexConfig::new().on_command_approval(|_| CommandExecutionApprovalDecision::Cancel);
        let codex = start!(config, transport).unwrap();
        let options = codex.thread_start().handler(Passes).on_user_input(|_| Err("not asked"));
        let thread = wait!(options.send()).unwrap();
        wait!(thread.run("go")).unwrap();
        wait!(codex.close()).unwrap();
        let received = playing.finish().unwrap().messages();
        assert_eq!(answers(&received)[0]["result"], json!({"decision": "cancel"}));
    }

    fn a_resumed_thread_is_asked_by_the_handler_that_it_was_resumed_with(start, wait) {
        let (method, params, _) = cases().remove(5);
        let resumed = Answer::Result(messages::thread_start_response("t"));
        // What is pending may come before the answer to the resume.
        let script = Script::standard()
            .expect_as("resume", "thread/resume")
            .ask("ask-1", method, params)
            .respond_to("resume", resumed);
        let (transport, playing) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let options = codex.thread_resume("t").on_command_approval(|_| CommandExecutionApprovalDecision::Accept);
        wait!(options.send()).unwrap();
        wait!(codex.close()).unwrap();
        let received = playing.finish().unwrap().messages();
        assert_eq!(answers(&received)[0]["result"], json!({"decision": "accept"}));
    }

    fn what_has_waited_for_its_turn_too_long_is_not_asked_any_more(start, wait) {
        // As many as may block at once, and one more.
        const ASKED: usize = 65;
        let (method, params, _) = cases().remove(5);
        let mut script = Script::standard().start_thread("t").start_turn("t", "u");
        for id in 0..ASKED {
            script = script.request(id, method, params.clone());
        }
        for id in 0..ASKED {
            script = script.expect_answer(id);
        }
        let (transport, playing) = script.complete_turn("t", "u").connect().unwrap();
        let (release, gate) = mpsc::channel::<()>();
        let (gate, asked) = (std::sync::Mutex::new(gate), std::sync::Arc::new(AtomicUsize::new(0)));
        let counter = asked.clone();
        let config = CodexConfig::new().handler_deadline(Duration::from_millis(300)).on_command_approval(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            // Until the sender goes.
            let _ = gate.lock().unwrap().recv();
            CommandExecutionApprovalDecision::Accept
        });
        let codex = start!(config, transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.run("go")).unwrap();
        drop(release);
        wait!(codex.close()).unwrap();
        playing.finish().unwrap();
        assert!(asked.load(Ordering::SeqCst) < ASKED);
    }

    fn futures_that_block_do_not_keep_closures_from_answering(start, wait) {
        let (command, params, _) = cases().remove(5);
        let (file, file_params, _) = cases().remove(6);
        let script = Script::standard()
            .start_thread("t")
            .start_turn("t", "u")
            .request("block-1", command, params.clone())
            .request("block-2", command, params)
            .ask("ask-1", file, file_params)
            .complete_turn("t", "u");
        let (transport, playing) = script.connect().unwrap();
        let (release, gate) = mpsc::channel::<()>();
        let gate = std::sync::Arc::new(std::sync::Mutex::new(gate));
        let config = CodexConfig::new()
            .on_command_approval(move |_| {
                let gate = gate.clone();
                async move {
                    let _ = gate.lock().unwrap().recv();
                    CommandExecutionApprovalDecision::Decline
                }
            })
            .on_file_change_approval(|_| FileChangeApprovalDecision::AcceptForSession);
        let codex = start!(config, transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.run("go")).unwrap();
        drop(release);
        wait!(codex.close()).unwrap();
        let received = playing.finish().unwrap().messages();
        assert_eq!(answers(&received)[0]["result"], json!({"decision": "acceptForSession"}));
    }

    fn a_thread_that_closes_does_not_change_who_decides_for_those_it_has_spawned(start, wait) {
        let (method, _, _) = cases().remove(5);
        let spawned = |id: &str, parent: &str| {
            let mut thread = messages::thread(id);
            thread["parentThreadId"] = json!(parent);
            json!({"thread": thread})
        };
        let params = |thread: &str| {
            json!({"threadId": thread, "turnId": "u", "itemId": "i", "startedAtMs": 1, "command": "ls"})
        };
        let closed = |thread: &str| json!({"threadId": thread});
        let script = Script::standard()
            .start_thread("t")
            .start_turn("t", "u")
            .notify("thread/started", spawned("a", "t"))
            .notify("thread/started", spawned("b", "a"))
            .notify("thread/closed", closed("a"))
            .ask_expecting("ask-1", method, params("b"), json!({"decision": "cancel"}))
            .notify("thread/closed", closed("t"))
            .ask_expecting("ask-2", method, params("b"), json!({"decision": "cancel"}))
            // Nobody is left: what comes now is the client's.
            .notify("thread/closed", closed("b"))
            .ask_expecting("ask-3", method, params("t"), json!({"decision": "accept"}))
            .complete_turn("t", "u");
        let (transport, playing) = script.connect().unwrap();
        let codex = start!(CodexConfig::new().handler(openai_codex::AcceptEveryApproval), transport).unwrap();
        let options = codex.thread_start().on_command_approval(|_| CommandExecutionApprovalDecision::Cancel);
        let thread = wait!(options.send()).unwrap();
        wait!(thread.run("go")).unwrap();
        wait!(codex.close()).unwrap();
        playing.finish().unwrap();
    }

    fn a_thread_has_its_handlers_from_the_answer_on(start, wait) {
        let (method, params, _) = cases().remove(5);
        // In one breath with the answer that opens the thread.
        let script = Script::standard()
            .start_thread("t")
            .ask("ask-1", method, params)
            .start_turn("t", "u")
            .complete_turn("t", "u");
        let (transport, playing) = script.connect().unwrap();
        let codex = start!(CodexConfig::new().handler(openai_codex::AcceptEveryApproval), transport).unwrap();
        let options = codex.thread_start().on_command_approval(|_| CommandExecutionApprovalDecision::Cancel);
        let thread = wait!(options.send()).unwrap();
        wait!(thread.run("go")).unwrap();
        wait!(codex.close()).unwrap();
        let received = playing.finish().unwrap().messages();
        assert_eq!(answers(&received)[0]["result"], json!({"decision": "cancel"}));
    }

    fn what_a_handler_holds_may_be_dropped_only_outside_of_event_loops(start, wait) {
        let script = Script::standard()
            .start_thread("t")
            .start_turn("t", "u")
            .notify("thread/closed", json!({"threadId": "t"}))
            .complete_turn("t", "u");
        let (transport, playing) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let runtime = std::thread::spawn(|| tokio::runtime::Runtime::new().unwrap()).join().unwrap();
        let options = codex.thread_start().on_command_approval(move |_| {
            let _ = runtime.handle();
            CommandExecutionApprovalDecision::Decline
        });
        let thread = wait!(options.send()).unwrap();
        wait!(thread.run("go")).unwrap();
        wait!(codex.close()).unwrap();
        playing.finish().unwrap();
    }

    fn a_model_is_not_set_to_decide_on_a_resumed_thread_that_keeps_its_handler(start, wait) {
        use openai_codex::types::CommandExecutionApprovalDecision::Decline;
        use openai_codex::{ApprovalMode, Tool};
        let answer = messages::thread_start_response("t");
        let script =
            Script::standard().always("thread/start", answer.clone()).always("thread/resume", answer);
        let (transport, playing) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        wait!(codex.thread_start().on_command_approval(|_| Decline).send()).unwrap();
        let reviewed = || codex.thread_resume("t").approval_mode(ApprovalMode::AutoReview);
        let error = wait!(reviewed().send()).unwrap_err();
        assert_eq!(error.kind(), openai_codex::ErrorKind::InvalidInput);
        // Another thread has no handler, and this one has lost it when it is given something else.
        wait!(codex.thread_resume("other").approval_mode(ApprovalMode::AutoReview).send()).unwrap();
        wait!(reviewed().tools([Tool::new("tool", "", |(): ()| ())]).send()).unwrap();
        wait!(reviewed().send()).unwrap();
        wait!(codex.close()).unwrap();
        let messages = playing.finish().unwrap().messages();
        let resumed: Vec<_> = crate::support::params(&messages, "thread/resume");
        assert_eq!(resumed.iter().map(|params| &params["threadId"]).collect::<Vec<_>>(), ["other", "t", "t"]);
    }

    fn tools_without_the_experimental_methods_are_refused_however_a_thread_is_opened(start, wait) {
        let tool = || openai_codex::Tool::new("tool", "", |(): ()| ());
        let (transport, playing) = crate::support::opens_any_thread().connect().unwrap();
        let codex = start!(CodexConfig::new().experimental_api(false), transport).unwrap();
        let errors = [
            wait!(codex.thread_start().tools([tool()]).send()).unwrap_err(),
            wait!(codex.thread_resume("t").tools([tool()]).send()).unwrap_err(),
            wait!(codex.thread_fork("t").tools([tool()]).send()).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), openai_codex::ErrorKind::InvalidInput);
            assert!(error.to_string().contains("experimental_api"), "{error}");
        }
        wait!(codex.close()).unwrap();
        let received = playing.finish().unwrap().messages();
        assert!(!received.iter().any(|message| message["method"].as_str().unwrap_or("").starts_with("thread/")));
    }

    fn an_unsubscribed_thread_is_asked_by_nobody_and_starts_no_turn(start, wait) {
        let (method, params, _) = cases().remove(5);
        let script = Script::standard()
            .start_thread("t")
            .expect_with("thread/unsubscribe", json!({"threadId": "t"}))
            .respond(json!({"status": "unsubscribed"}))
            .expect("thread/read")
            .respond(json!({"thread": messages::thread("t")}))
            // A runtime that asks all the same.
            .ask("ask-1", method, params)
            .expect("thread/resume")
            .respond(messages::thread_start_response("t"))
            .start_turn("t", "u")
            .complete_turn("t", "u");
        let (transport, playing) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        // Held by the closure alone.
        let kept = std::sync::Arc::new(());
        let held = std::sync::Arc::downgrade(&kept);
        let options = codex.thread_start().on_command_approval(move |_| {
            let _ = &kept;
            CommandExecutionApprovalDecision::Accept
        });
        let thread = wait!(options.send()).unwrap();
        let answer = wait!(thread.unsubscribe()).unwrap();
        assert_eq!(answer.status, openai_codex::types::ThreadUnsubscribeStatus::Unsubscribed);
        assert!(held.upgrade().is_none(), "the client keeps the closure");
        for error in [wait!(thread.run("go")).unwrap_err(), wait!(thread.compact()).unwrap_err()] {
            assert_eq!(error.kind(), openai_codex::ErrorKind::InvalidInput);
            assert_eq!(error.thread_id(), Some("t"));
        }
        wait!(thread.read().send()).unwrap();
        let again = wait!(codex.thread_resume("t").send()).unwrap();
        wait!(again.run("go")).unwrap();
        wait!(codex.close()).unwrap();
        let received = playing.finish().unwrap().messages();
        assert_eq!(answers(&received)[0]["result"], json!({"decision": "decline"}));
    }

    fn a_thread_that_the_server_keeps_subscribed_keeps_its_handler(start, wait) {
        let (method, params, _) = cases().remove(5);
        let script = Script::standard()
            .start_thread("t")
            .expect("thread/unsubscribe")
            .respond_error(-32603, "no")
            .start_turn("t", "u")
            .ask("ask-1", method, params)
            .complete_turn("t", "u");
        let (transport, playing) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let options = codex.thread_start().on_command_approval(|_| CommandExecutionApprovalDecision::Accept);
        let thread = wait!(options.send()).unwrap();
        wait!(thread.unsubscribe()).unwrap_err();
        wait!(thread.run("go")).unwrap();
        wait!(codex.close()).unwrap();
        let received = playing.finish().unwrap().messages();
        assert_eq!(answers(&received)[0]["result"], json!({"decision": "accept"}));
    }

    fn a_handler_for_approvals_selects_ask(start, wait) {
        use openai_codex::ApprovalMode;
        use openai_codex::types::CommandExecutionApprovalDecision::Decline;
        let answer = messages::thread_start_response("t");
        let script = Script::standard()
            .always("thread/start", answer.clone())
            .always("thread/resume", answer.clone())
            .always("thread/fork", answer);
        let (transport, playing) = script.connect().unwrap();
        let codex = start!(CodexConfig::new().on_command_approval(|_| Decline), transport).unwrap();
        // The client's handler selects it for new threads, a thread's for whatever is done with it.
        wait!(codex.thread_start().send()).unwrap();
        wait!(codex.thread_resume("t").send()).unwrap();
        wait!(codex.thread_resume("t").on_command_approval(|_| Decline).send()).unwrap();
        wait!(codex.thread_fork("t").on_command_approval(|_| Decline).send()).unwrap();
        wait!(codex.thread_start().approval_mode(ApprovalMode::DenyAll).send()).unwrap();
        let error = wait!(codex.thread_start().approval_mode(ApprovalMode::AutoReview).send()).unwrap_err();
        assert_eq!(error.kind(), openai_codex::ErrorKind::InvalidInput);
        wait!(codex.close()).unwrap();
        let messages = playing.finish().unwrap().messages();
        let sent: Vec<_> = messages
            .iter()
            .filter(|message| message["method"].as_str().is_some_and(|method| method.starts_with("thread/")))
            .map(|message| json!([message["method"], message["params"]["approvalsReviewer"], message["params"]["approvalPolicy"]]))
            .collect();
        assert_eq!(
            sent,
            [
                json!(["thread/start", "user", "on-request"]),
                json!(["thread/resume", null, null]),
                json!(["thread/resume", "user", "on-request"]),
                json!(["thread/fork", "user", "on-request"]),
                json!(["thread/start", null, "never"]),
            ]
        );
    }
}

#[test]
fn a_resume_that_nobody_waits_for_leaves_the_thread_the_handlers_that_it_had() {
    use std::task::{Context, Waker};
    let (method, params, _) = cases().remove(5);
    for had in [true, false] {
        let script = Script::standard()
            .start_thread("t")
            .expect_as("resume", "thread/resume")
            .notify(UNKNOWN, json!({}))
            .start_turn("t", "u")
            .ask("ask-1", method, params.clone())
            .complete_turn("t", "u");
        let (transport, playing) = script.connect().unwrap();
        crate::support::bounded_async(async move || {
            let codex = openai_codex::AsyncCodex::with_transport(CodexConfig::new(), transport);
            let mut options = codex.thread_start();
            if had {
                options = options.on_command_approval(|_| CommandExecutionApprovalDecision::Accept);
            }
            let thread = options.send().await.unwrap();
            let options =
                codex.thread_resume("t").on_command_approval(|_| CommandExecutionApprovalDecision::Cancel);
            let mut resume = Box::pin(options.send());
            let mut events = codex.events();
            assert!(resume.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            // The server has got it.
            while !matches!(events.next().await.unwrap().unwrap(), Event::Notification(_)) {}
            drop(resume);
            thread.run("go").await.unwrap();
            codex.close().await.unwrap();
        });
        let received = playing.finish().unwrap().messages();
        let expected = if had { "accept" } else { "decline" };
        assert_eq!(answers(&received)[0]["result"], json!({"decision": expected}));
    }
}

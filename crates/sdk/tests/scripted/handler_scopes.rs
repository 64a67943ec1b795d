//! Which handlers receive a request, on which threads, from when and until when.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use openai_codex::types::{CommandExecutionApprovalDecision, FileChangeApprovalDecision};
use openai_codex::{CodexConfig, Event, RequestHandler};
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::{Response, messages};
use serde_json::json;

use super::handlers::{UNKNOWN, cases, responses, turn_asking};
use crate::support::with_both_clients;

with_both_clients! {
    fn when_a_handler_passes_the_next_one_answers(start, wait) {
        struct Passes;
        impl RequestHandler for Passes {}
        let (method, params, _) = cases().remove(5);
        let (transport, running) = turn_asking(method, params).connect().unwrap();
        let config = CodexConfig::new().on_command_approval(|_| CommandExecutionApprovalDecision::Cancel);
        let codex = start!(config, transport).unwrap();
        let options = codex.thread_start().handler(Passes).on_user_input(|_| Err("not calls"));
        let thread = wait!(options.send()).unwrap();
        wait!(thread.run("go")).unwrap();
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        assert_eq!(responses(&received)[0]["result"], json!({"decision": "cancel"}));
    }

    fn a_resumed_thread_uses_the_handler_of_its_resume(start, wait) {
        let (method, params, _) = cases().remove(5);
        let resumed = Response::Result(messages::thread_start_response("t"));
        // Pending requests may come before the response to the resume.
        let script = Script::standard()
            .expect_as("resume", "thread/resume")
            .ask("ask-1", method, params)
            .respond_to("resume", resumed);
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let options = codex.thread_resume("t").on_command_approval(|_| CommandExecutionApprovalDecision::Accept);
        wait!(options.send()).unwrap();
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        assert_eq!(responses(&received)[0]["result"], json!({"decision": "accept"}));
    }

    fn a_request_that_timed_out_in_the_queue_does_not_reach_its_handler(start, wait) {
        // As many as may block at once, and one more.
        const ASKED: usize = 65;
        let (method, params, _) = cases().remove(5);
        let mut script = Script::standard().start_thread("t").start_turn("t", "u");
        for id in 0..ASKED {
            script = script.request(id, method, params.clone());
        }
        for id in 0..ASKED {
            script = script.expect_response(id);
        }
        let (transport, running) = script.complete_turn("t", "u").connect().unwrap();
        let (release, gate) = mpsc::channel::<()>();
        let (gate, calls) = (std::sync::Mutex::new(gate), std::sync::Arc::new(AtomicUsize::new(0)));
        let counter = calls.clone();
        let config = CodexConfig::new().handler_timeout(Duration::from_millis(300)).on_command_approval(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            // Blocks until the sender is dropped.
            let _ = gate.lock().unwrap().recv();
            CommandExecutionApprovalDecision::Accept
        });
        let codex = start!(config, transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.run("go")).unwrap();
        drop(release);
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
        assert!(calls.load(Ordering::SeqCst) < ASKED);
    }

    fn blocking_futures_do_not_delay_closures(start, wait) {
        let (command, params, _) = cases().remove(5);
        let (file, file_params, _) = cases().remove(6);
        let script = Script::standard()
            .start_thread("t")
            .start_turn("t", "u")
            .request("block-1", command, params.clone())
            .request("block-2", command, params)
            .ask("ask-1", file, file_params)
            .complete_turn("t", "u");
        let (transport, running) = script.connect().unwrap();
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
        let received = running.finish().unwrap().messages();
        assert_eq!(responses(&received)[0]["result"], json!({"decision": "acceptForSession"}));
    }

    fn a_closed_thread_still_handles_requests_of_its_sub_agents(start, wait) {
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
            // The program has a handle of the thread, which keeps its handlers.
            .notify("thread/closed", closed("b"))
            .ask_expecting("ask-3", method, params("t"), json!({"decision": "cancel"}))
            .complete_turn("t", "u");
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new().handler(openai_codex::AcceptEveryApproval), transport).unwrap();
        let options = codex.thread_start().on_command_approval(|_| CommandExecutionApprovalDecision::Cancel);
        let thread = wait!(options.send()).unwrap();
        wait!(thread.run("go")).unwrap();
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }

    fn a_thread_has_its_handlers_from_the_response_on(start, wait) {
        let (method, params, _) = cases().remove(5);
        // Together with the response that opens the thread.
        let script = Script::standard()
            .start_thread("t")
            .ask("ask-1", method, params)
            .start_turn("t", "u")
            .complete_turn("t", "u");
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new().handler(openai_codex::AcceptEveryApproval), transport).unwrap();
        let options = codex.thread_start().on_command_approval(|_| CommandExecutionApprovalDecision::Cancel);
        let thread = wait!(options.send()).unwrap();
        wait!(thread.run("go")).unwrap();
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        assert_eq!(responses(&received)[0]["result"], json!({"decision": "cancel"}));
    }

    fn handlers_are_dropped_outside_event_loops(start, wait) {
        let script = Script::standard()
            .start_thread("t")
            .start_turn("t", "u")
            .notify("thread/closed", json!({"threadId": "t"}))
            .complete_turn("t", "u");
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let runtime = std::thread::spawn(|| tokio::runtime::Runtime::new().unwrap()).join().unwrap();
        let options = codex.thread_start().on_command_approval(move |_| {
            let _ = runtime.handle();
            CommandExecutionApprovalDecision::Decline
        });
        let thread = wait!(options.send()).unwrap();
        wait!(thread.run("go")).unwrap();
        wait!(codex.close()).unwrap();
        running.finish().unwrap();
    }

    fn auto_review_is_refused_for_a_resumed_thread_that_keeps_its_handler(start, wait) {
        use openai_codex::types::CommandExecutionApprovalDecision::Decline;
        use openai_codex::{ApprovalMode, Tool};
        let (transport, running) = crate::support::opens_any_thread().connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        wait!(codex.thread_start().on_command_approval(|_| Decline).send()).unwrap();
        let reviewed = || codex.thread_resume("t").approval_mode(ApprovalMode::AutoReview);
        let error = wait!(reviewed().send()).unwrap_err();
        assert_eq!(error.kind(), openai_codex::ErrorKind::InvalidInput);
        let with_tool = reviewed().tools([Tool::new("tool", "", |(): ()| ())]);
        assert_eq!(wait!(with_tool.send()).unwrap_err().kind(), openai_codex::ErrorKind::InvalidInput);
        // Another thread has no handler.
        wait!(codex.thread_resume("other").approval_mode(ApprovalMode::AutoReview).send()).unwrap();
        wait!(codex.close()).unwrap();
        let messages = running.finish().unwrap().messages();
        let resumed: Vec<_> = crate::support::params(&messages, "thread/resume");
        assert_eq!(resumed.iter().map(|params| &params["threadId"]).collect::<Vec<_>>(), ["other"]);
    }

    fn tools_without_the_experimental_methods_are_refused_however_a_thread_is_opened(start, wait) {
        let tool = || openai_codex::Tool::new("tool", "", |(): ()| ());
        let (transport, running) = crate::support::opens_any_thread().connect().unwrap();
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
        let received = running.finish().unwrap().messages();
        assert!(!received.iter().any(|message| message["method"].as_str().unwrap_or("").starts_with("thread/")));
    }

    fn an_unsubscribed_thread_has_no_handlers_and_starts_no_turn(start, wait) {
        let (method, params, _) = cases().remove(5);
        let script = Script::standard()
            .start_thread("t")
            .expect_with("thread/unsubscribe", json!({"threadId": "t"}))
            .respond(json!({"status": "unsubscribed"}))
            .expect("thread/unsubscribe")
            .respond_error(-32001, "busy")
            .expect("thread/read")
            .respond(json!({"thread": messages::thread("t")}))
            // A runtime that asks anyway.
            .ask("ask-1", method, params)
            .expect("thread/resume")
            .respond(messages::thread_start_response("t"))
            .start_turn("t", "u")
            .complete_turn("t", "u");
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        // Only the closure holds it.
        let kept = std::sync::Arc::new(());
        let held = std::sync::Arc::downgrade(&kept);
        let options = codex.thread_start().on_command_approval(move |_| {
            let _ = &kept;
            CommandExecutionApprovalDecision::Accept
        });
        let thread = wait!(options.send()).unwrap();
        let response = wait!(thread.unsubscribe()).unwrap();
        assert_eq!(response.status, openai_codex::types::ThreadUnsubscribeStatus::Unsubscribed);
        assert!(held.upgrade().is_none(), "the client keeps the closure");
        // A refusal does not change earlier grants.
        wait!(thread.unsubscribe()).unwrap_err();
        for error in [wait!(thread.run("go")).unwrap_err(), wait!(thread.compact()).unwrap_err()] {
            assert_eq!(error.kind(), openai_codex::ErrorKind::InvalidInput);
            assert_eq!(error.thread_id(), Some("t"));
        }
        wait!(thread.read().send()).unwrap();
        let again = wait!(codex.thread_resume("t").send()).unwrap();
        wait!(again.run("go")).unwrap();
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        assert_eq!(responses(&received)[0]["result"], json!({"decision": "decline"}));
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
        let (transport, running) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let options = codex.thread_start().on_command_approval(|_| CommandExecutionApprovalDecision::Accept);
        let thread = wait!(options.send()).unwrap();
        wait!(thread.unsubscribe()).unwrap_err();
        wait!(thread.run("go")).unwrap();
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        assert_eq!(responses(&received)[0]["result"], json!({"decision": "accept"}));
    }

    fn a_handler_for_approvals_selects_ask(start, wait) {
        use openai_codex::ApprovalMode;
        use openai_codex::types::CommandExecutionApprovalDecision::Decline;
        let (transport, running) = crate::support::opens_any_thread().connect().unwrap();
        let codex = start!(CodexConfig::new().on_command_approval(|_| Decline), transport).unwrap();
        // The client's handler selects it for new threads; a thread's handler selects it for any call on that thread.
        wait!(codex.thread_start().send()).unwrap();
        wait!(codex.thread_resume("t").send()).unwrap();
        wait!(codex.thread_resume("t").on_command_approval(|_| Decline).send()).unwrap();
        wait!(codex.thread_fork("t").on_command_approval(|_| Decline).send()).unwrap();
        wait!(codex.thread_start().approval_mode(ApprovalMode::DenyAll).send()).unwrap();
        let error = wait!(codex.thread_start().approval_mode(ApprovalMode::AutoReview).send()).unwrap_err();
        assert_eq!(error.kind(), openai_codex::ErrorKind::InvalidInput);
        wait!(codex.close()).unwrap();
        let messages = running.finish().unwrap().messages();
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
                // Whether the thread is loaded: the request would leave the mode out then.
                json!(["thread/read", null, null]),
                json!(["thread/resume", "user", "on-request"]),
                json!(["thread/fork", "user", "on-request"]),
                json!(["thread/start", null, "never"]),
            ]
        );
    }
}

#[test]
fn an_abandoned_resume_leaves_the_threads_handlers_in_place() {
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
        let (transport, running) = script.connect().unwrap();
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
            // The server has received it.
            while !matches!(events.next().await.unwrap().unwrap(), Event::Notification(_)) {}
            drop(resume);
            thread.run("go").await.unwrap();
            codex.close().await.unwrap();
        });
        let received = running.finish().unwrap().messages();
        let expected = if had { "accept" } else { "decline" };
        assert_eq!(responses(&received)[0]["result"], json!({"decision": expected}));
    }
}

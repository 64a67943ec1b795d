//! Steering, interrupting, text streams, external messages, options of a turn, and usage: on the wire, and on the real
//! runtime.
#![cfg(unix)]

mod support;

use openai_codex::types::{
    FunctionCallOutputBody, InputTextFunctionCallOutputContentItem, ReadOnlySandboxPolicy, ThreadItem,
    TurnStatus,
};
use openai_codex::{
    ApprovalMode, CodexConfig, ErrorKind, ExternalMessage, Input, InputItem, MentionInput, Sandbox,
    SkillInput, TextInput, types::CodexErrorInfo,
};
use openai_codex_testkit::app_server::messages;
use openai_codex_testkit::{ModelReply, ModelToolCall, RecordedRequest, Script, Usage};
use serde_json::{Value, json};
use support::{Model, count, params, sent, with_both_clients};

fn runs_turns() -> Script {
    Script::standard()
        .always("thread/start", messages::thread_start_response("t"))
        .always("turn/start", json!({"turn": messages::turn("u", "inProgress")}))
}

/// The tool outputs in a request without a call of the model, which are external messages.
fn external(request: &RecordedRequest) -> Vec<&Value> {
    request.function_call_outputs().into_iter().filter(|output| output["name"].is_string()).collect()
}

with_both_clients! {
    fn steer_and_interrupt_name_the_thread_and_the_turn(start, wait) {
        let script = runs_turns().always("turn/steer", json!({"turnId": "u"})).always("turn/interrupt", json!({}));
        let (transport, playing) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        assert_eq!(wait!(turn.steer("left")).unwrap().turn_id, "u");
        let items = [TextInput::new("look").into(), MentionInput::new("lib", "/l").into()];
        wait!(turn.steer(items)).unwrap();
        wait!(turn.interrupt()).unwrap();
        let empty = wait!(turn.steer(Vec::<InputItem>::new())).unwrap_err();
        assert_eq!(empty.kind(), ErrorKind::InvalidInput);
        wait!(codex.close()).unwrap();
        let received = playing.finish().unwrap().messages();
        let text = |text: &str| json!({"type": "text", "text": text});
        let steer = |input: Value| json!({"threadId": "t", "expectedTurnId": "u", "input": input});
        let mention = json!({"type": "mention", "name": "lib", "path": "/l"});
        let expected = [steer(json!([text("left")])), steer(json!([text("look"), mention]))];
        assert_eq!(params(&received, "turn/steer"), expected.iter().collect::<Vec<_>>());
        assert_eq!(sent(&received, "turn/interrupt")["params"], json!({"threadId": "t", "turnId": "u"}));
    }

    fn options_of_a_turn_have_their_keys(start, wait) {
        let script = (0..6).fold(Script::standard().start_thread("t"), |script, turn| {
            let turn = format!("u{turn}");
            script.start_turn("t", &turn).complete_turn("t", &turn)
        });
        let (transport, playing) = script.connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        for sandbox in [Sandbox::ReadOnly, Sandbox::WorkspaceWrite, Sandbox::FullAccess] {
            wait!(thread.turn("go").sandbox(sandbox).run()).unwrap();
        }
        let network = ReadOnlySandboxPolicy::new().network_access(true);
        wait!(thread.turn("go").sandbox_policy(network).run()).unwrap();
        wait!(thread.turn("go").sandbox_policy(Sandbox::FullAccess).run()).unwrap();
        wait!(thread.turn("go").service_tier_for_turn("flex").turn_trigger("cron").run()).unwrap();
        wait!(codex.close()).unwrap();
        let received = playing.finish().unwrap().messages();
        let turns = params(&received, "turn/start");
        let policies: Vec<_> = turns[..5].iter().map(|params| params["sandboxPolicy"].clone()).collect();
        let expected = [
            json!({"type": "readOnly", "networkAccess": false}),
            json!({
                "type": "workspaceWrite", "networkAccess": false, "writableRoots": [],
                "excludeSlashTmp": false, "excludeTmpdirEnvVar": false,
            }),
            json!({"type": "dangerFullAccess"}),
            json!({"type": "readOnly", "networkAccess": true}),
            json!({"type": "dangerFullAccess"}),
        ];
        assert_eq!(policies, expected);
        let expected = json!({
            "threadId": "t", "input": [{"type": "text", "text": "go"}],
            "serviceTierForTurn": "flex", "turnTrigger": "cron",
        });
        assert_eq!(*turns[5], expected);
    }

    fn an_external_message_is_not_sent_as_input(start, wait) {
        let script = Script::standard().start_thread("t").start_turn("t", "u").complete_turn("t", "u");
        let (transport, playing) = script.start_turn("t", "v").complete_turn("t", "v").connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.turn(ExternalMessage::new("ci").text("red")).run()).unwrap();
        let items = [InputTextFunctionCallOutputContentItem::new("red")];
        let listed = ExternalMessage::new("ci").namespace("acme").items(items);
        wait!(thread.turn(listed).model("m").run()).unwrap();
        wait!(codex.close()).unwrap();
        let received = playing.finish().unwrap().messages();
        let output = json!([{"type": "input_text", "text": "red"}]);
        let expected = [
            json!({"threadId": "t", "input": [], "toolOutput": {"name": "ci", "output": "red"}}),
            json!({
                "threadId": "t", "input": [], "model": "m",
                "toolOutput": {"name": "ci", "namespace": "acme", "output": output},
            }),
        ];
        assert_eq!(params(&received, "turn/start"), expected.iter().collect::<Vec<_>>());
    }

    fn blank_and_empty_messages_are_not_sent(start, wait) {
        let (transport, playing) = runs_turns().connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let blank = wait!(thread.run(ExternalMessage::new(" ").text("x"))).unwrap_err();
        assert_eq!(blank.kind(), ErrorKind::InvalidInput);
        assert!(blank.to_string().contains("tool_name"), "{blank}");
        let empty = wait!(thread.turn(ExternalMessage::new("ci")).send()).unwrap_err();
        assert_eq!(empty.kind(), ErrorKind::InvalidInput);
        let empty = wait!(thread.run(Input::from(Vec::new()))).unwrap_err();
        assert_eq!(empty.kind(), ErrorKind::InvalidInput);
        wait!(codex.close()).unwrap();
        assert_eq!(count(&playing.finish().unwrap().messages(), "turn/start"), 0);
    }

    fn the_model_sees_an_external_message_as_a_tools_output(start, wait) {
        let model = Model::start();
        model.reply("noted");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let news = ExternalMessage::new("ci").namespace("acme").text("build 42 is red");
        let result = wait!(thread.run(news)).unwrap();
        assert_eq!(result.final_response.as_deref(), Some("noted"));
        let request = model.last_request().unwrap();
        let outputs = external(&request);
        assert_eq!((outputs.len(), &outputs[0]["name"]), (1, &json!("ci")), "{outputs:?}");
        assert_eq!(outputs[0]["namespace"], "acme");
        assert!(outputs[0]["output"].to_string().contains("build 42 is red"));
        for role in ["user", "developer"] {
            assert!(request.texts(role).iter().all(|text| !text.contains("build 42")), "{role}");
        }
        let find = |items: &[ThreadItem]| {
            items.iter().find_map(|item| match item {
                ThreadItem::FunctionCallOutput(output) => Some(output.clone()),
                _ => None,
            })
        };
        let item = find(&result.items).unwrap();
        assert_eq!((item.name.as_str(), item.namespace.as_deref()), ("ci", Some("acme")));
        let FunctionCallOutputBody::Text(text) = &item.output else { panic!("{item:?}") };
        assert_eq!(text, "build 42 is red");
        let id = thread.id().to_owned();
        wait!(codex.close()).unwrap();

        let codex = start!(model.config()).unwrap();
        let resumed = wait!(codex.thread_resume(&id).include_turns(false).send()).unwrap();
        let read = wait!(resumed.read().include_turns(true).send()).unwrap().thread;
        assert_eq!(find(&read.turns[0].items), Some(item));
        wait!(codex.close()).unwrap();
    }

    fn an_external_message_joins_the_running_turn(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().call(ModelToolCall::exec_command("true")).pause(&gate));
        model.reply("all done");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        gate.wait_reached().unwrap();
        let joined = wait!(thread.turn(ExternalMessage::new("ci").text("red")).send()).unwrap();
        assert_eq!(joined.id(), turn.id());
        gate.release();
        assert_eq!(wait!(turn.run()).unwrap().final_response.as_deref(), Some("all done"));
        let request = model.last_request().unwrap();
        assert_eq!((model.requests().len(), external(&request).len()), (2, 1));
        assert_eq!(request.last_user_text(), Some("go"));
        wait!(codex.close()).unwrap();
    }

    fn the_runtime_cuts_a_long_external_message(start, wait) {
        let model = Model::start();
        model.reply("noted");
        let codex = start!(model.config()).unwrap();
        let thread = codex.thread_start().config("tool_output_token_limit", 32);
        let thread = wait!(thread.send()).unwrap();
        let long = "red ".repeat(4000);
        wait!(thread.run(ExternalMessage::new("ci").text(&long))).unwrap();
        let request = model.last_request().unwrap();
        let output = external(&request)[0]["output"].to_string();
        assert!(output.len() < long.len() && output.contains("truncated"), "{output}");
        wait!(codex.close()).unwrap();
    }

    // `wire/inputs.rs` checks the shape.
    fn a_skill_reaches_the_model(start, wait) {
        let model = Model::start();
        model.reply("ok");
        let folder = model.folder().join(".agents/skills/demo");
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("SKILL.md");
        std::fs::write(&path, "---\nname: demo\ndescription: A demo.\n---\nDance first.\n").unwrap();
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().cwd(model.folder()).send()).unwrap();
        let skill = SkillInput::new("demo", path.to_str().unwrap());
        wait!(thread.run([TextInput::new("go").into(), skill.into()])).unwrap();
        let request = model.last_request().unwrap();
        let skills: Vec<_> =
            request.user_texts().into_iter().filter(|text| text.trim_start().starts_with("<skill>")).collect();
        assert_eq!(skills.len(), 1, "{:?}", request.user_texts());
        for part in ["<name>demo</name>", "<path>", "Dance first."] {
            assert!(skills[0].contains(part), "{part}: {}", skills[0]);
        }
        wait!(codex.close()).unwrap();
    }

    fn a_steer_is_the_users_last_message(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("first").pause(&gate));
        model.reply("second");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        gate.wait_reached().unwrap();
        let steered = wait!(turn.steer("the other way")).unwrap();
        assert_eq!(steered.turn_id, turn.id());
        gate.release();
        let result = wait!(turn.run()).unwrap();
        assert_eq!((result.turn.status, result.final_response.as_deref()), (TurnStatus::Completed, Some("second")));
        assert_eq!(model.last_request().unwrap().last_user_text(), Some("the other way"));
        wait!(codex.close()).unwrap();
    }

    fn an_interrupted_turn_has_that_status_and_the_thread_goes_on(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        model.reply(ModelReply::new().delta("never ").pause(&gate).delta("done"));
        model.reply("fine");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        gate.wait_reached().unwrap();
        wait!(turn.interrupt()).unwrap();
        let result = wait!(turn.run()).unwrap();
        assert!(result.is_interrupted());
        gate.release();
        assert_eq!(wait!(thread.run("again")).unwrap().final_response.as_deref(), Some("fine"));
        wait!(codex.close()).unwrap();
    }

    fn steering_a_finished_turn_is_an_error_and_interrupting_it_is_not(start, wait) {
        let model = Model::start();
        model.reply("done");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        wait!(turn.run()).unwrap();
        let error = wait!(turn.steer("too late")).unwrap_err();
        assert_eq!((error.kind(), error.method()), (ErrorKind::TurnNotActive, Some("turn/steer")), "{error}");
        assert_eq!(error.json_rpc().unwrap().code, -32600);
        wait!(turn.interrupt()).unwrap();
        wait!(codex.close()).unwrap();
    }

    fn the_approval_mode_of_a_turn_stays_with_the_thread(start, wait) {
        let model = Model::start();
        model.fallback("ok");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        macro_rules! policy {
            () => {{
                let answer =
                    wait!(codex.request_raw("thread/resume", json!({"threadId": thread.id()}))).unwrap();
                answer["approvalPolicy"].as_str().unwrap().to_owned()
            }};
        }
        wait!(thread.run("default")).unwrap();
        assert_eq!(policy!(), "on-request");
        wait!(thread.turn("deny").approval_mode(ApprovalMode::DenyAll).run()).unwrap();
        assert_eq!(policy!(), "never");
        wait!(thread.run("nothing said")).unwrap();
        assert_eq!(policy!(), "never");
        wait!(thread.turn("review").approval_mode(ApprovalMode::AutoReview).run()).unwrap();
        assert_eq!(policy!(), "on-request");
        wait!(codex.close()).unwrap();
    }

    fn a_text_stream_has_only_the_text_of_its_turn(start, wait) {
        let model = Model::start();
        let gate = model.gate();
        let left = ModelReply::new().delta("le").pause(&gate).delta("ft");
        model.reply_when(|request| request.last_user_text() == Some("left"), left);
        let right = ModelReply::new().delta("ri").delta("ght");
        model.reply_when(|request| request.last_user_text() == Some("right"), right);
        let codex = start!(model.config()).unwrap();
        let threads = [wait!(codex.thread_start().send()).unwrap(), wait!(codex.thread_start().send()).unwrap()];
        let left = wait!(threads[0].turn("left").send()).unwrap();
        gate.wait_reached().unwrap();
        let right = wait!(threads[1].turn("right").send()).unwrap();
        let mut texts = [String::new(), String::new()];
        let mut stream = right.stream_text();
        while let Some(piece) = wait!(stream.next()) {
            texts[1].push_str(&piece.unwrap());
        }
        gate.release();
        let mut stream = left.stream_text();
        while let Some(piece) = wait!(stream.next()) {
            texts[0].push_str(&piece.unwrap());
        }
        assert_eq!(texts, ["left", "right"]);
        assert_eq!(wait!(left.run()).unwrap().final_response.as_deref(), Some("left"));
        assert!(wait!(left.stream_text().next()).is_none(), "a later stream has what comes from then on: nothing");
        wait!(codex.close()).unwrap();
    }

    fn a_text_stream_of_a_failed_turn_ends_with_the_reason(start, wait) {
        let model = Model::start();
        model.reply(ModelReply::new().delta("half").fail_with("insufficient_quota", "no money"));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let turn = wait!(thread.turn("go").send()).unwrap();
        let mut stream = turn.stream_text();
        assert_eq!(wait!(stream.next()).unwrap().unwrap(), "half");
        let error = wait!(stream.next()).unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TurnFailed);
        assert_eq!(error.turn_error_info(), Some(&CodexErrorInfo::UsageLimitExceeded), "{error}");
        assert!(wait!(stream.next()).is_none());
        assert_eq!(wait!(turn.run()).unwrap_err().turn_error_info(), error.turn_error_info());
        wait!(codex.close()).unwrap();
    }

    // The server's `last` is one model request; a turn can make many.
    fn usage_of_the_turn_and_of_the_thread_are_separate(start, wait) {
        let model = Model::start();
        let call = || ModelReply::from(ModelToolCall::exec_command("true"));
        model.reply(call().usage(Usage::new(10, 1).cached(3)));
        model.reply(ModelReply::text("one").usage(Usage::new(20, 2).reasoning(1)));
        model.reply(call().usage(Usage::new(40, 4)));
        model.reply(ModelReply::text("two").usage(Usage::new(80, 8)));
        model.reply(ModelReply::text("summary").usage(Usage::new(100, 10)));
        model.reply(ModelReply::text("three").usage(Usage::new(200, 20)));
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let counts = |result: &openai_codex::RunResult| {
            let (turn, usage) = (result.turn_usage.as_ref().unwrap(), result.usage.as_ref().unwrap());
            [turn, &usage.total].map(|usage| (usage.input_tokens, usage.output_tokens, usage.total_tokens))
        };
        let first = wait!(thread.run("first")).unwrap();
        assert_eq!(counts(&first), [(30, 3, 33), (30, 3, 33)]);
        let usage = first.turn_usage.unwrap();
        assert_eq!((usage.cached_input_tokens, usage.reasoning_output_tokens), (3, 1));
        let second = wait!(thread.run("second")).unwrap();
        assert_eq!(counts(&second), [(120, 12, 132), (150, 15, 165)]);
        assert_eq!(second.usage.unwrap().last.total_tokens, 88);
        let compaction = wait!(wait!(thread.compact()).unwrap().run()).unwrap();
        assert_eq!(counts(&compaction), [(100, 10, 110), (250, 25, 275)]);
        let third = wait!(thread.run("third")).unwrap();
        assert_eq!(counts(&third), [(200, 20, 220), (450, 45, 495)]);
        wait!(codex.close()).unwrap();
    }
}

//! The inputs that the model receives: texts, images, skills and external messages.

use openai_codex::types::{FunctionCallOutputBody, ThreadItem};
use openai_codex::{ExternalMessage, ImageInput, Input, LocalImageInput, SkillInput, TextInput};
use openai_codex_testkit::{ModelReply, ModelToolCall, RecordedRequest};
use serde_json::{Value, json};

use crate::support::{Model, with_both_clients};

/// A PNG of one pixel.
const PNG: &[u8] = &[
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00,
    0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x04, 0x00, 0x00, 0x00, 0xb5, 0x1c, 0x0c, 0x02, 0x00,
    0x00, 0x00, 0x0b, 0x49, 0x44, 0x41, 0x54, 0x78, 0xda, 0x63, 0x64, 0x60, 0x00, 0x00, 0x00, 0x06, 0x00,
    0x02, 0x30, 0x81, 0xd0, 0x2f, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
];
const PNG_URL: &str = "data:image/png;base64,\
    iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII=";

/// The images of a request, by their URLs.
fn images(request: &RecordedRequest) -> Vec<String> {
    let mut found = Vec::new();
    for message in request.items("message") {
        let parts = message["content"].as_array().into_iter().flatten();
        found.extend(parts.filter_map(|part| part["image_url"].as_str().map(str::to_owned)));
    }
    found
}

with_both_clients! {
    fn a_data_url_reaches_the_model_as_it_is(start, wait) {
        let model = Model::start();
        model.reply("a pixel");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.run([TextInput::new("What is this?").into(), ImageInput::new(PNG_URL).into()])).unwrap();
        let request = model.last_request().unwrap();
        assert_eq!(images(&request), [PNG_URL]);
        assert!(request.user_texts().contains(&"What is this?"), "{:?}", request.user_texts());
        wait!(codex.close()).unwrap();
    }

    fn a_local_image_reaches_the_model_as_data(start, wait) {
        let model = Model::start();
        model.reply("a pixel");
        let file = model.folder().join("pixel.png");
        std::fs::write(&file, PNG).unwrap();
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        wait!(thread.run(LocalImageInput::new(&file))).unwrap();
        let images = images(&model.last_request().unwrap());
        assert_eq!(images.len(), 1);
        assert!(images[0].starts_with("data:image/png;base64,"), "{images:?}");
        wait!(codex.close()).unwrap();
    }

    fn the_order_of_items_is_kept(start, wait) {
        let model = Model::start();
        model.reply("ok");
        let codex = start!(model.config()).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let input: Input = vec![TextInput::new("first").into(), TextInput::new("second").into()].into();
        wait!(thread.run(input)).unwrap();
        let request = model.last_request().unwrap();
        let place = |text: &str| request.user_texts().iter().position(|found| *found == text).unwrap();
        assert!(place("first") < place("second"));
        wait!(codex.close()).unwrap();
    }
}

/// The tool outputs in a request without a call of the model, which are external messages.
fn external(request: &RecordedRequest) -> Vec<&Value> {
    request.function_call_outputs().into_iter().filter(|output| output["name"].is_string()).collect()
}

with_both_clients! {
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

    // `scripted/inputs.rs` checks the shape.
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
}

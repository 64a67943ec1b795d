//! The forms of a turn's input on the wire.

use openai_codex::{
    CodexConfig, ErrorKind, ImageInput, Input, LocalImageInput, MentionInput, SkillInput, TextInput,
};
use openai_codex_testkit::Script;
use openai_codex_testkit::app_server::messages;
use serde_json::{Value, json};

use crate::support::{count, with_both_clients};

/// A server on which every turn runs.
fn any_turn() -> Script {
    let response = json!({"turn": messages::turn("u", "inProgress")});
    Script::standard().start_thread("t").always("turn/start", response)
}

fn cases() -> Vec<(Input, Value)> {
    let file = std::path::absolute("Cargo.toml").unwrap();
    vec![
        ("hello".into(), json!([{"type": "text", "text": "hello"}])),
        ("".into(), json!([{"type": "text", "text": ""}])),
        (String::from("owned").into(), json!([{"type": "text", "text": "owned"}])),
        (TextInput::new("one").into(), json!([{"type": "text", "text": "one"}])),
        (ImageInput::new("https://x/y.png").into(), json!([{"type": "image", "url": "https://x/y.png"}])),
        (LocalImageInput::new("Cargo.toml").into(), json!([{"type": "localImage", "path": file}])),
        (
            Input::from(vec![
                MentionInput::new("lib", "app://lib").into(),
                TextInput::new("a").into(),
                SkillInput::new("demo", "/s/SKILL.md").into(),
                TextInput::new("b").into(),
            ]),
            json!([
                {"type": "mention", "name": "lib", "path": "app://lib"},
                {"type": "text", "text": "a"},
                {"type": "skill", "name": "demo", "path": "/s/SKILL.md"},
                {"type": "text", "text": "b"},
            ]),
        ),
    ]
}

with_both_clients! {
    fn inputs_have_the_protocols_shapes_and_keep_their_order(start, wait) {
        let (transport, running) = any_turn().connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        for (input, _) in cases() {
            wait!(thread.turn(input).send()).unwrap();
        }
        wait!(codex.close()).unwrap();
        let received = running.finish().unwrap().messages();
        let inputs = received.iter().filter(|message| message["method"] == "turn/start");
        let inputs: Vec<_> = inputs.map(|message| message["params"]["input"].clone()).collect();
        let expected: Vec<_> = cases().into_iter().map(|(_, wire)| wire).collect();
        assert_eq!(inputs, expected);
    }

    fn invalid_input_is_refused_before_anything_is_sent(start, wait) {
        let (transport, running) = any_turn().connect().unwrap();
        let codex = start!(CodexConfig::new(), transport).unwrap();
        let thread = wait!(codex.thread_start().send()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("no-such.png");
        let bad: [(Input, &str); 3] = [
            (Input::from(Vec::new()), "empty"),
            (LocalImageInput::new(&missing).into(), missing.to_str().unwrap()),
            (LocalImageInput::new(folder.path()).into(), folder.path().to_str().unwrap()),
        ];
        for (input, named) in bad {
            let refused = [
                wait!(thread.turn(input.clone()).send()).map(drop).unwrap_err(),
                wait!(thread.run(input)).map(drop).unwrap_err(),
            ];
            for error in refused {
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
                assert!(error.to_string().contains(named), "{error}");
            }
        }
        wait!(codex.close()).unwrap();
        assert_eq!(count(&running.finish().unwrap().messages(), "turn/start"), 0);
    }
}

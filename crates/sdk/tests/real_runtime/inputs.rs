//! The inputs that the model receives.

use openai_codex::{ImageInput, Input, LocalImageInput, TextInput};
use openai_codex_testkit::RecordedRequest;

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

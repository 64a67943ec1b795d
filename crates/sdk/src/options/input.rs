//! The input of a turn.

use std::path::{Path, PathBuf};

use openai_codex_protocol::types::{
    ImageUserInput, LocalImageUserInput, MentionUserInput, SkillUserInput, TextUserInput, UserInput,
};

use crate::error::{Error, Result};
use crate::options::external_message::ExternalMessage;

/// The input that starts a turn: the user's [`Input`], or an [`ExternalMessage`].
///
/// An [`ExternalMessage`] and everything that converts into an [`Input`] convert into it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TurnInput {
    /// The user's input.
    User(Input),
    /// A message of another agent or tool.
    External(ExternalMessage),
}

impl<T: Into<Input>> From<T> for TurnInput {
    fn from(input: T) -> Self {
        Self::User(input.into())
    }
}

impl From<ExternalMessage> for TurnInput {
    fn from(message: ExternalMessage) -> Self {
        Self::External(message)
    }
}

/// The input of a turn: one or more items, in order.
///
/// Strings, single items, and arrays or vectors of [`InputItem`]s convert into it.
///
/// ```
/// use openai_codex::{Input, LocalImageInput, TextInput};
///
/// let plain = Input::from("Say hello.");
/// let several = Input::from([TextInput::new("What is this?").into(), LocalImageInput::new("shot.png").into()]);
/// # let _ = (plain, several);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    items: Vec<InputItem>,
}

/// One item of an [`Input`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum InputItem {
    /// Text.
    Text(TextInput),
    /// An image by URL.
    Image(ImageInput),
    /// An image file.
    LocalImage(LocalImageInput),
    /// A skill to use.
    Skill(SkillInput),
    /// A file or an app that the text mentions.
    Mention(MentionInput),
}

/// Text for the model.
#[derive(Clone, Debug, PartialEq)]
pub struct TextInput {
    /// The text.
    pub text: String,
}

/// An image by URL. A `data:` URL contains the image itself.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageInput {
    /// The URL. The client sends it unchanged.
    pub url: String,
}

/// An image file that the runtime reads.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalImageInput {
    /// The file's path. A relative path starts at this process's working directory. The file must exist.
    pub path: PathBuf,
}

/// A skill for the turn to use.
#[derive(Clone, Debug, PartialEq)]
pub struct SkillInput {
    /// The skill's name.
    pub name: String,
    /// The path of its `SKILL.md`.
    pub path: String,
}

/// A file or an app that the text mentions by name.
#[derive(Clone, Debug, PartialEq)]
pub struct MentionInput {
    /// The name in the text.
    pub name: String,
    /// The path or URI of the mention.
    pub path: String,
}

impl TextInput {
    /// Creates text for the model.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }
}

impl ImageInput {
    /// Creates an image by URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into() }
    }
}

impl LocalImageInput {
    /// Creates an image from a file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

impl SkillInput {
    /// Creates a skill from its name and the path of its `SKILL.md`.
    pub fn new(name: impl Into<String>, path: impl Into<String>) -> Self {
        Self { name: name.into(), path: path.into() }
    }
}

impl MentionInput {
    /// Creates a mention from its name and its path or URI.
    pub fn new(name: impl Into<String>, path: impl Into<String>) -> Self {
        Self { name: name.into(), path: path.into() }
    }
}

impl Input {
    /// Returns the items, in order.
    pub fn items(&self) -> &[InputItem] {
        &self.items
    }

    /// Checks the items and converts them to the protocol's type.
    pub(crate) fn to_wire(&self) -> Result<Vec<UserInput>> {
        if self.items.is_empty() {
            return Err(Error::invalid_input("the input is empty; pass at least one item"));
        }
        self.items.iter().map(InputItem::to_wire).collect()
    }
}

impl InputItem {
    fn to_wire(&self) -> Result<UserInput> {
        Ok(match self {
            Self::Text(item) => TextUserInput::new(&item.text).into(),
            Self::Image(item) => ImageUserInput::new().url(&item.url).into(),
            Self::LocalImage(item) => LocalImageUserInput::new(existing_file(&item.path)?).into(),
            Self::Skill(item) => SkillUserInput::new(&item.name, &item.path).into(),
            Self::Mention(item) => MentionUserInput::new(&item.name, &item.path).into(),
        })
    }
}

fn existing_file(path: &Path) -> Result<String> {
    let absolute = utf8_path(path, "image")?;
    match std::fs::metadata(&absolute) {
        Ok(found) if found.is_file() => Ok(absolute),
        Ok(_) => Err(Error::invalid_input(format!("the image {absolute} is not a file; pass an image file"))),
        Err(error) => {
            Err(Error::invalid_input(format!("the image {absolute} cannot be read: {error}"))
                .with_source(error))
        }
    }
}

/// Converts a path to the protocol's form, which is absolute and text.
pub(crate) fn utf8_path(path: &Path, what: &str) -> Result<String> {
    let refuse = |why: String| Error::invalid_input(format!("the {what} path {} {why}", path.display()));
    let absolute = std::path::absolute(path).map_err(|error| refuse(format!("is unusable: {error}")))?;
    match absolute.into_os_string().into_string() {
        Ok(text) => Ok(text),
        Err(_) => Err(refuse("is not UTF-8, which the protocol requires".into())),
    }
}

macro_rules! items {
    ($($variant:ident($item:ident)),* $(,)?) => {$(
        impl From<$item> for InputItem {
            fn from(item: $item) -> Self {
                Self::$variant(item)
            }
        }

        impl From<$item> for Input {
            fn from(item: $item) -> Self {
                InputItem::from(item).into()
            }
        }
    )*};
}

items!(
    Text(TextInput),
    Image(ImageInput),
    LocalImage(LocalImageInput),
    Skill(SkillInput),
    Mention(MentionInput),
);

impl From<InputItem> for Input {
    fn from(item: InputItem) -> Self {
        Self { items: vec![item] }
    }
}

impl From<Vec<InputItem>> for Input {
    fn from(items: Vec<InputItem>) -> Self {
        Self { items }
    }
}

impl<const N: usize> From<[InputItem; N]> for Input {
    fn from(items: [InputItem; N]) -> Self {
        Self { items: items.into() }
    }
}

impl From<&str> for Input {
    fn from(text: &str) -> Self {
        TextInput::new(text).into()
    }
}

impl From<String> for Input {
    fn from(text: String) -> Self {
        TextInput::new(text).into()
    }
}

impl From<&String> for Input {
    fn from(text: &String) -> Self {
        TextInput::new(text).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wire(input: impl Into<Input>) -> serde_json::Value {
        serde_json::to_value(input.into().to_wire().unwrap()).unwrap()
    }

    #[test]
    fn items_have_the_protocols_shapes() {
        assert_eq!(wire("hello"), json!([{"type": "text", "text": "hello"}]));
        assert_eq!(
            wire([
                ImageInput::new("data:image/png;base64,AA").into(),
                SkillInput::new("demo", "/s/SKILL.md").into(),
                MentionInput::new("lib", "/l").into(),
            ]),
            json!([
                {"type": "image", "url": "data:image/png;base64,AA"},
                {"type": "skill", "name": "demo", "path": "/s/SKILL.md"},
                {"type": "mention", "name": "lib", "path": "/l"},
            ])
        );
    }

    #[test]
    fn a_relative_image_path_becomes_absolute() {
        let expected = std::env::current_dir().unwrap().join("Cargo.toml");
        assert_eq!(wire(LocalImageInput::new("Cargo.toml"))[0]["path"], json!(expected.to_str().unwrap()));
    }

    #[test]
    fn unusable_input_is_refused_before_anything_is_sent() {
        let missing = Input::from(LocalImageInput::new("no/such.png")).to_wire().unwrap_err();
        assert!(missing.to_string().contains("no/such.png"), "{missing}");
        assert!(Input::from(LocalImageInput::new("/")).to_wire().is_err());
        assert!(Input::from(Vec::new()).to_wire().unwrap_err().to_string().contains("empty"));
    }
}

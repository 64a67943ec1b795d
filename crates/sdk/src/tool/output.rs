//! The result of a tool.

use std::borrow::Cow;
use std::fmt::Write;

use openai_codex_protocol::types::{
    DynamicToolCallOutputContentItem, DynamicToolCallResponse, InputImageDynamicToolCallOutputContentItem,
    InputTextDynamicToolCallOutputContentItem,
};
use serde::Serialize;

/// The result of a tool: texts and images, in order.
///
/// ```
/// use openai_codex::{Tool, ToolOutput};
///
/// let screenshot = Tool::new("screenshot", "What is on the screen", |(): ()| {
///     let png: &[u8] = b"\x89PNG\r\n";
///     ToolOutput::new().text("The screen, just now:").image_bytes("image/png", png)
/// });
/// # drop(screenshot);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "an output does nothing until a tool returns it"]
pub struct ToolOutput {
    items: Vec<DynamicToolCallOutputContentItem>,
    success: bool,
}

impl ToolOutput {
    /// An output without parts.
    pub fn new() -> Self {
        Self { items: Vec::new(), success: true }
    }

    /// A failed call, with a reason that the model reads. An `Err` of a tool becomes one.
    pub fn failed(why: impl Into<String>) -> Self {
        Self { items: Vec::new(), success: false }.text(why)
    }

    /// Adds a text.
    pub fn text(self, text: impl Into<String>) -> Self {
        self.item(InputTextDynamicToolCallOutputContentItem::new(text))
    }

    /// Adds an image by its URL. A `data:` URL holds the image itself.
    pub fn image_url(self, url: impl Into<String>) -> Self {
        self.item(InputImageDynamicToolCallOutputContentItem::new(url))
    }

    /// Adds an image of this type, such as `image/png`. The runtime replaces an unreadable image by a text that says so.
    pub fn image_bytes(self, mime: impl AsRef<str>, bytes: impl AsRef<[u8]>) -> Self {
        let mut url = format!("data:{};base64,", mime.as_ref());
        push_base64(&mut url, bytes.as_ref());
        self.image_url(url)
    }

    /// Adds a part of any kind.
    pub fn item(mut self, item: impl Into<DynamicToolCallOutputContentItem>) -> Self {
        self.items.push(item.into());
        self
    }

    pub(crate) fn into_wire(self) -> DynamicToolCallResponse {
        DynamicToolCallResponse::new(self.items, self.success)
    }
}

impl Default for ToolOutput {
    fn default() -> Self {
        Self::new()
    }
}

/// A value that a tool can return.
#[diagnostic::on_unimplemented(
    message = "a tool cannot return `{Self}`",
    note = "it can return a text, `Json(value)`, a `ToolOutput`, `()`, or a `Result` of these, or a future of any"
)]
pub trait IntoToolOutput {
    /// Converts the value into an output.
    fn into_tool_output(self) -> ToolOutput;
}

impl IntoToolOutput for ToolOutput {
    fn into_tool_output(self) -> ToolOutput {
        self
    }
}

impl IntoToolOutput for String {
    fn into_tool_output(self) -> ToolOutput {
        ToolOutput::new().text(self)
    }
}

impl IntoToolOutput for &str {
    fn into_tool_output(self) -> ToolOutput {
        ToolOutput::new().text(self)
    }
}

impl IntoToolOutput for Cow<'_, str> {
    fn into_tool_output(self) -> ToolOutput {
        ToolOutput::new().text(self)
    }
}

/// The text `done`, because the model needs some result.
impl IntoToolOutput for () {
    fn into_tool_output(self) -> ToolOutput {
        ToolOutput::new().text("done")
    }
}

/// An error becomes a failed call. The model reads the error with its causes.
impl<T, E> IntoToolOutput for Result<T, E>
where
    T: IntoToolOutput,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn into_tool_output(self) -> ToolOutput {
        match self {
            Ok(output) => output.into_tool_output(),
            Err(error) => ToolOutput::failed(with_causes(&*error.into())),
        }
    }
}

/// A value that the model reads as JSON.
///
/// ```
/// use openai_codex::{Json, Tool};
///
/// let primes = Tool::new("primes", "The first primes", |(): ()| Json([2, 3, 5, 7]));
/// # drop(primes);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: Serialize> IntoToolOutput for Json<T> {
    fn into_tool_output(self) -> ToolOutput {
        match serde_json::to_string(&self.0) {
            Ok(text) => ToolOutput::new().text(text),
            Err(error) => ToolOutput::failed(format!("the result cannot be encoded as JSON: {error}")),
        }
    }
}

fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        // Some errors include the text of their cause.
        if !text.contains(&words) {
            let _ = write!(text, ": {words}");
        }
        cause = error.source();
    }
    text
}

fn push_base64(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    text.reserve(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits =
            group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for index in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * index)) as usize & 63];
            text.push(if index > group.len() { '=' } else { char::from(digit) });
        }
    }
}

//! The input of the handler `run`.

use openai_codex::types::{ReasoningEffort, SandboxMode};
use openai_codex::{ImageInput, Input, InputItem, LocalImageInput, TextInput};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The prompt of [`HalfDoneChoice::Continue`].
const CONTINUE: &str = "This task was cut off in the middle, and you run again now. Commands that were running then may have had \
                        their effect or not. Look at what is done already, then finish the task.";

/// The prompt of a turn that was given up while it waited for a decision.
const CONTINUE_AFTER_WAIT: &str = "This task was cut off while a request of yours waited for a decision, and you run again now. \
                                   Nothing of that request was carried out. Look at what is done already, make the request again \
                                   if you still need it, then finish the task.";

/// The input of `run`: what the turn is about, and how it runs.
///
/// ```
/// use openai_codex_restate::RunRequest;
///
/// let request: RunRequest = serde_json::from_str(
///     r#"{"input": "Fix the failing test.", "options": {"sandbox": "workspace-write", "cwd": "/repo"}}"#,
/// )?;
/// assert_eq!(request, RunRequest::new("Fix the failing test.").sandbox("workspace-write").cwd("/repo"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RunRequest {
    /// The user's input.
    pub input: RunInput,
    /// The key of the turn: in one thread, a turn with this key is started once. The invocation's id unless set. It must not be
    /// empty, and must not end with `#` and digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How the turn runs.
    #[serde(default, skip_serializing_if = "RunOptions::is_default")]
    pub options: RunOptions,
    /// What happens if the turn is cut off in the middle.
    #[serde(default)]
    pub on_half_done: OnHalfDone,
    /// Whether the outcome has the turn's items. The engine stores the outcome, and takes at most 32 MiB.
    #[serde(default)]
    pub items: bool,
}

impl RunRequest {
    /// Creates a request with this text.
    pub fn new(input: impl Into<String>) -> Self {
        Self {
            input: RunInput::Text(input.into()),
            key: None,
            options: RunOptions::default(),
            on_half_done: OnHalfDone::default(),
            items: false,
        }
    }

    /// Sets the key.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Sets the model.
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.options.model = Some(model.into());
        self
    }

    /// Sets what commands may do.
    pub fn sandbox(mut self, sandbox: impl Into<SandboxMode>) -> Self {
        self.options.sandbox = Some(sandbox.into());
        self
    }

    /// Sets the working folder, on the worker's machine.
    pub fn cwd(mut self, cwd: impl Into<String>) -> Self {
        self.options.cwd = Some(cwd.into());
        self
    }

    /// Sets who decides about actions beyond the sandbox.
    pub fn approvals(mut self, approvals: Approvals) -> Self {
        self.options.approvals = approvals;
        self
    }

    /// Sets what happens if the turn is cut off in the middle.
    pub fn on_half_done(mut self, policy: impl Into<OnHalfDone>) -> Self {
        self.on_half_done = policy.into();
        self
    }

    /// Makes the outcome contain the turn's items.
    pub fn with_items(mut self) -> Self {
        self.items = true;
        self
    }
}

/// The user's input: a text, or parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RunInput {
    /// A text.
    Text(String),
    /// Parts, of which each names its type: `[{"type": "text", "text": "…"}, {"type": "image", "url": "…"}]`.
    Parts(Vec<InputPart>),
}

/// A part of an input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub enum InputPart {
    /// A text.
    Text {
        /// The text.
        text: String,
    },
    /// An image at a URL.
    Image {
        /// The URL.
        url: String,
    },
    /// An image in a file of the worker's machine.
    LocalImage {
        /// The path of the file.
        path: String,
    },
}

impl RunInput {
    pub(crate) fn to_input(&self) -> Input {
        match self {
            Self::Text(text) => text.into(),
            Self::Parts(parts) => parts.iter().map(InputPart::to_item).collect::<Vec<_>>().into(),
        }
    }
}

impl InputPart {
    fn to_item(&self) -> InputItem {
        match self {
            Self::Text { text } => TextInput::new(text).into(),
            Self::Image { url } => ImageInput::new(url).into(),
            Self::LocalImage { path } => LocalImageInput::new(path).into(),
        }
    }
}

/// How the turns of a request run. What is not set is as the thread has it, or as the worker's configuration says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RunOptions {
    /// The model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How much the model reasons.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effort: Option<ReasoningEffort>,
    /// What commands may do: `read-only`, `workspace-write` or `danger-full-access`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxMode>,
    /// The working folder, on the worker's machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Who decides about actions beyond the sandbox.
    pub approvals: Approvals,
    /// Instructions beside the built-in ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub developer_instructions: Option<String>,
    /// Entries of the runtime's configuration, for this thread.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub config: Map<String, Value>,
    /// A JSON schema that the final response must follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
}

impl RunOptions {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Who decides about actions beyond the sandbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Approvals {
    /// Each becomes an [`OpenAsk`](crate::OpenAsk), and waits for a decision as long as it takes.
    #[default]
    Ask,
    /// The runtime refuses them.
    Deny,
    /// A model decides.
    AutoReview,
}

/// What happens if a turn is cut off in the middle: `"continue"`, `{"continue": "PROMPT"}`, `"fail"` or `"ask"`. A turn is cut off when
/// its worker dies, must end before the turn does, or has lost the engine.
///
/// A turn that a worker gives up while it waits for a decision is continued in any case, once there is a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OnHalfDone {
    /// One of the choices.
    Choice(HalfDoneChoice),
    /// Another worker continues the thread with a new turn, which has this prompt.
    Prompt {
        /// The prompt.
        #[serde(rename = "continue")]
        prompt: String,
    },
}

/// A choice of [`OnHalfDone`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HalfDoneChoice {
    /// Another worker continues the thread with a new turn. Its prompt says that the task was cut off.
    Continue,
    /// `run` fails.
    Fail,
    /// It becomes an [`OpenAsk`](crate::OpenAsk).
    Ask,
}

impl Default for OnHalfDone {
    fn default() -> Self {
        Self::Choice(HalfDoneChoice::Continue)
    }
}

impl From<HalfDoneChoice> for OnHalfDone {
    fn from(choice: HalfDoneChoice) -> Self {
        Self::Choice(choice)
    }
}

impl OnHalfDone {
    /// The prompt of the turn that continues, if one does.
    pub(crate) fn prompt(&self) -> Option<&str> {
        match self {
            Self::Choice(HalfDoneChoice::Continue) => Some(CONTINUE),
            Self::Choice(HalfDoneChoice::Fail | HalfDoneChoice::Ask) => None,
            Self::Prompt { prompt } => Some(prompt),
        }
    }

    /// The prompt of the turn that continues one which was given up while it waited for a decision.
    pub(crate) fn prompt_after_wait(&self) -> &str {
        match self {
            Self::Choice(_) => CONTINUE_AFTER_WAIT,
            Self::Prompt { prompt } => prompt,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_from_json_and_says_what_it_does_not_know() {
        let read = |text| serde_json::from_str::<RunRequest>(text);
        let request = read(
            r#"{"input": [{"type": "text", "text": "a"}, {"type": "localImage", "path": "/x.png"}], "key": "k",
                "on_half_done": {"continue": "Go on."}, "options": {"approvals": "deny", "effort": "low"}}"#,
        )
        .unwrap();
        assert_eq!(request.on_half_done.prompt(), Some("Go on."));
        assert_eq!(request.options.approvals, Approvals::Deny);
        assert!(matches!(&request.input, RunInput::Parts(parts) if parts.len() == 2));
        assert_eq!(read(r#"{"input": "a"}"#).unwrap(), RunRequest::new("a"));
        assert_eq!(read(r#"{"input": "a"}"#).unwrap().on_half_done.prompt(), Some(CONTINUE));
        assert_eq!(read(r#"{"input": "a", "on_half_done": "fail"}"#).unwrap().on_half_done.prompt(), None);
        assert!(read(r#"{"input": "a", "option": {}}"#).unwrap_err().to_string().contains("option"));
        assert!(
            read(r#"{"input": "a", "options": {"modell": "m"}}"#).unwrap_err().to_string().contains("modell")
        );
    }
}

//! The reviewer that the runtime asks instead of the user.

use serde_json::{Value, json};

use super::reply::ModelReply;
use super::request::RecordedRequest;

/// What the scripted reviewer says about an action that wants out of the sandbox.
///
/// With the reviewer `auto_review` (the SDK's `ApprovalMode::AutoReview`) the runtime asks a model about such actions,
/// and not the client. That is one more request to the same model server, with the model `codex-auto-review` or, for
/// runtime 0.169.0, that of the thread; the answer is a message whose text is JSON, with an `outcome` of `allow` or `deny`.
///
/// ```
/// use openai_codex_testkit::{ModelToolCall, ScriptedModel, Verdict};
///
/// # fn main() -> std::io::Result<()> {
/// let model = ScriptedModel::start()?;
/// model.review_with(Verdict::deny("Too much is at stake."));
/// model.reply(ModelToolCall::exec_command("rm -r build").escalate("the build is stale"));
/// model.reply("The build stays.");
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a verdict does nothing until it is given to a model"]
pub struct Verdict(Value);

impl Verdict {
    /// The action may run.
    pub fn allow() -> Self {
        Self(json!({"outcome": "allow", "risk_level": "low", "user_authorization": "high"}))
    }

    /// The action may not run, for this reason. The model that wanted it is told.
    pub fn deny(rationale: impl Into<String>) -> Self {
        Self(json!({"outcome": "deny", "risk_level": "high"})).rationale(rationale)
    }

    /// The reviewer's reason.
    pub fn rationale(self, rationale: impl Into<String>) -> Self {
        self.set("rationale", rationale)
    }

    /// How risky the action is: `low`, `medium`, `high` or `critical`.
    pub fn risk_level(self, level: impl Into<String>) -> Self {
        self.set("risk_level", level)
    }

    /// How far the user has authorised the action: `unknown`, `low`, `medium` or `high`.
    pub fn user_authorization(self, level: impl Into<String>) -> Self {
        self.set("user_authorization", level)
    }

    fn set(mut self, key: &str, value: impl Into<String>) -> Self {
        self.0[key] = value.into().into();
        self
    }
}

impl From<Verdict> for ModelReply {
    fn from(verdict: Verdict) -> Self {
        Self::text(verdict.0.to_string())
    }
}

impl RecordedRequest {
    /// Whether the runtime asks for a [review](Verdict) of an action.
    pub fn is_review(&self) -> bool {
        // The runtime says on whose behalf a request is made.
        self.header("x-openai-subagent") == Some("guardian")
    }

    /// The action that is to be reviewed, as the runtime describes it: `tool`, `command` and more.
    pub fn reviewed_action(&self) -> Option<Value> {
        if !self.is_review() {
            return None;
        }
        let texts = self.user_texts();
        let start = texts.iter().rposition(|text| text.contains("APPROVAL REQUEST START"))?;
        texts[start..].iter().find_map(|text| serde_json::from_str(text).ok().filter(Value::is_object))
    }
}

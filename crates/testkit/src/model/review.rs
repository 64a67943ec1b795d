//! The reviewer that the runtime uses instead of the user.

use serde_json::{Value, json};

use super::reply::ModelReply;
use super::request::RecordedRequest;

/// The scripted reviewer's verdict about an action that needs to leave the sandbox.
///
/// With the reviewer `auto_review` (the SDK's `ApprovalMode::AutoReview`) the runtime asks a model about such actions,
/// not the client. It sends one more request to the same model server. The request's model is `codex-auto-review`, or
/// the thread's model for runtime 0.169.0. The reply is a message whose text is JSON, with an `outcome` of `allow` or
/// `deny`.
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

    /// The action may not run, for this reason. The runtime reports that to the model that requested it.
    pub fn deny(rationale: impl Into<String>) -> Self {
        Self(json!({"outcome": "deny", "risk_level": "high"})).rationale(rationale)
    }

    /// The reviewer's reason.
    pub fn rationale(self, rationale: impl Into<String>) -> Self {
        self.set("rationale", rationale)
    }

    /// Sets the risk of the action: `low`, `medium`, `high` or `critical`.
    pub fn risk_level(self, level: impl Into<String>) -> Self {
        self.set("risk_level", level)
    }

    /// Sets how far the user has authorized the action: `unknown`, `low`, `medium` or `high`.
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
    /// Whether the runtime requests a [review](Verdict) of an action.
    pub fn is_review(&self) -> bool {
        // The runtime names the subject of a request in this header.
        self.header("x-openai-subagent") == Some("guardian")
    }

    /// The action to review, as the runtime describes it: `tool`, `command` and more.
    pub fn reviewed_action(&self) -> Option<Value> {
        if !self.is_review() {
            return None;
        }
        let texts = self.user_texts();
        let start = texts.iter().rposition(|text| text.contains("APPROVAL REQUEST START"))?;
        texts[start..].iter().find_map(|text| serde_json::from_str(text).ok().filter(Value::is_object))
    }
}

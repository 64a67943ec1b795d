//! Responses that are derived from their requests.

use openai_codex_protocol::types::{
    CommandExecutionApprovalDecision, GrantedPermissionProfile, McpServerElicitationAction,
    McpServerElicitationRequestResponse, PermissionsRequestApprovalResponse, ToolRequestUserInputAnswer,
    ToolRequestUserInputQuestion, ToolRequestUserInputResponse,
};
use serde_json::Value;

use crate::handler::request_handler::{
    CommandApproval, ElicitationRequest, PermissionsApproval, UserInputRequest,
};

impl CommandApproval {
    /// The decisions that the server offers, in its order. `Accept` and `Decline` if it offers none. The server always accepts
    /// `Decline` and `Cancel`.
    pub fn available_decisions(&self) -> Vec<CommandExecutionApprovalDecision> {
        let usual =
            || vec![CommandExecutionApprovalDecision::Accept, CommandExecutionApprovalDecision::Decline];
        self.params.available_decisions.clone().unwrap_or_else(usual)
    }
}

impl PermissionsApproval {
    /// Grants all requested permissions for this turn.
    pub fn grant_all(&self) -> PermissionsRequestApprovalResponse {
        let requested = self.params.permissions.clone();
        let mut granted = GrantedPermissionProfile::new();
        granted.file_system = requested.file_system;
        granted.network = requested.network;
        granted.extra = requested.extra;
        PermissionsRequestApprovalResponse::new(granted)
    }

    /// Grants the requested network access, if any, and no files.
    pub fn grant_network(&self) -> PermissionsRequestApprovalResponse {
        let mut response = self.grant_all();
        response.permissions.file_system = None;
        response.permissions.extra = Default::default();
        response
    }

    /// Grants access to the requested files, if any, and no network.
    pub fn grant_file_system(&self) -> PermissionsRequestApprovalResponse {
        let mut response = self.grant_all();
        response.permissions.network = None;
        response.permissions.extra = Default::default();
        response
    }

    /// Grants nothing.
    pub fn deny(&self) -> PermissionsRequestApprovalResponse {
        PermissionsRequestApprovalResponse::new(GrantedPermissionProfile::new())
    }
}

impl UserInputRequest {
    /// Answers each question with the result of `answer`. `None` leaves a question open.
    ///
    /// ```
    /// use openai_codex::CodexConfig;
    ///
    /// let config = CodexConfig::new().on_user_input(|request| {
    ///     request.answer_each(|question| {
    ///         let first = question.options.as_ref()?.first()?;
    ///         Some(first.label.clone())
    ///     })
    /// });
    /// # let _ = config;
    /// ```
    pub fn answer_each(
        &self,
        mut answer: impl FnMut(&ToolRequestUserInputQuestion) -> Option<String>,
    ) -> ToolRequestUserInputResponse {
        let answers = self.params.questions.iter().filter_map(|question| {
            let answer = ToolRequestUserInputAnswer::new([answer(question)?]);
            Some((question.id.clone(), answer))
        });
        ToolRequestUserInputResponse::new(answers.collect())
    }
}

impl ElicitationRequest {
    /// Accepts, with the content that the form requires. `Value::Null` if there is no form.
    pub fn accept(&self, content: impl Into<Value>) -> McpServerElicitationRequestResponse {
        McpServerElicitationRequestResponse::new(McpServerElicitationAction::Accept).content(content.into())
    }

    /// Declines.
    pub fn decline(&self) -> McpServerElicitationRequestResponse {
        McpServerElicitationRequestResponse::new(McpServerElicitationAction::Decline).content(Value::Null)
    }

    /// Dismisses the request without a choice.
    pub fn cancel(&self) -> McpServerElicitationRequestResponse {
        McpServerElicitationRequestResponse::new(McpServerElicitationAction::Cancel).content(Value::Null)
    }
}

//! How much a turn may use, and what it has used.

use openai_codex_protocol::types::{ThreadTokenUsage, TokenUsageBreakdown};
use openai_codex_protocol::{Notification, NotificationKind as Kind};

use crate::connection::event::Event;
use crate::error::{Error, ErrorKind};
use crate::json_scan::{member, text_member};

/// How much a turn may use.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TurnBudget {
    pub(crate) tokens: Option<u64>,
    pub(crate) model_requests: Option<u32>,
}

impl TurnBudget {
    pub(crate) fn is_limited(&self) -> bool {
        self.tokens.is_some() || self.model_requests.is_some()
    }
}

/// What a turn with a budget, and the turns of its sub-agents, have used so far.
///
/// Each `thread/tokenUsage/updated` reports one model request. A turn exceeds its budget if it has used it up by then and
/// needs another request, itself or in a sub-agent. A turn that ends without another request does not.
#[derive(Debug, Default)]
pub(crate) struct BudgetUsage {
    budget: TurnBudget,
    /// The first report of the turn.
    first: Option<ThreadTokenUsage>,
    /// The tokens of the turn, and those of its sub-agents.
    tokens: i64,
    tokens_of_children: i64,
    /// The model requests of the turn and its sub-agents.
    model_requests: u32,
    /// Whether the model has called something since the last report. It then gets the outcome in another request.
    calls: bool,
    /// The turns of sub-agents in which the model has called something since their last reports.
    calling_children: Vec<Box<str>>,
    /// Whether the budget is used up.
    used_up: bool,
    /// Whether the caller knows that the turn has exceeded its budget.
    reported: bool,
}

impl BudgetUsage {
    pub(crate) fn new(budget: TurnBudget) -> Self {
        Self { budget, ..Self::default() }
    }

    /// Counts an event. Returns true, once, when the turn goes on beyond its budget.
    pub(crate) fn handle_event(&mut self, event: Event<'_>) -> bool {
        let continues = match event.kind {
            Some(Kind::ThreadTokenUsageUpdated) => {
                if let Notification::ThreadTokenUsageUpdated(updated) = event.decode() {
                    let usage = updated.token_usage;
                    let first = self.first.get_or_insert_with(|| usage.clone());
                    self.tokens = used_since(first, &usage.total);
                    self.count_request();
                }
                std::mem::take(&mut self.calls)
            }
            Some(Kind::ItemStarted | Kind::ItemCompleted) => {
                self.calls |= is_call(event.text);
                true
            }
            Some(Kind::AgentMessageDelta) => true,
            _ => false,
        };
        self.exceeds(continues)
    }

    /// Counts an event of a sub-agent's turn. Returns true, once, when that turn goes on beyond the budget.
    pub(crate) fn handle_child_event(&mut self, turn_id: &str, event: Event<'_>) -> bool {
        let calling = self.calling_children.iter().position(|child| **child == *turn_id);
        let continues = match event.kind {
            Some(Kind::ThreadTokenUsageUpdated) => {
                if let Notification::ThreadTokenUsageUpdated(updated) = event.decode() {
                    let last = updated.token_usage.last.total_tokens;
                    self.tokens_of_children = self.tokens_of_children.saturating_add(last);
                    self.count_request();
                }
                calling.map(|index| self.calling_children.swap_remove(index)).is_some()
            }
            Some(Kind::ItemStarted | Kind::ItemCompleted) => {
                if calling.is_none() && is_call(event.text) {
                    self.calling_children.push(turn_id.into());
                }
                true
            }
            Some(Kind::TurnCompleted) => {
                calling.map(|index| self.calling_children.swap_remove(index));
                false
            }
            Some(Kind::AgentMessageDelta) => true,
            _ => false,
        };
        self.exceeds(continues)
    }

    fn count_request(&mut self) {
        self.model_requests += 1;
        let tokens = u64::try_from(self.all_tokens()).unwrap_or(0);
        let TurnBudget { tokens: max_tokens, model_requests } = self.budget;
        self.used_up = max_tokens.is_some_and(|limit| tokens >= limit)
            || model_requests.is_some_and(|limit| self.model_requests >= limit);
    }

    fn all_tokens(&self) -> i64 {
        self.tokens.saturating_add(self.tokens_of_children)
    }

    fn exceeds(&mut self, continues: bool) -> bool {
        let exceeded = self.used_up && continues && !self.reported;
        self.reported |= exceeded;
        exceeded
    }

    /// The error of a turn that has exceeded its budget.
    pub(crate) fn error(&self) -> Error {
        let budget = self.budget;
        let tokens = budget.tokens.map(|limit| format!("{} of {limit} tokens", self.all_tokens()));
        let requests =
            budget.model_requests.map(|limit| format!("{} of {limit} model requests", self.model_requests));
        let used = match (tokens, requests) {
            (Some(tokens), Some(requests)) => format!("{tokens} and {requests}"),
            (used, None) | (None, used) => used.unwrap_or_default(),
        };
        let message = format!(
            "the turn has used {used} and would go on. Set a larger budget, or go on from what it has produced"
        );
        Error::new(ErrorKind::BudgetExceeded, message)
    }
}

/// How many tokens the turn has used: its first request, and the growth of the thread's total since then.
fn used_since(first: &ThreadTokenUsage, total: &TokenUsageBreakdown) -> i64 {
    total.total_tokens.saturating_sub(first.total.total_tokens).saturating_add(first.last.total_tokens)
}

/// Whether an item is a call by the model, which needs its outcome. That is any item but text.
fn is_call(params: &str) -> bool {
    let text_items = ["agentMessage", "userMessage", "reasoning", "plan", "contextCompaction"];
    let kind = member(params, "item").and_then(|item| text_member(item, "type"));
    kind.is_some_and(|kind| !text_items.contains(&&*kind))
}

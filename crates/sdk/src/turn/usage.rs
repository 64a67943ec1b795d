//! Computes the token usage of one turn.
//!
//! The server counts by thread and by model request: each `thread/tokenUsage/updated` carries the thread's `total` and the
//! `last` request. A turn can make many requests, so its usage is the difference between two totals.

use openai_codex_protocol::types::{ThreadItem, ThreadTokenUsage, TokenUsageBreakdown};

/// The usage of a turn, from its first and its latest notification about usage.
pub(crate) fn of_turn(
    first: &ThreadTokenUsage,
    latest: &ThreadTokenUsage,
    items: &[ThreadItem],
) -> TokenUsageBreakdown {
    let since_start = less(&latest.total, &first.total);
    // A compaction's first notification repeats the usage before it. In any other turn, the first notification is about the
    // turn's first request.
    let mut model_items = items.iter().filter(|item| !matches!(item, ThreadItem::UserMessage(_)));
    match model_items.next() {
        Some(ThreadItem::ContextCompaction(_)) => since_start,
        _ => plus(&since_start, &first.last),
    }
}

fn combine(
    one: &TokenUsageBreakdown,
    other: &TokenUsageBreakdown,
    count: impl Fn(i64, i64) -> i64,
) -> TokenUsageBreakdown {
    let mut combined = one.clone();
    combined.input_tokens = count(one.input_tokens, other.input_tokens);
    combined.cached_input_tokens = count(one.cached_input_tokens, other.cached_input_tokens);
    combined.output_tokens = count(one.output_tokens, other.output_tokens);
    combined.reasoning_output_tokens = count(one.reasoning_output_tokens, other.reasoning_output_tokens);
    combined.total_tokens = count(one.total_tokens, other.total_tokens);
    combined.cache_write_input_tokens = one
        .cache_write_input_tokens
        .map(|tokens| count(tokens, other.cache_write_input_tokens.unwrap_or_default()));
    combined
}

fn less(one: &TokenUsageBreakdown, other: &TokenUsageBreakdown) -> TokenUsageBreakdown {
    combine(one, other, |one, other| one.saturating_sub(other))
}

fn plus(one: &TokenUsageBreakdown, other: &TokenUsageBreakdown) -> TokenUsageBreakdown {
    combine(one, other, i64::saturating_add)
}

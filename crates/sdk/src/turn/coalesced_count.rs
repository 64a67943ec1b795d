//! Counts the deltas in an event.

use openai_codex_protocol::{Extra, Notification};
use serde_json::Value;

/// Returns how many of the server's deltas an event contains. It is more than one if a slow consumer made the client coalesce
/// deltas; see [`CodexConfig::coalesce_above`](crate::CodexConfig::coalesce_above).
pub fn coalesced_count(event: &Notification) -> u64 {
    use Notification as Event;
    let extra: Option<&Extra> = match event {
        Event::AgentMessageDelta(delta) => Some(&delta.extra),
        Event::CommandExecutionOutputDelta(delta) => Some(&delta.extra),
        Event::FileChangeOutputDelta(delta) => Some(&delta.extra),
        Event::PlanDelta(delta) => Some(&delta.extra),
        Event::ReasoningSummaryTextDelta(delta) => Some(&delta.extra),
        Event::ReasoningTextDelta(delta) => Some(&delta.extra),
        _ => None,
    };
    extra.and_then(|extra| extra.get("mergedCount")).and_then(Value::as_u64).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use openai_codex_protocol::table::NOTIFICATIONS;
    use serde_json::json;

    #[test]
    fn every_method_that_merges_is_counted() {
        for info in NOTIFICATIONS.iter().filter(|info| info.merge.is_some()) {
            let params = json!({
                "threadId": "t", "turnId": "u", "itemId": "i", "delta": "x", "summaryIndex": 0, "contentIndex": 0,
                "mergedCount": 3,
            });
            let frame = json!({"method": info.method, "params": params}).to_string();
            assert_eq!(coalesced_count(&Notification::decode_frame(&frame)), 3, "{}", info.method);
        }
    }
}

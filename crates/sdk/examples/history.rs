//! Reads a thread page by page, newest turn first.
//!
//! `cargo run --example history -- ID`, with a runtime (`cargo xtask runtime`). Without an id it reads the last used
//! thread. It sends nothing to a model.

use openai_codex::types::{SortDirection, ThreadItem, ThreadSortKey, TurnItemsView, UserInput};
use openai_codex::{AsyncCodex, Result};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let codex = AsyncCodex::new();
    let id = match std::env::args().nth(1) {
        Some(id) => id,
        None => {
            let newest = codex.thread_list().sort_key(ThreadSortKey::UpdatedAt).limit(1).send().await?;
            let Some(thread) = newest.data.into_iter().next() else {
                println!("no threads yet");
                return codex.close().await;
            };
            thread.id
        }
    };
    let thread = codex.thread_resume(id).include_turns(false).send().await?; // the pages follow below

    // A page at a time, each with its cursor.
    let turns = thread.turns().limit(2).sort_direction(SortDirection::Desc).items_view(TurnItemsView::Full);
    let mut pages = turns.pages();
    let mut number = 0;
    while let Some(page) = pages.next().await {
        let page = page?;
        number += 1;
        println!("page {number}, {}:", if page.next_cursor.is_some() { "more to come" } else { "the last" });
        for turn in page.data {
            println!("  {}: {}", turn.status, turn.items.iter().find_map(said).unwrap_or_default());
        }
    }

    // Or everything, if pages do not matter.
    let mut entries = thread.items().limit(50).all();
    while let Some(entry) = entries.next().await {
        if let Some(text) = said(&entry?.item) {
            println!("{text}");
        }
    }
    codex.close().await
}

/// The text of the user or the agent, if the item is a message.
fn said(item: &ThreadItem) -> Option<String> {
    match item {
        ThreadItem::UserMessage(message) => message.content.iter().find_map(|part| match part {
            UserInput::Text(text) => Some(format!("> {}", text.text)),
            _ => None,
        }),
        ThreadItem::AgentMessage(message) => Some(message.text.clone()),
        _ => None,
    }
}

//! Two functions of this program that the model can call.
//!
//! `cargo run --example tools`, with a runtime (`cargo xtask runtime`) and an account (`codex login`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use openai_codex::schemars::{self, JsonSchema};
use openai_codex::{ApprovalMode, AsyncCodex, Json, Result, Sandbox, Tool};
use serde::Deserialize;

type Stock = Arc<Mutex<BTreeMap<String, u32>>>;

// The model reads names and comments. It also receives the errors of calls that do not fit, so that it can correct
// them.
#[derive(Deserialize, JsonSchema)]
struct Lookup {
    /// As it is on the label, such as `AB-12`.
    part_number: String,
}

#[derive(Deserialize, JsonSchema)]
struct Take {
    part_number: String,
    pieces: u32,
}

fn lookup(stock: Stock) -> Tool {
    Tool::new("lookup", "How many pieces of a part are in stock", move |part: Lookup| {
        let stock = stock.lock().map_err(|_| "the stock is in disorder")?;
        match stock.get(&part.part_number) {
            Some(pieces) => Ok(Json(serde_json::json!({"part": part.part_number, "pieces": pieces}))),
            None => Err("there is no such part"),
        }
    })
}

fn take(stock: Stock) -> Tool {
    Tool::new("take", "Takes pieces of a part out of the stock", move |take: Take| {
        let stock = stock.clone();
        // A closure can also return a future.
        async move {
            let mut stock = stock.lock().map_err(|_| "the stock is in disorder".to_owned())?;
            let left = stock.get_mut(&take.part_number).ok_or("there is no such part")?;
            *left = left.checked_sub(take.pieces).ok_or(format!("there are only {left}"))?;
            Ok::<_, String>(format!("{left} left"))
        }
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let stock: Stock = Arc::new(Mutex::new(BTreeMap::from([("AB-12".into(), 7), ("CD-34".into(), 0)])));
    let codex = AsyncCodex::new();
    let thread = codex
        .thread_start()
        .tools([lookup(stock.clone()), take(stock.clone())])
        .approval_mode(ApprovalMode::DenyAll)
        .sandbox(Sandbox::ReadOnly)
        .ephemeral(true)
        .send()
        .await?;
    let result = thread.run("Take two AB-12 if there are enough, and say what is left.").await?;
    println!("{}", result.final_response.unwrap_or_default());
    println!("in stock: {:?}", stock.lock().map(|stock| stock.clone()).unwrap_or_default());
    codex.close().await
}

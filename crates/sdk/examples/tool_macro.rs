//! Two methods of a state as tools that the model can call, with `#[tool]`.
//!
//! `cargo run --example tool_macro`, with a runtime (`cargo xtask runtime`) and an account (`codex login`). A program of
//! your own needs the feature `macros`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use openai_codex::{ApprovalMode, AsyncCodex, Result, Sandbox, tool};

struct Stock {
    pieces: Mutex<BTreeMap<String, u32>>,
}

// The model reads the names and the comments of the methods and of their parameters.
impl Stock {
    /// How many pieces of a part are in stock.
    #[tool]
    fn look_up(
        &self,
        /// As it is on the label, such as `AB-12`.
        part_number: String,
    ) -> Result<String, &'static str> {
        let stock = self.pieces.lock().map_err(|_| "the stock is in disorder")?;
        let pieces = stock.get(&part_number).ok_or("there is no such part")?;
        Ok(format!("{pieces} pieces"))
    }

    /// Takes pieces of a part out of the stock.
    #[tool]
    async fn take(
        &self,
        part_number: String,
        /// One, unless it is given.
        pieces: Option<u32>,
    ) -> Result<String, String> {
        let mut stock = self.pieces.lock().map_err(|_| "the stock is in disorder")?;
        let left = stock.get_mut(&part_number).ok_or("there is no such part")?;
        *left = left.checked_sub(pieces.unwrap_or(1)).ok_or(format!("there are only {left}"))?;
        Ok(format!("{left} left"))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let stock = Arc::new(Stock { pieces: Mutex::new(BTreeMap::from([("AB-12".into(), 7)])) });
    let codex = AsyncCodex::new();
    let thread = codex
        .thread_start()
        .tools([stock.look_up_tool(), stock.take_tool()])
        .approval_mode(ApprovalMode::DenyAll)
        .sandbox(Sandbox::ReadOnly)
        .ephemeral(true)
        .send()
        .await?;
    let result = thread.run("Take an AB-12 if there is one, and say what is left.").await?;
    println!("{}", result.final_response.unwrap_or_default());
    println!("in stock: {:?}", stock.pieces.lock().map(|pieces| pieces.clone()).unwrap_or_default());
    codex.close().await
}

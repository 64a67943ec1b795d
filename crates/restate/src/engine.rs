//! The engine's admin API.

use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::http;

/// How often a worker looks for an engine that is not there yet.
const POLL: Duration = Duration::from_millis(250);

/// An engine, by the address of its admin API.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    url: String,
}

impl Engine {
    pub(crate) fn new(url: &str) -> Self {
        Self { url: url.trim_end_matches('/').to_owned() }
    }

    /// Makes the engine know the workers at `uri`. Waits until it runs. With `force` it replaces what it knows of them.
    pub(crate) async fn register(&self, uri: &str, force: bool, within: Duration) -> Result<(), String> {
        let deadline = Instant::now() + within;
        let body = json!({"uri": uri, "force": force});
        loop {
            let url = format!("{}/deployments", self.url);
            let failure = match http::send(Method::POST, &url, Some(&body)).await {
                Ok(response) if response.is_success() => return Ok(()),
                // Another worker has registered the address.
                Ok(response) if response.status == 409 && !force => return Ok(()),
                Ok(response) if (400..500).contains(&response.status) => {
                    return Err(format!(
                        "the engine at {} refuses the worker at {uri}: {}",
                        self.url, response.text
                    ));
                }
                Ok(response) => response.text,
                Err(failure) => failure.message,
            };
            if Instant::now() >= deadline {
                return Err(format!(
                    "the worker at {uri} cannot register with the engine at {}: {failure}",
                    self.url
                ));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The rows of a query.
    pub(crate) async fn query(&self, sql: &str) -> Result<Vec<Value>, String> {
        let url = format!("{}/query", self.url);
        let response = http::send(Method::POST, &url, Some(&json!({"query": sql}))).await;
        let mut response = response.map_err(|failure| failure.message)?;
        match response.body["rows"].take() {
            Value::Array(rows) if response.is_success() => Ok(rows),
            _ => Err(format!("the engine at {} does not answer a query: {}", self.url, response.text)),
        }
    }
}

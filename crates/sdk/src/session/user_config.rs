//! Reads entries of the user's configuration.

use openai_codex_protocol::JsonObject;
use serde_json::Value;
use serde_json::value::to_raw_value;

use crate::error::{Error, Result};
use crate::session::config_values;
use crate::session::runtime::Session;

const CONFIG_READ: &str = "config/read";

/// The value at a dotted key of the configuration that the runtime has for a thread in this folder. `None` also if the server does not
/// know the request. `cwd`: the folder, if it is known. Its configuration counts if the runtime trusts it.
pub(crate) async fn entry(
    session: &Session,
    thread_id: &str,
    cwd: Option<&str>,
    key: &str,
) -> Result<Option<Value>> {
    // Without the cargo feature of the request's domain there is no type of its parameters.
    let params: JsonObject = cwd.map(|cwd| ("cwd".to_owned(), Value::from(cwd))).into_iter().collect();
    let params = to_raw_value(&params).map_err(|error| Error::invalid_input(error.to_string()))?;
    match session.call_raw(CONFIG_READ, Some(&params)).await {
        Ok(settings) => {
            let settings: Value = serde_json::from_str(&settings).unwrap_or_default();
            let config = settings.get("config").and_then(Value::as_object);
            Ok(config.and_then(|config| config_values::value(config, key)).cloned())
        }
        Err(error) if error.json_rpc().is_some() && !error.is_retryable() => Ok(None),
        Err(error) => Err(error.with_thread(Some(thread_id))),
    }
}

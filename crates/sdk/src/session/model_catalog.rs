//! The catalog of the models that a runtime knows.

use openai_codex_protocol::methods;
use openai_codex_protocol::types::{Model, ModelListParams};

use crate::background::Boxed;
use crate::error::Result;
use crate::session::runtime::Session;

/// Pages of the catalog. It ends a listing that goes on for ever.
const MAX_PAGES: usize = 64;

/// Reads the catalog. `None`: the server has none.
pub(crate) fn read<'a>(session: &'a Session, thread_id: &'a str) -> Boxed<'a, Result<Option<Vec<Model>>>> {
    Box::pin(async move {
        let mut models = Vec::new();
        let mut cursor = None;
        for _ in 0..MAX_PAGES {
            let mut params = ModelListParams::new().include_hidden(true);
            params.cursor = cursor;
            let page = match session.call::<methods::ModelList>(&params, Some(thread_id)).await {
                Ok(page) => page,
                Err(error) if error.json_rpc().is_some() && !error.is_retryable() => return Ok(None),
                Err(error) => return Err(error),
            };
            models.extend(page.data);
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        Ok(Some(models))
    })
}

/// The entry that the runtime uses for a model: the one with the longest name that the model's name begins with. A prefix before a
/// slash does not count.
pub(crate) fn entry_of<'a>(model: &str, catalog: &'a [Model]) -> Option<&'a Model> {
    let name = model.rsplit('/').next().unwrap_or(model);
    let matching =
        catalog.iter().filter(|entry| [model, name].iter().any(|name| name.starts_with(&entry.model)));
    matching.max_by_key(|entry| entry.model.len())
}

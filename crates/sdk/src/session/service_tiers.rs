//! Checks that the runtime offers a service tier for a model.
//!
//! The runtime drops a tier that it does not offer for the thread's model. The responses that load a thread show that. A turn, and a
//! change of a loaded thread's settings, report the tier as requested and leave it out of the model requests. So the client reads
//! the catalog of the models before.

use openai_codex_protocol::methods;
use openai_codex_protocol::types::{Model, ModelListParams};

use crate::error::{Error, ErrorKind, Result};
use crate::session::runtime::Session;
use crate::session::version;

/// Pages of the catalog. It ends a listing that goes on for ever.
const MAX_PAGES: usize = 64;

/// Another name of the tier [`PRIORITY`].
pub(crate) const FAST: &str = "fast";
pub(crate) const PRIORITY: &str = "priority";

const FLEX: &str = "flex";
/// These leave the choice to the service.
pub(crate) const NO_TIERS: [&str; 3] = ["auto", "default", "standard"];

/// Refuses a tier that the runtime would drop. `option`: the method that names the tier.
pub(crate) async fn check(
    session: &Session,
    thread_id: &str,
    option: &str,
    tier: &str,
    model: &str,
) -> Result<()> {
    let has_flex = !version::is_older(&session.metadata, version::FLEX_OF_EVERY_MODEL);
    if NO_TIERS.contains(&tier) || (tier == FLEX && has_flex) {
        return Ok(());
    }
    let mut offered = Vec::new();
    let mut cursor = None;
    for _ in 0..MAX_PAGES {
        let mut params = ModelListParams::new().include_hidden(true);
        params.cursor = cursor;
        let page = match session.call::<methods::ModelList>(&params, Some(thread_id)).await {
            Ok(page) => page,
            // A server without a catalog. The client cannot know better than the request.
            Err(error) if error.json_rpc().is_some() && !error.is_retryable() => return Ok(()),
            Err(error) => return Err(error),
        };
        offered.extend(page.data);
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    let tiers: Vec<&str> = entry_of(model, &offered)
        .and_then(|entry| entry.service_tiers.as_ref())
        .into_iter()
        .flatten()
        .map(|tier| tier.id.as_str())
        .collect();
    let wanted = if tier == FAST { PRIORITY } else { tier };
    if tiers.contains(&wanted) {
        return Ok(());
    }
    let offered: Vec<&str> = tiers.into_iter().chain(has_flex.then_some(FLEX)).collect();
    let message = format!(
        "`{option}` is {tier:?}. The runtime does not offer this service tier for the model {model:?} and would drop it. It offers \
         {offered:?}; choose one of these, or leave the option out"
    );
    Err(Error::new(ErrorKind::OptionNotApplied, message).with_thread(Some(thread_id)))
}

/// The entry that the runtime uses for a model: the one with the longest name that the model's name begins with. A prefix before a
/// slash does not count.
fn entry_of<'a>(model: &str, catalog: &'a [Model]) -> Option<&'a Model> {
    let name = model.rsplit('/').next().unwrap_or(model);
    let matching =
        catalog.iter().filter(|entry| [model, name].iter().any(|name| name.starts_with(&entry.model)));
    matching.max_by_key(|entry| entry.model.len())
}

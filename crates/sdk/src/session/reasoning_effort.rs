//! Checks that a model has the effort that a call names.
//!
//! The runtime sends each effort to the model as it is, except one. It replaces `ultra` for a model that does not offer it, and reports
//! `ultra` all the same. So the client reads the catalog of the models before.

use openai_codex_protocol::types::{Model, ReasoningEffort};

use crate::background::Boxed;
use crate::error::{Error, ErrorKind, Result};
use crate::session::model_catalog::{self, entry_of};
use crate::session::runtime::Session;

/// Refuses an effort that the runtime would replace.
pub(crate) fn check<'a>(
    session: &'a Session,
    thread_id: &'a str,
    effort: &'a ReasoningEffort,
    model: &'a str,
) -> Boxed<'a, Result<()>> {
    Box::pin(async move {
        if *effort != ReasoningEffort::Ultra {
            return Ok(());
        }
        let Some(catalog) = model_catalog::read(session, thread_id).await? else { return Ok(()) };
        let offers = |entry: &Model| efforts_of(entry).any(|offered| offered == effort);
        // A runtime whose catalog does not have it sends it as it is.
        if !catalog.iter().any(offers) || entry_of(model, &catalog).is_some_and(offers) {
            return Ok(());
        }
        let offered = entry_of(model, &catalog).into_iter().flat_map(efforts_of).map(ReasoningEffort::as_str);
        let offered: Vec<_> = offered.collect();
        let message = format!(
            "the effort is {:?}. The runtime does not offer it for the model {model:?}, and would replace it. It offers {offered:?}; \
             choose another effort with `effort`",
            effort.as_str()
        );
        Err(Error::new(ErrorKind::OptionNotApplied, message).with_thread(Some(thread_id)))
    })
}

fn efforts_of(model: &Model) -> impl Iterator<Item = &ReasoningEffort> {
    model.supported_reasoning_efforts.iter().map(|option| &option.reasoning_effort)
}

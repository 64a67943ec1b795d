//! Checks that the runtime offers a service tier for a model.
//!
//! The runtime drops a tier that it does not offer for the thread's model. The responses that load a thread show that. A turn, and a
//! change of a loaded thread's settings, report the tier as requested and leave it out of the model requests. So the client reads
//! the catalog of the models before.

use openai_codex_protocol::JsonObject;
use serde_json::Value;

use crate::background::Boxed;
use crate::error::{Error, ErrorKind, Result};
use crate::session::config_values;
use crate::session::model_catalog::{self, entry_of};
use crate::session::runtime::Session;
use crate::session::user_config;
use crate::session::version;

/// Another name of the tier [`PRIORITY`].
pub(crate) const FAST: &str = "fast";
pub(crate) const PRIORITY: &str = "priority";

const FLEX: &str = "flex";
/// These leave the choice to the service.
pub(crate) const NO_TIERS: [&str; 3] = ["auto", "default", "standard"];

/// The configuration entry without which the runtime drops the tiers of the catalog. The catalog lists them all the same.
const FAST_MODE: &str = "features.fast_mode";

/// What the client knows of a thread's tiers before a call.
#[derive(Debug, Default)]
pub(crate) struct KnownTiers {
    /// The tier that an earlier call has named.
    pub(crate) kept: Option<String>,
    /// What an entry that the thread was loaded with says of [`FAST_MODE`].
    pub(crate) fast_mode: Option<bool>,
}

impl KnownTiers {
    /// `config`: the entries that the thread was loaded with.
    pub(crate) fn new(kept: Option<String>, config: Option<&JsonObject>) -> Self {
        let fast_mode = config.and_then(|config| config_values::value(config, FAST_MODE));
        Self { kept, fast_mode: fast_mode.and_then(Value::as_bool) }
    }
}

/// What names a tier.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TierOption {
    /// The builder's method.
    Named(&'static str),
    /// An earlier call. This one names another model, or an entry without the tiers.
    Kept,
}

/// A tier to check.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TierOfModel<'a> {
    pub(crate) option: TierOption,
    pub(crate) tier: &'a str,
    pub(crate) model: &'a str,
    /// The thread's folder, if it is known. Its configuration counts if the runtime trusts it.
    pub(crate) cwd: Option<&'a str>,
    pub(crate) fast_mode: Option<bool>,
}

/// Refuses a tier that the runtime would drop.
pub(crate) fn check<'a>(
    session: &'a Session,
    thread_id: &'a str,
    wanted: TierOfModel<'a>,
) -> Boxed<'a, Result<()>> {
    Box::pin(async move {
        let TierOfModel { option, tier, model, cwd, fast_mode } = wanted;
        let has_flex = !version::is_older(&session.metadata, version::FLEX_OF_EVERY_MODEL);
        if NO_TIERS.contains(&tier) || (tier == FLEX && has_flex) {
            return Ok(());
        }
        // Without a catalog, the client cannot know better than the request.
        let Some(offered) = model_catalog::read(session, thread_id).await? else { return Ok(()) };
        let mut tiers: Vec<&str> = entry_of(model, &offered)
            .and_then(|entry| entry.service_tiers.as_ref())
            .into_iter()
            .flatten()
            .map(|tier| tier.id.as_str())
            .collect();
        let wanted = if tier == FAST { PRIORITY } else { tier };
        let mut when = String::new();
        if tiers.contains(&wanted) {
            let on = match fast_mode {
                Some(on) => on,
                None => has_fast_mode(session, thread_id, cwd).await?,
            };
            if on {
                return Ok(());
            }
            tiers.clear();
            when = format!(" while `{FAST_MODE}` is off");
        }
        let offered: Vec<&str> = tiers.into_iter().chain(has_flex.then_some(FLEX)).collect();
        let (name, advice) = match option {
            TierOption::Named(option) => {
                (format!("`{option}`"), "choose one of these, or leave the option out")
            }
            TierOption::Kept => (
                "the thread's `service_tier`".to_owned(),
                "choose one of these with `service_tier`, or \"default\" to leave the choice to the service",
            ),
        };
        let message = format!(
            "{name} is {tier:?}. The runtime does not offer this service tier for the model {model:?}{when} and would drop it. It \
         offers {offered:?}; {advice}"
        );
        Err(Error::new(ErrorKind::OptionNotApplied, message).with_thread(Some(thread_id)))
    })
}

/// Whether the configuration of the runtime leaves [`FAST_MODE`] on. A server may not know the request: the client cannot know better
/// than the request then.
async fn has_fast_mode(session: &Session, thread_id: &str, cwd: Option<&str>) -> Result<bool> {
    let fast_mode = user_config::entry(session, thread_id, cwd, FAST_MODE).await?;
    Ok(fast_mode != Some(Value::Bool(false)))
}

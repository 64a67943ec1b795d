//! `cargo xtask codegen`: the protocol crate's types and its method table.
//!
//! runtime → schemas ([`source`]) → facts ([`extract`], [`facts`], kept in `protocol/` by [`store`]) → decisions ([`plan`],
//! with the hand-written [`policy`]) → Rust ([`emit_types`], [`emit_methods`], [`emit_messages`]) → files ([`output`]).

use std::path::Path;

mod docs;
mod emit_messages;
mod emit_methods;
mod emit_tests;
mod emit_types;
mod extract;
mod facts;
mod naming;
mod output;
mod plan;
mod policy;
mod shapes;
mod source;
mod store;
#[cfg(test)]
mod tests;
mod ty;

/// What the steps return.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Regenerates from the vendored facts; with `check`, nothing is written and a difference is an error.
///
/// With `codex_bin` the vendored facts are first refreshed from that runtime (with `check`: compared with what it says).
pub fn run_with(codex_bin: Option<&Path>, check: bool) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("the tool runner has no workspace")?;
    let vendored = root.join("protocol");
    if let Some(codex_bin) = codex_bin {
        let fresh = source::facts_of(codex_bin)?;
        if !check {
            store::save(&vendored, &fresh)?;
        } else if fresh != store::load(&vendored)? {
            return Err("the runtime's protocol is not the vendored one: run `cargo xtask codegen`".into());
        }
    }
    let plan = plan::Plan::new(plan::relaxed(store::load(&vendored)?)?)?;
    let mut files = emit_types::files(&plan);
    files.extend(emit_methods::files(&plan));
    files.extend(emit_messages::files(&plan)?);
    files.push(("mod.rs".to_owned(), module()));
    let crate_folder = root.join("crates/protocol");
    let tests = emit_tests::files(&plan);
    output::write(root, &crate_folder.join("src/generated"), files, check)?;
    output::write(root, &crate_folder.join("tests/protocol/generated"), tests, check)
}

/// The root of the generated module.
fn module() -> String {
    "//! What `cargo xtask codegen` makes of the vendored facts.\n\n\
     pub mod client_notifications;\npub mod methods;\npub(crate) mod notification;\npub mod notifications;\nmod params;\n\
     pub(crate) mod server_request;\npub mod server_requests;\npub mod table;\npub mod types;\n"
        .to_owned()
}

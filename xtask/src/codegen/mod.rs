//! `cargo xtask codegen`: the protocol crate's types and its method table.
//!
//! runtimes → schemas ([`source`]) → facts ([`extract`], [`facts`]) → facts of all of them ([`union`], kept in `protocol/` by
//! [`store`]) → decisions ([`plan`], with the hand-written [`policy`]) → Rust ([`emit_types`], [`emit_methods`], [`emit_messages`]) → files ([`output`]).

use std::path::{Path, PathBuf};

use crate::versions::{VERSIONS, is_installed, program};

mod docs;
mod emit_messages;
mod emit_methods;
mod emit_tests;
mod emit_types;
mod extract;
mod facts;
mod features;
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
mod union;

/// What the steps return.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Which runtimes are asked for their schemas. What the others have is taken from the vendored facts.
#[derive(Debug, Clone, Copy)]
pub enum Ask<'a> {
    /// None.
    Nobody,
    /// The pinned one, which is installed if it is missing, and those that are installed.
    Installed,
    /// These, which are installed if they are missing; if empty, all.
    Versions(&'a [&'a str]),
}

impl Ask<'_> {
    /// The versions to ask, with their programs.
    fn programs(self) -> Result<Vec<(&'static str, PathBuf)>> {
        let mut programs = Vec::new();
        for version in VERSIONS {
            let wanted = match self {
                Self::Nobody => false,
                Self::Installed => version == openai_codex_runtime::VERSION || is_installed(version)?,
                Self::Versions(named) => named.is_empty() || named.contains(&version),
            };
            if wanted {
                programs.push((version, program(version)?));
            }
        }
        Ok(programs)
    }
}

/// Regenerates from the vendored facts; with `check`, nothing is written and a difference is an error.
///
/// The vendored facts are first refreshed from the runtimes that are asked (with `check`: compared with what they say).
pub fn run_with(ask: Ask<'_>, check: bool) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("the tool runner has no workspace")?;
    let vendored = root.join("protocol");
    let programs = ask.programs()?;
    if !programs.is_empty() {
        let fresh = refreshed(&vendored, &programs)?;
        if !check {
            store::save(&vendored, &fresh)?;
        } else if fresh != store::load(&vendored)? {
            let asked: Vec<&str> = programs.iter().map(|(version, _)| *version).collect();
            let asked = asked.join(", ");
            return Err(format!(
                "the vendored protocol is not that of runtime {asked}: run `cargo xtask codegen`"
            )
            .into());
        }
    }
    let plan = plan::Plan::new(store::load(&vendored)?)?;
    let mut files = emit_types::files(&plan);
    files.extend(emit_methods::files(&plan));
    files.extend(emit_messages::files(&plan)?);
    files.push(("mod.rs".to_owned(), module()));
    let crate_folder = root.join("crates/protocol");
    let tests = emit_tests::files(&plan);
    output::write(root, &crate_folder.join("src/generated"), files, check)?;
    output::write(root, &crate_folder.join("tests/protocol/generated"), tests, check)
}

/// For each runtime its numbers of requests, notifications and server requests, by the vendored facts.
pub fn counts() -> Result<Vec<(String, [usize; 3])>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("the tool runner has no workspace")?;
    let all = store::load(&root.join("protocol"))?;
    let of = |runtime: &String| -> Result<(String, [usize; 3])> {
        let methods = union::restricted(&all, runtime)?.methods;
        let counts =
            [&methods.client_requests, &methods.server_notifications, &methods.server_requests].map(Vec::len);
        Ok((runtime.clone(), counts))
    };
    all.methods.runtimes.iter().map(of).collect()
}

/// The facts of all runtimes: of those with a program as they print them, of the others as vendored.
fn refreshed(vendored: &Path, programs: &[(&str, PathBuf)]) -> Result<facts::Facts> {
    let single = VERSIONS.iter().map(|version| match programs.iter().find(|(known, _)| known == version) {
        Some((_, program)) => source::facts_of(program),
        None => union::restricted(&store::load(vendored)?, version),
    });
    union::union(&single.collect::<Result<Vec<_>>>()?)
}

/// The root of the generated module.
fn module() -> String {
    "//! What `cargo xtask codegen` makes of the vendored facts.\n\n\
     pub mod client_notifications;\npub mod methods;\npub(crate) mod notification;\npub mod notifications;\nmod params;\n\
     pub(crate) mod server_request;\npub mod server_requests;\npub mod table;\npub mod types;\n"
        .to_owned()
}

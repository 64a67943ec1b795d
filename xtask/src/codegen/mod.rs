//! `cargo xtask codegen`: the protocol crate's types and its method table.
//!
//! runtimes → schemas ([`source`]) → facts ([`extract`], [`facts`]) → facts of all of them ([`union`], kept in `protocol/` by
//! [`store`]) → decisions ([`plan`], with the hand-written [`policy`]) → Rust ([`emit_types`], [`emit_methods`],
//! [`emit_messages`]) → files ([`output`]). The types of the Python package have facts of their own: [`python`].

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
mod python;
mod shapes;
mod source;
mod store;
#[cfg(test)]
mod tests;
mod ty;
mod union;

/// What the steps return.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The runtimes to ask for their schemas. The facts of the others come from the vendored files.
#[derive(Debug, Clone, Copy)]
pub enum Ask<'a> {
    /// None of them.
    None,
    /// The pinned one, which is installed if it is missing, and all installed ones.
    Installed,
    /// These, which are installed if they are missing. Empty means all.
    Versions(&'a [&'a str]),
}

impl Ask<'_> {
    /// The versions to ask, with their programs.
    fn programs(self) -> Result<Vec<(&'static str, PathBuf)>> {
        let mut programs = Vec::new();
        for version in VERSIONS {
            let wanted = match self {
                Self::None => false,
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

/// Generates the code from the vendored facts. With `check`, it writes nothing and fails on a difference.
///
/// First it refreshes the vendored facts from the runtimes in `ask`, or compares them with `check`.
pub fn run_with(ask: Ask<'_>, check: bool) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("the tool runner has no workspace")?;
    let vendored = root.join("protocol");
    let programs = ask.programs()?;
    if !programs.is_empty() {
        let fresh = refreshed(&vendored, &programs)?;
        if !check {
            store::save(&vendored, &fresh)?;
        } else if fresh != store::load(&vendored)? {
            let versions: Vec<&str> = programs.iter().map(|(version, _)| *version).collect();
            let versions = versions.join(", ");
            return Err(format!(
                "the vendored protocol differs from runtime {versions}; run `cargo xtask codegen`"
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
    let rust = |files: Vec<(String, String)>| -> Vec<output::File> {
        files.into_iter().map(|(name, text)| output::File::rust(name, text)).collect()
    };
    output::write(root, &crate_folder.join("src/generated"), rust(files), check)?;
    output::write(root, &crate_folder.join("tests/protocol/generated"), rust(tests), check)?;
    python::generate(root, &vendored, check)
}

/// For each runtime, its numbers of requests, notifications and server requests in the vendored facts.
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

/// The facts of all runtimes: printed by those with a program, vendored for the others.
fn refreshed(vendored: &Path, programs: &[(&str, PathBuf)]) -> Result<facts::Facts> {
    let single = VERSIONS.iter().map(|version| match programs.iter().find(|(known, _)| known == version) {
        Some((_, program)) => source::facts_of(program),
        None => union::restricted(&store::load(vendored)?, version),
    });
    union::union(&single.collect::<Result<Vec<_>>>()?)
}

/// The root of the generated module.
fn module() -> String {
    "//! The output of `cargo xtask codegen` from the vendored facts.\n\n\
     pub mod client_notifications;\npub mod methods;\npub(crate) mod notification;\npub mod notifications;\nmod params;\n\
     pub(crate) mod server_request;\npub mod server_requests;\npub mod table;\npub mod types;\n"
        .to_owned()
}

//! Checks that the modules which hold only state stay pure: they name no I/O, no lock, no waker and no clock.
//!
//! ARCHITECTURE.md has a list of its own for them. Its first line is the modules, and the others are what they must not name. Tests
//! are left out.

use std::collections::BTreeSet;
use std::fs;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::Failure;
use crate::cargo::root;
use crate::layers::{DOCUMENT, SOURCES, find_files, is_colon, list, without_tests};

/// The first line of the list in the document.
const FENCE: &str = "```pure";

/// Checks the pure modules against the list in ARCHITECTURE.md.
pub(crate) fn check() -> Result<(), Failure> {
    let document = fs::read_to_string(root().join(DOCUMENT))?;
    let mut lines = list(&document, FENCE)?.into_iter();
    let modules = lines.next().unwrap_or_default();
    let forbidden: Vec<Vec<String>> =
        lines.flatten().map(|name| name.split("::").map(str::to_owned).collect()).collect();
    let (mut problems, mut checked) = (Vec::new(), 0);
    for module in modules {
        let folder = root().join(SOURCES).join(&module);
        let mut files = Vec::new();
        find_files(&folder, &mut vec![module], &mut files)?;
        for (_, path) in files {
            let file = syn::parse_file(&fs::read_to_string(&path)?)
                .map_err(|error| format!("{}: {error}", path.display()))?;
            let mut paths = Vec::new();
            collect(without_tests(file.items), &[], &mut paths);
            let shown = path.strip_prefix(root()).unwrap_or(&path).display();
            let found: BTreeSet<_> = named(&paths, &forbidden).collect();
            problems.extend(found.into_iter().map(|(name, line)| {
                format!("{shown}, line {line}: it names `{name}`, which {DOCUMENT} forbids in a pure module")
            }));
            checked += 1;
        }
    }
    eprintln!("pure: {checked} files");
    match (checked, problems.is_empty()) {
        (0, _) => Err(format!("the list {FENCE} in {DOCUMENT} names no module with files").into()),
        (_, true) => Ok(()),
        (_, false) => Err(problems.join("\nerror: ").into()),
    }
}

/// The forbidden names among the paths, each with its line.
fn named<'a>(
    paths: &'a [(Vec<String>, usize)],
    forbidden: &'a [Vec<String>],
) -> impl Iterator<Item = (String, usize)> + 'a {
    paths.iter().filter_map(|(path, line)| {
        let names = |name: &&Vec<String>| path.windows(name.len()).any(|part| part == &name[..]);
        forbidden.iter().find(names).map(|name| (name.join("::"), *line))
    })
}

/// Collects all paths in code, in imports and in the bodies of macros. A single name is a path too.
fn collect(tokens: TokenStream, before: &[String], paths: &mut Vec<(Vec<String>, usize)>) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) => collect(group.stream(), before, paths),
            TokenTree::Ident(word) => {
                let line = word.span().start().line;
                let mut path = [before, &[word.to_string()]].concat();
                let mut grouped = false;
                while is_colon(tokens.peek()) {
                    tokens.next();
                    match tokens.peek() {
                        Some(TokenTree::Ident(word)) => path.push(word.to_string()),
                        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                            collect(group.stream(), &path, paths);
                            grouped = true;
                        }
                        // The second colon, or what follows the path.
                        _ => continue,
                    }
                    tokens.next();
                }
                if !grouped {
                    paths.push((path, line));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(code: &str) -> Vec<String> {
        let forbidden = ["tokio", "Mutex", "std::io", "Instant::now"];
        let forbidden: Vec<Vec<String>> =
            forbidden.iter().map(|name| name.split("::").map(str::to_owned).collect()).collect();
        let mut paths = Vec::new();
        collect(code.parse().unwrap(), &[], &mut paths);
        named(&paths, &forbidden).map(|(name, _)| name).collect()
    }

    #[test]
    fn forbidden_names_are_found_in_imports_types_calls_and_macros() {
        assert_eq!(found("use tokio::sync::{watch, oneshot};"), ["tokio", "tokio"]);
        assert_eq!(
            found("use std::{fmt, io::{self, Write}, sync::{Arc, Mutex}};"),
            ["std::io", "std::io", "Mutex"]
        );
        assert_eq!(found("struct A { b: std::sync::Mutex<u8> }"), ["Mutex"]);
        assert_eq!(found("fn f() { let now = std::time::Instant::now(); }"), ["Instant::now"]);
        assert_eq!(found("m! { x => [tokio::spawn(y)] }"), ["tokio"]);
    }

    #[test]
    fn similar_names_are_allowed() {
        assert!(found("use std::time::Instant; fn f(now: Instant) { io::x(); later::now(); }").is_empty());
        assert!(found("a.lock(); let mutex: AMutex = b::<c::D>(x ? y : z);").is_empty());
    }
}

//! Checks the layers of the SDK: which module imports which.
//!
//! ARCHITECTURE.md lists the layers in a block of its own, the highest first. A module imports only from layers below its
//! own. Each path names the module that defines a name, from the root of the crate on. Files have no import cycle. Tests
//! are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use quote::ToTokens;

use crate::Failure;
use crate::cargo::root;

pub(crate) const SOURCES: &str = "crates/sdk/src";
pub(crate) const DOCUMENT: &str = "ARCHITECTURE.md";
/// The first line of the list in the document.
const FENCE: &str = "```layers";

/// The path of a module from the root of the crate on.
pub(crate) type Module = Vec<String>;

/// What each file imports: the modules, and the line of the first import of each.
type Imports = BTreeMap<Module, BTreeMap<Module, usize>>;

/// Checks the imports of the SDK against the list in ARCHITECTURE.md.
pub(crate) fn check() -> Result<(), Failure> {
    let document = fs::read_to_string(root().join(DOCUMENT))?;
    let layers = list(&document, FENCE)?;
    let mut files = Vec::new();
    find_files(&root().join(SOURCES), &mut Vec::new(), &mut files)?;
    let modules: BTreeSet<Module> = files.iter().map(|(module, _)| module.clone()).collect();
    let (mut imports, mut problems) = (Imports::new(), Vec::new());
    for (module, path) in &files {
        let file = syn::parse_file(&fs::read_to_string(path)?)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let mut found = Found { modules: &modules, imports: BTreeMap::new(), problems: Vec::new() };
        found.scan(without_tests(file.items));
        problems.extend(found.problems.iter().map(|problem| format!("{}: {problem}", show(module))));
        found.imports.remove(module);
        // The root of the crate declares the modules and names what is public.
        if !module.is_empty() {
            imports.insert(module.clone(), found.imports);
        }
    }
    problems.extend(compare(&layers, &imports));
    problems.extend(cycle(&imports).map(|cycle| {
        let names: Vec<String> = cycle.iter().map(|module| show(module)).collect();
        format!("an import cycle: {}", names.join(" -> "))
    }));
    eprintln!("layers: {} layers, {} files of {SOURCES}", layers.len(), files.len());
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\nerror: ").into()) }
}

fn show(module: &[String]) -> String {
    if module.is_empty() { "the root".to_owned() } else { module.join("/") }
}

/// Reads a list of the document: the words of each line. For the layers, a line is a layer, and its words are the modules.
pub(crate) fn list(document: &str, fence: &str) -> Result<Vec<Vec<String>>, Failure> {
    let list = document.lines().skip_while(|line| *line != fence).skip(1).take_while(|line| *line != "```");
    let lines: Vec<Vec<String>> = list
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .filter(|line: &Vec<String>| !line.is_empty())
        .collect();
    if lines.is_empty() {
        return Err(format!("{DOCUMENT} has no list that begins with {fence}").into());
    }
    Ok(lines)
}

/// The source files below a folder and the modules that they are, without tests and checks.
pub(crate) fn find_files(
    folder: &Path,
    module: &mut Module,
    files: &mut Vec<(Module, PathBuf)>,
) -> Result<(), Failure> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if ["tests", "checks", "fuzzing"].contains(&&*name) {
            continue;
        }
        module.push(name.clone());
        if path.is_dir() {
            find_files(&path, module, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            if ["mod", "lib"].contains(&&*name) {
                module.pop();
                files.push((module.clone(), path));
                continue;
            }
            files.push((module.clone(), path));
        }
        module.pop();
    }
    Ok(())
}

/// The tokens of the items that are not for tests alone.
pub(crate) fn without_tests(items: Vec<syn::Item>) -> TokenStream {
    let mut tokens = TokenStream::new();
    for item in items {
        if !is_for_tests(&item) {
            item.to_tokens(&mut tokens);
        }
    }
    tokens
}

fn is_for_tests(item: &syn::Item) -> bool {
    let attributes = match item {
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => return false,
    };
    attributes.iter().any(|attribute| {
        let text = attribute.to_token_stream().to_string();
        attribute.path().is_ident("cfg") && (text.contains("test") || text.contains("fuzzing"))
    })
}

/// The paths of one file.
struct Found<'a> {
    modules: &'a BTreeSet<Module>,
    imports: BTreeMap<Module, usize>,
    problems: Vec<String>,
}

impl Found<'_> {
    /// Finds paths that begin at the root of the crate, in code and in the bodies of macros.
    fn scan(&mut self, tokens: TokenStream) {
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Group(group) => self.scan(group.stream()),
                TokenTree::Ident(word) if word == "crate" && is_colon(tokens.peek()) => {
                    self.path(&mut tokens, &[], word.span());
                }
                // `pub(super)` names no path.
                TokenTree::Ident(word) if word == "super" && is_colon(tokens.peek()) => {
                    self.problems.push(format!(
                        "line {}: a path through `super`; write it from the root of the crate on",
                        word.span().start().line
                    ));
                }
                _ => {}
            }
        }
    }

    /// Reads a path behind `crate`, also one of several names in braces.
    fn path(
        &mut self,
        tokens: &mut std::iter::Peekable<impl Iterator<Item = TokenTree>>,
        before: &[String],
        at: Span,
    ) {
        let mut path = before.to_vec();
        while is_colon(tokens.peek()) {
            tokens.next();
            tokens.next();
            match tokens.peek() {
                Some(TokenTree::Ident(word)) => {
                    path.push(word.to_string());
                    tokens.next();
                }
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                    let mut inner = group.stream().into_iter().peekable();
                    while let Some(token) = inner.next() {
                        if let TokenTree::Ident(word) = token {
                            let mut longer = path.clone();
                            longer.push(word.to_string());
                            self.path(&mut inner, &longer, at);
                        }
                    }
                    tokens.next();
                    return;
                }
                // A glob, or the arguments of a generic function.
                _ => break,
            }
        }
        self.note(path, at);
    }

    /// Takes the module out of a path.
    fn note(&mut self, mut path: Vec<String>, at: Span) {
        let line = at.start().line;
        let named = path.join("::");
        while !path.is_empty() && !self.modules.contains(&path) {
            path.pop();
        }
        if path.is_empty() {
            self.problems.push(format!(
                "line {line}: `crate::{named}` names no module; import from the one that defines it"
            ));
        } else {
            self.imports.entry(path).or_insert(line);
        }
    }
}

pub(crate) fn is_colon(token: Option<&TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == ':')
}

/// Compares imports with the layers, the highest of which comes first.
fn compare(layers: &[Vec<String>], imports: &Imports) -> Vec<String> {
    let layer_of = |module: &Module| layers.iter().position(|layer| layer.contains(&module[0]));
    let mut problems = Vec::new();
    let present: BTreeSet<&String> = imports.keys().map(|module| &module[0]).collect();
    for listed in layers.iter().flatten().filter(|listed| !present.contains(listed)) {
        problems.push(format!("{DOCUMENT} lists the module `{listed}`, which is not there"));
    }
    for missing in present.iter().filter(|name| !layers.iter().any(|layer| layer.contains(name))) {
        problems.push(format!("{DOCUMENT} does not list the module `{missing}`"));
    }
    for (module, imported) in imports {
        for (other, line) in imported.iter().filter(|(other, _)| other[0] != module[0]) {
            if let (Some(layer), Some(below)) = (layer_of(module), layer_of(other))
                && below <= layer
            {
                problems.push(format!(
                    "{}, line {line}: it imports from {}, which is not in a layer below",
                    show(module),
                    show(other)
                ));
            }
        }
    }
    problems
}

/// A cycle of files that import each other, if there is one.
fn cycle(imports: &Imports) -> Option<Vec<&Module>> {
    fn visit<'a>(
        module: &'a Module,
        imports: &'a Imports,
        path: &mut Vec<&'a Module>,
        done: &mut BTreeSet<&'a Module>,
    ) -> Option<Vec<&'a Module>> {
        if let Some(start) = path.iter().position(|earlier| *earlier == module) {
            return Some([&path[start..], &[module]].concat());
        }
        if done.contains(module) {
            return None;
        }
        path.push(module);
        let found = imports
            .get(module)
            .and_then(|imported| imported.keys().find_map(|other| visit(other, imports, path, done)));
        path.pop();
        done.insert(module);
        found
    }
    let mut done = BTreeSet::new();
    imports.keys().find_map(|module| visit(module, imports, &mut Vec::new(), &mut done))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(path: &str) -> Module {
        path.split('/').map(str::to_owned).collect()
    }

    fn imports(of: &[(&str, &[&str])]) -> Imports {
        of.iter().map(|(from, to)| (module(from), to.iter().map(|to| (module(to), 1)).collect())).collect()
    }

    #[test]
    fn paths_are_found_in_imports_code_and_macros() {
        let modules = ["a", "a/b", "c"].map(module).into();
        let mut found = Found { modules: &modules, imports: BTreeMap::new(), problems: Vec::new() };
        let code = "use crate::{a::{b::B, f}, c}; macro_rules! m { () => { $crate::c::C } } fn g() { crate::a::f() }";
        found.scan(code.parse().unwrap());
        assert_eq!(found.imports.keys().cloned().collect::<Vec<_>>(), ["a", "a/b", "c"].map(module));
        assert!(found.problems.is_empty(), "{:?}", found.problems);
        found.scan("use crate::Name; use super::c;".parse().unwrap());
        assert_eq!(found.problems.len(), 2, "{:?}", found.problems);
    }

    #[test]
    fn an_import_from_the_same_or_a_higher_layer_is_a_problem() {
        let layers = [vec!["top".to_owned()], vec!["low".to_owned(), "side".to_owned()]];
        let fine = imports(&[("top/x", &["low", "side"]), ("low", &[]), ("side", &[])]);
        assert!(compare(&layers, &fine).is_empty());
        let wrong = imports(&[("top", &[]), ("low/y", &["top", "side"]), ("side", &[])]);
        assert_eq!(compare(&layers, &wrong).len(), 2);
        let unknown = imports(&[("top", &[]), ("low", &[]), ("new", &[])]);
        assert_eq!(compare(&layers, &unknown).len(), 2);
    }

    #[test]
    fn a_cycle_of_files_is_found() {
        assert!(cycle(&imports(&[("a/x", &["a/y"]), ("a/y", &["b"]), ("b", &[])])).is_none());
        let cyclic = imports(&[("a/x", &["a/y"]), ("a/y", &["b"]), ("b", &["a/x"])]);
        assert_eq!(cycle(&cyclic).unwrap().len(), 4);
    }
}

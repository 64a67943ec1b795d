//! The options in `#[tool(…)]`.

use proc_macro2::TokenStream;
use syn::meta::ParseNestedMeta;
use syn::parse::Parser;
use syn::{Error, LitStr, Path, Result};

/// The options of one tool.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) name: Option<LitStr>,
    pub(crate) description: Option<LitStr>,
    pub(crate) namespace: Option<LitStr>,
    /// The path of `openai-codex` in a program that renames it.
    pub(crate) sdk: Option<Path>,
}

impl Options {
    /// # Errors
    /// An unknown option, a duplicate, or a value that is not a string literal.
    pub(crate) fn parse(tokens: TokenStream) -> Result<Self> {
        let mut options = Self::default();
        let option = |option: ParseNestedMeta<'_>| {
            if option.path.is_ident("name") {
                set(&mut options.name, &option, Ok)
            } else if option.path.is_ident("description") {
                set(&mut options.description, &option, Ok)
            } else if option.path.is_ident("namespace") {
                set(&mut options.namespace, &option, Ok)
            } else if option.path.is_ident("crate") {
                set(&mut options.sdk, &option, |text| {
                    let no_path = "expected the path of the crate `openai-codex`, such as `::codex`";
                    text.parse().map_err(|_| Error::new_spanned(&text, no_path))
                })
            } else {
                Err(option.error(
                    "unknown option: `#[tool]` has `name`, `description`, `namespace` and `crate`. Call the other \
                     methods of `Tool` on the constructor's result",
                ))
            }
        };
        syn::meta::parser(option).parse2(tokens)?;
        Ok(options)
    }
}

fn set<T>(
    place: &mut Option<T>,
    option: &ParseNestedMeta<'_>,
    read: impl FnOnce(LitStr) -> Result<T>,
) -> Result<()> {
    if place.is_some() {
        return Err(option.error("duplicate option"));
    }
    *place = Some(read(option.value()?.parse()?)?);
    Ok(())
}

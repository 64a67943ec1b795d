//! The constructor that `#[tool]` generates.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Error, Path, Result, ReturnType, parse_quote};

use crate::options::Options;
use crate::tool_function::{Argument, Function, Parameter};

/// The function, followed by its constructor or by compile errors.
pub(crate) fn expand(options: TokenStream, tokens: TokenStream) -> TokenStream {
    let mut function = match syn::parse2::<Function>(tokens.clone()) {
        Ok(function) => function,
        Err(error) => {
            let error = error.into_compile_error();
            return quote!(#error #tokens);
        }
    };
    // First, so that a doc comment on a parameter does not add an error of the compiler's to ours.
    let parameters = function.take_parameters();
    let constructor = Options::parse(options)
        .and_then(|options| constructor(&options, &function, &parameters?))
        .unwrap_or_else(Error::into_compile_error);
    quote!(#function #constructor)
}

fn constructor(options: &Options, function: &Function, parameters: &[Parameter]) -> Result<TokenStream> {
    let sdk = options.sdk.clone().unwrap_or_else(|| parse_quote!(::openai_codex));
    let ident = &function.signature.ident;
    let name = options.name.as_ref().map_or_else(|| ident.unraw().to_string(), |name| name.value());
    let description = description(options, function)?;
    let namespace = options.namespace.as_ref().map(|namespace| quote!(.namespace(#namespace)));

    let arguments: Vec<&Argument> = parameters.iter().filter_map(Parameter::argument).collect();
    let declaration = (!arguments.is_empty()).then(|| declaration(&sdk, &name, &arguments));
    let (binding, kind) = match declaration {
        Some(_) => (quote!(arguments), quote!(__Arguments)),
        None => (quote!(()), quote!(())),
    };
    let values = parameters.iter().map(|parameter| match parameter {
        Parameter::Argument(Argument { name, .. }) => quote!(arguments.#name),
        Parameter::Call => quote!(call),
    });

    let (receiver, state, called) = if function.is_method() {
        let called = quote!(Self::#ident(&state, #(#values),*));
        let called = if function.signature.asyncness.is_some() {
            quote!({
                let state = ::std::sync::Arc::clone(&state);
                async move { #called.await }
            })
        } else {
            called
        };
        let state = quote!(let state = ::std::sync::Arc::clone(self););
        (Some(quote!(self: &::std::sync::Arc<Self>)), Some(state), called)
    } else {
        (None, None, quote!(#ident(#(#values),*)))
    };
    let (new, call) = if parameters.iter().any(|parameter| matches!(parameter, Parameter::Call)) {
        (quote!(with_context), Some(quote!(, call: #sdk::ToolCall)))
    } else {
        (quote!(new), None)
    };
    let closure = quote!(move |#binding: #kind #call| #called);
    // If a tool cannot return this type, the compiler's error points at it.
    let place = match &function.signature.output {
        ReturnType::Type(_, output) => output.span(),
        ReturnType::Default => Span::call_site(),
    };
    let new = at(place, quote!(#sdk::Tool::#new));
    let tool = quote_spanned!(place=> #new(#name, #description, #closure));

    let conditions = function.attributes.iter().filter(|attribute| attribute.path().is_ident("cfg"));
    let visibility = &function.visibility;
    let constructor = format_ident!("{}_tool", ident);
    let comment = if function.is_method() {
        format!("The tool [`{name}`](Self::{}) of this state.", ident.unraw())
    } else {
        format!("The tool [`{name}`](fn@{}).", ident.unraw())
    };
    Ok(quote! {
        #(#conditions)*
        #[doc = #comment]
        #visibility fn #constructor(#receiver) -> #sdk::Tool {
            #declaration
            #state
            #tool #namespace
        }
    })
}

/// The path with this span.
fn at(place: Span, path: TokenStream) -> TokenStream {
    path.into_iter()
        .map(|mut token| {
            token.set_span(place);
            token
        })
        .collect()
}

fn description(options: &Options, function: &Function) -> Result<String> {
    let description = match &options.description {
        Some(description) => description.value(),
        None => function.comment()?,
    };
    if description.is_empty() {
        return Err(Error::new_spanned(
            &function.signature.ident,
            "the model needs a description of this tool: write a doc comment",
        ));
    }
    Ok(description)
}

/// The struct of the arguments. Error messages show the tool's name instead of the struct's.
fn declaration(sdk: &Path, name: &str, arguments: &[&Argument]) -> TokenStream {
    let serde = quote!(#sdk::__private::serde);
    let schemars = quote!(#sdk::schemars);
    let [serde_path, schemars_path] = [&serde, &schemars].map(|path| path.to_token_stream().to_string());
    let fields =
        arguments.iter().map(|Argument { attributes, name, kind }| quote!(#(#attributes)* #name: #kind));
    quote! {
        #[derive(#serde::Deserialize, #schemars::JsonSchema)]
        #[serde(crate = #serde_path, rename = #name)]
        #[schemars(crate = #schemars_path)]
        struct __Arguments {
            #(#fields,)*
        }
    }
}

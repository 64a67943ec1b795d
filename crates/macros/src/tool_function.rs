//! The function under `#[tool]`: its parts, and the checks.

use proc_macro2::TokenStream;
use quote::{ToTokens, TokenStreamExt};
use syn::parse::{Parse, ParseStream};
use syn::{
    Attribute, Error, Expr, ExprLit, FnArg, Ident, Lit, Meta, Pat, PatType, Receiver, ReceiverKind, Result,
    ReturnType, Safety, Signature, Type, Visibility, token,
};

/// A function or method. The body stays a stream of tokens.
pub(crate) struct Function {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
    body: TokenStream,
}

/// What the constructor passes for a parameter of the function.
pub(crate) enum Parameter {
    /// An argument that the model writes.
    Argument(Argument),
    /// The `ToolCall`.
    Call,
}

impl Parameter {
    pub(crate) fn argument(&self) -> Option<&Argument> {
        match self {
            Self::Argument(argument) => Some(argument),
            Self::Call => None,
        }
    }
}

/// A field of the arguments.
pub(crate) struct Argument {
    /// Doc comments, `serde` and `schemars`.
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) name: Ident,
    pub(crate) kind: Box<Type>,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let signature = input
            .parse()
            .map_err(|error| Error::new(error.span(), "`#[tool]` applies to functions and methods"))?;
        if !input.peek(token::Brace) {
            return Err(input.error("a tool needs a body"));
        }
        Ok(Self { attributes, visibility, signature, body: input.parse()? })
    }
}

impl ToTokens for Function {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        tokens.append_all(&self.attributes);
        self.visibility.to_tokens(tokens);
        self.signature.to_tokens(tokens);
        tokens.extend(self.body.clone());
    }
}

impl Function {
    /// Whether it is a method, whose `self` is the state of the tool.
    pub(crate) fn is_method(&self) -> bool {
        self.signature.receiver().is_some()
    }

    /// The text of the doc comment.
    ///
    /// # Errors
    /// A text that is not a literal, such as `include_str!(…)`.
    pub(crate) fn comment(&self) -> Result<String> {
        let mut lines = Vec::new();
        for attribute in self.attributes.iter().filter(|attribute| attribute.path().is_ident("doc")) {
            // `#[doc(hidden)]` has no text.
            let Meta::NameValue(doc) = &attribute.meta else { continue };
            let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &doc.value else {
                return Err(Error::new_spanned(
                    &doc.value,
                    "`#[tool]` reads literal doc comments only: set `description = \"…\"` instead",
                ));
            };
            let text = text.value();
            lines.push(text.strip_prefix(' ').unwrap_or(&text).trim_end().to_owned());
        }
        Ok(lines.join("\n").trim().to_owned())
    }

    /// The parameters in order, without `self`. Removes from the signature the attributes that the compiler would refuse.
    ///
    /// # Errors
    /// Everything that makes the signature unsuitable for a tool.
    pub(crate) fn take_parameters(&mut self) -> Result<Vec<Parameter>> {
        let mut problems = Problems::default();
        check_signature(&self.signature, &mut problems);
        let mut parameters = Vec::new();
        let mut has_call = false;
        for input in &mut self.signature.inputs {
            match input {
                FnArg::Receiver(receiver) => check_receiver(receiver, &mut problems),
                FnArg::Typed(typed) if is_call(&typed.ty) => {
                    if has_call {
                        problems.add(&typed.ty, "a tool takes one `ToolCall`");
                    }
                    has_call = true;
                    typed.attrs.retain(|attribute| !attribute.path().is_ident("doc"));
                    parameters.push(Parameter::Call);
                }
                FnArg::Typed(typed) => {
                    parameters.extend(take_argument(typed, &mut problems).map(Parameter::Argument));
                }
            }
        }
        problems.into_result().map(|()| parameters)
    }
}

/// The errors of one function.
#[derive(Default)]
struct Problems(Option<Error>);

impl Problems {
    fn add(&mut self, place: &impl ToTokens, what: &str) {
        let problem = Error::new_spanned(place, what);
        match &mut self.0 {
            Some(all) => all.combine(problem),
            None => self.0 = Some(problem),
        }
    }

    fn into_result(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}

const NAMELESS: &str = "a parameter of a tool needs a name: the model sees it";
const GENERIC: &str = "a tool cannot be generic: its schema needs concrete types";

fn check_signature(signature: &Signature, problems: &mut Problems) {
    if let Safety::Unsafe(word) = &signature.safety {
        problems.add(word, "a tool cannot be `unsafe`: the model cannot uphold a safety contract");
    }
    if !signature.generics.params.is_empty() {
        problems.add(&signature.generics.params, GENERIC);
    } else if let Some(bounds) = &signature.generics.where_clause {
        problems.add(bounds, GENERIC);
    }
    if let Some(variadic) = &signature.variadic {
        problems.add(variadic, NAMELESS);
    }
    if let ReturnType::Type(_, output) = &signature.output
        && let Type::Reference(reference) = &**output
        && reference.lifetime.as_ref().is_none_or(|lifetime| lifetime.ident != "static")
    {
        problems.add(reference, "a tool returns an owned value, such as `String`, or a `&'static str`");
    }
}

fn check_receiver(receiver: &Receiver, problems: &mut Problems) {
    if !matches!(receiver.kind, ReceiverKind::Reference(_, None, None)) {
        problems.add(
            receiver,
            "a tool takes `&self`, because its calls share the state: put what they change behind a `Mutex` or an atomic",
        );
    }
}

/// By the last segment of the path: a macro sees no types.
fn is_call(kind: &Type) -> bool {
    let Type::Path(path) = kind else { return false };
    path.path.segments.last().is_some_and(|last| last.ident == "ToolCall" && last.arguments.is_empty())
}

fn take_argument(typed: &mut PatType, problems: &mut Problems) -> Option<Argument> {
    let of_field = |attribute: &Attribute| {
        ["doc", "serde", "schemars"].iter().any(|name| attribute.path().is_ident(name))
    };
    let (attributes, others) = std::mem::take(&mut typed.attrs).into_iter().partition(of_field);
    typed.attrs = others;
    for attribute in &typed.attrs {
        if attribute.path().is_ident("cfg") || attribute.path().is_ident("cfg_attr") {
            problems.add(
                attribute,
                "a parameter of a tool cannot be conditional: put the `#[cfg]` on the function",
            );
        }
    }
    match &*typed.ty {
        Type::Reference(reference) => problems.add(
            reference,
            "a tool's arguments are owned, such as `String` or `Vec<T>`: the client reads them from the model's JSON",
        ),
        Type::ImplTrait(generic) => problems.add(generic, GENERIC),
        _ => {}
    }
    match &*typed.pat {
        Pat::Ident(pattern) if pattern.by_ref.is_none() && pattern.subpat.is_none() => {
            Some(Argument { attributes, name: pattern.ident.clone(), kind: typed.ty.clone() })
        }
        pattern => {
            problems.add(pattern, NAMELESS);
            None
        }
    }
}

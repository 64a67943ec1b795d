//! Generates the types, as tables for the protocol crate's macros.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::docs::{self, doc};
use super::facts::{Alternative, Field, Object, Payload, Shape, TypeFacts, Value, Variant};
use super::features;
use super::naming;
use super::plan::{Plan, with_common};
use super::policy;
use super::shapes;
use super::ty::Type;

/// Paths and texts of the files with types, and of the module that joins them.
pub fn files(plan: &Plan) -> Vec<(String, String)> {
    let mut domains: BTreeMap<&str, String> = BTreeMap::new();
    for (name, facts) in &plan.facts.types {
        if !policy::BY_HAND.contains(&name.as_str()) {
            let text = one_type(plan, name, facts);
            let text =
                plan.features.get(name).map_or_else(|| text.clone(), |all| features::gated(&text, all));
            domains.entry(&plan.domains[name]).or_default().push_str(&text);
        }
    }
    let mut module = String::from("\n");
    for domain in domains.keys() {
        let _ = writeln!(module, "{}pub mod {domain};", gate_of_file(plan, domain));
    }
    module.push('\n');
    for domain in domains.keys() {
        let _ = writeln!(module, "{}#[doc(no_inline)]\npub use {domain}::*;", gate_of_file(plan, domain));
    }
    for name in policy::BY_HAND {
        let _ = writeln!(module, "pub use crate::by_hand::{name};");
    }
    let mut files = vec![(
        "types/mod.rs".to_owned(),
        format!(
            "//! All types of the protocol. Each has its page in the module of its domain, and its name here too.\n{module}"
        ),
    )];
    for (domain, text) in domains {
        let mut uses = String::new();
        for (word, path) in [
            ("BTreeMap<", "std::collections::BTreeMap"),
            ("Value", "serde_json::Value"),
            ("JsonObject", "crate::JsonObject"),
        ] {
            let mentions = |line: &str| !line.trim_start().starts_with("///") && mentions(line, word);
            if text.lines().any(mentions) {
                // With some features, no remaining type may use it.
                let _ = writeln!(uses, "#[allow(unused_imports)]\nuse {path};");
            }
        }
        let head =
            format!("//! Types of the domain `{domain}`.\n\n#[allow(unused_imports)]\nuse super::*;\n{uses}");
        files.push((format!("types/{domain}.rs"), head + &text));
    }
    files
}

/// The attribute of a file that is empty without some features.
fn gate_of_file(plan: &Plan, domain: &str) -> String {
    let names =
        plan.domains.iter().filter(|(name, of)| *of == domain && !policy::BY_HAND.contains(&name.as_str()));
    let features: Option<Vec<_>> = names.map(|(name, _)| plan.features.get(name)).collect();
    features.map_or_else(String::new, |all| {
        features::attribute(&all.into_iter().flatten().copied().collect()) + "\n"
    })
}

/// Whether `line` contains `word` as a whole word.
fn mentions(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(is_part) && (word.ends_with('<') || !after.is_some_and(is_part))
    })
}

fn one_type(plan: &Plan, name: &str, facts: &TypeFacts) -> String {
    let head = docs::of_type(plan, name, facts.experimental);
    match &facts.shape {
        Shape::Alias { of } => format!("\n{}pub type {name} = {};\n", doc("", &head), of.rust()),
        Shape::Strings { values } => strings(plan, name, &head, values),
        Shape::Object(object) => {
            object_table(plan, &ObjectTable { name, head: &head, tag: None, owner: name, object })
        }
        Shape::Tagged { tag, common, variants } => tagged(plan, name, &head, (tag, common, variants)),
        Shape::Mixed { values, payloads } => mixed(plan, name, &head, values, payloads),
        Shape::Shapes { alternatives } => shape_union(plan, name, &head, alternatives),
    }
}

fn strings(plan: &Plan, name: &str, head: &str, values: &[Value]) -> String {
    let mut out = format!("\nstring_enum! {{\n{}    {name} {{\n", doc("    ", head));
    for value in values {
        out.push_str(&doc("        ", &docs::of_value(plan, &value.value, value.experimental, &value.span)));
        let _ = writeln!(out, "        {} = {:?};", naming::variant(&value.value), value.value);
    }
    out.push_str("    }\n}\n");
    out
}

struct ObjectTable<'a> {
    name: &'a str,
    head: &'a str,
    /// The field and value that identify this variant.
    tag: Option<(&'a str, &'a str)>,
    /// The type of the schema that it belongs to.
    owner: &'a str,
    object: &'a Object,
}

fn object_table(plan: &Plan, table: &ObjectTable<'_>) -> String {
    let ObjectTable { name, head, tag, owner, object } = table;
    let (mut required, optional): (Vec<&Field>, Vec<&Field>) =
        object.fields.iter().partition(|field| !field.optional);
    required.sort_by_key(|field| field_rank(&field.name));
    let secrets: Vec<&&Field> =
        required.iter().chain(&optional).filter(|field| policy::is_secret(&field.name)).collect();
    let mode = match () {
        () if policy::STREAMED.contains(name) => "streamed",
        () if plan.sent.contains(*owner) => "sent",
        () => "received",
    };
    let is_plain = object.one_of.is_empty() && !plan.sent.contains(*owner);
    assert!(mode != "streamed" || is_plain, "`{name}` is streamed and has more than plain fields");
    let mut derives = Vec::new();
    derives.extend(secrets.is_empty().then_some("Debug"));
    derives.extend(required.is_empty().then_some("Default"));
    let needs: Vec<String> = object.one_of.iter().map(|field| format!("`{field}`")).collect();
    let needs = if needs.is_empty() { String::new() } else { format!("\n\nNeeds {}.", needs.join(" or ")) };
    let mut out = format!("\nobject! {{\n    {mode}\n{}", doc("    ", &format!("{head}{needs}")));
    if !derives.is_empty() {
        let _ = writeln!(out, "    #[derive({})]", derives.join(", "));
    }
    let _ = write!(out, "    {name}");
    if let Some((field, value)) = tag {
        let _ = write!(out, " = {field:?} {value:?}");
    }
    out.push('\n');
    for (section, fields) in [("required", &required), ("optional", &optional)] {
        if fields.is_empty() {
            let _ = writeln!(out, "    {section} {{}}");
            continue;
        }
        let _ = writeln!(out, "    {section} {{");
        for field in fields.iter() {
            out.push_str(&doc("        ", &docs::of_field(plan, owner, field)));
            let _ = writeln!(out, "        {}", field_line(field));
        }
        out.push_str("    }\n");
    }
    if !object.one_of.is_empty() {
        let fields: Vec<String> = object.one_of.iter().map(|field| naming::field(field)).collect();
        let _ = writeln!(out, "    one_of {{ {} }}", fields.join(" "));
    }
    out.push_str("}\n");
    let doubles: Vec<&&Field> = optional.iter().filter(|field| field.double && mode == "sent").collect();
    if !doubles.is_empty() {
        let _ = writeln!(out, "\nclear! {{\n    {name}");
        for field in doubles {
            let name = naming::field(&field.name);
            let _ = writeln!(out, "    clear_{name} = {name} {:?};", field.name);
        }
        out.push_str("}\n");
    }
    if !secrets.is_empty() {
        let names = |secret: bool| -> String {
            let fields =
                required.iter().chain(&optional).filter(|field| policy::is_secret(&field.name) == secret);
            fields.map(|field| naming::field(&field.name)).collect::<Vec<_>>().join(" ")
        };
        let _ = writeln!(
            out,
            "\nredacted_debug! {{\n    {name} shown {{ {} }} secret {{ {} }}\n}}",
            names(false),
            names(true)
        );
    }
    out
}

/// Ids come first in constructors, from the outermost to the innermost.
fn field_rank(wire: &str) -> usize {
    const FIRST: &[&str] = &["threadId", "turnId", "itemId", "id", "name", "type"];
    FIRST.iter().position(|first| *first == wire).unwrap_or(FIRST.len())
}

fn field_line(field: &Field) -> String {
    let kind = match field {
        Field { optional: true, .. } if field.ty.is_any() => "any",
        Field { double: true, .. } => "dbl",
        Field { optional: true, .. } => "opt",
        Field { nullable: true, .. } => "null",
        _ => "req",
    };
    let (setter, ty) = match &field.ty {
        Type::List(item) if !matches!(**item, Type::Nullable(_)) && kind != "null" => ("list", item.rust()),
        Type::Primitive(name) if !["string", "any"].contains(name) => ("plain", field.ty.rust()),
        Type::List(_) | Type::Map(_) | Type::Nullable(_) => ("plain", field.ty.rust()),
        other => ("into", other.rust()),
    };
    format!("{kind} {setter} {}: {ty} = {:?};", naming::field(&field.name), field.name)
}

fn hold(boxed: bool) -> &'static str {
    if boxed { "boxed" } else { "inline" }
}

fn tagged(
    plan: &Plan,
    name: &str,
    head: &str,
    (tag, common, variants): (&str, &[Field], &[Variant]),
) -> String {
    let streamed = if policy::STREAMED.contains(&name) { "streamed " } else { "" };
    let mut out = format!("\ntagged_union! {{\n{}    {name} {tag:?} {streamed}{{\n", doc("    ", head));
    let mut payloads = String::new();
    let mut all = Vec::new();
    for variant in variants {
        let object = with_common(common, &variant.object);
        let rust = naming::variant(&variant.value);
        let payload = format!("{rust}{name}");
        out.push_str(&doc(
            "        ",
            &docs::of_value(plan, &variant.value, variant.experimental, &variant.span),
        ));
        let _ = writeln!(
            out,
            "        {:?} = {} {rust}({payload});",
            variant.value,
            hold(plan.is_object_boxed(&object))
        );
        let head = docs::of_variant(plan, name, tag, variant);
        let tag = Some((tag, variant.value.as_str()));
        payloads.push_str(&object_table(
            plan,
            &ObjectTable { name: &payload, head: &head, tag, owner: name, object: &object },
        ));
        all.push(rust);
    }
    out.push_str("    }\n}\n");
    let texts: Vec<&Field> = common.iter().filter(|field| field.ty == Type::Primitive("string")).collect();
    if !texts.is_empty() {
        let _ = writeln!(out, "\ncommon_text! {{\n    {name} {{ {} }}", all.join(" "));
        for field in texts {
            let kind = if field.optional { "opt" } else { "req" };
            let _ = writeln!(out, "    {kind} {} = {:?};", naming::field(&field.name), field.name);
        }
        out.push_str("}\n");
    }
    out + &payloads
}

fn mixed(plan: &Plan, name: &str, head: &str, values: &[Value], keyed: &[Payload]) -> String {
    let mut out = format!("\nmixed_union! {{\n{}    {name}\n    strings {{\n", doc("    ", head));
    for value in values {
        out.push_str(&doc("        ", &docs::of_value(plan, &value.value, value.experimental, &value.span)));
        // One runtime may have a plain string where another has a key.
        let is_key = keyed.iter().any(|payload| payload.key == value.value);
        let suffix = if is_key { "Value" } else { "" };
        let _ = writeln!(out, "        {:?} = {}{suffix};", value.value, naming::variant(&value.value));
    }
    out.push_str("    }\n    keys {\n");
    let mut payloads = String::new();
    for payload in keyed {
        let rust = naming::variant(&payload.key);
        let (ty, boxed) = match &payload.content {
            Alternative::Type { ty } => (ty.rust(), plan.is_boxed(ty)),
            Alternative::Object(object) => {
                let ty = format!("{rust}{name}");
                let head = docs::of_key(plan, name, payload);
                let table = ObjectTable { name: &ty, head: &head, tag: None, owner: name, object };
                payloads.push_str(&object_table(plan, &table));
                let boxed = plan.is_object_boxed(object);
                let wrap = if boxed {
                    format!("Self::{rust}(Box::new(payload))")
                } else {
                    format!("Self::{rust}(payload)")
                };
                let _ = write!(
                    payloads,
                    "\nimpl From<{ty}> for {name} {{\nfn from(payload: {ty}) -> Self {{\n{wrap}\n}}\n}}\n"
                );
                (ty, boxed)
            }
        };
        out.push_str(&doc(
            "        ",
            &docs::of_value(plan, &payload.key, payload.experimental, &payload.span),
        ));
        let _ = writeln!(out, "        {:?} = {} {rust}({ty});", payload.key, hold(boxed));
    }
    out.push_str("    }\n}\n");
    out + &payloads
}

fn shape_union(plan: &Plan, name: &str, head: &str, alternatives: &[Alternative]) -> String {
    let mut out = format!("\nshape_union! {{\n{}    {name} {{\n", doc("    ", head));
    let mut payloads = String::new();
    let named = alternatives.iter().filter(|one| shapes::is_object(one)).count();
    for alternative in alternatives {
        let (shape, rust, ty) = match alternative {
            Alternative::Type { ty: ty @ Type::Primitive("string") } => {
                ("string", "Text".to_owned(), ty.rust())
            }
            Alternative::Type { ty: ty @ Type::List(_) } => ("list", "List".to_owned(), ty.rust()),
            Alternative::Type { ty: Type::Named(ty) } => {
                let rust = ty.strip_prefix(name.trim_end_matches("Cursor")).unwrap_or(ty);
                ("object", rust.strip_prefix("McpElicitation").unwrap_or(rust).to_owned(), ty.clone())
            }
            Alternative::Type { ty } => {
                panic!("`{name}` has an alternative `{ty}`, which the generator does not support")
            }
            Alternative::Object(object) => {
                let rust = naming::variant(&shapes::own_field(object, alternatives));
                let ty = format!("{rust}{name}");
                let head = format!("An alternative of [`{name}`].");
                let table = ObjectTable { name: &ty, head: &head, tag: None, owner: name, object };
                payloads.push_str(&object_table(plan, &table));
                ("object", rust, ty)
            }
        };
        let _ = write!(out, "        /// `{}`\n        {shape} {rust}({ty})", ty.replace('`', ""));
        if shape == "object" && named > 1 {
            let _ = write!(out, " = &[{}]", shapes::of(plan, alternative));
        }
        out.push_str(";\n");
    }
    out.push_str("    }\n}\n");
    out + &payloads
}

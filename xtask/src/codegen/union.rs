//! Unites the facts of several runtimes: all items, and which runtimes have each.

use std::cell::RefCell;
use std::collections::BTreeMap;

use openai_codex_runtime::VERSION;

use super::Result;
use super::facts::{
    Alternative, Facts, Field, Method, Methods, Object, Payload, Shape, Span, TypeFacts, Value, Variant,
};
use super::policy;
use super::ty::Type;

/// The entries of one name in a list, each with the position of its runtime.
type Same<'a, T> = Vec<(usize, &'a T)>;

/// The union of the facts of single runtimes, oldest first.
///
/// If they differ, the wider description applies: a field is optional if one runtime omits it, nullable if one sends
/// null. An irreconcilable difference is an error that names it, and needs an entry in the policy.
pub fn union(single: &[Facts]) -> Result<Facts> {
    let runtimes: Vec<String> = single.iter().flat_map(|facts| facts.methods.runtimes.clone()).collect();
    // The pinned runtime, or else the newest one, decides the order of lists and everything that only one runtime can
    // decide.
    let mut preferred: Vec<usize> = (0..runtimes.len()).rev().collect();
    preferred.sort_by_key(|index| runtimes[*index] != VERSION);
    let aliases = preferred.iter().flat_map(|index| &single[*index].types).filter_map(|(name, facts)| {
        let Shape::Alias { of } = &facts.shape else { return None };
        Some((name.as_str(), of))
    });
    let union = Union { runtimes: &runtimes, aliases: aliases.collect(), problems: RefCell::default() };
    let list = |of: fn(&Methods) -> &Vec<Method>| {
        let lists: Vec<(usize, &[Method])> =
            preferred.iter().map(|index| (*index, of(&single[*index].methods).as_slice())).collect();
        let mut methods = union.merge("", &lists, |method| &method.method, Union::method);
        methods.sort_by(|one, other| one.method.cmp(&other.method));
        methods
    };
    let methods = Methods {
        runtimes: runtimes.clone(),
        client_requests: list(|methods| &methods.client_requests),
        client_notifications: list(|methods| &methods.client_notifications),
        server_requests: list(|methods| &methods.server_requests),
        server_notifications: list(|methods| &methods.server_notifications),
    };
    let mut by_name: BTreeMap<&String, Same<'_, TypeFacts>> = BTreeMap::new();
    for index in &preferred {
        for (name, facts) in &single[*index].types {
            by_name.entry(name).or_default().push((*index, facts));
        }
    }
    let types =
        by_name.into_iter().map(|(name, same)| (name.clone(), union.type_facts(name, &preferred, &same)));
    let facts = Facts { methods, types: types.collect() };
    let problems = union.problems.into_inner();
    if problems.is_empty() { Ok(facts) } else { Err(problems.join("\n").into()) }
}

struct Union<'a> {
    runtimes: &'a [String],
    /// Resolves aliases.
    aliases: BTreeMap<&'a str, &'a Type>,
    problems: RefCell<Vec<String>>,
}

impl Union<'_> {
    fn problem(&self, text: String) {
        self.problems.borrow_mut().push(text);
    }

    /// Of the runtimes that have the owner, those that have the entry.
    fn span<T>(&self, place: &str, owners: &[usize], same: &Same<'_, T>) -> Span {
        let having: Vec<usize> = same.iter().map(|(index, _)| *index).collect();
        let (Some(first), Some(last)) = (having.iter().min(), having.iter().max()) else {
            return Span::default();
        };
        let gap = owners.iter().find(|index| (first..last).contains(index) && !having.contains(index));
        if let Some(gap) = gap {
            self.problem(format!(
                "`{place}` is missing in {}, but present before and after",
                self.runtimes[*gap]
            ));
        }
        let name = |index: &usize| self.runtimes[*index].clone();
        Span {
            since: owners.iter().any(|index| index < first).then(|| name(first)),
            until: owners.iter().any(|index| index > last).then(|| name(last)),
        }
    }

    /// Merges lists of named entries. The order is that of the first list; its missing entries follow.
    fn merge<T>(
        &self,
        owner: &str,
        lists: &[(usize, &[T])],
        name: impl Fn(&T) -> &String,
        one: impl Fn(&Self, &str, &[usize], &Same<'_, T>) -> T,
    ) -> Vec<T> {
        let owners: Vec<usize> = lists.iter().map(|(index, _)| *index).collect();
        let mut groups: Vec<Same<'_, T>> = Vec::new();
        for (index, list) in lists {
            for entry in *list {
                match groups.iter_mut().find(|group| name(group[0].1) == name(entry)) {
                    Some(group) => group.push((*index, entry)),
                    None => groups.push(vec![(*index, entry)]),
                }
            }
        }
        let place = |group: &Same<'_, T>| {
            if owner.is_empty() { name(group[0].1).clone() } else { format!("{owner}.{}", name(group[0].1)) }
        };
        groups.iter().map(|group| one(self, &place(group), &owners, group)).collect()
    }

    fn method(&self, place: &str, owners: &[usize], same: &Same<'_, Method>) -> Method {
        let (_, first) = same[0];
        let params: Vec<&Option<Type>> = same.iter().map(|(_, method)| &method.params).collect();
        let params = match first.params.as_ref() {
            None if params.iter().all(|params| params.is_none()) => None,
            _ => {
                let mut known = params.iter().filter_map(|params| params.as_ref());
                let mut ty = known.next().cloned();
                for other in known {
                    ty = ty.map(|ty| self.widest(place, &ty, other));
                }
                let omitted = params.iter().any(|params| params.is_none());
                ty.map(|ty| match ty {
                    Type::Nullable(_) => ty,
                    ty if omitted => Type::Nullable(Box::new(ty)),
                    ty => ty,
                })
            }
        };
        let span = self.span(place, owners, same);
        Method { method: first.method.clone(), params, experimental: first.experimental, span }
    }

    fn type_facts(&self, name: &str, owners: &[usize], same: &Same<'_, TypeFacts>) -> TypeFacts {
        let shapes: Same<'_, Shape> = same.iter().map(|(index, facts)| (*index, &facts.shape)).collect();
        let span = self.span(name, owners, same);
        TypeFacts { experimental: same[0].1.experimental, span, shape: self.shape(name, &shapes) }
    }

    fn shape(&self, name: &str, same: &Same<'_, Shape>) -> Shape {
        macro_rules! all {
            ($pattern:pat $(if $guard:expr)? => $part:expr) => {
                same.iter()
                    .filter_map(|(index, shape)| match shape {
                        $pattern $(if $guard)? => Some((*index, $part)),
                        _ => None,
                    })
                    .collect::<Vec<_>>()
            };
        }
        if policy::OPAQUE.contains(&name) {
            return Shape::Alias { of: Type::any() };
        }
        let merged = match same[0].1 {
            Shape::Alias { of } => {
                let all = all!(Shape::Alias { of } => of);
                let wide = all.iter().fold(of.clone(), |ty, (_, other)| self.widest(name, &ty, other));
                // A plain string also accepts the values of an enumeration.
                let strings = if of == &Type::Primitive("string") {
                    all!(Shape::Strings { .. } => ()).len()
                } else {
                    0
                };
                (all.len() + strings, Shape::Alias { of: wide })
            }
            Shape::Strings { .. } => {
                let all = all!(Shape::Strings { values } => values.as_slice());
                (all.len(), Shape::Strings { values: self.values(name, &all) })
            }
            Shape::Object(_) => {
                let all = all!(Shape::Object(object) => object);
                (all.len(), Shape::Object(self.object(name, &all)))
            }
            Shape::Tagged { tag, .. } => {
                let tags = all!(Shape::Tagged { tag: other, .. } if other == tag => ());
                let common = all!(Shape::Tagged { common, .. } => common.as_slice());
                let variants = all!(Shape::Tagged { variants, .. } => variants.as_slice());
                let variants = self.merge(name, &variants, |variant| &variant.value, Self::variant);
                (tags.len(), Shape::Tagged { tag: tag.clone(), common: self.fields(name, &common), variants })
            }
            Shape::Mixed { .. } => {
                let values = all!(Shape::Mixed { values, .. } => values.as_slice());
                let payloads = all!(Shape::Mixed { payloads, .. } => payloads.as_slice());
                let payloads = self.merge(name, &payloads, |payload| &payload.key, Self::payload);
                (values.len(), Shape::Mixed { values: self.values(name, &values), payloads })
            }
            Shape::Shapes { .. } => {
                let all = all!(Shape::Shapes { alternatives } => alternatives);
                let mut wide: Vec<Alternative> = Vec::new();
                for alternative in all.iter().flat_map(|(_, alternatives)| *alternatives) {
                    if !wide.contains(alternative) {
                        wide.push(alternative.clone());
                    }
                }
                (all.len(), Shape::Shapes { alternatives: wide })
            }
        };
        if merged.0 != same.len() && !policy::RESHAPED.contains(&name) {
            let kinds = same.iter().map(|(index, shape)| format!("{}: {shape:?}", self.runtimes[*index]));
            self.problem(format!("`{name}` has different kinds: {}", kinds.collect::<Vec<_>>().join("; ")));
        }
        merged.1
    }

    fn values(&self, owner: &str, lists: &[(usize, &[Value])]) -> Vec<Value> {
        self.merge(
            owner,
            lists,
            |value| &value.value,
            |union, place, owners, same| Value {
                value: same[0].1.value.clone(),
                experimental: same[0].1.experimental,
                span: union.span(place, owners, same),
            },
        )
    }

    fn variant(&self, place: &str, owners: &[usize], same: &Same<'_, Variant>) -> Variant {
        let objects: Vec<(usize, &Object)> =
            same.iter().map(|(index, variant)| (*index, &variant.object)).collect();
        Variant {
            value: same[0].1.value.clone(),
            experimental: same[0].1.experimental,
            span: self.span(place, owners, same),
            object: self.object(place, &objects),
        }
    }

    fn payload(&self, place: &str, owners: &[usize], same: &Same<'_, Payload>) -> Payload {
        let objects: Vec<(usize, &Object)> = same
            .iter()
            .filter_map(|(index, payload)| match &payload.content {
                Alternative::Object(object) => Some((*index, object)),
                Alternative::Type { .. } => None,
            })
            .collect();
        let content = if objects.len() == same.len() {
            Alternative::Object(self.object(place, &objects))
        } else {
            if same.iter().any(|(_, payload)| payload.content != same[0].1.content) {
                self.problem(format!("`{place}` has different contents"));
            }
            same[0].1.content.clone()
        };
        Payload {
            key: same[0].1.key.clone(),
            experimental: same[0].1.experimental,
            span: self.span(place, owners, same),
            content,
        }
    }

    fn object(&self, place: &str, all: &[(usize, &Object)]) -> Object {
        let lists: Vec<(usize, &[Field])> =
            all.iter().map(|(index, object)| (*index, object.fields.as_slice())).collect();
        let mut one_of: Vec<String> = Vec::new();
        for name in all.iter().flat_map(|(_, object)| &object.one_of) {
            if !one_of.contains(name) {
                one_of.push(name.clone());
            }
        }
        // One of these fields is required if each runtime requires some of them.
        let needs = |object: &Object| {
            !object.one_of.is_empty()
                || object.fields.iter().any(|field| !field.optional && one_of.contains(&field.name))
        };
        if !all.iter().all(|(_, object)| needs(object)) {
            one_of.clear();
        }
        Object {
            closed: all.iter().all(|(_, object)| object.closed),
            fields: self.fields(place, &lists),
            one_of,
        }
    }

    fn fields(&self, place: &str, lists: &[(usize, &[Field])]) -> Vec<Field> {
        let mut fields = self.merge(place, lists, |field| &field.name, Self::field);
        // In the order of the schemas. Alternatives follow the common fields.
        if lists.iter().all(|(_, fields)| fields.is_sorted_by_key(|field| &field.name)) {
            fields.sort_by(|one, other| one.name.cmp(&other.name));
        }
        fields
    }

    fn field(&self, place: &str, owners: &[usize], same: &Same<'_, Field>) -> Field {
        let (_, first) = same[0];
        let any = |flag: fn(&Field) -> bool| same.iter().any(|(_, field)| flag(field));
        let ty = same.iter().fold(first.ty.clone(), |ty, (_, other)| self.widest(place, &ty, &other.ty));
        Field {
            name: first.name.clone(),
            ty,
            optional: same.len() < owners.len() || any(|field| field.optional),
            nullable: any(|field| field.nullable),
            double: any(|field| field.double),
            experimental: first.experimental,
            span: self.span(place, owners, same),
        }
    }

    /// The type without aliases.
    fn behind(&self, ty: &Type) -> Type {
        let inner = |ty: &Type| Box::new(self.behind(ty));
        match ty {
            Type::Named(name) => {
                self.aliases.get(name.as_str()).map_or_else(|| ty.clone(), |of| self.behind(of))
            }
            Type::Primitive(_) => ty.clone(),
            Type::List(item) => Type::List(inner(item)),
            Type::Map(item) => Type::Map(inner(item)),
            Type::Nullable(item) => Type::Nullable(inner(item)),
        }
    }

    /// A type that accepts the values of both.
    fn widest(&self, place: &str, one: &Type, other: &Type) -> Type {
        if let Some(wide) = widest(one, other) {
            return wide;
        }
        if self.behind(one) == self.behind(other) {
            return one.clone();
        }
        let decided = policy::WIDER.iter().find(|(known, _)| *known == place);
        match decided.map(|(_, ty)| ty.parse()) {
            Some(Ok(ty)) => ty,
            Some(Err(error)) => {
                self.problem(error);
                one.clone()
            }
            None => {
                self.problem(format!("`{place}` is `{one}` and `{other}`; add it to WIDER in the policy"));
                one.clone()
            }
        }
    }
}

fn widest(one: &Type, other: &Type) -> Option<Type> {
    const NUMBERS: &[&str] = &["u8", "u16", "u32", "i32", "u64", "i64", "f32", "f64"];
    Some(match (one, other) {
        (one, other) if one == other => one.clone(),
        (Type::Primitive("any"), _) | (_, Type::Primitive("any")) => Type::any(),
        (Type::Nullable(one), Type::Nullable(other)) => Type::Nullable(Box::new(widest(one, other)?)),
        (Type::Nullable(inner), plain) | (plain, Type::Nullable(inner)) => {
            Type::Nullable(Box::new(widest(inner, plain)?))
        }
        (Type::List(one), Type::List(other)) => Type::List(Box::new(widest(one, other)?)),
        (Type::Map(one), Type::Map(other)) => Type::Map(Box::new(widest(one, other)?)),
        (Type::Primitive(one), Type::Primitive(other)) => {
            let rank = |name: &str| NUMBERS.iter().position(|number| *number == name);
            Type::Primitive(if rank(one)? > rank(other)? { one } else { other })
        }
        _ => return None,
    })
}

/// The part of the facts that one runtime has, as far as the union records it.
pub fn restricted(facts: &Facts, runtime: &str) -> Result<Facts> {
    let runtimes = &facts.methods.runtimes;
    let position = |name: &str| runtimes.iter().position(|known| known == name);
    let here = position(runtime).ok_or_else(|| format!("`{runtime}` is not one of the vendored runtimes"))?;
    let has = |span: &Span| {
        let bound = |name: &Option<String>| name.as_deref().and_then(position);
        bound(&span.since).is_none_or(|since| since <= here)
            && bound(&span.until).is_none_or(|until| here <= until)
    };
    let mut facts = facts.clone();
    let methods = &mut facts.methods;
    methods.runtimes = vec![runtime.to_owned()];
    for list in [
        &mut methods.client_requests,
        &mut methods.client_notifications,
        &mut methods.server_requests,
        &mut methods.server_notifications,
    ] {
        list.retain(|method| has(&method.span));
    }
    facts.types.retain(|_, facts| has(&facts.span));
    for facts in facts.types.values_mut() {
        match &mut facts.shape {
            Shape::Alias { .. } | Shape::Shapes { .. } => {}
            Shape::Strings { values } => values.retain(|value| has(&value.span)),
            Shape::Object(object) => object.fields.retain(|field| has(&field.span)),
            Shape::Tagged { common, variants, .. } => {
                common.retain(|field| has(&field.span));
                variants.retain(|variant| has(&variant.span));
                for variant in variants {
                    variant.object.fields.retain(|field| has(&field.span));
                }
            }
            Shape::Mixed { values, payloads } => {
                values.retain(|value| has(&value.span));
                payloads.retain(|payload| has(&payload.span));
                for payload in payloads {
                    if let Alternative::Object(object) = &mut payload.content {
                        object.fields.retain(|field| has(&field.span));
                    }
                }
            }
        }
    }
    Ok(facts)
}

//! Decides about the types: their users, their direction, their file, their size.

use std::collections::{BTreeMap, BTreeSet};

use super::Result;
use super::facts::{Alternative, Facts, Field, Method, Object, Shape, Span, TypeFacts, Value};
use super::features;
use super::naming;
use super::policy;
use super::ty::Type;

/// The facts and the decisions.
pub struct Plan {
    /// The facts.
    pub facts: Facts,
    /// The response type of each client request and server request.
    pub responses: BTreeMap<String, String>,
    /// The types that the client sends.
    pub sent: BTreeSet<String>,
    /// For each type, its uses, for the documentation.
    pub uses: BTreeMap<String, Vec<String>>,
    /// For each type, its file.
    pub domains: BTreeMap<String, String>,
    /// For each optional type, the cargo features that enable it.
    pub features: BTreeMap<String, BTreeSet<&'static str>>,
}

impl Plan {
    /// Makes all decisions.
    pub fn new(mut facts: Facts) -> Result<Self> {
        for (name, values) in policy::KNOWN_VALUES {
            let facts = facts.types.get_mut(*name).ok_or_else(|| {
                format!("xtask/src/codegen/policy.rs names `{name}`, which the schema does not have")
            })?;
            let value = |value: &&str| Value {
                value: (*value).to_owned(),
                experimental: false,
                span: Span::default(),
            };
            facts.shape = Shape::Strings { values: values.iter().map(value).collect() };
        }
        let responses = responses(&facts)?;
        let mut plan = Self {
            facts,
            responses,
            sent: BTreeSet::new(),
            uses: BTreeMap::new(),
            domains: BTreeMap::new(),
            features: BTreeMap::new(),
        };
        plan.check_names()?;
        plan.find_sent();
        plan.find_uses();
        plan.find_domains();
        plan.find_features();
        Ok(plan)
    }

    /// The facts of a type.
    pub fn facts_of(&self, name: &str) -> Option<&TypeFacts> {
        self.facts.types.get(name)
    }

    /// The first runtime that the policy accepts for this field of these parameters, if it names one.
    pub fn exact(&self, params: &str, field: &str) -> Option<&'static str> {
        let takes = |method: &str| {
            let method = self.facts.methods.client_requests.iter().find(|known| known.method == method);
            method.and_then(|method| method.params.as_ref()).is_some_and(|ty| ty.names().contains(&params))
        };
        let known = policy::EXACT.iter().find(|(method, known, _)| *known == field && takes(method));
        known.map(|(_, _, version)| *version)
    }

    /// The types that the client sends: those reachable from its requests and its responses.
    fn find_sent(&mut self) {
        let methods = &self.facts.methods;
        let mut roots: Vec<String> = Vec::new();
        for method in methods.client_requests.iter().chain(&methods.client_notifications) {
            roots.extend(method.params.iter().flat_map(Type::names).map(str::to_owned));
        }
        roots.extend(methods.server_requests.iter().map(|method| self.responses[&method.method].clone()));
        self.sent = self.reachable(roots);
    }

    /// `roots` and all types in them.
    fn reachable(&self, roots: Vec<String>) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut queue = roots;
        while let Some(name) = queue.pop() {
            if let Some(facts) = self.facts.types.get(&name)
                && seen.insert(name)
            {
                queue.extend(references(&facts.shape).into_iter().map(|(_, name)| name));
            }
        }
        seen
    }

    fn find_uses(&mut self) {
        let mut uses: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut add = |name: &str, text: String| uses.entry(name.to_owned()).or_default().push(text);
        let link =
            |method: &str, module: &str| format!("[`{method}`](crate::{module}::{})", policy::marker(method));
        let methods = &self.facts.methods;
        let lists: [(&[Method], &str, &str); 3] = [
            (&methods.client_requests, "methods", ""),
            (&methods.server_requests, "server_requests", "the server's "),
            (&methods.server_notifications, "notifications", ""),
        ];
        for (list, module, whose) in lists {
            for method in list {
                let link = link(&method.method, module);
                for name in method.params.iter().flat_map(Type::names) {
                    let role = if module == "notifications" { "Payload" } else { "Parameters" };
                    add(name, format!("{role} of {whose}{link}"));
                }
                if let Some(response) =
                    self.responses.get(&method.method).filter(|_| module != "notifications")
                {
                    add(response, format!("Response to {whose}{link}"));
                }
            }
        }
        for (owner, facts) in &self.facts.types {
            for (place, name) in references(&facts.shape) {
                let place = if place.is_empty() { owner.clone() } else { format!("{owner}.{place}") };
                add(&name, format!("`{place}`"));
            }
        }
        self.uses = uses;
    }

    /// A type is available if any available item uses it. A type without a message belongs to the feature for
    /// everything.
    fn find_features(&mut self) {
        let methods = &self.facts.methods;
        let mut always: Vec<String> = Vec::new();
        let mut gated: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
        let all = methods.server_notifications.iter().chain(&methods.server_requests);
        for method in all.chain(&methods.client_notifications).chain(&methods.client_requests) {
            let feature = match methods.client_requests.contains(method) {
                true => features::of_method(&method.method),
                false => None,
            };
            let roots = feature.map_or(&mut always, |feature| gated.entry(feature).or_default());
            roots.extend(method.params.iter().flat_map(Type::names).map(str::to_owned));
            roots.extend(self.responses.get(&method.method).cloned());
        }
        let always = self.reachable(always);
        let mut found: BTreeMap<String, BTreeSet<&'static str>> = BTreeMap::new();
        for (feature, roots) in gated {
            for name in self.reachable(roots).difference(&always) {
                found.entry(name.clone()).or_default().insert(feature);
            }
        }
        for name in self.facts.types.keys().filter(|name| !always.contains(*name)) {
            found.entry(name.clone()).or_insert_with(|| BTreeSet::from([features::ALL]));
        }
        self.features = found;
    }

    fn find_domains(&mut self) {
        let methods = &self.facts.methods;
        let mut users: BTreeMap<String, BTreeSet<&'static str>> = BTreeMap::new();
        let all = methods
            .client_requests
            .iter()
            .chain(&methods.server_notifications)
            .chain(&methods.server_requests);
        for method in all {
            let is_server_request = methods.server_requests.contains(method);
            let domain =
                if is_server_request { "server_requests" } else { policy::domain_of_method(&method.method) };
            let mut roots: Vec<String> =
                method.params.iter().flat_map(Type::names).map(str::to_owned).collect();
            roots.extend(self.responses.get(&method.method).cloned());
            for root in &roots {
                // Keep the types of a method with the method.
                let domain = policy::domain_override(root).unwrap_or(domain);
                self.domains.entry(root.clone()).or_insert_with(|| domain.to_owned());
            }
            for name in self.reachable(roots) {
                users.entry(name).or_default().insert(domain);
            }
        }
        for name in self.facts.types.keys() {
            let domain = match (
                policy::domain_override(name),
                users.get(name).map(|users| users.iter().copied().collect::<Vec<_>>()),
            ) {
                (Some(domain), _) => domain,
                (None, Some(one)) if one.len() == 1 => one[0],
                (None, Some(all)) if all.iter().all(|domain| domain.starts_with("thread")) => "thread",
                _ => policy::domain_of_shared(name),
            };
            self.domains.entry(name.clone()).or_insert_with(|| domain.to_owned());
        }
    }

    /// Whether an enum boxes this type.
    pub fn is_boxed(&self, ty: &Type) -> bool {
        self.size(ty, 0) > policy::BOX_ABOVE
    }

    /// Whether an enum boxes an object with these fields.
    pub fn is_object_boxed(&self, object: &Object) -> bool {
        self.object_size(object, 0) > policy::BOX_ABOVE
    }

    /// The estimated size of a value in bytes. It only has to be the same on every platform.
    fn size(&self, ty: &Type, depth: usize) -> usize {
        match ty {
            Type::Primitive("bool" | "u8" | "i8") => 1,
            Type::Primitive("u16" | "i16") => 2,
            Type::Primitive("u32" | "i32" | "f32") => 4,
            Type::Primitive("u64" | "i64" | "f64") => 8,
            Type::Primitive("any") => 32,
            Type::Primitive(_) | Type::List(_) | Type::Map(_) => 24,
            Type::Nullable(inner) => self.size(inner, depth).next_multiple_of(8),
            Type::Named(name) => {
                self.facts.types.get(name).map_or(24, |facts| self.shape_size(facts, depth + 1))
            }
        }
    }

    fn shape_size(&self, facts: &TypeFacts, depth: usize) -> usize {
        assert!(depth < 64, "a type contains itself without a list or a map in between");
        let cap = |size: usize| if size > policy::BOX_ABOVE { 8 } else { size };
        match &facts.shape {
            Shape::Alias { of } => self.size(of, depth),
            Shape::Strings { .. } => 24,
            Shape::Object(object) => self.object_size(object, depth),
            Shape::Tagged { common, variants, .. } => {
                let size = |object: &Object| self.object_size(&with_common(common, object), depth);
                8 + variants.iter().map(|variant| cap(size(&variant.object))).max().unwrap_or(0).max(32)
            }
            Shape::Mixed { payloads, .. } => {
                8 + payloads
                    .iter()
                    .map(|one| cap(self.alternative_size(&one.content, depth)))
                    .max()
                    .unwrap_or(0)
                    .max(32)
            }
            Shape::Shapes { alternatives } => {
                8 + alternatives
                    .iter()
                    .map(|one| cap(self.alternative_size(one, depth)))
                    .max()
                    .unwrap_or(0)
                    .max(32)
            }
        }
    }

    fn alternative_size(&self, alternative: &Alternative, depth: usize) -> usize {
        match alternative {
            Alternative::Type { ty } => self.size(ty, depth),
            Alternative::Object(object) => self.object_size(object, depth),
        }
    }

    fn object_size(&self, object: &Object, depth: usize) -> usize {
        let field = |field: &Field| {
            let size = self.size(&field.ty, depth);
            let option = field.optional || field.nullable || field.double;
            if option && matches!(field.ty, Type::Primitive("u16" | "u32" | "u64" | "i32" | "i64" | "f64")) {
                2 * size
            } else {
                size
            }
        };
        (8 + object.fields.iter().map(field).sum::<usize>()).next_multiple_of(8)
    }

    /// Checks that generated names do not collide with names of the schema or with each other.
    fn check_names(&self) -> Result<()> {
        let mut names: BTreeSet<String> = self.facts.types.keys().cloned().collect();
        let mut add = |name: String, owner: &str| {
            let message = format!("the generated name `{name}` for a part of `{owner}` already exists");
            if names.insert(name) { Ok(()) } else { Err(message) }
        };
        for (owner, facts) in &self.facts.types {
            match &facts.shape {
                Shape::Tagged { variants, .. } => {
                    for variant in variants {
                        add(format!("{}{owner}", naming::variant(&variant.value)), owner)?;
                    }
                }
                Shape::Mixed { payloads, .. } => {
                    for payload in payloads {
                        if let Alternative::Object(_) = payload.content {
                            add(format!("{}{owner}", naming::variant(&payload.key)), owner)?;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The fields of a variant, including the common ones.
pub fn with_common(common: &[Field], object: &Object) -> Object {
    let mut all = object.clone();
    all.fields.extend(common.iter().cloned());
    all
}

/// (place, type name) of each reference in a type.
fn references(shape: &Shape) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut add = |place: &str, ty: &Type| {
        found.extend(ty.names().into_iter().map(|name| (place.to_owned(), name.to_owned())));
    };
    match shape {
        Shape::Alias { of } => add("", of),
        Shape::Strings { .. } => {}
        Shape::Object(object) => object.fields.iter().for_each(|field| add(&field.name, &field.ty)),
        Shape::Tagged { common, variants, .. } => {
            common.iter().for_each(|field| add(&field.name, &field.ty));
            for variant in variants {
                variant.object.fields.iter().for_each(|field| add(&field.name, &field.ty));
            }
        }
        Shape::Mixed { payloads, .. } => {
            for payload in payloads {
                match &payload.content {
                    Alternative::Type { ty } => add(&payload.key, ty),
                    Alternative::Object(object) => {
                        object.fields.iter().for_each(|field| add(&field.name, &field.ty))
                    }
                }
            }
        }
        Shape::Shapes { alternatives } => {
            for alternative in alternatives {
                match alternative {
                    Alternative::Type { ty } => add("", ty),
                    Alternative::Object(object) => {
                        object.fields.iter().for_each(|field| add(&field.name, &field.ty))
                    }
                }
            }
        }
    }
    found
}

/// The response type of each request: `XResponse` for `XParams`; the policy lists the others.
fn responses(facts: &Facts) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let methods = &facts.methods;
    for method in methods.client_requests.iter().chain(&methods.server_requests) {
        let by_policy =
            policy::RESPONSES.iter().find(|(name, _)| *name == method.method).map(|(_, ty)| (*ty).to_owned());
        let by_name = method.params.as_ref().and_then(|params| {
            let name = params.names().first()?.strip_suffix("Params")?.to_owned() + "Response";
            facts.types.contains_key(&name).then_some(name)
        });
        let response = by_policy.or(by_name).ok_or_else(|| {
            format!(
                "`{}` has no response type: add it to RESPONSES in xtask/src/codegen/policy.rs",
                method.method
            )
        })?;
        if !facts.types.contains_key(&response) {
            return Err(format!(
                "`{}` names the response type `{response}`, which does not exist",
                method.method
            )
            .into());
        }
        found.insert(method.method.clone(), response);
    }
    let used: BTreeSet<&String> = found.values().collect();
    let unused: Vec<&String> =
        facts.types.keys().filter(|name| name.ends_with("Response") && !used.contains(name)).collect();
    if unused.is_empty() {
        Ok(found)
    } else {
        Err(format!("no method has the response types {unused:?}").into())
    }
}

//! Generates the enums of server messages: `Notification`, `NotificationKind` and `ServerRequest`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Result;
use super::docs::{doc, with_notes};
use super::facts::{Method, Shape};
use super::naming;
use super::plan::Plan;
use super::policy;
use super::ty::Type;

/// Paths and texts of the files.
pub fn files(plan: &Plan) -> Result<Vec<(String, String)>> {
    Ok(vec![
        ("notification.rs".to_owned(), notification(plan)?),
        ("server_request.rs".to_owned(), server_request(plan)?),
    ])
}

/// A variant of an enum.
struct Message<'a> {
    method: &'a Method,
    variant: String,
    payload: &'a str,
    boxed: bool,
}

/// The variants. They have the names of the payload types without `suffix`, or of the methods if methods share a
/// payload.
fn messages<'a>(plan: &Plan, methods: &'a [Method], suffix: &str) -> Result<Vec<Message<'a>>> {
    let mut users: BTreeMap<&str, usize> = BTreeMap::new();
    let payload = |method: &'a Method| match &method.params {
        Some(Type::Named(name)) => Ok(name.as_str()),
        other => Err(format!(
            "`{}` has the parameters {other:?}, which the generator does not support",
            method.method
        )),
    };
    for method in methods {
        *users.entry(payload(method)?).or_default() += 1;
    }
    let mut messages = Vec::new();
    for method in methods {
        let payload = payload(method)?;
        let variant = match payload.strip_suffix(suffix) {
            Some(name) if users[payload] == 1 => name.to_owned(),
            _ => policy::marker(&method.method),
        };
        let boxed = plan.is_boxed(&Type::Named(payload.to_owned()));
        messages.push(Message { method, variant, payload, boxed });
    }
    let mut names: Vec<&str> = messages.iter().map(|message| message.variant.as_str()).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(format!("two messages have the same variant name: {names:?}").into());
    }
    Ok(messages)
}

fn variants(plan: &Plan, messages: &[Message<'_>]) -> String {
    let mut out = String::new();
    for Message { method, variant, payload, boxed } in messages {
        let text = with_notes(plan, format!("`{}`", method.method), method.experimental, &method.span);
        out.push_str(&doc("    ", &text));
        let payload = if *boxed { format!("Box<{payload}>") } else { (*payload).to_owned() };
        let _ = writeln!(out, "    {variant}({payload}),");
    }
    out
}

fn wrap(message: &Message<'_>) -> String {
    let Message { variant, boxed, .. } = message;
    if *boxed { format!("|payload| Self::{variant}(Box::new(payload))") } else { format!("Self::{variant}") }
}

/// The match arms that return a thread's or a turn's id. The caller handles variants without one.
fn id_arms(plan: &Plan, messages: &[Message<'_>], field: &str, nested: &str) -> String {
    let mut by_expression: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for Message { variant, payload, .. } in messages {
        if let Some(expression) = id_expression(plan, payload, field, nested) {
            by_expression.entry(expression).or_default().push(variant);
        }
    }
    let mut out = String::new();
    for (expression, variants) in by_expression {
        for variant in variants {
            let _ = writeln!(out, "            Self::{variant}(payload) => {expression},");
        }
    }
    out
}

fn id_expression(plan: &Plan, payload: &str, field: &str, nested: &str) -> Option<String> {
    match &plan.facts_of(payload)?.shape {
        Shape::Object(object) => {
            let find = |name: &str| object.fields.iter().find(|field| field.name == name);
            if let Some(found) = find(field) {
                let name = naming::field(field);
                let option = found.optional || found.nullable;
                return Some(if option {
                    format!("payload.{name}.as_deref()")
                } else {
                    format!("Some(&payload.{name})")
                });
            }
            let inner = find(nested)?;
            let Type::Named(inner_type) = &inner.ty else { return None };
            let Shape::Object(inner_object) = &plan.facts_of(inner_type)?.shape else { return None };
            let has_id = inner_object.fields.iter().any(|field| field.name == "id" && !field.optional);
            (has_id && !inner.optional).then(|| format!("Some(&payload.{nested}.id)"))
        }
        Shape::Tagged { common, .. } => {
            common.iter().any(|one| one.name == field).then(|| format!("payload.{}()", naming::field(field)))
        }
        _ => None,
    }
}

/// Matches `method` by its length first, so that any method needs only a few comparisons.
fn lookup(messages: &[Message<'_>]) -> String {
    let mut by_length: BTreeMap<usize, Vec<&Message<'_>>> = BTreeMap::new();
    for message in messages {
        by_length.entry(message.method.method.len()).or_default().push(message);
    }
    let mut out = String::new();
    for (length, mut messages) in by_length {
        messages.sort_by_key(|message| !policy::HOT.contains(&message.method.method.as_str()));
        let _ = writeln!(out, "            {length} => match method {{");
        for message in messages {
            let _ = writeln!(out, "{:?} => Some(Self::{}),", message.method.method, message.variant);
        }
        out.push_str("                _ => None,\n            },\n");
    }
    out
}

fn notification(plan: &Plan) -> Result<String> {
    let messages = messages(plan, &plan.facts.methods.server_notifications, "Notification")?;
    let mut kinds = String::new();
    let mut methods = String::new();
    let mut params_arms = String::new();
    let mut target_arms = String::new();
    let mut method_arms = String::new();
    let mut serialize_arms = String::new();
    for message in &messages {
        let Message { method, variant, .. } = message;
        let _ = writeln!(kinds, "    /// `{}`\n    {variant},", method.method);
        let _ = writeln!(methods, "Self::{variant} => {:?},", method.method);
        if policy::STREAMED.contains(&message.payload) {
            let wrap = wrap(message);
            let _ = writeln!(
                params_arms,
                "K::{variant} => {{ return Deserialize::deserialize(reader).map({wrap}); }}"
            );
        } else {
            let (blank, target) = match message.boxed {
                true => ("Box::new(Read::blank())", "&mut **payload"),
                false => ("Read::blank()", "payload"),
            };
            let _ = writeln!(params_arms, "K::{variant} => Self::{variant}({blank}),");
            let _ = writeln!(target_arms, "Self::{variant}(payload) => {target},");
        }
        let _ = writeln!(method_arms, "Self::{variant}(_) => K::{variant}.method(),");
        let _ = writeln!(
            serialize_arms,
            "Self::{variant}(payload) => map.serialize_entry(\"params\", payload)?,"
        );
    }
    Ok(format!(
        r#"//! Notifications from the server.

use serde::de::Deserialize;
use serde::ser::{{Serialize, SerializeMap, Serializer}};
use serde_json::de::StrRead;
use serde_json::value::RawValue;

use self::NotificationKind as K;
use crate::decode::RawFrame;
use crate::raw::write_raw;
use crate::read::{{Read, read_into}};
use crate::types::*;
use crate::{{DecodeError, UndecodableNotification, UnknownNotification}};

type Reader<'de> = serde_json::Deserializer<StrRead<'de>>;

/// A notification from the server.
///
/// The variants have the names of the payload types without the suffix `Notification`. If methods share a payload type, the
/// variants have the names of the methods. Payloads with more than {box_above} estimated bytes are boxed, so that a queue of
/// deltas stays small.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Notification {{
{variants}    /// A method that this version does not know.
    Unknown(UnknownNotification),
    /// A known method with a payload that cannot be read.
    Undecodable(UndecodableNotification),
}}

/// The methods of [`Notification`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum NotificationKind {{
{kinds}}}

impl NotificationKind {{
    /// The kind of a method.
    #[must_use]
    pub fn from_method(method: &str) -> Option<Self> {{
        match method.len() {{
{lookup}            _ => None,
        }}
    }}

    /// The method.
    #[must_use]
    pub const fn method(self) -> &'static str {{
        match self {{
{methods}        }}
    }}
}}

impl Notification {{
    /// Reads a whole message, `{{"method": …, "params": …}}`.
    #[must_use]
    pub fn decode_frame(frame: &str) -> Self {{
        let RawFrame {{ method, params }} = RawFrame::read(frame);
        Self::decode(&method.unwrap_or_default(), params.as_deref())
    }}

    /// Reads a method and its parameters.
    #[must_use]
    pub fn decode(method: &str, params: Option<&RawValue>) -> Self {{
        match NotificationKind::from_method(method) {{
            Some(kind) => Self::decode_params(kind, params.map_or("", RawValue::get)),
            None => Self::Unknown(UnknownNotification::new(method, params.map(ToOwned::to_owned))),
        }}
    }}

    /// Reads the parameters of a known kind, in one pass. An empty text means that they are missing.
    #[must_use]
    pub fn decode_params(kind: NotificationKind, params: &str) -> Self {{
        let mut reader = serde_json::Deserializer::from_str(params);
        // Nested, so that the notification is not moved once more: this runs for each event.
        match Self::payload(kind, &mut reader) {{
            Ok(notification) => match reader.end() {{
                Ok(()) => notification,
                Err(error) => Self::undecodable(kind.method(), params, &error),
            }},
            Err(error) => Self::undecodable(kind.method(), params, &error),
        }}
    }}

    /// The method.
    #[must_use]
    pub fn method(&self) -> &str {{
        match self {{
{method_arms}            Self::Unknown(message) => &message.method,
            Self::Undecodable(message) => &message.method,
        }}
    }}

    /// The kind, or `None` for a method that this version does not know.
    #[must_use]
    pub fn kind(&self) -> Option<NotificationKind> {{
        NotificationKind::from_method(self.method())
    }}

    /// The id of its thread. `None` if it has none, or if its payload has no type.
    #[must_use]
    pub fn thread_id(&self) -> Option<&str> {{
        match self {{
{thread_arms}            _ => None,
        }}
    }}

    /// The id of its turn. `None` if it has none, or if its payload has no type.
    #[must_use]
    pub fn turn_id(&self) -> Option<&str> {{
        match self {{
{turn_arms}            _ => None,
        }}
    }}

    fn payload(kind: NotificationKind, reader: &mut Reader<'_>) -> serde_json::Result<Self> {{
        let mut notification = match kind {{
{params_arms}        }};
        let target: &mut dyn Read = match &mut notification {{
{target_arms}            _ => return Ok(notification),
        }};
        read_into(target, reader)?;
        Ok(notification)
    }}

    #[cold]
    fn undecodable(method: &str, params: &str, error: &serde_json::Error) -> Self {{
        let error = match params {{
            "" => DecodeError::without_text(method, "params", "they are missing"),
            params => DecodeError::new(method, "params", params, error),
        }};
        let params = serde_json::from_str(params).ok();
        Self::Undecodable(UndecodableNotification::new(method, params, error))
    }}
}}

/// As the message `{{"method": …, "params": …}}`.
impl Serialize for Notification {{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {{
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("method", self.method())?;
        match self {{
{serialize_arms}            Self::Unknown(UnknownNotification {{ params, .. }}) => write_raw(&mut map, params.as_deref())?,
            Self::Undecodable(message) => write_raw(&mut map, message.params.as_deref())?,
        }}
        map.end()
    }}
}}
"#,
        box_above = policy::BOX_ABOVE,
        variants = variants(plan, &messages),
        lookup = lookup(&messages),
        thread_arms = id_arms(plan, &messages, "threadId", "thread"),
        turn_arms = id_arms(plan, &messages, "turnId", "turn"),
    ))
}

fn server_request(plan: &Plan) -> Result<String> {
    let messages = messages(plan, &plan.facts.methods.server_requests, "Params")?;
    let mut decode_arms = String::new();
    let mut method_arms = String::new();
    let mut serialize_arms = String::new();
    for message in &messages {
        let Message { method, variant, .. } = message;
        let _ = writeln!(
            decode_arms,
            "{:?} => decode_params(method, params).map({}),",
            method.method,
            wrap(message)
        );
        let _ = writeln!(method_arms, "Self::{variant}(_) => {:?},", method.method);
        let _ = writeln!(
            serialize_arms,
            "Self::{variant}(payload) => map.serialize_entry(\"params\", payload)?,"
        );
    }
    Ok(format!(
        r#"//! Requests from the server.

use serde::ser::{{Serialize, SerializeMap, Serializer}};
use serde_json::value::RawValue;

use crate::decode::decode_params;
use crate::raw::write_raw;
use crate::types::*;
use crate::{{UndecodableRequest, UnknownRequest}};

/// A request from the server.
///
/// The variants have the names of the parameter types without the suffix `Params`. Parameters with more than {box_above}
/// estimated bytes are boxed.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ServerRequest {{
{variants}    /// A method that this version does not know.
    Unknown(UnknownRequest),
    /// A known method with parameters that cannot be read.
    Undecodable(UndecodableRequest),
}}

impl ServerRequest {{
    /// Reads a method and its parameters.
    #[must_use]
    pub fn decode(method: &str, params: Option<&RawValue>) -> Self {{
        let decoded = match method {{
{decode_arms}            _ => return Self::Unknown(UnknownRequest::new(method, params.map(ToOwned::to_owned))),
        }};
        decoded.unwrap_or_else(|error| {{
            Self::Undecodable(UndecodableRequest::new(method, params.map(ToOwned::to_owned), error))
        }})
    }}

    /// The method.
    #[must_use]
    pub fn method(&self) -> &str {{
        match self {{
{method_arms}            Self::Unknown(message) => &message.method,
            Self::Undecodable(message) => &message.method,
        }}
    }}

    /// The id of its thread. `None` if it has none, or if its parameters have no type.
    #[must_use]
    pub fn thread_id(&self) -> Option<&str> {{
        match self {{
{thread_arms}            _ => None,
        }}
    }}

    /// The id of its turn. `None` if it has none, or if its parameters have no type.
    #[must_use]
    pub fn turn_id(&self) -> Option<&str> {{
        match self {{
{turn_arms}            _ => None,
        }}
    }}
}}

/// As `{{"method": …, "params": …}}`.
impl Serialize for ServerRequest {{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {{
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("method", self.method())?;
        match self {{
{serialize_arms}            Self::Unknown(UnknownRequest {{ params, .. }}) => write_raw(&mut map, params.as_deref())?,
            Self::Undecodable(message) => write_raw(&mut map, message.params.as_deref())?,
        }}
        map.end()
    }}
}}
"#,
        box_above = policy::BOX_ABOVE,
        variants = variants(plan, &messages),
        thread_arms = id_arms(plan, &messages, "threadId", "thread"),
        turn_arms = id_arms(plan, &messages, "turnId", "turn"),
    ))
}

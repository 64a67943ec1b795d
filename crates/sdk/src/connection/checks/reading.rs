//! A frame as `serde_json` reads it, for the comparison with the scanner.

use std::fmt;

use openai_codex_protocol::types::RequestId;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A message, in the form that both readers produce.
#[derive(Debug, PartialEq)]
pub(crate) enum Reading {
    Response {
        id: RequestId,
        result: Result<String, String>,
    },
    Request {
        id: RequestId,
        method: String,
        params: Option<String>,
        route: Ids,
    },
    Notification {
        method: String,
        params: Option<String>,
        route: Ids,
    },
    /// Not a message of the protocol.
    Nothing,
}

/// The thread, the turn, the turn that it works for, and the thread that has spawned the thread.
pub(crate) type Ids = [Option<String>; 4];

/// The members of an object, including duplicates.
pub(crate) struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

impl Members {
    /// None if the text is not an object.
    pub(crate) fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The last member with a name.
    fn last(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.get())
    }

    /// Reads the message. Fails if a name or an id holds half a character.
    pub(crate) fn message(&self) -> Result<Reading, ()> {
        let mut ids = Ids::default();
        for (key, value) in &self.0 {
            match key.as_str() {
                "params" => ids = route(value.get())?,
                "method" => drop(text(value.get())?),
                _ => {}
            }
        }
        let method = self.last("method").map(text).transpose()?.flatten();
        let id = match self.last("id").map(serde_json::from_str::<RequestId>) {
            Some(Err(_)) => return Ok(Reading::Nothing),
            Some(Ok(id)) => Some(id),
            None => None,
        };
        let params = self.last("params").map(str::to_owned);
        let (error, result) = (self.last("error"), self.last("result"));
        Ok(match (method, id) {
            (Some(method), Some(id)) => Reading::Request { id, method, params, route: ids },
            (Some(method), None) => Reading::Notification { method, params, route: ids },
            (None, Some(id)) => match (error, result) {
                (Some("null") | None, Some(result)) => Reading::Response { id, result: Ok(result.into()) },
                (Some("null") | None, None) => Reading::Response { id, result: Err(String::new()) },
                (Some(error), _) => Reading::Response { id, result: Err(error.into()) },
            },
            (None, None) => Reading::Nothing,
        })
    }
}

/// The value if it is a string.
fn text(raw: &str) -> Result<Option<String>, ()> {
    if raw.starts_with('"') { serde_json::from_str(raw).map(Some).map_err(drop) } else { Ok(None) }
}

fn route(params: &str) -> Result<Ids, ()> {
    let [mut thread, mut turn, mut root, mut parent] = Ids::default();
    if !params.starts_with('{') {
        return Ok(Ids::default());
    }
    for (key, value) in Members::read(params).ok_or(())?.0 {
        let raw = value.get();
        match key.as_str() {
            "threadId" => thread = text(raw)?.or(thread),
            "turnId" => turn = text(raw)?.or(turn),
            "conversationId" => thread = thread.or(text(raw)?),
            "thread" => {
                let [id, _, from] = ids(raw)?;
                thread = thread.or(id);
                parent = from.or(parent);
            }
            "turn" => {
                let [id, works_for, _] = ids(raw)?;
                turn = turn.or(id);
                root = works_for.or(root);
            }
            // The scanner looks for the receivers of an item.
            "item" => drop(ids(raw)?),
            _ => {}
        }
    }
    Ok([thread, turn, root, parent])
}

/// The members `id`, `rootTurnId` and `parentThreadId`.
fn ids(raw: &str) -> Result<[Option<String>; 3], ()> {
    let mut found = [None, None, None];
    if raw.starts_with('{') {
        for (key, value) in Members::read(raw).ok_or(())?.0 {
            let index = ["id", "rootTurnId", "parentThreadId"].iter().position(|name| *name == key);
            if let Some(index) = index {
                found[index] = text(value.get())?;
            }
        }
    }
    Ok(found)
}

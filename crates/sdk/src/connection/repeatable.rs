//! Which requests the client sends again after a reconnect.

use openai_codex_protocol::{ClientRequest, methods};

/// What becomes of a request that was written, and whose response was lost with the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterLoss {
    /// The client sends it again: a second one does no harm.
    Repeat,
    /// It starts or extends a turn. The client looks for its message, and never sends it again.
    LookForMessage,
    /// The server may have carried it out, and the client cannot find out.
    Uncertain,
}

impl AfterLoss {
    pub(crate) fn of(method: &str) -> Self {
        if method == methods::TurnStart::METHOD || method == methods::TurnSteer::METHOD {
            return Self::LookForMessage;
        }
        let name = method.rsplit('/').next().unwrap_or(method);
        match READING_NAMES.contains(&name) || REPEATABLE.contains(&method) {
            true => Self::Repeat,
            false => Self::Uncertain,
        }
    }
}

/// The last parts of the methods that only read.
const READING_NAMES: &[&str] = &["get", "info", "installed", "list", "read", "status"];

/// Other methods that only read, or of which a second request does nothing more. A second `thread/start` leaves a thread without a
/// turn, which the server does not store.
const REPEATABLE: &[&str] = &[
    "fs/getMetadata",
    "fs/readDirectory",
    "fs/readFile",
    "fuzzyFileSearch",
    "plugin/search",
    "thread/backgroundTerminals/terminate",
    "thread/realtime/listVoices",
    "thread/resume",
    "thread/search",
    "thread/searchOccurrences",
    "thread/start",
    "thread/unsubscribe",
    "turn/interrupt",
];

#[cfg(test)]
mod tests {
    use super::*;
    use openai_codex_protocol::table::CLIENT_REQUESTS;

    #[test]
    fn only_reads_and_idempotent_requests_are_repeated() {
        let repeated = |method: &str| AfterLoss::of(method) == AfterLoss::Repeat;
        for method in REPEATABLE {
            assert!(CLIENT_REQUESTS.iter().any(|request| request.method == *method), "{method}");
        }
        for name in READING_NAMES {
            let ending = format!("/{name}");
            assert!(CLIENT_REQUESTS.iter().any(|request| request.method.ends_with(&ending)), "{name}");
        }
        for method in ["thread/read", "thread/items/list", "thread/goal/get", "model/list", "account/read"] {
            assert!(repeated(method), "{method}");
        }
        // A method whose name says that it changes something is not repeated.
        let changing = [
            "set", "add", "update", "write", "delete", "remove", "exec", "call", "fork", "login", "send",
            "create",
        ];
        for request in CLIENT_REQUESTS {
            let name = request.method.rsplit('/').next().unwrap();
            let changes = changing.iter().any(|word| name.to_ascii_lowercase().contains(word));
            assert!(!changes || name.starts_with("read") || !repeated(request.method), "{}", request.method);
        }
        assert_eq!(AfterLoss::of("turn/steer"), AfterLoss::LookForMessage);
        assert_eq!(AfterLoss::of("turn/start"), AfterLoss::LookForMessage);
        for method in ["thread/compact/start", "review/start", "command/exec", "no/such/method"] {
            assert_eq!(AfterLoss::of(method), AfterLoss::Uncertain, "{method}");
        }
    }
}

//! The first line of a rollout. Without it a runtime cannot read the rest.

use serde_json::Value;

/// What the first line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The id of the thread.
    pub(super) thread_id: String,
    /// The thread whose stored history comes before this one.
    pub(super) base: Option<String>,
}

/// Reads the first line. `None` if no runtime has written it.
pub(super) fn read(contents: &[u8]) -> Option<Head> {
    let line = contents.split(|byte| *byte == b'\n').next()?;
    let line: Value = serde_json::from_slice(line).ok()?;
    let meta = Some(&line["payload"]).filter(|_| line["type"] == "session_meta")?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Some(Head { thread_id: text(&meta["id"])?, base: text(&meta["history_base"]["thread_id"]) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_names_the_thread_and_the_source_that_a_fork_refers_to() {
        let head =
            |base: Option<&str>| Some(Head { thread_id: "01a2".to_owned(), base: base.map(str::to_owned) });
        let fork = r#"{"type":"session_meta","payload":{"id":"01a2","forked_from_id":"01a1","history_base":{"thread_id":"01a1"}}}"#;
        // Runtimes before 0.163.0 copy the history of the source.
        let copy = r#"{"type":"session_meta","payload":{"id":"01a2","forked_from_id":"01a1"}}"#;
        assert_eq!(read(format!("{fork}\nnot JSON\n").as_bytes()), head(Some("01a1")));
        assert_eq!(read(copy.as_bytes()), head(None));
        for bad in
            ["", "\n", "not JSON", "{}", r#"{"type":"event_msg","payload":{"id":"01a2"}}"#, &copy[..20]]
        {
            assert_eq!(read(bad.as_bytes()), None, "{bad}");
        }
    }
}

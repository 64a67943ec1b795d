//! The model's reasoning.

use super::gate::{Barrier, Gate};

/// A reasoning item, streamed as in the Responses API: a summary in parts, each in deltas, and the text of the
/// reasoning.
///
/// Runtime 0.163.0 passes on both, as `item/reasoning/summaryTextDelta` and `item/reasoning/textDelta`. Other runtimes
/// may omit the text.
///
/// ```
/// use openai_codex_testkit::{ModelReply, Reasoning};
///
/// let reasoning = Reasoning::summary("**Looking around**")
///     .summary_part(["The folder ", "is empty."])
///     .text(["There is ", "nothing."]);
/// let reply = ModelReply::new().reasoning(reasoning).delta("Nothing here.");
/// # let _ = reply;
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "reasoning does nothing until it is part of a reply"]
pub struct Reasoning {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) encrypted: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) enum Piece {
    /// The start of a part of the summary.
    SummaryPart,
    SummaryDelta(String),
    TextDelta(String),
    Pause(Barrier),
}

impl Reasoning {
    /// Reasoning without content.
    pub fn new() -> Self {
        Self::default()
    }

    /// A summary of one part, in one delta.
    pub fn summary(text: impl Into<String>) -> Self {
        Self::new().summary_part([text])
    }

    /// Adds a part of the summary, in these deltas.
    pub fn summary_part<T: Into<String>>(mut self, deltas: impl IntoIterator<Item = T>) -> Self {
        self.pieces.push(Piece::SummaryPart);
        self.pieces.extend(deltas.into_iter().map(|delta| Piece::SummaryDelta(delta.into())));
        self
    }

    /// Adds text of the reasoning, in these deltas.
    pub fn text<T: Into<String>>(mut self, deltas: impl IntoIterator<Item = T>) -> Self {
        self.pieces.extend(deltas.into_iter().map(|delta| Piece::TextDelta(delta.into())));
        self
    }

    /// Stops here until the test opens the gate. The model has sent everything before it.
    pub fn pause(mut self, gate: &Gate) -> Self {
        self.pieces.push(Piece::Pause(gate.barrier()));
        self
    }

    /// The item's `encrypted_content`, which the runtime sends back with the next request.
    pub fn encrypted_content(mut self, content: impl Into<String>) -> Self {
        self.encrypted = Some(content.into());
        self
    }
}

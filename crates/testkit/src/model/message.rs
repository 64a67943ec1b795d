//! The phase and the token counts of a message.

/// The purpose of a model's message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// A remark during the work.
    Commentary,
    /// The final answer.
    FinalAnswer,
}

impl Phase {
    pub(crate) fn wire(self) -> &'static str {
        match self {
            Self::Commentary => "commentary",
            Self::FinalAnswer => "final_answer",
        }
    }
}

/// Token counts of one reply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the request, including cached ones.
    pub input: u64,
    /// The part of `input` that came from a cache.
    pub cached: u64,
    /// Tokens of the reply, including reasoning.
    pub output: u64,
    /// The part of `output` that was reasoning.
    pub reasoning: u64,
}

impl Usage {
    /// Counts without cached and reasoning tokens.
    pub const fn new(input: u64, output: u64) -> Self {
        Self { input, cached: 0, output, reasoning: 0 }
    }

    /// Sets [`cached`](Self::cached).
    pub const fn cached(mut self, tokens: u64) -> Self {
        self.cached = tokens;
        self
    }

    /// Sets [`reasoning`](Self::reasoning).
    pub const fn reasoning(mut self, tokens: u64) -> Self {
        self.reasoning = tokens;
        self
    }
}

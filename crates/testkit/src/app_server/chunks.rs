//! Splits the server's output into pieces.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// How a server [splits](super::Script::chunked) its output. It writes each piece separately.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Chunks {
    /// Pieces of this many bytes.
    Of(usize),
    /// Pieces of 1 to `max` bytes. The same seed gives the same pieces.
    Seeded {
        /// The seed.
        seed: u64,
        /// The maximum length of a piece.
        max: usize,
    },
}

/// The state of the splitting.
pub(crate) struct Cutter {
    chunks: Chunks,
    random: Random,
}

impl Cutter {
    pub(crate) fn new(chunks: Chunks) -> Self {
        let seed = if let Chunks::Seeded { seed, .. } = chunks { seed } else { 0 };
        Self { chunks, random: Random::new(seed) }
    }

    /// Takes the next piece.
    pub(crate) fn cut(&mut self, bytes: &mut Bytes) -> Bytes {
        let wanted = match self.chunks {
            Chunks::Of(size) => size.max(1),
            Chunks::Seeded { max, .. } => 1 + self.random.below(max.max(1)),
        };
        bytes.split_to(wanted.min(bytes.len()))
    }
}

/// Pseudo-random numbers that are the same on every machine: a mixed Weyl sequence.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        for (shift, factor) in [(30, 0xBF58_476D_1CE4_E5B9_u64), (27, 0x94D0_49BB_1331_11EB)] {
            mixed = (mixed ^ (mixed >> shift)).wrapping_mul(factor);
        }
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(chunks: Chunks) -> Vec<Bytes> {
        let mut cutter = Cutter::new(chunks);
        let mut bytes = Bytes::from_static(b"the quick brown fox jumps over the lazy dog");
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            pieces.push(cutter.cut(&mut bytes));
        }
        pieces
    }

    #[test]
    fn the_pieces_add_up_and_depend_only_on_the_seed() {
        let seeded = |seed| pieces(Chunks::Seeded { seed, max: 5 });
        assert_eq!(seeded(1), seeded(1));
        assert_ne!(seeded(1), seeded(2));
        for pieces in [seeded(1), seeded(2), pieces(Chunks::Of(5)), pieces(Chunks::Of(0))] {
            assert_eq!(pieces.concat(), b"the quick brown fox jumps over the lazy dog");
            assert!(pieces.len() > 8 && pieces.iter().all(|piece| (1..=5).contains(&piece.len())));
        }
    }
}

//! How long a result may be. The engine refuses a longer one each time, and the step that made it would be repeated for ever.

use std::io::{self, Write};

use serde::Serialize;

/// The longest result, as JSON, unless the configuration says otherwise. The engine's own limit for a message is 256 KiB more.
pub(crate) const LONGEST: usize = 32 << 20;

/// Checks the length of a result. An error says how long it is, and how long it may be.
pub(crate) fn check(result: &impl Serialize, longest: usize) -> Result<(), String> {
    let mut length = Length(0);
    // What cannot be serialized fails in the step.
    let _ = serde_json::to_writer(&mut length, result);
    if length.0 <= longest {
        return Ok(());
    }
    Err(format!("{} bytes, and the engine takes {longest} bytes in a message", length.0))
}

/// Counts what is written.
struct Length(usize);

impl Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_as_long_as_its_json() {
        // With its quotes.
        assert_eq!(check(&"123456", 8), Ok(()));
        let error = check(&"1234567", 8).unwrap_err();
        assert_eq!(error, "9 bytes, and the engine takes 8 bytes in a message");
    }
}

//! What the fuzz targets call; there is no such module without `--cfg fuzzing`.

use crate::connection::checks;

/// Any bytes as a frame.
pub fn envelope(data: &[u8]) {
    checks::envelope::envelope(data);
}

/// Any bytes as what happens to a router.
pub fn router(data: &[u8]) {
    checks::router::router(data);
}

/// Any bytes as what happens to a turn and its connection.
pub fn restore(data: &[u8]) {
    checks::restore::restore(data);
}

/// Any bytes as a message to be decoded.
pub fn decode(data: &[u8]) {
    checks::decode::decode(data);
}

/// Any bytes as a stream of lines.
pub fn lines(data: &[u8]) {
    checks::lines::lines(data);
}

//! Programs that a test writes.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Makes an executable file.
///
/// Another process writes it: a test that starts a child at the same moment would hand it this one's open file, and a
/// file that is open for writing cannot be executed.
pub(crate) fn program(dir: &Path, name: &str, text: &str) -> PathBuf {
    let (source, target) = (dir.join(format!("{name}.text")), dir.join(name));
    std::fs::write(&source, text).unwrap();
    let status = Command::new("install").args(["-m", "755"]).args([&source, &target]).status().unwrap();
    assert!(status.success());
    target
}

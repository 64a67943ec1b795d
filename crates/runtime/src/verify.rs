//! Checks the hash of each program.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::package_manager::PackageManager;
use crate::pin::Pin;

/// Compares every program of `install` with the pin.
pub(crate) fn verify(install: &Path, pin: &Pin, package_manager: PackageManager) -> Result<(), Error> {
    for (file, expected) in &pin.programs {
        let path = install.join(file);
        let found = sha256(&path).map_err(|e| Error::io("read", path, e))?;
        if found != *expected {
            return Err(Error::HashMismatch {
                file: file.clone(),
                expected: expected.clone(),
                found,
                package_manager,
            });
        }
    }
    Ok(())
}

/// The SHA-256 of a file, in hexadecimal. Also syncs the file to disk, so that the completion marker cannot survive a
/// crash that loses the file.
pub(crate) fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            n => hash.update(&buffer[..n]),
        }
    }
    file.sync_all()?;
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

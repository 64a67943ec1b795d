//! Checks that the pin is consistent.

use crate::VERSION;
use crate::pin::{PLATFORMS, Pin, REQUIREMENTS, npm_package};

#[test]
fn every_file_has_the_pinned_version() {
    assert!(VERSION.split('.').count() == 3 && VERSION.bytes().all(|b| b == b'.' || b.is_ascii_digit()));
    for platform in &PLATFORMS {
        let (package, name) = (npm_package(platform), platform.name);
        let dependency = format!("\"{package}\": \"npm:@openai/codex@{VERSION}-{name}\"");
        assert!(platform.package_json.contains(&dependency), "{name}");
        assert!(platform.package_lock.contains(&dependency), "{name}");
        assert!(platform.package_lock.contains(&format!("\"version\": \"{VERSION}-{name}\"")), "{name}");
    }
    assert!(REQUIREMENTS.contains(&format!("openai-codex-cli-bin=={VERSION} \\\n")));
}

#[test]
fn every_platform_has_its_hashes() {
    for platform in &PLATFORMS {
        assert_eq!(platform.package_lock.matches("\"integrity\": \"sha512-").count(), 1, "{}", platform.name);
        let programs = Pin::recorded(platform).programs;
        assert!(programs.iter().all(|(_, hash)| hash.len() == 64), "{programs:?}");
        for file in ["bin/codex", "bin/codex-code-mode-host", "codex-path/rg"] {
            assert!(programs.iter().any(|(path, _)| path == file), "{}: {file}", platform.name);
        }
    }
    assert_eq!(REQUIREMENTS.matches("--hash=sha256:").count(), PLATFORMS.len());
}

#[test]
fn the_locks_name_no_registry_so_that_the_users_applies() {
    for platform in &PLATFORMS {
        assert!(!platform.package_lock.contains("resolved"), "{}", platform.name);
    }
}

/// npm skips an optional dependency with a wrong hash without an error.
#[test]
fn the_package_is_a_plain_dependency() {
    for platform in &PLATFORMS {
        assert!(!platform.package_json.contains("ptional") && !platform.package_lock.contains("ptional"));
    }
}

//! The pin: version, packages and hashes. All of it is compiled in, so that the published crate contains it.

use std::fmt;

/// The runtime version that this crate installs. The workspace is built and tested against it.
pub const VERSION: &str = include_str!("../pin/VERSION").trim_ascii();

pub(crate) const REQUIREMENTS: &str = include_str!("../pin/requirements.txt");
pub(crate) const SHA256SUMS: &str = include_str!("../pin/SHA256SUMS");

/// A platform with pinned packages.
pub(crate) struct Platform {
    /// npm's name for the platform, as in `@openai/codex-linux-x64`. Also part of the install folder's name.
    pub(crate) name: &'static str,
    /// The folder below `vendor/` in the npm package.
    pub(crate) triple: &'static str,
    /// pip's platform tag. The programs are static, so naming the tag also works on hosts for which pip would not
    /// choose it.
    pub(crate) wheel_tag: &'static str,
    pub(crate) package_json: &'static str,
    pub(crate) package_lock: &'static str,
}

macro_rules! platform {
    ($name:literal, $triple:literal, $wheel_tag:literal) => {
        Platform {
            name: $name,
            triple: $triple,
            wheel_tag: $wheel_tag,
            package_json: include_str!(concat!("../pin/", $name, "/package.json")),
            package_lock: include_str!(concat!("../pin/", $name, "/package-lock.json")),
        }
    };
}

pub(crate) static PLATFORMS: [Platform; 4] = [
    platform!("linux-x64", "x86_64-unknown-linux-musl", "manylinux_2_17_x86_64"),
    platform!("linux-arm64", "aarch64-unknown-linux-musl", "manylinux_2_17_aarch64"),
    platform!("darwin-x64", "x86_64-apple-darwin", "macosx_10_9_x86_64"),
    platform!("darwin-arm64", "aarch64-apple-darwin", "macosx_11_0_arm64"),
];

/// The platform of this build, if the pin has it.
pub(crate) fn platform() -> Option<&'static Platform> {
    let name = match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => "linux-x64",
        ("linux", "aarch64") => "linux-arm64",
        ("macos", "x86_64") => "darwin-x64",
        ("macos", "aarch64") => "darwin-arm64",
        _ => return None,
    };
    PLATFORMS.iter().find(|platform| platform.name == name)
}

/// The expected content of an install. Tests substitute small programs.
#[derive(Clone)]
pub(crate) struct Pin {
    pub(crate) platform: &'static Platform,
    /// The relative path and SHA-256 of every program.
    pub(crate) programs: Vec<(String, String)>,
}

impl Pin {
    pub(crate) fn recorded(platform: &'static Platform) -> Self {
        let programs = SHA256SUMS
            .lines()
            .filter_map(|line| {
                let (hash, path) = line.split_once("  ")?;
                let path = path.strip_prefix(platform.name)?.strip_prefix('/')?;
                Some((path.to_owned(), hash.to_owned()))
            })
            .collect();
        Self { platform, programs }
    }

    /// The name of the install folder.
    pub(crate) fn folder(&self) -> String {
        format!("{VERSION}-{}", self.platform.name)
    }

    /// The npm platform package, as a path below `node_modules/`.
    pub(crate) fn npm_package(&self) -> String {
        npm_package(self.platform)
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pin").field("folder", &self.folder()).finish_non_exhaustive()
    }
}

/// The npm platform package of `platform`.
pub(crate) fn npm_package(platform: &Platform) -> String {
    format!("@openai/codex-{}", platform.name)
}

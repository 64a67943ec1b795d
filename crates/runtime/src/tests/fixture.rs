//! A temporary home with a cache and a `bin` folder for fake package managers.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::pin::{self, Pin, Platform};
use crate::verify::sha256;
use crate::{Environment, InstallOptions};

/// The program in the fake packages.
const PROGRAM: &str = "#!/bin/sh\necho made-up codex\n";

pub(super) struct Home {
    dir: TempDir,
}

impl Home {
    pub(super) fn new() -> Self {
        let home = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(home.bin()).unwrap();
        home
    }

    pub(super) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        // Canonical, because results are. On macOS the temporary folder is behind a link.
        self.dir.path().canonicalize().unwrap().join(relative)
    }

    /// The only folder on `PATH`.
    pub(super) fn bin(&self) -> PathBuf {
        self.path("bin")
    }

    pub(super) fn cache(&self) -> PathBuf {
        self.path("cache")
    }

    pub(super) fn runtimes(&self) -> PathBuf {
        self.cache().join("openai-codex/runtime")
    }

    /// The place of the pinned runtime.
    pub(super) fn place(&self) -> PathBuf {
        self.runtimes().join(self.pin().folder())
    }

    pub(super) fn environment(&self) -> Environment {
        Environment::empty().set("CODEX_RUNTIME_CACHE", self.cache()).set("PATH", self.bin())
    }

    /// A pin whose program is [`PROGRAM`].
    pub(super) fn pin(&self) -> Pin {
        Self::pin_in(self.dir.path())
    }

    /// The same for a process that receives only the folder.
    pub(super) fn pin_in(home: &Path) -> Pin {
        let program = home.join(format!("program-{}-{:?}", std::process::id(), std::thread::current().id()));
        fs::write(&program, PROGRAM).unwrap();
        Pin { platform: platform(), programs: vec![("bin/codex".to_owned(), sha256(&program).unwrap())] }
    }

    pub(super) fn options(&self) -> InstallOptions {
        let mut options = InstallOptions::new().environment(self.environment());
        options.pin = Some(self.pin());
        options
    }

    /// A fake package manager on `PATH`. The script has the usual tools and counts its runs.
    pub(super) fn package_manager(&self, name: &str, body: &str) {
        let runs = self.path(format!("runs-of-{name}"));
        script(
            &self.bin().join(name),
            &format!("#!/bin/sh\nPATH=/usr/bin:/bin\necho run >> '{}'\n{body}", runs.display()),
        );
    }

    pub(super) fn runs(&self, name: &str) -> usize {
        fs::read_to_string(self.path(format!("runs-of-{name}"))).map_or(0, |runs| runs.lines().count())
    }

    /// A named pipe. Opening it blocks until the other side opens, so a test can wait for a script.
    pub(super) fn fifo(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        path
    }

    /// Staging folders of running or killed installs.
    pub(super) fn leftovers(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.runtimes()) else { return Vec::new() };
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.file_name() != Some(OsStr::new(".lock")) && *path != self.place()).collect()
    }

    /// A complete install.
    pub(super) fn put_managed(&self) -> PathBuf {
        let program = self.place().join("bin/codex");
        put(&program, PROGRAM, 0o755);
        put(&self.place().join("codex-path/rg"), "", 0o755);
        put(&self.place().join(".complete"), "", 0o644);
        for dir in [self.cache().join("openai-codex"), self.runtimes()] {
            mode(&dir, 0o700);
        }
        program
    }
}

pub(super) fn platform() -> &'static Platform {
    pin::platform().expect("the tests run on a platform that the pin has")
}

/// Shell lines with which a fake npm installs the runtime into the current folder.
pub(super) fn npm_brings() -> String {
    let root = format!("node_modules/{}/vendor/{}", pin::npm_package(platform()), platform().triple);
    brings(&root)
}

/// The same for pip.
pub(super) fn pip_brings() -> String {
    brings("site/codex_cli_bin")
}

fn brings(root: &str) -> String {
    format!(
        "mkdir -p '{root}/bin' '{root}/codex-path'\n\
         cat > '{root}/bin/codex' <<'END'\n{PROGRAM}END\n\
         chmod 755 '{root}/bin/codex'\n: > '{root}/codex-path/rg'\n"
    )
}

/// Writes a file and the folders above it.
pub(super) fn put(path: &Path, text: &str, file_mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    mode(path, file_mode);
}

pub(super) fn mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub(super) fn mode_of(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

pub(super) fn link(target: impl AsRef<Path>, path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(target, path).unwrap();
}

/// Writes a script. Another process writes it: if the file were open for writing here while another test's thread
/// starts a child, running it could fail with "text file busy".
fn script(path: &Path, text: &str) {
    let mut child = Command::new("/bin/sh")
        .args(["-c", r#"cat > "$1" && chmod 755 "$1""#, "sh"])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

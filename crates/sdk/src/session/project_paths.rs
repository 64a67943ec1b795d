//! The names under which the runtime looks up a trust decision about a folder.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// The maximum size in bytes of a Git file that points to a folder. The folder's content may be hostile.
const MAX_POINTER_BYTES: u64 = 64 * 1024;

/// A folder's names. Each path is listed as written and with its links resolved, because the runtime looks up both.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct ProjectPaths {
    /// The folder itself.
    pub(crate) folder: Vec<String>,
    /// The root of its repository or worktree.
    pub(crate) repository: Vec<String>,
    /// The main checkout of its worktree.
    pub(crate) main: Vec<String>,
}

impl ProjectPaths {
    /// Finds the names of an absolute path. The path need not exist.
    pub(crate) fn of(folder: &Path) -> Self {
        let folder = lexical(folder);
        // The runtime also follows the path as written.
        let root = folder.ancestors().find(|dir| marks_a_repository(&dir.join(".git")));
        Self {
            repository: root.map(names).unwrap_or_default(),
            main: root.and_then(main_checkout).map(|main| names(&main)).unwrap_or_default(),
            folder: names(&folder),
        }
    }
}

/// Whether two paths lead to the same folder, in text or on this machine's disk.
pub(crate) fn same_folder(one: &Path, other: &Path) -> bool {
    lexical(one) == lexical(other)
        || one.canonicalize().is_ok_and(|one| other.canonicalize().is_ok_and(|other| one == other))
}

fn names(path: &Path) -> Vec<String> {
    let resolved = path.canonicalize().ok();
    let mut names = Vec::new();
    names.extend(name(path));
    if let Some(other) = resolved.as_deref().and_then(name)
        && !names.contains(&other)
    {
        names.push(other);
    }
    names
}

/// The path as text, because the protocol and the configuration only have text. Windows adds a prefix to resolved paths.
fn name(path: &Path) -> Option<String> {
    let text = path.to_str()?;
    Some(text.strip_prefix(r"\\?\").unwrap_or(text).to_owned())
}

/// Removes `.`, `..` and a trailing slash, without access to the disk.
fn lexical(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            part => clean.push(part),
        }
    }
    clean
}

/// Whether this is a repository, or a file with any content. An empty folder is neither: sandboxes leave some behind.
fn marks_a_repository(dot_git: &Path) -> bool {
    if dot_git.is_dir() { dot_git.join("HEAD").exists() } else { dot_git.symlink_metadata().is_ok() }
}

/// The main checkout of a worktree. The repository must know the worktree too: any program can write a file that points into
/// a repository.
fn main_checkout(root: &Path) -> Option<PathBuf> {
    let pointer = root.join(".git");
    // A link could lead to the file of another worktree, which its repository does know.
    if !pointer.symlink_metadata().ok()?.is_file() {
        return None;
    }
    let admin = git_dir(&pointer)?;
    let back = admin.join(pointer_text(&admin.join("gitdir"))?);
    if back.canonicalize().ok()? != pointer.canonicalize().ok()? {
        return None;
    }
    let common = admin.join(pointer_text(&admin.join("commondir"))?).canonicalize().ok()?;
    let main = common.parent()?;
    (git_dir(&main.join(".git"))? == common).then(|| main.to_owned())
}

/// The repository of a `.git`, which is the repository itself or a file that names it.
fn git_dir(dot_git: &Path) -> Option<PathBuf> {
    if dot_git.is_dir() {
        return dot_git.canonicalize().ok();
    }
    let text = pointer_text(dot_git)?;
    dot_git.parent()?.join(text.strip_prefix("gitdir:")?.trim()).canonicalize().ok()
}

/// The text of such a file. A pipe or a device is not read, because that could block forever.
fn pointer_text(file: &Path) -> Option<String> {
    let found = fs::metadata(file).ok()?;
    if !found.is_file() || found.len() > MAX_POINTER_BYTES {
        return None;
    }
    Some(fs::read_to_string(file).ok()?.trim().to_owned())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap();
        (dir, path)
    }

    fn worktree(main: &Path, tree: &Path, registered: bool) {
        let admin = main.join(".git/worktrees/tree");
        fs::create_dir_all(&admin).unwrap();
        fs::create_dir_all(tree).unwrap();
        fs::write(tree.join(".git"), format!("gitdir: {}\n", admin.display())).unwrap();
        fs::write(admin.join("commondir"), "../..\n").unwrap();
        if registered {
            fs::write(admin.join("gitdir"), format!("{}\n", tree.join(".git").display())).unwrap();
        }
    }

    #[test]
    fn a_missing_folder_has_its_lexical_name() {
        let paths = ProjectPaths::of(Path::new("/no/such/./folder/../place/"));
        assert_eq!(paths.folder, ["/no/such/place"]);
        assert_eq!((paths.repository, paths.main), (vec![], vec![]));
    }

    #[test]
    fn a_folder_in_a_repository_has_the_names_of_both_with_links_and_without() {
        let (_dir, path) = folder();
        fs::create_dir_all(path.join("real/.git")).unwrap();
        fs::write(path.join("real/.git/HEAD"), "ref: refs/heads/main\n").unwrap();
        fs::create_dir_all(path.join("real/sub/.git")).unwrap();
        symlink(path.join("real"), path.join("link")).unwrap();
        let paths = ProjectPaths::of(&path.join("link/sub"));
        let named = |names: &[&str]| -> Vec<String> {
            names.iter().map(|name| path.join(name).to_string_lossy().into_owned()).collect()
        };
        assert_eq!(paths.folder, named(&["link/sub", "real/sub"]));
        assert_eq!(paths.repository, named(&["link", "real"]));
        assert_eq!(paths.main, [""; 0]);
    }

    #[test]
    fn a_worktree_has_the_name_of_its_main_checkout() {
        let (_dir, path) = folder();
        let (main, tree) = (path.join("main"), path.join("tree"));
        worktree(&main, &tree, true);
        let paths = ProjectPaths::of(&tree.join("sub"));
        assert_eq!(paths.main, [main.to_string_lossy()]);
        assert_eq!(paths.repository, [tree.to_string_lossy()]);
    }

    #[test]
    fn a_worktree_that_its_repository_does_not_know_has_no_main_checkout() {
        let (_dir, path) = folder();
        worktree(&path.join("main"), &path.join("forged"), false);
        assert_eq!(ProjectPaths::of(&path.join("forged")).main, [""; 0]);
        // It does not get one by pointing at a worktree that the repository knows.
        worktree(&path.join("main"), &path.join("tree"), true);
        assert_eq!(ProjectPaths::of(&path.join("forged")).main, [""; 0]);
    }

    #[test]
    fn a_link_to_the_pointer_of_a_worktree_makes_no_worktree() {
        let (_dir, path) = folder();
        let (main, tree, forged) = (path.join("main"), path.join("tree"), path.join("forged"));
        worktree(&main, &tree, true);
        fs::create_dir(&forged).unwrap();
        symlink(tree.join(".git"), forged.join(".git")).unwrap();
        assert_eq!(ProjectPaths::of(&forged).main, [""; 0]);
        // A link on the way to a worktree leads to that worktree.
        symlink(&tree, path.join("link")).unwrap();
        assert_eq!(ProjectPaths::of(&path.join("link")).main, [main.to_string_lossy()]);
    }

    #[test]
    fn a_pointer_that_is_not_a_file_or_is_too_long_is_not_read() {
        let (_dir, path) = folder();
        let pipe = path.join(".git");
        let status = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(status.success());
        assert_eq!(ProjectPaths::of(&path).main, [""; 0]);
        fs::remove_file(&pipe).unwrap();
        fs::write(&pipe, vec![b'x'; MAX_POINTER_BYTES as usize + 1]).unwrap();
        assert_eq!(pointer_text(&pipe), None);
    }
}

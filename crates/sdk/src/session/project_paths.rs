//! The names under which the runtime looks for a decision about a folder.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// As much as a file of Git's with a path in it may hold. The folder may be anybody's.
const LONGEST_POINTER: u64 = 64 * 1024;

/// A folder's names. Each is taken as it is written and with its links resolved; the runtime knows both.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct ProjectPaths {
    /// The folder itself.
    pub(crate) folder: Vec<String>,
    /// The folder of the repository, or of the worktree, that it is in.
    pub(crate) repository: Vec<String>,
    /// The main checkout of that worktree.
    pub(crate) main: Vec<String>,
}

impl ProjectPaths {
    /// Of an absolute path; it need not exist.
    pub(crate) fn of(folder: &Path) -> Self {
        let folder = lexical(folder);
        // As the runtime does it: along the path as it is written.
        let root = folder.ancestors().find(|dir| marks_a_repository(&dir.join(".git")));
        Self {
            repository: root.map(names).unwrap_or_default(),
            main: root.and_then(main_checkout).map(|main| names(&main)).unwrap_or_default(),
            folder: names(&folder),
        }
    }
}

/// Whether two paths lead to one folder, as far as anybody can tell.
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

/// The protocol and the configuration have text alone. Windows writes resolved paths in a form of its own.
fn name(path: &Path) -> Option<String> {
    let text = path.to_str()?;
    Some(text.strip_prefix(r"\\?\").unwrap_or(text).to_owned())
}

/// Without `.`, `..` and a slash at the end, without looking at the disk.
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

/// Whether this is a repository, or a file, whatever it holds. An empty folder is neither; sandboxes leave some.
fn marks_a_repository(dot_git: &Path) -> bool {
    if dot_git.is_dir() { dot_git.join("HEAD").exists() } else { dot_git.symlink_metadata().is_ok() }
}

/// The main checkout of a worktree. Anybody can write a file that points into a repository, so the repository must
/// know the worktree too.
fn main_checkout(root: &Path) -> Option<PathBuf> {
    let pointer = root.join(".git");
    // A link would lead to the file of a worktree elsewhere, which its repository does know.
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

/// Where a `.git` leads: it is the repository, or a file that names it.
fn git_dir(dot_git: &Path) -> Option<PathBuf> {
    if dot_git.is_dir() {
        return dot_git.canonicalize().ok();
    }
    let text = pointer_text(dot_git)?;
    dot_git.parent()?.join(text.strip_prefix("gitdir:")?.trim()).canonicalize().ok()
}

/// What such a file says. A pipe or a device is not read: it could keep the reader for ever.
fn pointer_text(file: &Path) -> Option<String> {
    let found = fs::metadata(file).ok()?;
    if !found.is_file() || found.len() > LONGEST_POINTER {
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
    fn a_folder_that_is_not_there_has_the_name_that_it_is_given() {
        let places = ProjectPaths::of(Path::new("/no/such/./folder/../place/"));
        assert_eq!(places.folder, ["/no/such/place"]);
        assert_eq!((places.repository, places.main), (vec![], vec![]));
    }

    #[test]
    fn a_folder_in_a_repository_has_the_names_of_both_with_links_and_without() {
        let (_dir, path) = folder();
        fs::create_dir_all(path.join("real/.git")).unwrap();
        fs::write(path.join("real/.git/HEAD"), "ref: refs/heads/main\n").unwrap();
        fs::create_dir_all(path.join("real/sub/.git")).unwrap();
        symlink(path.join("real"), path.join("link")).unwrap();
        let places = ProjectPaths::of(&path.join("link/sub"));
        let named = |names: &[&str]| -> Vec<String> {
            names.iter().map(|name| path.join(name).to_string_lossy().into_owned()).collect()
        };
        assert_eq!(places.folder, named(&["link/sub", "real/sub"]));
        assert_eq!(places.repository, named(&["link", "real"]));
        assert_eq!(places.main, [""; 0]);
    }

    #[test]
    fn a_worktree_has_the_name_of_its_main_checkout() {
        let (_dir, path) = folder();
        let (main, tree) = (path.join("main"), path.join("tree"));
        worktree(&main, &tree, true);
        let places = ProjectPaths::of(&tree.join("sub"));
        assert_eq!(places.main, [main.to_string_lossy()]);
        assert_eq!(places.repository, [tree.to_string_lossy()]);
    }

    #[test]
    fn a_worktree_that_the_repository_does_not_know_has_not() {
        let (_dir, path) = folder();
        worktree(&path.join("main"), &path.join("forged"), false);
        assert_eq!(ProjectPaths::of(&path.join("forged")).main, [""; 0]);
        // Nor does it get the name by pointing at a worktree that the repository knows.
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
    fn a_pointer_that_is_no_file_or_is_too_long_is_not_read() {
        let (_dir, path) = folder();
        let pipe = path.join(".git");
        let status = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(status.success());
        assert_eq!(ProjectPaths::of(&path).main, [""; 0]);
        fs::remove_file(&pipe).unwrap();
        fs::write(&pipe, vec![b'x'; LONGEST_POINTER as usize + 1]).unwrap();
        assert_eq!(pointer_text(&pipe), None);
    }
}

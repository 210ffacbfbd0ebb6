//! Ignored files of the user's checkout that a worktree gets a copy of: secrets, mostly. Knows how they are found, copied
//! and taken away without following a link or leaving either folder; unaware of git and of attempts.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ropewalk_core::setup::{Pattern, fits, is_wild};
use rustix::fs::FileType;

use crate::beneath::Root;
use crate::durable::{FileError, write_durably};

/// Files of one worktree. They are settings and keys, not data: what needs more wants a set-up command.
pub const FILES_MAX: usize = 100;

/// Their bytes together.
pub const BYTES_MAX: u64 = 16 << 20;

/// The list is that of so many paths at most.
const LIST_BYTES_MAX: u64 = (FILES_MAX as u64) * 4_096;

#[derive(Debug, thiserror::Error)]
pub enum IncludeError {
    #[error("worktree.include names {}, which is {what}", path.display())]
    NotAFile { path: PathBuf, what: &'static str },
    #[error("worktree.include fits more than {FILES_MAX} files")]
    TooMany,
    #[error("the files of worktree.include have more than {} MiB together", BYTES_MAX >> 20)]
    TooLarge,
    #[error("cannot {operation} {}: {source}", path.display())]
    Io { operation: &'static str, path: PathBuf, source: io::Error },
    #[error(transparent)]
    File(#[from] FileError),
}

impl IncludeError {
    fn io<'p>(operation: &'static str, path: &'p Path) -> impl FnOnce(io::Error) -> IncludeError + 'p {
        move |source| IncludeError::Io { operation, path: path.to_owned(), source }
    }
}

/// The files below `top` that the patterns fit, in order, and whether one of them names the file without any star. What is
/// not there is left out: not everybody has every file.
///
/// # Errors
/// When a pattern without a star names a folder or a link, and when it is too much.
pub fn find(top: &Path, patterns: &[Pattern]) -> Result<Vec<(PathBuf, bool)>, IncludeError> {
    let root = Root::open(top).map_err(IncludeError::io("open", top))?;
    let mut found = BTreeMap::new();
    for pattern in patterns {
        descend(&root, PathBuf::new(), pattern.names(), true, &mut found)?;
    }
    Ok(found.into_iter().collect())
}

fn descend(
    root: &Root,
    at: PathBuf,
    names: &[String],
    is_named: bool,
    found: &mut BTreeMap<PathBuf, bool>,
) -> Result<(), IncludeError> {
    let Some((name, rest)) = names.split_first() else { return Ok(()) };
    let candidates: Vec<PathBuf> = if is_wild(name) {
        let listed = root.list(&at).map_err(IncludeError::io("list", &at))?;
        // The list of what was copied has a line for each: a name of two lines would be two others, and be stored.
        let is_one_line = |entry: &[u8]| !entry.contains(&b'\n');
        let fitting = listed
            .iter()
            .filter(|entry| fits(name, entry) && is_one_line(entry) && !entry.eq_ignore_ascii_case(b".git"));
        fitting.map(|entry| at.join(OsStr::from_bytes(entry))).collect()
    } else {
        vec![at.join(name)]
    };
    let is_named = is_named && !is_wild(name);
    for path in candidates {
        let kind = root.kind(&path).map_err(IncludeError::io("look at", &path))?;
        match (kind, rest.is_empty()) {
            (Some(FileType::RegularFile), true) => {
                *found.entry(path).or_default() |= is_named;
                if found.len() > FILES_MAX {
                    return Err(IncludeError::TooMany);
                }
            }
            (Some(FileType::Directory), false) => descend(root, path, rest, is_named, found)?,
            (None, _) => {}
            (Some(kind), _) if is_named => {
                let what = match kind {
                    FileType::Directory => "a folder; write what of it, such as FOLDER/*",
                    FileType::Symlink => "a link; links are not followed",
                    _ => "no plain file",
                };
                return Err(IncludeError::NotAFile { path, what });
            }
            (Some(_), _) => {}
        }
    }
    Ok(())
}

/// Those of `paths` that a worktree may be given: what is there already stays as it is, unless we have put it there before.
///
/// # Errors
/// When the worktree cannot be looked at.
pub fn wanted(
    worktree: &Path,
    paths: Vec<PathBuf>,
    before: &[PathBuf],
) -> Result<Vec<PathBuf>, IncludeError> {
    let root = Root::open(worktree).map_err(IncludeError::io("open", worktree))?;
    let mut wanted = Vec::new();
    for path in paths {
        let kind = root.kind(&path).map_err(IncludeError::io("look at", &path))?;
        if kind.is_none() || before.contains(&path) {
            wanted.push(path);
        }
    }
    Ok(wanted)
}

/// Copies the files from `top` into `worktree`, each private to the user. They must be listed before: from here on they
/// are there.
///
/// # Errors
/// When one cannot be copied; those before it are.
pub fn copy(top: &Path, worktree: &Path, paths: &[PathBuf]) -> Result<(), IncludeError> {
    let from = Root::open(top).map_err(IncludeError::io("open", top))?;
    let to = Root::open(worktree).map_err(IncludeError::io("open", worktree))?;
    let mut room = BYTES_MAX;
    for path in paths {
        let source = match from.read(path) {
            // It has gone since it was found.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            source => source.map_err(IncludeError::io("read", path))?,
        };
        to.make_way_to(path).map_err(IncludeError::io("make the folders of", path))?;
        to.remove(path).map_err(IncludeError::io("replace", path))?;
        let mut copy = to.create(path).map_err(IncludeError::io("create", path))?;
        let copied =
            io::copy(&mut source.take(room + 1), &mut copy).map_err(IncludeError::io("copy", path))?;
        room = room.checked_sub(copied).ok_or(IncludeError::TooLarge)?;
    }
    Ok(())
}

/// Takes the files away again, changed or not: a secret that was edited is one still. A folder of that name is an agent's
/// own work and stays.
///
/// # Errors
/// When one cannot be removed: nothing of the worktree may be stored then.
pub fn scrub(worktree: &Path, paths: &[PathBuf]) -> Result<(), IncludeError> {
    if paths.is_empty() || !worktree.symlink_metadata().is_ok_and(|facts| facts.is_dir()) {
        return Ok(());
    }
    let root = Root::open(worktree).map_err(IncludeError::io("open", worktree))?;
    paths.iter().try_for_each(|path| root.remove(path).map_err(IncludeError::io("remove", path)))
}

/// The name of the list of what was copied into a worktree, in its attempt's folder.
pub const LIST: &str = "included";

/// Writes down which files a worktree was given: one relative path per line. Durable when it returns.
///
/// # Errors
/// When it cannot be written.
pub fn write_list(file: &Path, paths: &[PathBuf]) -> Result<(), IncludeError> {
    let mut bytes = Vec::new();
    for path in paths {
        bytes.extend_from_slice(path.as_os_str().as_bytes());
        bytes.push(b'\n');
    }
    Ok(write_durably(file, &bytes)?)
}

/// Reads it back. No list: no files.
///
/// # Errors
/// When there is a list that cannot be read: what it names is not known then.
pub fn read_list(file: &Path) -> Result<Vec<PathBuf>, IncludeError> {
    let opened = match std::fs::File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened.map_err(IncludeError::io("open", file))?,
    };
    let mut bytes = Vec::new();
    opened.take(LIST_BYTES_MAX).read_to_end(&mut bytes).map_err(IncludeError::io("read", file))?;
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    Ok(lines.map(|line| PathBuf::from(OsStr::from_bytes(line))).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    struct World {
        _folder: tempfile::TempDir,
        top: PathBuf,
        tree: PathBuf,
    }

    fn world(files: &[&str]) -> World {
        let folder = tempfile::tempdir().unwrap();
        let (top, tree) = (folder.path().join("top"), folder.path().join("tree"));
        fs::create_dir(&tree).unwrap();
        fs::create_dir(&top).unwrap();
        for file in files {
            fs::create_dir_all(top.join(file).parent().unwrap()).unwrap();
            fs::write(top.join(file), format!("content of {file}")).unwrap();
        }
        World { _folder: folder, top, tree }
    }

    fn found(world: &World, patterns: &[&str]) -> Result<Vec<String>, String> {
        let patterns: Vec<Pattern> = patterns.iter().map(|text| text.parse().unwrap()).collect();
        let found = find(&world.top, &patterns).map_err(|error| error.to_string())?;
        Ok(found
            .into_iter()
            .map(|(path, is_named)| format!("{}{}", path.display(), if is_named { "!" } else { "" }))
            .collect())
    }

    #[test]
    fn patterns_find_plain_files_once_and_say_which_were_named() {
        let world =
            world(&[".env", "config/a.local", "config/b.local", "config/c", "x/.git/config", "deep/er/.env"]);
        symlink("/etc/passwd", world.top.join("config/d.local")).unwrap();
        fs::write(world.top.join("config/two\nlines.local"), "").unwrap();
        fs::create_dir(world.top.join("two\nlines")).unwrap();
        fs::write(world.top.join("two\nlines/e.local"), "").unwrap();
        assert_eq!(found(&world, &["two*/*", "config/two*"]).unwrap(), [""; 0]);
        symlink("/etc", world.top.join("etc")).unwrap();
        assert_eq!(found(&world, &[".env", "*.none", "nothing", "no/thing"]).unwrap(), [".env!"]);
        let wanted = ["config/a.local!", "config/b.local"];
        assert_eq!(found(&world, &["config/*.local", "config/a.local"]).unwrap(), wanted);
        assert_eq!(found(&world, &["*/*/.env", "*/.*/config", "*/passwd"]).unwrap(), ["deep/er/.env"]);
        assert!(found(&world, &["config"]).unwrap_err().contains("a folder"));
        assert!(found(&world, &["config/d.local"]).unwrap_err().contains("a link"));
        assert!(found(&world, &["etc/passwd"]).unwrap_err().contains("a link"));
    }

    #[test]
    fn copies_are_private_whole_and_never_written_through_a_link_or_over_a_file() {
        let world = world(&[".env", "a/b/c", "mine", "linked/x"]);
        fs::write(world.tree.join("mine"), "tracked").unwrap();
        let outside = tempfile::tempdir().unwrap();
        symlink(outside.path(), world.tree.join("linked")).unwrap();
        let paths: Vec<PathBuf> = [".env", "a/b/c", "mine"].map(PathBuf::from).to_vec();
        let paths = wanted(&world.tree, paths, &[]).unwrap();
        assert_eq!(paths, [".env", "a/b/c"].map(PathBuf::from));
        copy(&world.top, &world.tree, &paths).unwrap();
        // As after a crash in the middle: what we listed is ours to write anew.
        fs::write(world.tree.join(".env"), "con").unwrap();
        assert_eq!(wanted(&world.tree, paths.clone(), &paths).unwrap(), paths);
        copy(&world.top, &world.tree, &paths).unwrap();
        assert_eq!(fs::read_to_string(world.tree.join(".env")).unwrap(), "content of .env");
        let mode = |name: &str| fs::metadata(world.tree.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(".env"), mode("a/b/c"), mode("a/b")), (0o600, 0o600, 0o700));
        assert_eq!(fs::read_to_string(world.tree.join("mine")).unwrap(), "tracked");
        assert!(copy(&world.top, &world.tree, &["linked/x".into()]).is_err());
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn too_many_files_and_too_large_ones_are_refused() {
        let world = world(&["large.1", "large.2"]);
        for name in ["large.1", "large.2"] {
            let file = fs::File::create(world.top.join(name)).unwrap();
            file.set_len(BYTES_MAX / 2 + 1).unwrap();
        }
        let paths = ["large.1", "large.2"].map(PathBuf::from);
        assert!(matches!(copy(&world.top, &world.tree, &paths), Err(IncludeError::TooLarge)));
        copy(&world.top, &world.tree, &paths[..1]).unwrap();
        for number in 0..=FILES_MAX {
            fs::write(world.top.join(format!("small.{number}")), "").unwrap();
        }
        assert!(found(&world, &["small.*"]).unwrap_err().contains("more than 100 files"));
    }

    #[test]
    fn scrubbing_takes_what_was_listed_and_nothing_through_a_link() {
        let world = world(&[".env", "a/key", "b/key"]);
        let list = world.tree.with_file_name("included");
        let paths = [".env", "a/key", "b/key"].map(PathBuf::from);
        copy(&world.top, &world.tree, &paths).unwrap();
        write_list(&list, &paths).unwrap();
        fs::write(world.tree.join(".env"), "edited").unwrap();
        fs::remove_dir_all(world.tree.join("b")).unwrap();
        symlink(world.top.join("b"), world.tree.join("b")).unwrap();
        fs::write(world.tree.join("a/work"), "").unwrap();
        let read = read_list(&list).unwrap();
        assert_eq!(read, paths);
        scrub(&world.tree, &read).unwrap();
        assert!(!world.tree.join(".env").exists() && !world.tree.join("a/key").exists());
        assert!(world.top.join("b/key").exists() && world.tree.join("a/work").exists());
        scrub(&world.tree, &read).unwrap();
        assert!(read_list(Path::new("/nonexistent/list")).unwrap().is_empty());
    }
}

//! Files below a folder, reached without following any link, whatever somebody puts in the way meanwhile. Unaware of what
//! they hold.
//!
//! `openat2` does it in one step. Where the kernel has none (before Linux 5.6) or a sandbox forbids it, the folders are
//! walked one by one, each opened without following a link: slower, and as safe.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// An open folder.
#[derive(Debug)]
pub(crate) struct Root {
    fd: OwnedFd,
}

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::RDONLY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Root {
    /// The folder at `path`, which is ours to name: links on the way to it are followed, it is none itself.
    pub(crate) fn open(path: &Path) -> io::Result<Root> {
        Ok(Root { fd: rustix::fs::openat(CWD, path, FOLDER, Mode::empty())? })
    }

    /// Opens what is at `path` below the folder. A link anywhere in it is an error (`ELOOP`), as is leaving the folder.
    pub(crate) fn at(&self, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(&self.fd, path, flags, mode, resolve) {
            Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => self.walk(path, flags, mode),
            opened => Ok(opened?),
        }
    }

    fn walk(&self, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let mut names = names(path)?;
        let last = names.pop().ok_or(Errno::INVAL)?;
        let mut folder = self.fd.try_clone()?;
        for name in names {
            folder = rustix::fs::openat(&folder, name, FOLDER, Mode::empty())?;
        }
        Ok(rustix::fs::openat(&folder, last, flags, mode)?)
    }

    /// A plain file to read. Anything else is an error, and never waits, as opening a pipe would.
    pub(crate) fn read(&self, path: &Path) -> io::Result<File> {
        let file = File::from(self.at(path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?);
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a plain file")) }
    }

    /// A new file, private to the user (0600). One that is there is an error.
    pub(crate) fn create(&self, path: &Path) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        Ok(File::from(self.at(path, flags, Mode::RUSR | Mode::WUSR)?))
    }

    /// Makes the folders on the way to `path`, each private to the user.
    pub(crate) fn make_way_to(&self, path: &Path) -> io::Result<()> {
        let mut names = names(path)?;
        names.pop();
        let mut folder = self.fd.try_clone()?;
        for name in names {
            match rustix::fs::mkdirat(&folder, name, Mode::RWXU) {
                Err(Errno::EXIST) | Ok(()) => {}
                Err(error) => return Err(error.into()),
            }
            folder = rustix::fs::openat(&folder, name, FOLDER, Mode::empty())?;
        }
        Ok(())
    }

    /// What kind of thing is there; links are told as such.
    pub(crate) fn kind(&self, path: &Path) -> io::Result<Option<FileType>> {
        let Some((folder, name)) = self.parent(path)? else { return Ok(None) };
        match rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(facts) => Ok(Some(FileType::from_raw_mode(facts.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes what is there, unless it is a folder. Fine when there is nothing.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        let Some((folder, name)) = self.parent(path)? else { return Ok(()) };
        match rustix::fs::unlinkat(&folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT | Errno::ISDIR) => Ok(()),
            // What POSIX says of a folder.
            Err(Errno::PERM) if self.kind(path)? == Some(FileType::Directory) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The names in a folder; the empty path is the root itself.
    pub(crate) fn list(&self, path: &Path) -> io::Result<Vec<Vec<u8>>> {
        let fd = match path.as_os_str().is_empty() {
            true => rustix::fs::openat(&self.fd, c".", FOLDER, Mode::empty())?,
            false => self.at(path, FOLDER, Mode::empty())?,
        };
        let mut found = Vec::new();
        for entry in Dir::new(fd)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                found.push(name);
            }
        }
        found.sort();
        Ok(found)
    }

    /// The folder that `path` is in; nothing when it is not there, or something else stands in its way.
    fn parent<'p>(&self, path: &'p Path) -> io::Result<Option<(OwnedFd, &'p std::ffi::OsStr)>> {
        let mut names = names(path)?;
        let last = names.pop().ok_or(Errno::INVAL)?;
        let mut folder = self.fd.try_clone()?;
        for name in names {
            folder = match rustix::fs::openat(&folder, name, FOLDER, Mode::empty()) {
                Ok(folder) => folder,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
        }
        Ok(Some((folder, last)))
    }
}

/// The names of a path that goes down only.
fn names(path: &Path) -> io::Result<Vec<&std::ffi::OsStr>> {
    path.components()
        .map(|component| match component {
            Component::Normal(name) => Ok(name),
            _ => Err(Errno::XDEV.into()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn both_ways_reach_what_is_below_and_nothing_else() {
        let outer = tempfile::tempdir().unwrap();
        let top = outer.path().join("top");
        fs::create_dir_all(top.join("a/b")).unwrap();
        fs::write(top.join("a/b/file"), "x").unwrap();
        fs::write(outer.path().join("secret"), "x").unwrap();
        symlink(outer.path(), top.join("out")).unwrap();
        symlink("a", top.join("in")).unwrap();
        symlink("../secret", top.join("leaf")).unwrap();
        let root = Root::open(&top).unwrap();
        let (read, none) = (OFlags::RDONLY, Mode::empty());
        assert!(root.at(Path::new("a/b/file"), read, none).is_ok());
        assert!(root.walk(Path::new("a/b/file"), read | OFlags::NOFOLLOW, none).is_ok());
        let absolute = outer.path().join("secret");
        for path in [
            Path::new("out/secret"),
            Path::new("in/b/file"),
            Path::new("leaf"),
            Path::new("../secret"),
            &absolute,
        ] {
            assert!(root.at(path, read, none).is_err(), "{path:?}");
            assert!(root.walk(path, read | OFlags::NOFOLLOW, none).is_err(), "{path:?}");
        }
        assert!(root.make_way_to(Path::new("out/x/y")).is_err());
        assert!(!outer.path().join("x").exists());
        root.remove(Path::new("out/secret")).unwrap();
        assert!(outer.path().join("secret").exists(), "nothing is removed through a link");
        root.remove(Path::new("a")).unwrap();
        root.remove(Path::new("leaf")).unwrap();
        assert!(top.join("a").is_dir() && !top.join("leaf").is_symlink());
    }
}

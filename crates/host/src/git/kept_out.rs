//! Files of a worktree that are never stored, whatever git thinks of them: copies of the user's secrets. Knows how they are
//! left out of a snapshot, and how to tell that an agent has committed one; unaware of how they came there.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ropewalk_core::id::Oid;

use super::repository::{Repository, git_dir};
use super::run::{Call, GitError};
use super::snapshot::{PrivateIndex, split_nul};

impl Repository {
    /// Those of `paths` (below the user's checkout) that git ignores there: by its files and by the person's own.
    ///
    /// # Errors
    /// When git fails.
    pub fn ignored(&self, paths: &[PathBuf]) -> Result<Vec<PathBuf>, GitError> {
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        let mut work_tree = std::ffi::OsString::from("--work-tree=");
        work_tree.push(self.top());
        let said = Call::new("check-ignore", self.top())
            .with_callers_configuration()
            .arg(git_dir(self.common()))
            .arg(work_tree)
            .args(["check-ignore", "-z", "--stdin"])
            .stdin(listed(paths))
            .run_accepting(&[0, 1])?;
        let ignored: Vec<&[u8]> = split_nul(&said.stdout).collect();
        Ok(paths.iter().filter(|path| ignored.contains(&path.as_os_str().as_bytes())).cloned().collect())
    }

    /// Keeps the paths out of the snapshot that is made through this index, should an agent have put them there too.
    pub(crate) fn keep_out(
        &self,
        folder: &Path,
        index: &mut PrivateIndex,
        paths: &[PathBuf],
    ) -> Result<(), GitError> {
        if !paths.is_empty() {
            self.on_files("update-index", folder, &index.file.0)
                .args(["update-index", "-z", "--force-remove", "--stdin"])
                .stdin(listed(paths))
                .run()?;
        }
        index.kept_out = paths.iter().map(|path| excluding(path.as_os_str().as_bytes())).collect();
        Ok(())
    }

    /// Those of the paths that any commit from `start` to `tip` holds: what lands brings its history with it.
    pub(crate) fn committed(
        &self,
        start: &Oid,
        tip: &Oid,
        paths: &[PathBuf],
    ) -> Result<Vec<Vec<u8>>, GitError> {
        let mut committed = Vec::new();
        if start == tip {
            return Ok(committed);
        }
        for path in paths {
            let said = self
                .on_objects("rev-list")
                .args(["--literal-pathspecs", "rev-list", "--full-history", "--max-count=1", tip.as_str()])
                .arg(format!("^{start}"))
                .arg("--")
                .arg(path)
                .run()?;
            if !said.stdout.is_empty() {
                committed.push(path.as_os_str().as_bytes().to_vec());
            }
        }
        Ok(committed)
    }
}

/// A pathspec that leaves out exactly this file. Not a literal one: `git add` fails when a path that it is told to leave
/// out by its plain name is ignored besides, and so is a folder on the way to it. A pattern, that it is none until after
/// its first byte, is not taken for a plain name.
fn excluding(path: &[u8]) -> Vec<u8> {
    let mut pathspec = b":(top,exclude,glob)".to_vec();
    for (at, byte) in path.iter().enumerate() {
        if at == 0 || b"*?[]\\".contains(byte) {
            pathspec.push(b'\\');
        }
        pathspec.push(*byte);
    }
    pathspec
}

fn listed(paths: &[PathBuf]) -> Vec<u8> {
    paths.iter().flat_map(|path| [path.as_os_str().as_bytes(), b"\0"].concat()).collect()
}

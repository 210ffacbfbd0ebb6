//! Getting a rescue back. Knows how trees become files again, byte for byte; overwrites nothing unless told to, and writes
//! nowhere but below the folder it is given.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ropewalk_core::id::{AttemptId, Oid};

use super::Rescue;
use crate::git::repository::Repository;
use crate::git::run::GitError;
use crate::git::snapshot::split_nul;

/// A patch for people and their pagers; a larger one is had by restoring.
const PATCH_BYTES_MAX: usize = 16 << 20;

/// What was written back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    pub files: usize,
    /// Paths that are in the way; when there are any, nothing was written.
    pub in_the_way: Vec<PathBuf>,
}

impl Repository {
    /// All rescues in this repository, by task and attempt.
    ///
    /// # Errors
    /// When git fails.
    pub fn rescues(&self) -> Result<Vec<Rescue>, GitError> {
        self.rescues_under("refs/ropewalk/rescue")
    }

    pub(super) fn rescues_of(&self, attempt: AttemptId) -> Result<Vec<Rescue>, GitError> {
        let mut found = self.rescues_under(&format!("refs/ropewalk/rescue/{}", attempt.task))?;
        found.retain(|rescue| rescue.attempt == attempt);
        Ok(found)
    }

    fn rescues_under(&self, prefix: &str) -> Result<Vec<Rescue>, GitError> {
        let format = "--format=%(refname)%00%(objectname)%00%(committerdate:unix)%00%(contents)%00";
        let said = self.on_refs("for-each-ref").args(["for-each-ref", format, prefix]).run()?;
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        let fields: Vec<&str> = text.split('\0').collect();
        let read = |fields: &[&str]| match fields {
            [name, commit, at_s, message] => Rescue::read(name.trim_start(), commit, at_s, message),
            _ => None,
        };
        let mut found: Vec<Rescue> = fields.chunks(4).filter_map(read).collect();
        found.sort_by(|a, b| (a.attempt, a.at_ms, &a.id).cmp(&(b.attempt, b.at_ms, &b.id)));
        Ok(found)
    }

    /// How the rescued files differ from the commit that the worktree was at, for people: a list, or a patch.
    ///
    /// # Errors
    /// When git fails.
    pub fn rescue_changes(&self, rescue: &Rescue, as_patch: bool) -> Result<Vec<u8>, GitError> {
        let how: &[&str] = if as_patch { &["--patch", "--binary"] } else { &["--stat=100", "--summary"] };
        let parent = format!("{}^", rescue.commit);
        let is_child = self.on_objects("rev-parse").args(["rev-parse", "--verify", "--quiet", &parent]);
        let from = match is_child.run_accepting(&[0, 1, 128])? {
            said if said.code == 0 => self.oid("rev-parse", &said.text())?,
            _ => self.empty_tree()?,
        };
        let call = self.on_objects("diff-tree").args(["diff-tree", "-r", "--no-ext-diff", "--no-textconv"]);
        let call = call.args(how).args([from.as_str(), rescue.commit.as_str(), "--"]);
        Ok(call.cut_at(PATCH_BYTES_MAX).run()?.stdout)
    }

    /// Writes the files of a rescue, or of one of its parts, below `to` (made when absent); all of them, or those at or
    /// below `paths`. When any is in the way, names those and writes nothing, unless `force`. Never writes through a link.
    ///
    /// # Errors
    /// When git or the file system fails; some files may be there by then.
    pub fn restore(
        &self,
        commit: &Oid,
        to: &Path,
        paths: &[Vec<u8>],
        force: bool,
    ) -> Result<Restored, GitError> {
        let mut sources = vec![commit.clone()];
        // The third parent of a stash holds its untracked files, if that is what this is.
        if self.is_stash(commit)? {
            sources.push(self.oid("rev-parse", &self.parents_of(commit)?[2])?);
        }
        let mut wanted = Vec::new();
        for source in sources {
            let found = self.paths_in(&source, paths)?;
            wanted.push((source, found));
        }
        let all = || wanted.iter().flat_map(|(_, found)| found);
        let in_the_way: Vec<PathBuf> = all().filter_map(|path| obstacle(to, path, force)).collect();
        let files = all().count();
        if !in_the_way.is_empty() || files == 0 {
            return Ok(Restored { files: 0, in_the_way });
        }
        fs::create_dir_all(to).map_err(|e| GitError::io("restore", to, &e))?;
        let to = to.canonicalize().map_err(|e| GitError::io("restore", to, &e))?;
        for (source, found) in &wanted {
            let index = self.scratch("index");
            self.on_exact_files("read-tree", &to, &index.0)?.args(["read-tree", source.as_str()]).run()?;
            let mut call = self.on_exact_files("checkout-index", &to, &index.0)?.arg("checkout-index");
            if force {
                call = call.arg("--force");
            }
            call.args(["-z", "--stdin"]).stdin(found.join(&0)).run()?;
        }
        Ok(Restored { files, in_the_way: vec![] })
    }

    fn paths_in(&self, commit: &Oid, only: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, GitError> {
        let call = self.on_objects("ls-tree").args(["ls-tree", "-r", "-z", "--full-tree", "--name-only"]);
        let said = call.arg(commit.as_str()).run()?;
        let is_wanted = |path: &[u8]| {
            let lies_at = |wanted: &Vec<u8>| {
                let wanted = wanted.strip_suffix(b"/").unwrap_or(wanted);
                path.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
            };
            only.is_empty() || only.iter().any(lies_at)
        };
        Ok(split_nul(&said.stdout).filter(|path| is_wanted(path)).map(<[u8]>::to_vec).collect())
    }

    fn parents_of(&self, commit: &Oid) -> Result<Vec<String>, GitError> {
        let call = self.on_objects("rev-list").args(["rev-list", "--parents", "--max-count=1"]);
        let text = call.arg(commit.as_str()).run()?.text();
        Ok(text.split(' ').skip(1).map(str::to_owned).collect())
    }

    /// A stash of untracked files: three parents, the third with none, and not ours.
    fn is_stash(&self, commit: &Oid) -> Result<bool, GitError> {
        let parents = self.parents_of(commit)?;
        let [_, _, untracked] = &parents[..] else { return Ok(false) };
        let call =
            self.on_objects("log").args(["log", "--max-count=1", "--no-show-signature", "--format=%s"]);
        let subject = call.arg(untracked).run()?.text();
        Ok(subject.starts_with("untracked files on ")
            && self.parents_of(&self.oid("rev-parse", untracked)?)?.is_empty())
    }

    /// Lets go of a rescue.
    ///
    /// # Errors
    /// When git fails, or it moved meanwhile; then it is still there.
    pub fn forget_rescue(&self, rescue: &Rescue) -> Result<(), GitError> {
        let turn = self.take_turn()?;
        self.move_ref(&turn, &rescue.name, None, Some(&rescue.commit), "ropewalk: forget rescue")
    }
}

/// What keeps `path` from being written below `to`: a file that is there, or a link on the way, which is never followed.
fn obstacle(to: &Path, path: &[u8], force: bool) -> Option<PathBuf> {
    let path = Path::new(OsStr::from_bytes(path));
    let mut at = to.to_owned();
    for part in path.parent().into_iter().flat_map(Path::components) {
        at.push(part);
        match at.symlink_metadata() {
            Ok(facts) if !facts.is_dir() => return Some(at),
            Ok(_) => {}
            Err(_) => return None,
        }
    }
    let whole = to.join(path);
    let is_there = whole.symlink_metadata();
    match is_there {
        Ok(facts) if facts.is_dir() || !force => Some(whole),
        Ok(_) | Err(_) => None,
    }
}

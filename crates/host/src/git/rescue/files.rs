//! The files of a worktree that is to be rescued, as trees. Knows how they are compared with what is kept already.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ropewalk_core::id::Oid;

use super::ignored::{self, Choice};
use super::record::LeftOut;
use super::{Missing, Parting, Wreck};
use crate::git::nested::{Nested, histories, module_of};
use crate::git::repository::Repository;
use crate::git::run::GitError;
use crate::git::snapshot::{PrivateIndex, split_nul};

/// Repositories inside repositories inside repositories: further down nobody looks.
const EMBEDDED_DEPTH_MAX: usize = 4;

/// Files that no commit holds which is kept or is about to be.
#[derive(Debug)]
pub(super) struct Leftovers {
    pub(super) tree: Oid,
    /// What stands in the index alone, as a tree.
    pub(super) index_only: Option<Oid>,
    /// Files that differ from the worktree's commit, and the bytes of those that are there.
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// Those of them that are ignored.
    pub(super) ignored: u64,
    pub(super) left_out: Vec<LeftOut>,
}

/// What was found: files, and the tips of repositories among them, whose commits are in our objects by then.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) leftovers: Option<Leftovers>,
    pub(super) nested: Vec<Oid>,
}

/// An entry of the index that differs from the commit.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Staged {
    mode: String,
    oid: String,
    path: Vec<u8>,
}

impl Repository {
    /// What the worktree's files and its index hold, when no commit that is kept or is about to be has it.
    pub(super) fn leftovers(&self, wreck: &Wreck<'_>, parting: &Parting) -> Result<Found, GitError> {
        let Wreck { path, admin, .. } = wreck;
        let base = wreck.base();
        if !path.symlink_metadata().is_ok_and(|facts| facts.is_dir()) {
            // The index of a worktree whose folder is gone is all that there is of its files.
            return Ok(Found { leftovers: self.leftovers_of_index(wreck, parting)?, nested: vec![] });
        }
        // An agent may have deleted its administration and its branch: the files are still its work.
        let mut index = self.private_index(admin.as_deref(), path, base)?;
        let mut nested = Vec::new();
        for Nested { git_dir, path: below } in histories(path, admin.as_deref(), &index) {
            let Some(below) = below else {
                let name = git_dir.file_name().unwrap_or_default().to_string_lossy();
                let detail = format!("it stays: where the files of the submodule {name} are is not known");
                return Err(GitError::new("release", path, detail));
            };
            nested.extend(self.take_over(&git_dir)?);
            // From here on one like those that the index never knew: its files are kept too.
            self.remove_entries(path, &index, &below)?;
            index.submodules.retain(|known| *known != below);
        }
        for below in index.submodules.clone() {
            if self.is_dirty_submodule(wreck, &below)? {
                self.remove_entries(path, &index, &below)?;
                index.submodules.retain(|known| *known != below);
            }
        }
        self.take_over_embedded(path, &index, EMBEDDED_DEPTH_MAX, &mut nested)?;
        // Of a half-made one nothing tells which files git has converted as it wrote them: they are no work.
        index.exact = wreck.missing == Missing::IsWork;
        self.forget_in_index(wreck, &mut index, &parting.secrets)?;
        let staged = self.staged(wreck, &index)?;
        let choice = self.choose_ignored(wreck, parting, &index)?;
        let plain = self.snapshot_with_embedded(path, &index, EMBEDDED_DEPTH_MAX)?;
        let tree = self.with_ignored(wreck, &index, plain, &choice)?;
        let index_only = self.index_only(wreck, staged, Some(&tree))?;
        let changed = match base {
            Some(base) => self.changed_paths(base, &tree)?,
            None => self.changed_paths(&self.empty_tree()?, &tree)?,
        };
        let nothing_to_keep = match wreck.missing {
            Missing::IsWork => changed.is_empty(),
            Missing::IsHalfMade => changed.iter().all(|(how, _)| *how == b'D'),
        };
        if index_only.is_none() && (nothing_to_keep || self.is_kept(wreck, parting, &tree)?) {
            return Ok(Found { leftovers: None, nested });
        }
        if let Some(index) = &index_only
            && self.is_rescued(wreck, &tree, index)?
        {
            return Ok(Found { leftovers: None, nested });
        }
        let bytes = self.bytes_of(&tree, &changed)?;
        let leftovers = Leftovers {
            tree,
            index_only,
            files: changed.len() as u64,
            bytes,
            ignored: choice.kept.len() as u64,
            left_out: choice.left_out,
        };
        Ok(Found { leftovers: Some(leftovers), nested })
    }

    /// Whether a submodule's folder holds files that its own index has not like that. Its administration is found among
    /// ours, not where the folder says.
    fn is_dirty_submodule(&self, wreck: &Wreck<'_>, below: &[u8]) -> Result<bool, GitError> {
        let folder = wreck.path.join(OsStr::from_bytes(below));
        let is_there = folder.symlink_metadata().is_ok_and(|facts| facts.is_dir());
        let Some(git_dir) = wreck.admin.as_deref().filter(|_| is_there).and_then(|a| module_of(a, &folder))
        else {
            // Not checked out: an empty folder.
            return Ok(false);
        };
        let index = self.private_index(Some(&git_dir), &folder, None)?;
        let refresh = self.on_exact_files("update-index", &folder, &index.file.0)?;
        let refreshed = refresh.args(["update-index", "--refresh"]).run_accepting(&[0, 1])?;
        let others = self
            .on_files("ls-files", &folder, &index.file.0)
            .args(["-c", "core.untrackedCache=false", "ls-files", "-o", "-z", "--exclude-standard"])
            .run()?;
        Ok(refreshed.code != 0 || !others.stdout.is_empty())
    }

    /// The same for repositories that the index never knew.
    fn take_over_embedded(
        &self,
        folder: &Path,
        index: &PrivateIndex,
        depth: usize,
        nested: &mut Vec<Oid>,
    ) -> Result<(), GitError> {
        for below in self.embedded(folder, &index.file.0)? {
            let inner = folder.join(OsStr::from_bytes(&below));
            let git_dir = inner.join(".git");
            if git_dir.symlink_metadata().is_ok_and(|facts| facts.is_dir()) {
                nested.extend(self.take_over(&git_dir)?);
            }
            if depth > 0 {
                let empty = PrivateIndex::of(self.scratch("index"), true);
                self.take_over_embedded(&inner, &empty, depth - 1, nested)?;
            }
        }
        Ok(())
    }

    fn remove_entries(&self, folder: &Path, index: &PrivateIndex, paths: &[u8]) -> Result<(), GitError> {
        self.on_files("update-index", folder, &index.file.0)
            .args(["update-index", "--force-remove", "-z", "--stdin"])
            .stdin([paths, b"\0"].concat())
            .run()
            .map(drop)
    }

    fn leftovers_of_index(
        &self,
        wreck: &Wreck<'_>,
        parting: &Parting,
    ) -> Result<Option<Leftovers>, GitError> {
        let (Some(admin), Some(base)) = (&wreck.admin, wreck.base()) else { return Ok(None) };
        // No call of ours looks at files here; the control folder stands in for the one that is gone.
        let index = self.private_index(Some(admin), self.control(), Some(base))?;
        if !parting.secrets.is_empty() {
            self.remove_entries(self.control(), &index, &parting.secrets.join(&0))?;
        }
        let staged = self.staged(wreck, &index)?;
        let tree = self.tree_of(base)?;
        match self.index_only(wreck, staged, None)? {
            Some(only) if !self.is_rescued(wreck, &tree, &only)? => Ok(Some(Leftovers {
                tree,
                index_only: Some(only),
                files: 0,
                bytes: 0,
                ignored: 0,
                left_out: vec![],
            })),
            _ => Ok(None),
        }
    }

    /// Whether these files are kept by a commit of the attempt. What was collected counts in the form that the project
    /// wants its text in: an attempt that passed is not rescued for the sake of line ends.
    fn is_kept(&self, wreck: &Wreck<'_>, parting: &Parting, tree: &Oid) -> Result<bool, GitError> {
        let mut trees = Vec::new();
        for kind in ["attempts", "rescue"] {
            for pin in self.pins(kind, wreck.attempt)? {
                trees.push(self.tree_of(&pin.at)?);
            }
        }
        if trees.contains(tree) {
            return Ok(true);
        }
        if !parting.has_passed || trees.is_empty() {
            return Ok(false);
        }
        let mut index = self.private_index(wreck.admin.as_deref(), wreck.path, wreck.base())?;
        self.forget_in_index(wreck, &mut index, &parting.secrets)?;
        let collected = self.snapshot_with_embedded(wreck.path, &index, EMBEDDED_DEPTH_MAX)?;
        // Only when nothing but the form differs: a file that is ignored is in one and not in the other.
        let same_names = !self.changed_paths(&collected, tree)?.iter().any(|(how, _)| *how != b'M');
        Ok(same_names && trees.contains(&collected))
    }

    fn is_rescued(&self, wreck: &Wreck<'_>, tree: &Oid, index: &Oid) -> Result<bool, GitError> {
        for rescue in self.rescues_of(wreck.attempt)? {
            if self.tree_of(&rescue.commit)? != *tree {
                continue;
            }
            for (_, commit) in rescue.parts.iter().filter(|(name, _)| name == "index") {
                if self.tree_of(commit)? == *index {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Takes what must not be stored out of the index, since an agent may have staged it, and keeps it out. What is
    /// ignored stays out by itself, and git does not like to be told so.
    fn forget_in_index(
        &self,
        wreck: &Wreck<'_>,
        index: &mut PrivateIndex,
        secrets: &[Vec<u8>],
    ) -> Result<(), GitError> {
        if secrets.is_empty() {
            return Ok(());
        }
        let input = [secrets.join(&0), vec![0]].concat();
        self.remove_entries(wreck.path, index, &secrets.join(&0))?;
        let said = self
            .on_files("check-ignore", wreck.path, &index.file.0)
            .args(["check-ignore", "-z", "--stdin"])
            .stdin(input)
            .run_accepting(&[0, 1])?;
        let ignored: Vec<&[u8]> = split_nul(&said.stdout).collect();
        index.never =
            secrets.iter().filter(|secret| !ignored.contains(&secret.as_slice())).cloned().collect();
        Ok(())
    }

    fn choose_ignored(
        &self,
        wreck: &Wreck<'_>,
        parting: &Parting,
        index: &PrivateIndex,
    ) -> Result<Choice, GitError> {
        if wreck.missing == Missing::IsHalfMade {
            // Nobody worked in it, and what was copied into it is nobody's work.
            return Ok(Choice::default());
        }
        let said = self
            .on_files("ls-files", wreck.path, &index.file.0)
            .args(["-c", "core.untrackedCache=false", "ls-files", "-o", "-i", "--exclude-standard"])
            .args(["--directory", "-z"])
            .run()?;
        let room = if parting.has_passed { ignored::AFTER_PASS } else { ignored::AFTER_FAILURE };
        let paths = split_nul(&said.stdout).map(<[u8]>::to_vec);
        Ok(ignored::choose(wreck.path, paths, room, |path| {
            parting.secrets.iter().any(|secret| secret == path)
        }))
    }

    /// The tree with these ignored files besides.
    fn with_ignored(
        &self,
        wreck: &Wreck<'_>,
        index: &PrivateIndex,
        plain: Oid,
        choice: &Choice,
    ) -> Result<Oid, GitError> {
        if choice.kept.is_empty() {
            return Ok(plain);
        }
        let mut input = Vec::new();
        for path in &choice.kept {
            input.extend([b":(top,literal)", path.as_slice(), b"\0"].concat());
        }
        self.on_index("add", wreck.path, index)?
            .args(["add", "--force", "--pathspec-from-file=-", "--pathspec-file-nul"])
            .stdin(input)
            .run()?;
        self.write_tree(wreck.path, &index.file.0)
    }

    /// What the index holds that its commit does not.
    fn staged(&self, wreck: &Wreck<'_>, index: &PrivateIndex) -> Result<Vec<Staged>, GitError> {
        let Some(base) = wreck.base().filter(|_| !index.remade && wreck.missing == Missing::IsWork) else {
            return Ok(vec![]);
        };
        let said = self
            .on_files("diff-index", wreck.path, &index.file.0)
            .args([
                "diff-index",
                "--cached",
                "--raw",
                "--no-abbrev",
                "--no-renames",
                "-z",
                base.as_str(),
                "--",
            ])
            .run();
        let raw = said?.stdout;
        let mut staged = Vec::new();
        let mut parts = split_nul(&raw);
        // `:100644 100644 <old> <new> M` and then the path
        while let (Some(facts), Some(path)) = (parts.next(), parts.next()) {
            let facts = String::from_utf8_lossy(facts).into_owned();
            let words: Vec<&str> = facts.split(' ').collect();
            if let [_, mode, _, oid, "A" | "M" | "T"] = words[..] {
                staged.push(Staged { mode: mode.into(), oid: oid.into(), path: path.to_vec() });
            }
        }
        if !index.unmerged.is_empty() {
            staged.extend(self.stages(wreck, index)?);
        }
        staged.retain(|entry| entry.mode != "160000" && entry.oid.bytes().any(|digit| digit != b'0'));
        Ok(staged)
    }

    /// The sides of files that are in conflict, under names of their own.
    fn stages(&self, wreck: &Wreck<'_>, index: &PrivateIndex) -> Result<Vec<Staged>, GitError> {
        let said =
            self.on_files("ls-files", wreck.path, &index.file.0).args(["ls-files", "-u", "-z"]).run()?;
        let stage = |entry: &[u8]| {
            let tab = entry.iter().position(|byte| *byte == b'\t')?;
            let facts = String::from_utf8_lossy(&entry[..tab]).into_owned();
            let [mode, oid, stage] = facts.split(' ').collect::<Vec<_>>()[..] else { return None };
            let side = match stage {
                "1" => "~base",
                "2" => "~ours",
                _ => "~theirs",
            };
            let path = [&entry[tab + 1..], side.as_bytes()].concat();
            Some(Staged { mode: mode.into(), oid: oid.into(), path })
        };
        Ok(split_nul(&said.stdout).filter_map(stage).collect())
    }

    /// Those of the staged entries whose content the tree has not at the same place, as a tree.
    fn index_only(
        &self,
        wreck: &Wreck<'_>,
        staged: Vec<Staged>,
        tree: Option<&Oid>,
    ) -> Result<Option<Oid>, GitError> {
        if staged.is_empty() {
            return Ok(None);
        }
        let mut has = std::collections::HashSet::new();
        if let Some(tree) = tree {
            let said = self.on_objects("ls-tree").args(["ls-tree", "-r", "-z", "--full-tree", tree.as_str()]);
            for entry in split_nul(&said.run()?.stdout) {
                if let Some(tab) = entry.iter().position(|byte| *byte == b'\t') {
                    let oid = entry[..tab].rsplit(|byte| *byte == b' ').next().unwrap_or_default();
                    has.insert([oid, b" ", &entry[tab + 1..]].concat());
                }
            }
        }
        let is_there = |entry: &&Staged| has.contains(&[entry.oid.as_bytes(), b" ", &entry.path].concat());
        let only: Vec<&Staged> = staged.iter().filter(|entry| !is_there(entry)).collect();
        let input: String = only.iter().map(|entry| format!("{}\n", entry.oid)).collect();
        let call = self.on_objects("cat-file").args(["cat-file", "--batch-check=%(objecttype)"]);
        let kinds = call.stdin(input).run()?.text();
        let mut entries = Vec::new();
        // An object that is missing (`git add -N` names one) held nothing.
        for (entry, _) in only.iter().zip(kinds.lines()).filter(|(_, kind)| *kind == "blob") {
            entries.extend(
                [entry.mode.as_bytes(), b" ", entry.oid.as_bytes(), b"\t", &entry.path, b"\0"].concat(),
            );
        }
        if entries.is_empty() {
            return Ok(None);
        }
        let fresh = self.scratch("index");
        let folder = if tree.is_some() { wreck.path } else { self.control() };
        self.on_files("update-index", folder, &fresh.0)
            .args(["update-index", "-z", "--index-info"])
            .stdin(entries)
            .run()?;
        self.write_tree(folder, &fresh.0).map(Some)
    }

    pub(super) fn empty_tree(&self) -> Result<Oid, GitError> {
        let said = self.on_objects("mktree").arg("mktree").stdin("").run()?;
        self.oid("mktree", &said.text())
    }

    /// How many bytes those of these paths have that are in the tree.
    fn bytes_of(&self, tree: &Oid, changed: &[(u8, Vec<u8>)]) -> Result<u64, GitError> {
        let there: std::collections::HashSet<&[u8]> =
            changed.iter().filter(|(how, _)| *how != b'D').map(|(_, path)| path.as_slice()).collect();
        let said =
            self.on_objects("ls-tree").args(["ls-tree", "-r", "-l", "-z", "--full-tree", tree.as_str()]);
        let mut bytes = 0_u64;
        for entry in split_nul(&said.run()?.stdout) {
            let Some(tab) = entry.iter().position(|byte| *byte == b'\t') else { continue };
            if there.contains(&entry[tab + 1..]) {
                let size = String::from_utf8_lossy(&entry[..tab]);
                bytes += size.rsplit(' ').next().and_then(|size| size.parse::<u64>().ok()).unwrap_or(0);
            }
        }
        Ok(bytes)
    }
}

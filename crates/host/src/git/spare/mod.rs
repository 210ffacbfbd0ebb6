//! Spares: folders that equal a commit and wait to become worktrees. Knows how a worktree that was given back becomes
//! one, how one becomes a worktree, and what of it may be believed; unaware of attempts and refs.
//!
//! A spare is only a cache. Whatever is odd about one, it is thrown away.
//!
//! The folder lies beside the worktrees, as `.spare-<project>-<number>`. What we know of it lies in the control
//! folder: its index, which no agent has ever had, and a record. Which of the two records there is says what the
//! folder is:
//!
//! ```text
//! spare-3.json        it equals the commit in the record
//! spare-3.used        an agent was in it; it is to be washed
//! worktree-7.2.json   what the worktree 7.2 was when it was handed out
//! neither             rubbish, unless somebody works on it (see `Hold`)
//! ```
//!
//! So the record goes first and comes last, and a crash in between leaves rubbish, which the next `tidy` removes.

mod listing;
mod record;
mod wash;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use ropewalk_core::id::Oid;

use self::listing::Listing;
use self::record::Record;
use self::wash::{Found, Root, wash};
use super::admin::settled;
use super::repository::{Repository, Turn};
use super::run::{Call, GitError};
use super::worktree::remove_tree;
use crate::crash;
use crate::disk::bytes_in;
use crate::durable::create_private_folder;

/// Spares of one project at once: as many as the attempts of a large machine. What is given back beyond that is
/// removed.
pub const SPARES_MAX: usize = 32;

/// How many spares are tried before one is made anew: a third one that is odd says that something is wrong with all.
const TRIES_MAX: usize = 3;

/// Whatever the person's settings, by which git must not overlook a change in an index of ours or split it.
const STRICT: [&str; 10] = [
    "-c",
    "core.trustctime=true",
    "-c",
    "core.checkStat=default",
    "-c",
    "core.untrackedCache=false",
    "-c",
    "core.splitIndex=false",
    "-c",
    "index.version=2",
];

/// The spares of one project that lie in one folder, beside its worktrees.
#[derive(Clone, Debug)]
pub struct Spares {
    repository: Repository,
    folder: PathBuf,
}

/// A spare that can be used.
#[derive(Clone, Debug)]
pub struct Spare {
    pub number: u32,
    /// On the disk.
    pub bytes: u64,
    /// When it became one.
    pub since: SystemTime,
    record: Record,
}

/// A spare that is to become the worktree at a path; it equals the commit that was asked for.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) folder: PathBuf,
    _hold: Hold,
}

/// While it lives nobody else in this process touches the folder of that name. There is one engine per state folder.
#[derive(Debug)]
struct Hold(PathBuf);

impl Hold {
    fn take(folder: PathBuf) -> Option<Hold> {
        // Not `then_some`: the value that is not wanted would let go of somebody else's.
        let is_free = held().insert(folder.clone());
        is_free.then(|| Hold(folder))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        held().remove(&self.0);
    }
}

fn held() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    static HELD: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the name of a file in the control folder begins with.
const SPARE: &str = "spare-";
const WORKTREE: &str = "worktree-";

impl Repository {
    /// The spares that lie in `folder`.
    pub fn spares(&self, folder: &Path) -> Spares {
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        Spares { repository: self.clone(), folder }
    }

    /// The spares beside the worktree at `path`.
    pub(super) fn spares_beside(&self, path: &Path) -> Spares {
        self.spares(path.parent().unwrap_or(Path::new("/")))
    }
}

impl Spares {
    /// Makes spares of `commit` until there are `count` of any commit, whether or not they are washed yet. Answers
    /// how many it made.
    ///
    /// # Errors
    /// When one cannot be made; nothing of it stays.
    pub fn warm(&self, commit: &Oid, count: usize) -> Result<usize, GitError> {
        let mut made = 0;
        while let Some((number, _hold)) = self.begin(count.min(SPARES_MAX))? {
            let filled = self.fill(number, commit);
            if filled.is_err() {
                self.discard_held(number)?;
            }
            filled?;
            made += 1;
        }
        Ok(made)
    }

    /// Makes the folder of one more spare, unless there are `count`.
    fn begin(&self, count: usize) -> Result<Option<(u32, Hold)>, GitError> {
        let turn = self.repository.take_turn()?;
        if self.numbers().len() >= count {
            return Ok(None);
        }
        let Some((number, hold)) = self.free_number(&turn) else { return Ok(None) };
        self.make_control()?;
        let folder = self.folder_of(number);
        fs::create_dir(&folder).map_err(|e| GitError::io("make spare", &folder, &e))?;
        Ok(Some((number, hold)))
    }

    fn fill(&self, number: u32, commit: &Oid) -> Result<(), GitError> {
        let (folder, index) = (self.folder_of(number), self.file(SPARE, number, "index"));
        self.write_files(&folder, &index, commit)?;
        self.become_ready(number, commit)
    }

    /// Looks at every file once, as the washing does: what is not exact from the start never is.
    fn become_ready(&self, number: u32, commit: &Oid) -> Result<(), GitError> {
        let (folder, index) = (self.folder_of(number), self.file(SPARE, number, "index"));
        let failed = |detail: &str| GitError::new("make spare", &folder, detail);
        let root = Root::of(&folder).ok_or_else(|| failed("its folder is gone"))?;
        let listing = self.listing(&index, commit).ok_or_else(|| failed("its index cannot be read"))?;
        let found =
            wash(&folder, root, &listing, None).map_err(|e| GitError::io("make spare", &folder, &e))?;
        if found.removed > 0 || !found.missing.is_empty() {
            return Err(failed("its files are not as they were written"));
        }
        let record = Record::new(commit, root, found.bytes, self.repository.carried());
        let path = self.file(SPARE, number, "json");
        record.write(&path).map_err(|error| failed(&error.to_string()))
    }

    /// Takes the spare that is nearest to `commit` and makes it equal that commit, for a worktree of that name. The
    /// index and the record are the worktree's from then on.
    pub(super) fn take(&self, name: &OsStr, commit: &Oid) -> Option<Taken> {
        let mut spares = self.list();
        spares.sort_by_key(|spare| std::cmp::Reverse((spare.record.commit == *commit, spare.since)));
        for spare in spares.into_iter().take(TRIES_MAX) {
            let folder = self.folder_of(spare.number);
            let Some(hold) = Hold::take(folder.clone()) else { continue };
            // Somebody else may have been quicker. What fails has lost its record, and is rubbish.
            if fs::remove_file(self.file(SPARE, spare.number, "json")).is_ok()
                && self.fit(&spare, name, commit).is_ok()
            {
                return Some(Taken { folder, _hold: hold });
            }
            self.forget(name);
        }
        None
    }

    fn fit(&self, spare: &Spare, name: &OsStr, commit: &Oid) -> Result<(), GitError> {
        let (folder, index) = (self.folder_of(spare.number), self.index_of(name));
        let failed = |error: io::Error| GitError::io("take spare", &folder, &error);
        self.forget(name);
        fs::rename(self.file(SPARE, spare.number, "index"), &index).map_err(failed)?;
        if !spare.record.speaks_of(&folder, self.repository.carried()) {
            return Err(GitError::new("take spare", &folder, "it is not what it was"));
        }
        // Nobody was there since it was washed. With an older date git would look into every file that was written in
        // the same second as its index.
        date_now(&index).map_err(failed)?;
        if spare.record.commit != *commit {
            self.move_to(&folder, &index, &spare.record.commit, commit)?;
        }
        let record = Record::new(commit, spare.record.root(), 0, self.repository.carried());
        record
            .write(&self.file(WORKTREE, name.display(), "json"))
            .map_err(|error| GitError::new("take spare", &folder, error.to_string()))
    }

    /// Writes and removes the files in which two commits differ.
    fn move_to(&self, folder: &Path, index: &Path, old: &Oid, new: &Oid) -> Result<(), GitError> {
        // Other attributes may make other files of blobs that did not change.
        let differ = self
            .repository
            .on_objects("diff-tree")
            .args(["diff-tree", "-r", "--quiet", old.as_str(), new.as_str(), "--"])
            .arg(":(glob)**/.gitattributes")
            .run_accepting(&[0, 1])?;
        if differ.code != 0 {
            return Err(GitError::new("take spare", folder, "the attributes of files differ"));
        }
        let call = self.on_spare("read-tree", folder, index);
        call.args(["read-tree", "-m", "-u", old.as_str(), new.as_str()]).run()?;
        Ok(())
    }

    /// Writes all files of `commit` for a worktree of that name, without a spare.
    pub(super) fn fill_worktree(&self, path: &Path, name: &OsStr, commit: &Oid) -> Result<(), GitError> {
        self.make_control()?;
        self.forget(name);
        self.write_files(path, &self.index_of(name), commit)?;
        // Without a record it is removed in the end instead of being used again.
        if let Some(root) = Root::of(path) {
            let record = Record::new(commit, root, 0, self.repository.carried());
            let _ = record.write(&self.file(WORKTREE, name.display(), "json"));
        }
        Ok(())
    }

    /// Gives the worktree's administration a copy of our index. With it all is there.
    pub(super) fn publish(&self, name: &OsStr, admin: &Path) -> Result<(), GitError> {
        let (from, to) = (self.index_of(name), admin.join("index"));
        let new = admin.join("index.new");
        fs::copy(&from, &new)
            .and_then(|_| date_now(&new))
            .and_then(|()| fs::rename(&new, &to))
            .map_err(|e| GitError::io("worktree add", &to, &e))
    }

    /// Makes the worktree's folder a spare that is to be washed. False when it cannot become one; then it is where it
    /// was, and nothing is known of it any more.
    pub(super) fn retire(&self, turn: &Turn<'_>, path: &Path, name: &OsStr) -> bool {
        let is_kept = self.try_retire(turn, path, name).is_some();
        self.forget(name);
        is_kept
    }

    fn try_retire(&self, turn: &Turn<'_>, path: &Path, name: &OsStr) -> Option<()> {
        let known = self.file(WORKTREE, name.display(), "json");
        let record = Record::read(&known)?;
        if !record.speaks_of(path, self.repository.carried()) || self.numbers().len() >= SPARES_MAX {
            return None;
        }
        let (number, _hold) = self.free_number(turn)?;
        let used = self.file(SPARE, number, "used");
        let moved = fs::rename(self.index_of(name), self.file(SPARE, number, "index"))
            .inspect(|()| crash::step())
            .and_then(|()| fs::rename(&known, &used))
            .inspect(|()| crash::step())
            .and_then(|()| fs::rename(settled(path), self.folder_of(number)));
        if moved.is_err() {
            self.forget_spare(number);
        }
        moved.ok()
    }

    /// Removes what is no spare and none in the making: what a crash left.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn tidy(&self) -> Result<(), GitError> {
        let mut ended = Ok(());
        for number in self.numbers() {
            let Some(_hold) = Hold::take(self.folder_of(number)) else { continue };
            let known = ["json", "used"].map(|extension| Record::read(&self.file(SPARE, number, extension)));
            let is_sound = known.into_iter().flatten().any(|known| self.is_sound(number, &known));
            if !is_sound {
                // One that cannot be removed does not keep the others.
                ended = ended.and(self.discard_held(number));
            }
        }
        ended
    }

    fn is_sound(&self, number: u32, known: &Record) -> bool {
        known.speaks_of(&self.folder_of(number), self.repository.carried())
            && self.file(SPARE, number, "index").is_file()
    }

    /// Washes one spare that is to be washed: afterwards it equals its commit, or it is gone. False when there is none.
    ///
    /// # Errors
    /// When one that cannot be washed cannot be removed either.
    pub fn wash_one(&self) -> Result<bool, GitError> {
        for number in self.numbers() {
            let used = self.file(SPARE, number, "used");
            if !used.exists() {
                continue;
            }
            let Some(_hold) = Hold::take(self.folder_of(number)) else { continue };
            let Some(record) = Record::read(&used) else { continue };
            let is_washed = self.is_sound(number, &record) && self.wash_held(number, &record).is_ok();
            if !is_washed || fs::remove_file(&used).is_err() {
                self.discard_held(number)?;
            }
            return Ok(true);
        }
        Ok(false)
    }

    fn wash_held(&self, number: u32, record: &Record) -> Result<(), GitError> {
        let (folder, index) = (self.folder_of(number), self.file(SPARE, number, "index"));
        let failed = |error: io::Error| GitError::io("wash spare", &folder, &error);
        let listing = self.listing(&index, &record.commit);
        let listing =
            listing.ok_or_else(|| GitError::new("wash spare", &folder, "its index cannot be read"))?;
        let index_ns = date_ns(&index).map_err(failed)?;
        let Found { missing, .. } = wash(&folder, record.root(), &listing, Some(index_ns)).map_err(failed)?;
        if !missing.is_empty() {
            let mut paths = missing.join(&0);
            paths.push(0);
            // One that a killed git left: nobody else writes this index.
            let _ = fs::remove_file(lock_of(&index));
            self.on_spare("checkout-index", &folder, &index)
                .args(["checkout-index", "--force", "--index", "--quiet", "-z", "--stdin"])
                .stdin(paths)
                .run()?;
        }
        self.become_ready(number, &record.commit)
    }

    /// The spares that can be used.
    pub fn list(&self) -> Vec<Spare> {
        let read = |number: u32| {
            let path = self.file(SPARE, number, "json");
            let since = path.metadata().ok()?.modified().ok()?;
            let record = Record::read(&path)?;
            Some(Spare { number, bytes: record.bytes, since, record })
        };
        self.numbers().into_iter().filter_map(read).collect()
    }

    /// Those that are to be washed, with their bytes on the disk: a build's output is still in them.
    pub fn unwashed(&self) -> Vec<(u32, u64)> {
        let is_used = |number: &u32| self.file(SPARE, *number, "used").exists();
        let used = self.numbers().into_iter().filter(is_used);
        used.map(|number| (number, bytes_in(&self.folder_of(number)))).collect()
    }

    /// Removes a spare, unless somebody works on it.
    ///
    /// # Errors
    /// When something of it cannot be removed.
    pub fn discard(&self, number: u32) -> Result<(), GitError> {
        match Hold::take(self.folder_of(number)) {
            Some(_hold) => self.discard_held(number),
            None => Ok(()),
        }
    }

    /// Removes all that nobody works on, washed or not. One that cannot be removed does not keep the others.
    ///
    /// # Errors
    /// As [`discard`](Self::discard).
    pub fn discard_all(&self) -> Result<(), GitError> {
        let mut ended = Ok(());
        for number in self.numbers() {
            ended = ended.and(self.discard(number));
        }
        ended
    }

    fn discard_held(&self, number: u32) -> Result<(), GitError> {
        self.forget_spare(number);
        let folder = self.folder_of(number);
        remove_tree(&folder).map_err(|e| GitError::io("remove spare", &folder, &e))
    }

    /// The numbers of all that lies there, whatever it is; lowest first.
    fn numbers(&self) -> Vec<u32> {
        let prefix = self.prefix();
        let number = |entry: fs::DirEntry| entry.file_name().to_str()?.strip_prefix(&prefix)?.parse().ok();
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut numbers: Vec<u32> = entries.filter_map(number).collect();
        numbers.sort_unstable();
        numbers
    }

    fn free_number(&self, _turn: &Turn<'_>) -> Option<(u32, Hold)> {
        let taken = self.numbers();
        let free = (1..).filter(|number| !taken.contains(number)).take(SPARES_MAX);
        let (number, hold) = free.filter_map(|n| Some((n, Hold::take(self.folder_of(n))?))).next()?;
        self.forget_spare(number);
        Some((number, hold))
    }

    fn prefix(&self) -> String {
        let project = self.repository.control().file_name().unwrap_or_default();
        format!(".spare-{}-", project.to_string_lossy())
    }

    fn folder_of(&self, number: u32) -> PathBuf {
        self.folder.join(format!("{}{number}", self.prefix()))
    }

    fn control(&self) -> PathBuf {
        self.repository.control().join("spares")
    }

    fn make_control(&self) -> Result<(), GitError> {
        let control = self.control();
        create_private_folder(&control).map_err(|e| GitError::new("make spare", &control, e.to_string()))
    }

    fn file(&self, kind: &str, name: impl std::fmt::Display, extension: &str) -> PathBuf {
        self.control().join(format!("{kind}{name}.{extension}"))
    }

    fn index_of(&self, name: &OsStr) -> PathBuf {
        self.file(WORKTREE, name.display(), "index")
    }

    /// The record goes first: what has none is rubbish.
    fn forget_spare(&self, number: u32) {
        for extension in ["json", "used", "index", "index.lock"] {
            let _ = fs::remove_file(self.file(SPARE, number, extension));
        }
    }

    pub(super) fn forget(&self, name: &OsStr) {
        for extension in ["json", "index", "index.lock"] {
            let _ = fs::remove_file(self.file(WORKTREE, name.display(), extension));
        }
    }

    fn listing(&self, index: &Path, commit: &Oid) -> Option<Listing> {
        Listing::read(&fs::read(index).ok()?, commit.as_str().len() / 2)
    }

    /// Writes the files of `commit` through our own configuration, so that no filter runs.
    fn write_files(&self, folder: &Path, index: &Path, commit: &Oid) -> Result<(), GitError> {
        let call = self.on_spare("checkout", folder, index);
        call.args(["read-tree", "--reset", "-u", commit.as_str()]).run()?;
        Ok(())
    }

    fn on_spare(&self, operation: &'static str, folder: &Path, index: &Path) -> Call {
        self.repository.on_files(operation, folder, index).args(STRICT)
    }
}

fn lock_of(index: &Path) -> PathBuf {
    let mut name = OsString::from(index);
    name.push(".lock");
    PathBuf::from(name)
}

fn date_now(path: &Path) -> io::Result<()> {
    File::options().write(true).open(path)?.set_modified(SystemTime::now())
}

fn date_ns(path: &Path) -> io::Result<i128> {
    use std::os::unix::fs::MetadataExt;
    let facts = path.symlink_metadata()?;
    Ok(i128::from(facts.mtime()) * 1_000_000_000 + i128::from(facts.mtime_nsec()))
}

//! What makes git run a program or write elsewhere. Knows those places of a repository and takes them down for a
//! comparison; unaware of who changed them and of what is done about it.
//!
//! An agent in a worktree can write to the shared repository, and the user's next git would obey what it planted
//! there. Ours does not (see `run`), so nothing here protects the engine: it tells a person in time.
//! Whoever may write the repository may also write the record of it: a guard notices, it does not hold.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::repository::Repository;
use super::run::GitError;

/// Settings by which git runs something, or reads or writes where it did not before: a section, and which of its names;
/// none are all. A section may have a subsection between the two. `extensions.worktreeConfig` is not among them:
/// each `config.worktree` is looked at whether git heeds it or not, and agents narrow their checkouts by it.
const WATCHED: &[(&str, &[&str])] = &[
    ("alias", &[]),
    ("branch", &["mergeoptions"]),
    ("browser", &[]),
    (
        "core",
        &[
            "alternaterefscommand",
            "askpass",
            "attributesfile",
            "editor",
            "fsmonitor",
            "fsmonitorhookversion",
            "gitproxy",
            "hookspath",
            "pager",
            "protecthfs",
            "protectntfs",
            "sshcommand",
            "worktree",
        ],
    ),
    ("credential", &[]),
    ("diff", &["command", "external", "textconv"]),
    ("difftool", &["cmd", "path"]),
    (
        "extensions",
        &[
            "objectformat",
            "partialclone",
            "preciousobjects",
            "refstorage",
            "relativeworktrees",
            "compatobjectformat",
        ],
    ),
    ("filter", &[]),
    ("gc", &[]),
    ("gpg", &[]),
    ("guitool", &["cmd"]),
    // Hooks in the configuration, since git 2.54.
    ("hook", &[]),
    ("http", &[]),
    ("imap", &["tunnel"]),
    ("include", &[]),
    ("includeif", &[]),
    ("init", &["templatedir"]),
    ("instaweb", &[]),
    ("interactive", &["difffilter"]),
    ("lfs", &["path", "args", "clean", "smudge", "standalonetransferagent"]),
    ("maintenance", &[]),
    ("man", &[]),
    ("merge", &["driver"]),
    ("mergetool", &["cmd", "path"]),
    ("pager", &[]),
    ("protocol", &[]),
    ("receive", &[]),
    ("remote", &["promisor", "proxy", "pushurl", "receivepack", "uploadpack", "url", "vcs"]),
    ("sendemail", &[]),
    ("sequence", &["editor"]),
    // Not its other names: `git submodule update --init` in a worktree writes them, and nothing of them is run.
    ("submodule", &["update"]),
    ("tar", &["command"]),
    ("trailer", &["cmd", "command"]),
    ("uploadarchive", &[]),
    ("uploadpack", &[]),
    ("url", &[]),
    ("web", &["browser"]),
];

/// Folders that git writes below; one that became a link leads it elsewhere.
const WRITTEN: [&str; 7] =
    ["refs", "refs/heads", "refs/tags", "refs/ropewalk", "objects", "logs", "worktrees"];

/// Places that are told apart; what goes beyond is one more place. A repository with husky, LFS and signing has twenty,
/// and so the whole record stays below the longest that is read back.
const PLACES_MAX: usize = 120;
/// Worktrees whose own configuration is looked at. Those that come later are nobody's whom it could surprise: git
/// copies the main checkout's configuration into each that we make.
const WORKTREES_MAX: usize = 100;
/// Of one place's name; a longer one is cut, and those that are then alike count as one.
const NAME_BYTES_MAX: usize = 120;
/// Of a file's content so much is looked at; the length counts too. Hooks are scripts or programs of some megabytes.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// A configuration has kilobytes. Beyond this it counts as a whole.
const CONFIGURATION_BYTES_MAX: usize = 1 << 20;
/// Files that include files that include files.
const INCLUDES_DEPTH_MAX: usize = 4;
/// Configuration files that are read: each takes a process of git.
const CONFIGURATIONS_MAX: usize = 64;
/// Entries of the hooks' folders, of `modules` and of `worktrees` that are looked at.
const ENTRIES_MAX: usize = 4096;
/// Hooks that run all of `pre-commit.d`; submodules in submodules.
const FOLDERS_DEPTH_MAX: usize = 4;
/// Changes that are told by name.
const SHOWN: usize = 5;

/// What the places of a repository held at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// The name of the worktree's administration, by which it is found again whatever its own pointer says.
    administration: String,
    /// The administrations that there were, this one among them.
    worktrees: BTreeSet<String>,
    /// A digest of what each place held. Absent places are not in it.
    places: BTreeMap<String, String>,
}

impl Repository {
    /// Takes down what the places hold now, for a worktree that is about to be given to an agent.
    ///
    /// # Errors
    /// When git no longer knows the worktree, or git fails.
    pub fn guard(&self, worktree: &Path) -> Result<Guard, GitError> {
        let unknown = || GitError::new("guard", worktree, "git no longer knows the worktree");
        let admin = self.admin_of(worktree)?.ok_or_else(unknown)?;
        let administration = admin.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut worktrees = BTreeSet::from([administration.clone()]);
        for name in Places::new(self).entries(&self.common().join("worktrees")) {
            let name = name.to_string_lossy().into_owned();
            if worktrees.len() < WORKTREES_MAX && name.len() <= NAME_BYTES_MAX {
                worktrees.insert(name);
            }
        }
        let places = self.places(worktree, &administration, &worktrees)?;
        Ok(Guard { administration, worktrees, places })
    }

    /// What differs from `before`, for people; none when all is as it was. A worktree that went is no difference:
    /// nothing of it can be obeyed any more.
    ///
    /// # Errors
    /// When git fails.
    pub fn tampered(&self, worktree: &Path, before: &Guard) -> Result<Option<String>, GitError> {
        let now = self.places(worktree, &before.administration, &before.worktrees)?;
        let mut then = before.places.clone();
        let is_gone = |path: &Path| path.symlink_metadata().is_err();
        if is_gone(&worktree.join(".git")) {
            then.remove(POINTER);
        }
        if is_gone(&self.common().join("worktrees").join(&before.administration)) {
            then.retain(|place, _| !place.starts_with(ADMINISTRATION));
        }
        Ok(difference(&then, &now))
    }

    fn places(
        &self,
        worktree: &Path,
        administration: &str,
        worktrees: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, String>, GitError> {
        let mut places = Places::new(self);
        let common = self.common();
        places.file("the repository's .git", &self.top().join(".git"), false);
        for name in ["config", "config.worktree"] {
            places.configuration(name, &common.join(name), Scope::Repository, 0)?;
        }
        places.folder("hooks", &common.join("hooks"), 0);
        for name in ["info/attributes", "objects/info/alternates", "commondir"] {
            places.file(name, &common.join(name), false);
        }
        for name in WRITTEN {
            if let Ok(target) = fs::read_link(common.join(name)) {
                places.note(name, &[b"link", target.as_os_str().as_bytes()]);
            }
        }
        places.modules(&common.join("modules"), "modules", 0)?;
        let all = common.join("worktrees");
        for name in worktrees {
            let place = format!("{OTHERS}{name}/config.worktree");
            places.configuration(&place, &all.join(name).join("config.worktree"), Scope::Repository, 0)?;
        }
        let admin = all.join(administration);
        for name in ["commondir", "gitdir"] {
            places.file(&format!("{ADMINISTRATION}{name}"), &admin.join(name), false);
        }
        // Read only when there is no `commondir`, which the agent could see to.
        let own = format!("{ADMINISTRATION}config");
        places.configuration(&own, &admin.join("config"), Scope::Repository, 0)?;
        places.folder(&format!("{ADMINISTRATION}hooks"), &admin.join("hooks"), 0);
        places.file(POINTER, &worktree.join(".git"), false);
        Ok(places.done())
    }
}

/// The pointer from the worktree to its administration.
const POINTER: &str = "the worktree's .git";
/// What the places in the worktree's administration begin with.
const ADMINISTRATION: &str = "the worktree's own ";
/// What the places of worktrees' own configurations have in their names. They go with them, which is no change.
const OTHERS: &str = "worktrees/";

fn difference(then: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Option<String> {
    let mut told = Vec::new();
    for (place, held) in now {
        match then.get(place) {
            None => told.push(format!("{place} was added")),
            Some(before) if before != held => told.push(format!("{place} was changed")),
            Some(_) => {}
        }
    }
    let went = then.keys().filter(|place| !now.contains_key(*place) && !place.contains(OTHERS));
    told.extend(went.map(|place| format!("{place} was removed")));
    let more = told.len().saturating_sub(SHOWN);
    told.truncate(SHOWN);
    let text = told.join(", ");
    match (text.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(text),
        (false, more) => Some(format!("{text} and {more} more")),
    }
}

/// Whose configuration a file is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Repository,
    /// Where a submodule comes from and lies is written by every `git submodule update --init` of the user's.
    Submodule,
}

/// Places in the making.
struct Places<'a> {
    repository: &'a Repository,
    found: BTreeMap<String, Sha256>,
    configurations: usize,
    entries: usize,
}

impl<'a> Places<'a> {
    fn new(repository: &'a Repository) -> Self {
        Places { repository, found: BTreeMap::new(), configurations: 0, entries: 0 }
    }

    /// Adds to what a place holds: several of one name, as the values of a setting, count in their order.
    fn note(&mut self, place: &str, parts: &[&[u8]]) {
        let plain: String = place.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        let name = plain[..plain.floor_char_boundary(NAME_BYTES_MAX)].to_owned();
        let digest = self.found.entry(name).or_default();
        for part in [place.as_bytes()].iter().chain(parts) {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
    }

    /// Whatever is at `path`; nothing when nothing is.
    fn file(&mut self, place: &str, path: &Path, with_mode: bool) {
        let facts = match fs::symlink_metadata(path) {
            Ok(facts) => facts,
            Err(error) => return self.unread(place, &error),
        };
        if facts.is_dir() {
            return self.note(place, &[b"folder"]);
        }
        if facts.is_symlink() {
            let target = fs::read_link(path).unwrap_or_default();
            self.note(place, &[b"link", target.as_os_str().as_bytes()]);
        }
        // What a link leads to is what git would run.
        match fs::metadata(path) {
            Ok(facts) if facts.is_file() => {
                let mode = if with_mode { facts.permissions().mode() & 0o7777 } else { 0 };
                match digest_of(path) {
                    Ok(digest) => self.note(place, &[b"file", &mode.to_le_bytes(), &digest]),
                    Err(error) => self.unread(place, &error),
                }
            }
            Ok(facts) => self.note(place, &[b"other", &facts.permissions().mode().to_le_bytes()]),
            Err(error) => self.unread(place, &error),
        }
    }

    fn unread(&mut self, place: &str, error: &io::Error) {
        if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
            self.note(place, &[b"unread", error.to_string().as_bytes()]);
        }
    }

    /// Everything in a folder of hooks but git's samples.
    fn folder(&mut self, place: &str, path: &Path, depth: usize) {
        if let Ok(target) = fs::read_link(path) {
            self.note(place, &[b"link", target.as_os_str().as_bytes()]);
        }
        for name in self.entries(path) {
            if Path::new(&name).extension() == Some(OsStr::new("sample")) {
                continue;
            }
            let (place, path) = (format!("{place}/{}", Path::new(&name).display()), path.join(&name));
            if depth < FOLDERS_DEPTH_MAX && path.symlink_metadata().is_ok_and(|facts| facts.is_dir()) {
                self.folder(&place, &path, depth + 1);
            } else {
                self.file(&place, &path, true);
            }
        }
    }

    /// The names in a folder, in order; nothing when there is none.
    fn entries(&mut self, folder: &Path) -> Vec<std::ffi::OsString> {
        let Ok(entries) = fs::read_dir(folder) else { return vec![] };
        let room = ENTRIES_MAX.saturating_sub(self.entries);
        let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).take(room).collect();
        self.entries += names.len();
        names.sort();
        names
    }

    /// The git folders of submodules that are checked out in the main checkout.
    fn modules(&mut self, folder: &Path, place: &str, depth: usize) -> Result<(), GitError> {
        for name in self.entries(folder) {
            let (place, path) = (format!("{place}/{}", Path::new(&name).display()), folder.join(&name));
            if path.join("HEAD").is_file() {
                self.configuration(&format!("{place}/config"), &path.join("config"), Scope::Submodule, 0)?;
                self.folder(&format!("{place}/hooks"), &path.join("hooks"), 0);
                if depth < FOLDERS_DEPTH_MAX {
                    self.modules(&path.join("modules"), &format!("{place}/modules"), depth + 1)?;
                }
            } else if depth < FOLDERS_DEPTH_MAX && path.symlink_metadata().is_ok_and(|facts| facts.is_dir()) {
                self.modules(&path, &place, depth + 1)?;
            }
        }
        Ok(())
    }

    /// The watched settings in a file, and in those that it includes.
    fn configuration(
        &mut self,
        place: &str,
        path: &Path,
        scope: Scope,
        depth: usize,
    ) -> Result<(), GitError> {
        if let Ok(target) = fs::read_link(path) {
            self.note(place, &[b"link", target.as_os_str().as_bytes()]);
        }
        let Ok(facts) = fs::metadata(path) else { return Ok(()) };
        // Neither a pipe nor a device: reading those never ends.
        let bytes = if facts.is_file() { read_start(path, CONFIGURATION_BYTES_MAX + 1).ok() } else { None };
        let is_within = |bytes: &Vec<u8>| bytes.len() <= CONFIGURATION_BYTES_MAX;
        self.configurations += 1;
        let Some(bytes) = bytes.filter(is_within).filter(|_| self.configurations <= CONFIGURATIONS_MAX)
        else {
            self.file(place, path, false);
            return Ok(());
        };
        let call = self.repository.on_objects("guard").args(["config", "--file", "-", "--null", "--list"]);
        let said = match call.arg("--no-includes").stdin(bytes.clone()).run() {
            Ok(said) => said.stdout,
            Err(error) if error.timed_out || error.git_missing => return Err(error),
            // git would obey none of it; it is a place all the same.
            Err(_) => {
                self.note(place, &[b"not understood", &bytes]);
                return Ok(());
            }
        };
        for entry in said.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()) {
            let mut parts = entry.splitn(2, |byte| *byte == b'\n');
            let key = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
            self.setting(place, path, scope, depth, &key, parts.next())?;
        }
        Ok(())
    }

    fn setting(
        &mut self,
        place: &str,
        file: &Path,
        scope: Scope,
        depth: usize,
        key: &str,
        value: Option<&[u8]>,
    ) -> Result<(), GitError> {
        let Some((section, name)) = watched(key) else { return Ok(()) };
        if scope == Scope::Submodule && (section == "remote" || key == "core.worktree") {
            return Ok(());
        }
        let shown = if place == "config" { key.to_owned() } else { format!("{key} in {place}") };
        self.note(&shown, &[value.map_or(b"".as_slice(), |_| b"="), value.unwrap_or_default()]);
        let Some(path) = value.map(|value| in_place(file, value)) else { return Ok(()) };
        if section.starts_with("include") && name == "path" && depth < INCLUDES_DEPTH_MAX {
            // Whatever the condition: it may be true for the next git.
            self.configuration(&path.display().to_string(), &path, scope, depth + 1)?;
        }
        // Below the checkout hooks are files of the project like any other, and change with what lands.
        if key == "core.hookspath" && !path.starts_with(self.repository.top()) && path.is_dir() {
            self.folder(&path.display().to_string(), &path, 0);
        }
        Ok(())
    }

    fn done(self) -> BTreeMap<String, String> {
        let hex = |digest: Sha256| digest.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        let mut done: BTreeMap<String, String> = BTreeMap::new();
        let mut rest = Sha256::new();
        let count = self.found.len();
        for (name, digest) in self.found {
            if count <= PLACES_MAX || done.len() + 1 < PLACES_MAX {
                done.insert(name, hex(digest));
            } else {
                rest.update(name.as_bytes());
                rest.update(digest.finalize());
            }
        }
        if count > PLACES_MAX {
            done.insert("something further".to_owned(), hex(rest));
        }
        done
    }
}

/// The section and the name of a setting that makes git run something or write elsewhere. git gives both in lower case.
fn watched(key: &str) -> Option<(&str, &str)> {
    let (section, rest) = key.split_once('.')?;
    let name = rest.rsplit_once('.').map_or(rest, |(_, name)| name);
    let (_, names) = WATCHED.iter().find(|(watched, _)| *watched == section)?;
    (names.is_empty() || names.contains(&name)).then_some((section, name))
}

/// A path in a setting, as git reads it.
fn in_place(file: &Path, value: &[u8]) -> PathBuf {
    let path = Path::new(OsStr::from_bytes(value));
    match (path.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) => Path::new(&home).join(rest),
        _ => file.parent().unwrap_or(Path::new("/")).join(path),
    }
}

fn read_start(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn digest_of(path: &Path) -> io::Result<[u8; 32]> {
    let file = File::open(path)?;
    let mut digest = Sha256::new();
    digest.update(file.metadata()?.len().to_le_bytes());
    let mut file = file.take(FILE_BYTES_MAX);
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(digest.finalize().into());
        }
        digest.update(&buffer[..count]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_runs_is_watched_and_what_a_person_sets_in_passing_is_not() {
        for key in [
            "core.hookspath",
            "core.fsmonitor",
            "filter.a.b.clean",
            "alias.co",
            "merge.x.driver",
            "diff.x.textconv",
            "diff.external",
            "gpg.ssh.program",
            "includeif.gitdir:/x.path",
            "remote.origin.url",
            "credential.https://x.helper",
            "submodule.x.update",
            "hook.x.command",
        ] {
            assert!(watched(key).is_some(), "{key}");
        }
        for key in [
            "user.name",
            "branch.main.remote",
            "branch.main.merge",
            "remote.origin.fetch",
            "push.autosetupremote",
            "core.bare",
            "submodule.x.url",
            "extensions.worktreeconfig",
            "merge.conflictstyle",
            "x",
        ] {
            assert!(watched(key).is_none(), "{key}");
        }
    }

    #[test]
    fn changes_are_told_by_place_and_bounded() {
        let places = |held: &[(&str, &str)]| -> BTreeMap<String, String> {
            held.iter().map(|(place, held)| ((*place).to_owned(), (*held).to_owned())).collect()
        };
        let then = places(&[("a", "1"), ("b", "1"), ("core.pager in worktrees/x/config.worktree", "1")]);
        assert_eq!(difference(&then, &then), None);
        let now = places(&[("b", "2"), ("c", "1")]);
        assert_eq!(difference(&then, &now).as_deref(), Some("b was changed, c was added, a was removed"));
        let many: Vec<_> = (0..9).map(|n| n.to_string()).collect();
        let many = places(&many.iter().map(|name| (name.as_str(), "1")).collect::<Vec<_>>());
        assert!(difference(&places(&[]), &many).is_some_and(|text| text.ends_with("4 was added and 4 more")));
    }
}

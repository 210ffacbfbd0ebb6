//! One project's repository. Knows its three folders (checkout, common git folder, control git folder), the
//! identity commits get and the lock; unaware of what is done with them.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use ropewalk_core::id::Oid;
use rustix::fs::{FlockOperation, flock};

use super::run::{Call, GitError, Said};

/// Settings that say how files on this file system map to blobs. They run nothing, so they are carried over
/// from the user's configuration; all others are not.
const CARRIED: [&str; 8] = [
    "core.filemode",
    "core.symlinks",
    "core.ignorecase",
    "core.precomposeunicode",
    "core.autocrlf",
    "core.eol",
    "core.checkstat",
    "core.trustctime",
];

/// Nothing is converted. `!` takes back what a worktree's file says where no value would switch it off.
const EXACT: &str = "* -text -crlf -ident -filter !eol !working-tree-encoding -diff -merge\n";

/// A project's repository as Ropewalk uses it. Cheap to clone; every method blocks on git.
#[derive(Clone, Debug)]
pub struct Repository {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    top: PathBuf,
    common: PathBuf,
    control: PathBuf,
    identity: Identity,
    /// As git writes it into a commit, once it was asked.
    committer: OnceLock<String>,
    carried: Vec<String>,
    turn: Arc<Mutex<()>>,
}

#[derive(Debug)]
struct Identity {
    name: String,
    email: String,
}

/// Holds every other writer of this repository's refs and worktrees off, in this process and others.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    _file: File,
    _guard: MutexGuard<'a, ()>,
}

impl Repository {
    /// Opens a repository that [`discover`](super::discover) found; makes the control folder when absent.
    ///
    /// # Errors
    /// When a folder cannot be reached or the repository's format is one that we cannot write to.
    pub fn open(top: &Path, common_dir: &Path, control_dir: &Path) -> Result<Self, GitError> {
        let real = |path: &Path| path.canonicalize().map_err(|e| GitError::io("open", path, &e));
        let (top, common) = (real(top)?, real(common_dir)?);
        let config = read_configuration(&common)?;
        if config.get("extensions.refstorage").is_some_and(|storage| storage != "files") {
            return Err(GitError::new(
                "open",
                &top,
                "its refs are stored as reftable, which is not supported",
            ));
        }
        let format = config.get("extensions.objectformat").map_or("sha1", String::as_str);
        make_control(control_dir, format)?;
        let inner = Inner {
            control: real(control_dir)?,
            identity: identity(&config),
            committer: OnceLock::new(),
            carried: CARRIED.iter().filter_map(|key| Some(format!("{key}={}", config.get(*key)?))).collect(),
            turn: turn_of(&common),
            top,
            common,
        };
        Ok(Repository { inner: Arc::new(inner) })
    }

    pub(crate) fn top(&self) -> &Path {
        &self.inner.top
    }

    pub(crate) fn common(&self) -> &Path {
        &self.inner.common
    }

    pub(crate) fn control(&self) -> &Path {
        &self.inner.control
    }

    /// The settings that say how files on this file system map to blobs.
    pub(crate) fn carried(&self) -> &[String] {
        &self.inner.carried
    }

    /// A call that reads or writes refs and worktrees of the user's repository.
    pub(crate) fn on_refs(&self, operation: &'static str) -> Call {
        let call = Call::new(operation, self.common()).about(self.top());
        self.signed(call, None).arg(git_dir(self.common()))
    }

    /// A call that looks at objects, or makes them, under no configuration but ours.
    pub(crate) fn on_objects(&self, operation: &'static str) -> Call {
        let call = Call::new(operation, self.control()).about(self.top());
        let call = call.env("GIT_OBJECT_DIRECTORY", self.common().join("objects"));
        let shallow = self.common().join("shallow");
        // A shallow clone's history ends where this file says; without it the missing parents are an error.
        let call = if shallow.is_file() { call.env("GIT_SHALLOW_FILE", shallow) } else { call };
        call.arg(git_dir(self.control()))
    }

    /// A call on the files in `folder` with `index`, under no configuration but ours.
    pub(crate) fn on_files(&self, operation: &'static str, folder: &Path, index: &Path) -> Call {
        let mut excludes = std::ffi::OsString::from("core.excludesFile=");
        excludes.push(self.common().join("info/exclude"));
        let mut work_tree = std::ffi::OsString::from("--work-tree=");
        work_tree.push(folder);
        let mut call = self.on_objects(operation).env("GIT_INDEX_FILE", index).arg(work_tree);
        for setting in &self.inner.carried {
            call = call.arg("-c").arg(setting);
        }
        call.arg("-c").arg(excludes)
    }

    /// As [`on_files`](Self::on_files), but every byte of a file is taken and given as it is: no attribute of a worktree's
    /// asks for another line end, encoding or keyword.
    pub(crate) fn on_exact_files(
        &self,
        operation: &'static str,
        folder: &Path,
        index: &Path,
    ) -> Result<Call, GitError> {
        let exact = self.exact_folder()?;
        // What a stopped clock or a forged time hides from a quick look, a change of the inode tells.
        let sharp =
            ["-c", "core.trustctime=true", "-c", "core.checkStat=default", "-c", "core.autocrlf=false"];
        Ok(self.on_files(operation, folder, index).args(sharp).arg(git_dir(&exact)))
    }

    /// A git folder with nothing but attributes that outrank those of any worktree, made when absent.
    fn exact_folder(&self) -> Result<PathBuf, GitError> {
        let exact = self.control().join("exact");
        let attributes = exact.join("info/attributes");
        if attributes.is_file() {
            return Ok(exact);
        }
        let failed = |error: std::io::Error| GitError::io("init", &exact, &error);
        let _guard = self.inner.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let format = self.on_objects("rev-parse").args(["rev-parse", "--show-object-format"]).run()?.text();
        make_control(&exact, &format)?;
        let fresh = self.scratch("attributes");
        fs::create_dir_all(exact.join("info")).map_err(failed)?;
        fs::write(&fresh.0, EXACT).map_err(failed)?;
        fs::rename(&fresh.0, &attributes).map_err(failed)?;
        Ok(exact)
    }

    /// Runs `commit-tree`. The same arguments give the same commit.
    pub(crate) fn commit_tree(
        &self,
        tree: &str,
        parents: &[&str],
        message: &str,
        at_ms: i64,
    ) -> Result<Said, GitError> {
        let mut call = self.signed(self.on_objects("commit"), Some(at_ms)).args(["commit-tree", tree]);
        for parent in parents {
            call = call.args(["-p", parent]);
        }
        call.args(["-F", "-"]).stdin(message.as_bytes()).run()
    }

    /// The name and the address that commits get, as git writes them: what it strips differs between versions.
    pub(crate) fn committer(&self) -> Result<&str, GitError> {
        if let Some(committer) = self.inner.committer.get() {
            return Ok(committer);
        }
        let said =
            self.signed(self.on_objects("var"), Some(0)).args(["var", "GIT_COMMITTER_IDENT"]).run()?.text();
        // A date follows.
        let end = said.rfind('>').map_or(said.len(), |at| at + 1);
        Ok(self.inner.committer.get_or_init(|| said[..end].to_owned()))
    }

    /// A commit's date.
    pub(crate) fn seconds(at_ms: i64) -> i64 {
        at_ms.div_euclid(1000).max(0)
    }

    /// The line of a reflog that begins at `commit`.
    pub(crate) fn first_log_entry(&self, commit: &Oid) -> String {
        let Identity { name, email } = &self.inner.identity;
        let nothing = "0".repeat(commit.as_str().len());
        let at_s = crate::clock::wall_ms().div_euclid(1000);
        format!("{nothing} {commit} {name} <{email}> {at_s} +0000\tropewalk: make worktree\n")
    }

    fn signed(&self, call: Call, at_ms: Option<i64>) -> Call {
        let Identity { name, email } = &self.inner.identity;
        let mut call = call;
        for (role_name, role_email, role_date) in [
            ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_AUTHOR_DATE"),
            ("GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "GIT_COMMITTER_DATE"),
        ] {
            call = call.env(role_name, name).env(role_email, email);
            if let Some(at_ms) = at_ms {
                // git's own format; a bare small number would be read as a calendar date.
                call = call.env(role_date, format!("@{} +0000", Self::seconds(at_ms)));
            }
        }
        call
    }

    /// Waits until no one else writes refs or worktrees of this repository.
    pub(crate) fn take_turn(&self) -> Result<Turn<'_>, GitError> {
        let guard = self.inner.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.control().join("ropewalk.lock");
        let failed = |error: std::io::Error| GitError::io("lock", &path, &error);
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        flock(&file, FlockOperation::LockExclusive).map_err(|errno| failed(errno.into()))?;
        Ok(Turn { _file: file, _guard: guard })
    }

    /// A path in the control folder that no one else uses.
    pub(crate) fn scratch(&self, what: &str) -> Scratch {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let scratch = Scratch(self.control().join(format!("tmp-{what}-{}-{number}", std::process::id())));
        // In a container pids repeat: what a killed predecessor of this name left would refuse us.
        scratch.remove();
        scratch
    }
}

/// A file that goes away with its name, and its lock file too.
#[derive(Debug)]
pub(crate) struct Scratch(pub PathBuf);

impl Scratch {
    fn remove(&self) {
        let mut lock = self.0.clone().into_os_string();
        lock.push(".lock");
        let _ = fs::remove_file(&self.0);
        let _ = fs::remove_file(lock);
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.remove();
    }
}

pub(crate) fn git_dir(folder: &Path) -> std::ffi::OsString {
    let mut arg = std::ffi::OsString::from("--git-dir=");
    arg.push(folder);
    arg
}

fn turn_of(common: &Path) -> Arc<Mutex<()>> {
    static TURNS: OnceLock<Mutex<HashMap<PathBuf, Arc<Mutex<()>>>>> = OnceLock::new();
    let mut turns = TURNS.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(turns.entry(common.to_owned()).or_default())
}

/// The last value of every setting. The person's own configuration counts here: it may hold their name.
fn read_configuration(common: &Path) -> Result<HashMap<String, String>, GitError> {
    let call = Call::new("config", common).with_callers_configuration().arg(git_dir(common));
    let said = call.args(["config", "--includes", "--null", "--list"]).run()?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let entry = |entry: &str| match entry.split_once('\n') {
        Some((key, value)) => (key.to_owned(), value.to_owned()),
        None => (entry.to_owned(), "true".to_owned()),
    };
    Ok(text.split('\0').filter(|text| !text.is_empty()).map(entry).collect())
}

fn identity(config: &HashMap<String, String>) -> Identity {
    let usable = |key: &str| config.get(key).map(|value| value.trim()).filter(|value| !value.is_empty());
    match (usable("user.name"), usable("user.email")) {
        (Some(name), Some(email)) => Identity { name: name.to_owned(), email: email.to_owned() },
        _ => Identity { name: "Ropewalk".to_owned(), email: "ropewalk@localhost".to_owned() },
    }
}

fn make_control(control: &Path, format: &str) -> Result<(), GitError> {
    if control.join("HEAD").is_file() {
        return Ok(());
    }
    let failed = |error: std::io::Error| GitError::io("init", control, &error);
    let parent = control.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).map_err(failed)?;
    let mut name = control.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let fresh = parent.join(name);
    let _ = fs::remove_dir_all(&fresh);
    let mut call = Call::new("init", parent).args(["init", "--quiet", "--bare", "--template="]);
    if format != "sha1" {
        call = call.arg(format!("--object-format={format}"));
    }
    call.arg(&fresh).run()?;
    // HEAD names a branch that never exists: no call may depend on it.
    match fs::rename(&fresh, control) {
        Err(error) if !control.join("HEAD").is_file() => Err(failed(error)),
        Err(_) => fs::remove_dir_all(&fresh).map_err(failed),
        Ok(()) => Ok(()),
    }
}

//! A bench for the real program: a repository, a state folder and a folder for the fake agent's record, all
//! temporary; every process it starts has a deadline. Knows the program's words and exit codes only.

pub(crate) mod plain;
pub(crate) mod processes;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

/// No command of these tests takes a tenth of this on a machine of two slow cores.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// How often a wait looks, where nothing tells us of the event.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The one way to wait for something: looks until it is there.
///
/// # Panics
/// When the deadline has passed.
pub(crate) fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait_at_most(DEADLINE, look).unwrap_or_else(|| panic!("{what}: not within {DEADLINE:?}"))
}

/// Looks until it is there or the time is over.
pub(crate) fn wait_at_most<T>(span: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let until = Instant::now() + span;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= until {
            return None;
        }
        std::thread::park_timeout(LOOK_AGAIN);
    }
}

/// A repository, a state folder, and room for the rest.
pub(crate) struct Bench {
    /// Gone with the bench.
    _folder: tempfile::TempDir,
    pub(crate) repo: PathBuf,
    pub(crate) home: PathBuf,
    started: AtomicU32,
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) args: String,
    /// `None`: ended by an OS signal.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A command that is running. Killed when dropped.
pub(crate) struct Running {
    args: String,
    pub(crate) child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Default for Bench {
    fn default() -> Self {
        Bench::new()
    }
}

impl Bench {
    /// With a repository of one commit on `main`.
    pub(crate) fn new() -> Bench {
        let bench = Bench::bare_of_repository();
        bench.git(&["init", "-q", "-b", "main"]);
        bench.git(&["config", "user.name", "Bench"]);
        bench.git(&["config", "user.email", "bench@ropewalk.invalid"]);
        bench.write("README.md", "a bench\n");
        bench.write("shared.txt", "first\nmiddle\nlast\n");
        bench.git(&["add", "-A"]);
        bench.git(&["commit", "-qm", "Start"]);
        bench
    }

    /// With a folder that is no repository.
    pub(crate) fn bare_of_repository() -> Bench {
        let folder = tempfile::Builder::new().prefix("ropewalk-bench-").tempdir().expect("a folder");
        let root = folder.path().canonicalize().expect("its path");
        for name in ["repo", "agent", "user", "out"] {
            fs::create_dir(root.join(name)).expect("a folder in it");
        }
        Bench {
            repo: root.join("repo"),
            home: root.join("state"),
            _folder: folder,
            started: AtomicU32::new(0),
        }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.repo.parent().expect("the bench").to_owned()
    }

    /// Where the fake agent keeps its record and looks for its gates.
    pub(crate) fn agent_folder(&self) -> PathBuf {
        self.root().join("agent")
    }

    /// The fake agent's command line, with steps for stories that have none.
    pub(crate) fn agent(&self, steps: &str) -> String {
        format!("{} {} {}", fake_agent().display(), self.agent_folder().display(), quoted(steps))
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.repo.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("its folder");
        fs::write(&path, text).expect("a file");
        path
    }

    /// Writes the project's settings and trusts them.
    pub(crate) fn configure(&self, text: &str) {
        self.write("ropewalk.toml", text);
        self.trust();
    }

    /// Lets what the project's settings ask for be run.
    pub(crate) fn trust(&self) {
        self.expect(0, &["trust", "--yes"]);
    }

    /// Writes a PRD beside the repository: it is no part of the user's checkout.
    pub(crate) fn prd(&self, stories: &[Story]) -> PathBuf {
        self.prd_named("prd.json", stories)
    }

    pub(crate) fn prd_named(&self, name: &str, stories: &[Story]) -> PathBuf {
        let stories: Vec<_> = stories.iter().map(Story::json).collect();
        let path = self.root().join(name);
        let document = serde_json::json!({"title": "A bench's PRD", "userStories": stories});
        fs::write(&path, document.to_string()).expect("a PRD");
        path
    }

    pub(crate) fn open_gate(&self, name: &str) {
        fs::write(self.agent_folder().join(name), "").expect("a gate");
    }

    /// The program, at home here and unaware of the user's own settings.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ropewalk"));
        command.args(args).current_dir(&self.repo);
        self.furnish(&mut command);
        command
    }

    fn furnish(&self, command: &mut Command) {
        let user = self.root().join("user");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ROPEWALK_") || name.to_string_lossy().starts_with("GIT_") {
                command.env_remove(name);
            }
        }
        command
            .env("HOME", &user)
            .env("XDG_CONFIG_HOME", user.join("config"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("ROPEWALK_HOME", &self.home)
            // A stop ends what runs at once; the tests of the grace give their own.
            .env("ROPEWALK_ENGINE_STOP_GRACE", "0s")
            .stdin(Stdio::null());
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.spawn(args).wait()
    }

    /// Runs it and wants this exit code.
    pub(crate) fn expect(&self, code: i32, args: &[&str]) -> Ran {
        self.run(args).expect(code)
    }

    /// Runs it with `--json` and wants success: the value.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let args: Vec<_> = args.iter().copied().chain(["--json"]).collect();
        self.expect(0, &args).value()
    }

    pub(crate) fn spawn(&self, args: &[&str]) -> Running {
        self.start(self.command(args), args.join(" "))
    }

    pub(crate) fn start(&self, mut command: Command, args: String) -> Running {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let out = self.root().join("out");
        let (stdout, stderr) = (out.join(format!("{number}.out")), out.join(format!("{number}.err")));
        let create = |path: &Path| File::create(path).expect("a file for output");
        let child =
            command.stdout(create(&stdout)).stderr(create(&stderr)).spawn().expect("the program starts");
        Running { args, child, stdout, stderr }
    }

    /// What git prints, in the user's checkout.
    pub(crate) fn git(&self, args: &[&str]) -> String {
        self.git_in(&self.repo, args)
    }

    pub(crate) fn git_in(&self, folder: &Path, args: &[&str]) -> String {
        let mut command = Command::new("git");
        self.furnish(&mut command);
        let output = command.args(args).current_dir(folder).output().expect("git");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "git {args:?} failed: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        text
    }

    /// As [`Bench::git`], where failing is no fault.
    pub(crate) fn git_may_fail(&self, args: &[&str]) -> bool {
        let mut command = Command::new("git");
        self.furnish(&mut command);
        command.args(args).current_dir(&self.repo).output().expect("git").status.success()
    }

    /// The stories that landed on a branch, in their order: by the trailers of the merges on its first-parent
    /// line.
    pub(crate) fn landed_on(&self, branch: &str) -> Vec<Landed> {
        let format = "--format=%(trailers:key=Ropewalk-Task,valueonly,separator=%x2C)%x09%P%x09%s";
        let log = self.git(&["log", "--first-parent", "--reverse", format, branch]);
        let landed = log.lines().filter_map(|line| {
            let mut fields = line.splitn(3, '\t');
            let (task, parents, subject) = (fields.next()?, fields.next()?, fields.next()?);
            let task = task.parse().ok()?;
            assert_eq!(parents.split(' ').count(), 2, "a landing that is no merge: {line}");
            let story = subject.split(':').next()?.to_owned();
            Some(Landed { task, story })
        });
        landed.collect()
    }

    /// Each story landed once, and after all that it depends on.
    pub(crate) fn assert_landed_in_order(&self, branch: &str, stories: &[Story]) {
        let landed: Vec<_> = self.landed_on(branch).into_iter().map(|landed| landed.story).collect();
        let place: BTreeMap<_, _> =
            landed.iter().enumerate().map(|(at, story)| (story.as_str(), at)).collect();
        let wanted: BTreeSet<_> = stories.iter().map(|story| story.id.as_str()).collect();
        assert_eq!(place.keys().copied().collect::<BTreeSet<_>>(), wanted, "what landed on {branch}");
        assert_eq!(landed.len(), wanted.len(), "each once: {landed:?}");
        for story in stories {
            for on in &story.after {
                assert!(
                    place[on.as_str()] < place[story.id.as_str()],
                    "{} before {on}: {landed:?}",
                    story.id
                );
            }
        }
    }

    /// What the fake agents wrote down.
    pub(crate) fn record(&self) -> Vec<Record> {
        let text = fs::read_to_string(self.agent_folder().join("attempts.log")).unwrap_or_default();
        // Of a line that is just being written only the beginning may be there.
        let (whole, _) = text.rsplit_once('\n').unwrap_or_default();
        whole.lines().map(Record::read).collect()
    }

    /// Waits until the record holds a line like this.
    pub(crate) fn wait_for_record(&self, what: &str, is_it: impl Fn(&Record) -> bool) -> Record {
        wait_for(what, || self.record().into_iter().find(&is_it))
    }

    /// No two attempts of one task ever lived at once.
    pub(crate) fn assert_no_clash(&self) {
        let clashes: Vec<_> = self.record().into_iter().filter(|record| record.what == "clash").collect();
        assert!(clashes.is_empty(), "two live attempts of one task: {clashes:?}");
    }

    /// Processes whose command line or environment names this bench, other than git's own helpers of the tests.
    pub(crate) fn processes(&self) -> Vec<(u32, String)> {
        let needle = self.root().to_string_lossy().into_owned();
        let has = |bytes: &[u8]| bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").expect("/proc").flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
            // Processes come and go while we look: one that has gone is none.
            let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
            let line = read("cmdline");
            // A zombie has neither.
            if has(&line) || has(&read("environ")) {
                found.push((pid, String::from_utf8_lossy(&line).replace('\0', " ")));
            }
        }
        found
    }

    /// Nothing is left over: no process, no worktree, no branch but the PRDs' own; repository and database are
    /// sound.
    pub(crate) fn assert_clean(&self, branches: &[&str]) {
        let left = || Some(()).filter(|()| self.processes().is_empty());
        if wait_at_most(Duration::from_secs(20), left).is_none() {
            panic!("processes are left over: {:#?}", self.processes());
        }
        // Those of failed attempts are kept for a person, who has seen enough now.
        self.expect(0, &["worktree", "prune", "--all"]);
        let worktrees = self.git(&["worktree", "list", "--porcelain"]);
        assert_eq!(worktrees.matches("worktree ").count(), 1, "worktrees are left over:\n{worktrees}");
        let mut folders: Vec<_> = entries(&self.home.join("worktrees"));
        folders.retain(|name| !name.starts_with(".spare-"));
        assert!(folders.is_empty(), "worktrees are left over: {folders:?}");
        let found = self.git(&["for-each-ref", "--format=%(refname:short)", "refs/heads"]);
        let found: BTreeSet<_> = found.lines().collect();
        assert_eq!(found, branches.iter().copied().collect(), "branches");
        self.git(&["fsck", "--strict", "--no-dangling"]);
        self.assert_database_is_sound();
        self.assert_no_clash();
    }

    /// The program itself checks the database after an unclean end, and refuses a damaged one; here its file is
    /// looked at once more by the same means, a fresh start.
    fn assert_database_is_sound(&self) {
        let journal = self.home.join("ropewalk.db-wal");
        assert!(!journal.exists(), "the database was not closed: {}", journal.display());
        self.expect(0, &["status", "--json"]);
    }

    /// Kills every process of this bench at once, workers and agents included.
    pub(crate) fn kill_all(&self) {
        wait_for("everything is killed", || {
            let processes = self.processes();
            send_all("-KILL", &processes.iter().map(|(pid, _)| *pid).collect::<Vec<_>>());
            processes.is_empty().then_some(())
        });
    }
}

impl Drop for Bench {
    /// A failed test leaves no process behind either.
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (pid, _) in self.processes() {
                send("-KILL", pid);
            }
            if std::env::var_os("KEEP_BENCH").is_some() {
                let kept = self.root().with_extension("kept");
                let _ = fs::rename(self.root(), &kept);
                eprintln_kept(&kept);
            }
        }
    }
}

#[expect(clippy::print_stderr, reason = "a failing test says where its traces are")]
fn eprintln_kept(kept: &Path) {
    eprintln!("the bench is kept in {}", kept.display());
}

/// Sends an OS signal to a process that may have gone.
pub(crate) fn send(os_signal: &str, pid: u32) {
    let _ = Command::new("kill").args([os_signal, &pid.to_string()]).stderr(Stdio::null()).status();
}

/// The same to many, at once.
pub(crate) fn send_all(os_signal: &str, pids: &[u32]) {
    let pids = pids.iter().map(ToString::to_string);
    let _ = Command::new("kill").arg(os_signal).args(pids).stderr(Stdio::null()).status();
}

fn entries(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn quoted(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("'{text}'") }
}

impl Running {
    pub(crate) fn wait(mut self) -> Ran {
        let ended = wait_at_most(DEADLINE, || self.child.try_wait().expect("a child of ours"));
        if ended.is_none() {
            let _ = self.child.kill();
        }
        let ran = self.read(ended);
        assert!(ended.is_some(), "not ended within {DEADLINE:?}: {ran}");
        ran
    }

    fn read(&self, status: Option<ExitStatus>) -> Ran {
        let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        Ran {
            args: self.args.clone(),
            code: status.and_then(|status| status.code()),
            stdout: read(&self.stdout),
            stderr: read(&self.stderr),
        }
    }

    /// `kill -9` of this process alone.
    pub(crate) fn kill(mut self) -> Ran {
        let _ = self.child.kill();
        let status = self.child.wait().ok();
        self.read(status)
    }

    pub(crate) fn interrupt(&self) {
        send("-INT", self.child.id());
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours").is_some()
    }

    /// Waits until it has said this on stderr.
    pub(crate) fn wait_for_word(&self, word: &str) {
        wait_for(word, || fs::read_to_string(&self.stderr).ok().filter(|text| text.contains(word)));
    }

    /// Waits until it has said this on stdout.
    pub(crate) fn wait_for_output(&self, word: &str) {
        wait_for(word, || fs::read_to_string(&self.stdout).ok().filter(|text| text.contains(word)));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Ran { args, code, stdout, stderr } = self;
        write!(f, "ropewalk {args}\nexit code {code:?}\n--- stdout\n{stdout}--- stderr\n{stderr}")
    }
}

impl Ran {
    pub(crate) fn expect(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "the exit code of {self}");
        self
    }

    /// Stdout as one JSON value, and nothing else.
    pub(crate) fn value(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("not one value: {error}: {self}"))
    }

    /// Says each of these, on whichever stream.
    pub(crate) fn says(&self, words: &[&str]) -> &Ran {
        for word in words {
            assert!(self.stdout.contains(word) || self.stderr.contains(word), "{word:?} is missing: {self}");
        }
        self
    }
}

/// A story of a bench's PRD.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    pub(crate) id: String,
    pub(crate) after: Vec<String>,
    /// What the fake agent is to do.
    pub(crate) steps: String,
    pub(crate) passes: bool,
}

/// A story without steps of its own.
pub(crate) fn story(id: &str, after: &[&str]) -> Story {
    let after = after.iter().map(|on| (*on).to_owned()).collect();
    Story { id: id.to_owned(), after, steps: String::new(), passes: false }
}

impl Story {
    pub(crate) fn steps(self, steps: &str) -> Story {
        Story { steps: steps.to_owned(), ..self }
    }

    pub(crate) fn claimed(self) -> Story {
        Story { passes: true, ..self }
    }

    fn json(&self) -> Value {
        let description =
            if self.steps.is_empty() { "Do it.".to_owned() } else { format!("Do it.\nfake: {}", self.steps) };
        serde_json::json!({
            "id": self.id,
            "title": format!("Story {}", self.id),
            "description": description,
            "acceptanceCriteria": ["It is done"],
            "dependencies": self.after,
            "passes": self.passes,
        })
    }
}

/// A merge on a branch's first-parent line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Landed {
    pub(crate) task: u64,
    pub(crate) story: String,
}

/// A line of the fake agent's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) task: String,
    pub(crate) attempt: u32,
    pub(crate) what: String,
    pub(crate) pid: u32,
}

impl Record {
    fn read(line: &str) -> Record {
        let fields: Vec<_> = line.split(' ').collect();
        let [task, attempt, what, pid] = fields[..] else { panic!("not a record: {line:?}") };
        Record {
            task: task.to_owned(),
            attempt: attempt.parse().expect("an attempt"),
            what: what.to_owned(),
            pid: pid.parse().expect("a pid"),
        }
    }
}

/// The fake agent's program; built when it is not there or older than its source.
pub(crate) fn fake_agent() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let own = std::env::current_exe().expect("this test's path");
        let profile = own.parent().and_then(Path::parent).expect("the profile's folder").to_owned();
        let program = profile.join("fake-agent");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sim/src/bin/fake-agent");
        let newest = entries(&source).iter().map(|name| changed(&source.join(name))).max();
        if Some(changed(&program)) < newest {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["build", "--offline", "-q", "-p", "ropewalk-sim", "--bin", "fake-agent"]);
            cargo.arg("--target-dir").arg(profile.parent().expect("the target folder"));
            if profile.ends_with("release") {
                cargo.arg("--release");
            }
            let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo");
            assert!(built.success(), "the fake agent does not build");
        }
        program
    })
}

fn changed(path: &Path) -> SystemTime {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    modified.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A small seeded sequence (Steele, Lea and Flood's SplitMix64): for moments, not for secrets.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

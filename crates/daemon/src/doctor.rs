//! What a machine offers to Ropewalk, line by line: there, weak or missing, and what to do about it. Knows what is
//! needed and how much is enough; unaware of how it is shown.
//!
//! It only looks, and needs neither a repository nor a state folder. What is found is told apart from what is thought
//! of it, so that the judgement can be tested for machines that are not at hand.

mod containment;

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use ropewalk_core::disk::{Floor, Free, size};
use ropewalk_host::clock::wall_ms;
use ropewalk_host::disk::{FileSystem, Kind, file_system, free};
use ropewalk_host::facility::{self, Inotify, OpenFiles};
use ropewalk_host::git::{GitError, version_check};
use ropewalk_host::system::Sampler;
use serde::{Deserialize, Serialize};

use crate::ipc;

/// Everything that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Whether all is there without which nothing can run.
    pub can_work: bool,
    pub findings: Vec<Finding>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable: scripts look for it.
    pub topic: String,
    pub grade: Grade,
    /// Whether nothing can run without it.
    pub is_needed: bool,
    /// What there is, in one sentence.
    pub text: String,
    /// What to do.
    pub advice: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    Ok,
    /// It works, with less certainty, or for less at once.
    Weak,
    Missing,
}

impl Grade {
    pub fn name(self) -> &'static str {
        match self {
            Grade::Ok => "ok",
            Grade::Weak => "weak",
            Grade::Missing => "missing",
        }
    }
}

impl Finding {
    fn new(topic: &str, grade: Grade, text: impl Into<String>) -> Finding {
        Finding { topic: topic.to_owned(), grade, is_needed: false, text: text.into(), advice: None }
    }

    fn ok(topic: &str, text: impl Into<String>) -> Finding {
        Finding::new(topic, Grade::Ok, text)
    }

    fn weak(topic: &str, text: impl Into<String>) -> Finding {
        Finding::new(topic, Grade::Weak, text)
    }

    fn missing(topic: &str, text: impl Into<String>) -> Finding {
        Finding::new(topic, Grade::Missing, text)
    }

    fn needed(mut self) -> Finding {
        self.is_needed = true;
        self
    }

    /// Grade, text and whether there is advice, short.
    #[cfg(test)]
    fn told(&self) -> String {
        let advice = if self.advice.is_some() { " +" } else { "" };
        format!("{} {}{advice}", self.grade.name(), self.text)
    }

    fn advice(mut self, advice: impl Into<String>) -> Finding {
        self.advice = Some(advice.into());
        self
    }
}

/// Looks at this machine and at the state folder `home`, or at why none can be named.
pub fn examine(home: Result<&Path, &str>, floor: &Floor) -> Report {
    let mut findings = vec![git(version_check())];
    findings.extend(containment::findings(&ropewalk_host::containment::survey()));
    findings.extend([
        subreaper(facility::has_subreaper()),
        pidfd(facility::has_pidfd()),
        pressure(Sampler::new().sample().pressure.is_some()),
        inotify(facility::inotify()),
        open_files(facility::open_files()),
        clock(facility::clock_source().as_deref(), wall_ms()),
        Finding::ok("sqlite", format!("{}, built in", ropewalk_store::sqlite_version())).needed(),
    ]);
    match home {
        Ok(home) => findings.extend(state(home, floor)),
        Err(why) => findings.push(no_home(why)),
    }
    let can_work = !findings.iter().any(|finding| finding.is_needed && finding.grade == Grade::Missing);
    Report { can_work, findings }
}

fn git(version: Result<String, GitError>) -> Finding {
    let finding = match version {
        Ok(version) => Finding::ok("git", format!("version {version}")),
        Err(error) if error.git_missing => {
            Finding::missing("git", "there is no git program on the PATH").advice("install git 2.39 or newer")
        }
        Err(error) => Finding::missing("git", error.detail).advice("install git 2.39 or newer"),
    };
    finding.needed()
}

fn subreaper(is_there: bool) -> Finding {
    const TOPIC: &str = "subreaper";
    match is_there {
        true => Finding::ok(TOPIC, "orphans of an agent come to its worker"),
        false => Finding::missing(TOPIC, "orphans of an agent are lost to its worker")
            .advice("use Linux 3.4 or newer, or a container that allows prctl"),
    }
}

fn pidfd(is_there: bool) -> Finding {
    const TOPIC: &str = "pidfd";
    let finding = match is_there {
        true => Finding::ok(TOPIC, "a process is named for ever, so none is signalled by mistake"),
        false => Finding::missing(TOPIC, "processes can be named by number only")
            .advice("use Linux 5.3 or newer, or a container that allows pidfd_open"),
    };
    finding.needed()
}

fn pressure(is_there: bool) -> Finding {
    const TOPIC: &str = "pressure";
    match is_there {
        true => Finding::ok(TOPIC, "the kernel tells how long work stood still"),
        false => {
            Finding::missing(TOPIC, "the kernel does not tell how long work stood still; all else works")
                .advice("start Linux 4.20 or newer with psi=1")
        }
    }
}

/// An attempt watches its two output files with an instance of its own; below 64 a desktop's other programs leave
/// no room for ten.
const INSTANCES_ENOUGH: u64 = 64;
/// The same, with as many watches as an editor takes for a small project.
const WATCHES_ENOUGH: u64 = 4_096;

fn inotify(found: Option<Inotify>) -> Finding {
    const TOPIC: &str = "inotify";
    let Some(Inotify { instances_max, watches_max }) = found else {
        return Finding::missing(TOPIC, "the kernel does not tell when a file has changed")
            .advice("use a kernel with inotify");
    };
    let text = format!("{instances_max} instances and {watches_max} watches for all of your programs");
    if instances_max < INSTANCES_ENOUGH || watches_max < WATCHES_ENOUGH {
        return Finding::weak(TOPIC, format!("{text}: enough for few attempts at once"))
            .advice("as root: sysctl fs.inotify.max_user_instances=512 fs.inotify.max_user_watches=65536");
    }
    Finding::ok(TOPIC, format!("{text}; an attempt takes 1 and 2"))
}

/// The engine holds a few descriptors per attempt, and what it starts inherits the bound: compilers and test suites
/// take hundreds.
const OPEN_FILES_ENOUGH: u64 = 1_024;

fn open_files(found: OpenFiles) -> Finding {
    const TOPIC: &str = "open-files";
    let Some(soft) = found.soft else { return Finding::ok(TOPIC, "any number at once") };
    let text = format!("{soft} at once");
    if soft >= OPEN_FILES_ENOUGH {
        return Finding::ok(TOPIC, text);
    }
    let advice = match found.hard {
        Some(hard) if hard < OPEN_FILES_ENOUGH => {
            "have root raise the hard limit in /etc/security/limits.conf"
        }
        Some(_) | None => "ulimit -n 4096, before ropewalk run",
    };
    Finding::weak(TOPIC, format!("{text}: an agent's build may need more")).advice(advice)
}

/// 2020-01-01: no machine that runs this was set right to a date before.
const OLDEST_DATE_MS: i64 = 1_577_836_800_000;

fn clock(source: Option<&str>, now_ms: i64) -> Finding {
    const TOPIC: &str = "clock";
    if now_ms < OLDEST_DATE_MS {
        return Finding::weak(TOPIC, "the date is years ago: deadlines hold, but records bear wrong times")
            .advice("set the machine's date");
    }
    let source = source.map(|source| format!(", counted by {source}")).unwrap_or_default();
    Finding::ok(TOPIC, format!("deadlines run on the boot-time clock{source}"))
}

fn no_home(why: &str) -> Finding {
    Finding::missing("state", why).needed().advice("set ROPEWALK_HOME to an absolute path")
}

/// What concerns the state folder, or where it will be.
fn state(home: &Path, floor: &Floor) -> Vec<Finding> {
    let mut findings = vec![folder(home, Folder::look(home))];
    // Until it is made, it is its first folder above that is there which decides.
    if let Some(there) = home.ancestors().find(|folder| folder.is_dir()) {
        let shown = there.display().to_string();
        findings.push(disk(&shown, free(there).map_err(|error| error.to_string()), floor));
        findings.push(kind(file_system(there).map_err(|error| error.to_string())));
    }
    findings.push(engine(ipc::connect(home).is_ok()));
    findings
}

/// What there is at the state folder's path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Folder {
    /// Nothing, and the folder in which it would be made may be written, or why not.
    Absent(Result<(), String>),
    /// By something that is no folder.
    Occupied,
    There {
        /// The lower nine bits.
        mode: u32,
        is_ours: bool,
        may_write: bool,
    },
    Unknown(String),
}

impl Folder {
    fn look(home: &Path) -> Folder {
        match fs::metadata(home) {
            Ok(found) if !found.is_dir() => Folder::Occupied,
            Ok(found) => Folder::There {
                mode: found.permissions().mode() & 0o777,
                is_ours: found.uid() == facility::user_id(),
                may_write: facility::may_write(home).is_ok(),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Folder::Absent(may_make(home)),
            Err(error) => Folder::Unknown(error.to_string()),
        }
    }
}

/// Whether a folder can be made, with those above it.
fn may_make(home: &Path) -> Result<(), String> {
    let above = home.ancestors().skip(1).find(|folder| folder.exists());
    let above = above.ok_or("it is in no folder")?;
    facility::may_write(above).map_err(|error| format!("{}: {error}", above.display()))
}

fn folder(home: &Path, found: Folder) -> Finding {
    const TOPIC: &str = "state";
    let shown = home.display();
    let elsewhere = "set ROPEWALK_HOME to a folder of your own on a local disk";
    let finding = match found {
        Folder::Absent(Ok(())) => Finding::ok(TOPIC, format!("{shown} will be made when it is first needed")),
        Folder::Absent(Err(why)) => {
            Finding::missing(TOPIC, format!("{shown} cannot be made: {why}")).advice(elsewhere)
        }
        Folder::Occupied => Finding::missing(TOPIC, format!("{shown} is no folder")).advice(elsewhere),
        Folder::Unknown(why) => {
            Finding::missing(TOPIC, format!("{shown} cannot be looked at: {why}")).advice(elsewhere)
        }
        Folder::There { may_write: false, .. } => {
            Finding::missing(TOPIC, format!("{shown} may not be written")).advice(elsewhere)
        }
        Folder::There { is_ours: false, .. } => {
            Finding::weak(TOPIC, format!("{shown} belongs to another user, who can change what is in it"))
                .advice(elsewhere)
        }
        Folder::There { mode, .. } if mode & 0o077 != 0 => {
            Finding::weak(TOPIC, format!("{shown} is open to other users (mode {mode:04o})"))
                .advice(format!("chmod 700 {shown}; the next run does it too"))
        }
        Folder::There { mode, .. } => Finding::ok(TOPIC, format!("{shown}, mode {mode:04o}")),
    };
    finding.needed()
}

fn disk(path: &str, found: Result<Free, String>, floor: &Floor) -> Finding {
    const TOPIC: &str = "disk";
    let free = match found {
        Ok(free) => free,
        Err(why) => return Finding::weak(TOPIC, why),
    };
    match floor.check(path, &free) {
        Ok(()) => {
            let inodes = match free.total_inodes {
                0 => String::new(),
                _ => format!(" and room for {} files", free.free_inodes),
            };
            let (free, total) = (size(free.free_bytes), size(free.total_bytes));
            Finding::ok(TOPIC, format!("{free} of {total} free{inodes}")).needed()
        }
        Err(low) => Finding::missing(TOPIC, format!("{low}: no new work begins"))
            .needed()
            .advice("free some room, or set ROPEWALK_HOME to a folder on another disk"),
    }
}

fn kind(found: Result<FileSystem, String>) -> Finding {
    const TOPIC: &str = "file-system";
    let FileSystem { name, kind } = match found {
        Ok(found) => found,
        Err(why) => return Finding::weak(TOPIC, why),
    };
    let advice = "set ROPEWALK_HOME to a folder on a local disk";
    match kind {
        Kind::Local => Finding::ok(TOPIC, name),
        Kind::Memory => {
            Finding::weak(TOPIC, format!("{name}: all state is gone after a restart")).advice(advice)
        }
        Kind::Remote => {
            Finding::weak(TOPIC, format!("{name}: the database's log is not safe on a network file system"))
                .advice(advice)
        }
        Kind::Unknown => Finding::weak(
            TOPIC,
            format!("{name}: the database is not safe there if it is a network file system"),
        )
        .advice(advice),
    }
}

fn engine(is_running: bool) -> Finding {
    let text =
        if is_running { "one serves this state folder" } else { "none is running; `ropewalk run` starts it" };
    Finding::ok("engine", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_looked_at_and_nothing_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("not/there");
        let report = examine(Ok(&home), &Floor { bytes: 0, inodes: 0 });
        assert!(report.can_work, "{report:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let topics: Vec<&str> = report.findings.iter().map(|finding| finding.topic.as_str()).collect();
        let expected = [
            "git",
            "containment",
            "cgroup",
            "limits",
            "subreaper",
            "pidfd",
            "pressure",
            "inotify",
            "open-files",
            "clock",
            "sqlite",
            "state",
            "disk",
            "file-system",
            "engine",
        ];
        assert_eq!(topics, expected);
        for finding in &report.findings {
            assert!(!finding.text.is_empty() && !finding.text.contains('\n'), "{finding:?}");
        }
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    }

    #[test]
    fn without_a_state_folder_the_rest_is_told_and_nothing_can_run() {
        let report = examine(Err("HOME is not set"), &Floor::default());
        let state = report.findings.iter().find(|finding| finding.topic == "state").unwrap();
        assert_eq!(state.told(), "missing HOME is not set +");
        assert!(!report.can_work && report.findings.len() == 12);
    }

    #[test]
    fn the_state_folder_is_judged_by_what_is_there() {
        let there = |mode, is_ours, may_write| Folder::There { mode, is_ours, may_write };
        let cases = [
            (Folder::Absent(Ok(())), "ok /h will be made when it is first needed"),
            (Folder::Absent(Err("/: no".into())), "missing /h cannot be made: /: no +"),
            (Folder::Occupied, "missing /h is no folder +"),
            (Folder::Unknown("no".into()), "missing /h cannot be looked at: no +"),
            (there(0o700, true, true), "ok /h, mode 0700"),
            (there(0o755, true, true), "weak /h is open to other users (mode 0755) +"),
            (there(0o700, false, true), "weak /h belongs to another user, who can change what is in it +"),
            (there(0o500, true, false), "missing /h may not be written +"),
        ];
        for (found, expected) in cases {
            let finding = folder(Path::new("/h"), found);
            assert_eq!((finding.told().as_str(), finding.is_needed), (expected, true));
        }
    }

    #[test]
    fn what_is_at_the_path_is_seen_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("wide")).unwrap();
        fs::set_permissions(at("wide"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(at("file"), "").unwrap();
        assert_eq!(Folder::look(&at("wide")), Folder::There { mode: 0o755, is_ours: true, may_write: true });
        assert_eq!(Folder::look(&at("file")), Folder::Occupied);
        assert_eq!(Folder::look(&at("a/b/c")), Folder::Absent(Ok(())));
        // Below a file nothing can be made; the kernel says so, to root too.
        assert!(matches!(Folder::look(&at("file/x")), Folder::Unknown(_)));
    }

    #[test]
    fn disks_and_file_systems_are_judged() {
        let floor = Floor::default();
        let gib = 1_u64 << 30;
        let room = |free_gib, inodes| Free {
            free_bytes: free_gib * gib,
            total_bytes: 100 * gib,
            free_inodes: inodes,
            total_inodes: inodes * 2,
        };
        let cases = [
            (disk("/h", Ok(room(50, 5_000)), &floor), "ok 50 GiB of 100 GiB free and room for 5000 files"),
            (disk("/h", Ok(room(50, 0)), &floor), "ok 50 GiB of 100 GiB free"),
            (
                disk("/h", Ok(room(0, 5_000)), &floor),
                "missing /h has 0 B free, less than the floor of 1.0 GiB: no new work begins +",
            ),
            (disk("/h", Err("cannot".into()), &floor), "weak cannot"),
        ];
        for (finding, expected) in cases {
            assert_eq!(finding.told(), expected);
        }
        let graded = |kind_of| kind(Ok(FileSystem { name: "x".into(), kind: kind_of })).grade;
        assert_eq!(
            [Kind::Local, Kind::Memory, Kind::Remote, Kind::Unknown].map(graded),
            [Grade::Ok, Grade::Weak, Grade::Weak, Grade::Weak]
        );
    }

    #[test]
    fn each_facility_is_judged_at_its_borders() {
        let watches =
            |instances_max, watches_max| inotify(Some(Inotify { instances_max, watches_max })).grade;
        assert_eq!(
            [watches(64, 4_096), watches(63, 4_096), watches(64, 4_095), inotify(None).grade],
            [Grade::Ok, Grade::Weak, Grade::Weak, Grade::Missing]
        );
        let files = |soft, hard| open_files(OpenFiles { soft, hard }).told();
        assert_eq!(files(None, None), "ok any number at once");
        assert_eq!(files(Some(1_024), Some(1_024)), "ok 1024 at once");
        assert_eq!(files(Some(256), None), "weak 256 at once: an agent's build may need more +");
        let advice = open_files(OpenFiles { soft: Some(256), hard: Some(256) }).advice.unwrap();
        assert!(advice.contains("root"), "{advice}");
        assert_eq!(clock(Some("tsc"), OLDEST_DATE_MS).grade, Grade::Ok);
        assert_eq!(clock(Some("tsc"), OLDEST_DATE_MS - 1).grade, Grade::Weak);
        assert_eq!(
            [subreaper(false), pidfd(false), pressure(false)].map(|f| (f.grade, f.is_needed)),
            [(Grade::Missing, false), (Grade::Missing, true), (Grade::Missing, false)]
        );
    }

    #[test]
    fn a_git_that_is_absent_or_old_is_told() {
        let error = |git_missing, detail: &str| GitError {
            operation: "version",
            repository: "/".into(),
            detail: detail.into(),
            timed_out: false,
            git_missing,
        };
        let cases = [
            (Ok("2.47.3".to_owned()), "ok version 2.47.3"),
            (Err(error(true, "x")), "missing there is no git program on the PATH +"),
            (Err(error(false, "it is \"2.30\"")), "missing it is \"2.30\" +"),
        ];
        for (version, expected) in cases {
            let finding = git(version);
            assert_eq!((finding.told().as_str(), finding.is_needed), (expected, true));
        }
    }
}

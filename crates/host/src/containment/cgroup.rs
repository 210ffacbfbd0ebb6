//! The rung cgroup: a cgroup v2 of a worker's own. Knows its folders and files; unaware of attempts.
//!
//! Layout: `<where the worker was started>/ropewalk-PID-START/{agents,worker}`. The name says whose it is, so that
//! one left by a worker that was killed is recognised as such by anybody.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::{Component, Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, pidfd_send_signal};

use super::LeftInside;
use super::mounts::{self, Mount};
use crate::clock::boot_ms;
use crate::identity::ProcessIdentity;

const PREFIX: &str = "ropewalk-";
const AGENTS: &str = "agents";
const WORKER: &str = "worker";

/// How long the killed may take to be gone: nothing of an attempt may be alive two seconds after its end.
const EMPTY_WAIT_MS: u64 = 2_000;

/// How long one wait for the kernel's word may take, before the dead are reaped.
const PIECE_MS: i64 = 20;

/// Cgroups inside a worker's that are looked at when it is removed: an agent may make its own, not without end.
const DEPTH_MAX: u32 = 16;

#[derive(Debug)]
pub(super) struct Cgroup {
    /// Where the worker was started.
    outside: PathBuf,
    top: PathBuf,
}

pub(super) fn name_of(worker: &ProcessIdentity) -> String {
    format!("{PREFIX}{}-{}", worker.pid, worker.start_time)
}

impl Cgroup {
    /// Makes the cgroup and moves this process into `agents`.
    pub(super) fn enter(own: &ProcessIdentity) -> io::Result<Cgroup> {
        let outside = mounts::own_v2(&mounts::mounts())
            .ok_or_else(|| io::Error::other("no cgroup v2 hierarchy is mounted that shows this process"))?;
        let cgroup = Cgroup { top: outside.join(name_of(own)), outside };
        let entered = cgroup.make().and_then(|()| join(&cgroup.agents()));
        if let Err(error) = entered {
            remove(&cgroup.top, 0);
            return Err(error);
        }
        Ok(cgroup)
    }

    fn make(&self) -> io::Result<()> {
        for folder in [self.top.clone(), self.agents(), self.top.join(WORKER)] {
            match fs::create_dir(&folder) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(at(&folder, error)),
                _ => {}
            }
        }
        // Without either there is no way to end all of it that no fork escapes.
        let obeys = |file: &str| self.agents().join(file).exists();
        if obeys("cgroup.kill") || obeys("cgroup.freeze") {
            Ok(())
        } else {
            Err(io::Error::other("the kernel has neither cgroup.kill nor cgroup.freeze (Linux 5.2)"))
        }
    }

    pub(super) fn top(&self) -> &Path {
        &self.top
    }

    fn agents(&self) -> PathBuf {
        self.top.join(AGENTS)
    }

    /// See [`super::Container::kill_agents`].
    pub(super) fn kill_agents(&self, meanwhile: impl FnMut()) -> io::Result<()> {
        // Aside first: else it would be our own end.
        join(&self.top.join(WORKER))?;
        let killed = kill_all(&self.agents()).and_then(|_| wait_until_empty(&self.agents(), meanwhile));
        // Whatever came of it, the next agents have to be born inside.
        join(&self.agents())?;
        if killed? { Ok(()) } else { Err(ErrorKind::TimedOut.into()) }
    }

    pub(super) fn leave(&self) {
        if join(&self.outside).is_ok() {
            remove(&self.top, 0);
        }
    }
}

/// Moves this process.
fn join(folder: &Path) -> io::Result<()> {
    write(&folder.join("cgroup.procs"), "0")
}

pub(super) fn write(file: &Path, text: &str) -> io::Result<()> {
    // Never made: a folder that is no cgroup must not be taken for one.
    let mut opened = fs::OpenOptions::new().write(true).open(file).map_err(|error| at(file, error))?;
    opened.write_all(text.as_bytes()).map_err(|error| at(file, error))
}

fn at(file: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", file.display()))
}

/// Kills all processes in a cgroup and those below it. Returns how many processes it saw.
fn kill_all(folder: &Path) -> io::Result<usize> {
    let seen = members(folder, 0).len();
    if folder.join("cgroup.kill").exists() {
        // Holds also for what is forked while it works, so nothing needs to be frozen.
        write(&folder.join("cgroup.kill"), "1")?;
        return Ok(seen);
    }
    // Before Linux 5.14: a frozen process forks nothing, and is killed all the same.
    write(&folder.join("cgroup.freeze"), "1")?;
    for pid in members(folder, 0) {
        if let Some(process) = ProcessIdentity::of(pid)
            && let Ok(Some(pidfd)) = process.open()
            // Still one of these, now that its number cannot pass to another.
            && members(folder, 0).contains(&pid)
        {
            let _ = pidfd_send_signal(&pidfd, Signal::KILL);
        }
    }
    write(&folder.join("cgroup.freeze"), "0")?;
    Ok(seen)
}

fn members(folder: &Path, depth: u32) -> Vec<i32> {
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    let mut pids: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    if depth < DEPTH_MAX {
        for below in folders(folder) {
            pids.extend(members(&below, depth + 1));
        }
    }
    pids
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let is_folder = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    entries.flatten().filter(is_folder).map(|entry| entry.path()).collect()
}

/// Waits, bounded, until no living process is in a cgroup or below it.
fn wait_until_empty(folder: &Path, mut meanwhile: impl FnMut()) -> io::Result<bool> {
    let mut events = File::open(folder.join("cgroup.events"))?;
    let end = boot_ms().saturating_add(EMPTY_WAIT_MS);
    let piece = Timespec { tv_sec: 0, tv_nsec: PIECE_MS * 1_000_000 };
    loop {
        meanwhile();
        // By the same descriptor each time: reading is what arms its next word.
        let mut text = String::new();
        events.rewind()?;
        events.read_to_string(&mut text)?;
        if text.lines().any(|line| line == "populated 0") {
            meanwhile();
            return Ok(true);
        }
        if boot_ms() >= end {
            return Ok(false);
        }
        // An interrupted wait looks once more, as does one that was told.
        let _ = poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&piece));
    }
}

/// Removes empty cgroups from below. What is not empty stays.
fn remove(folder: &Path, depth: u32) {
    if depth < DEPTH_MAX {
        for below in folders(folder) {
            remove(&below, depth + 1);
        }
    }
    let _ = fs::remove_dir(folder);
}

/// See [`super::kill_left`].
pub(super) fn kill_left(worker: &ProcessIdentity, noted: &Path) -> Option<LeftInside> {
    let folder = trusted(worker, noted, &mounts::mounts())?;
    let killed = kill_all(&folder);
    let is_empty = (killed.is_ok() && wait_until_empty(&folder, || {}).unwrap_or(false))
        // Taken away by another thread meanwhile, which only an empty one can be.
        || !folder.exists();
    if is_empty {
        remove(&folder, 0);
    }
    Some(LeftInside { killed: killed.unwrap_or(0), is_empty })
}

/// A note's cgroup, when it can only be that of this worker: of this boot, in the v2 hierarchy, named after it.
fn trusted(worker: &ProcessIdentity, noted: &Path, mounts: &[Mount]) -> Option<PathBuf> {
    let is_of_this_boot = ProcessIdentity::own().is_some_and(|own| own.boot_id == worker.boot_id);
    let is_plain = noted.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    let is_named = noted.file_name().is_some_and(|name| name == name_of(worker).as_str());
    let is_v2 = mounts.iter().any(|mount| mount.is_v2 && noted.starts_with(&mount.point));
    (is_of_this_boot && is_plain && is_named && is_v2 && noted.join("cgroup.procs").exists())
        .then(|| noted.to_owned())
}

/// Takes away the empty cgroup of one worker that is gone, wherever below our own it would have made it.
pub(crate) fn remove_of(worker: &ProcessIdentity) {
    if worker.is_alive() {
        return;
    }
    for place in places() {
        for folder in folders(&place) {
            if owner(&folder).is_some_and(|(pid, start)| (pid, start) == (worker.pid, worker.start_time)) {
                remove(&folder, 0);
            }
        }
    }
}

/// Takes away the empty cgroups of all workers that are gone. One that is not empty belongs to an attempt that
/// somebody has yet to settle.
pub(crate) fn remove_stale() {
    for place in places() {
        for folder in folders(&place) {
            let is_stale = owner(&folder).is_some_and(|(pid, start_time)| {
                ProcessIdentity::of(pid).is_none_or(|living| living.start_time != start_time)
            });
            if is_stale {
                remove(&folder, 0);
            }
        }
    }
}

/// Where workers that are started like this process make their cgroups.
fn places() -> Vec<PathBuf> {
    let mounts = mounts::mounts();
    let v1 = ["memory", "pids"].iter().filter_map(|controller| mounts::own_v1(&mounts, controller));
    mounts::own_v2(&mounts).into_iter().chain(v1).collect()
}

/// Whose cgroup it is, by its name: `ropewalk-PID-START`, or with a number behind it.
fn owner(folder: &Path) -> Option<(i32, u64)> {
    let mut words = folder.file_name()?.to_str()?.strip_prefix(PREFIX)?.split('-');
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_believed_only_where_it_can_be_no_others() {
        let place = tempfile::tempdir().unwrap();
        let own = ProcessIdentity::own().unwrap();
        let mount = |is_v2| Mount {
            root: PathBuf::from("/"),
            point: place.path().to_owned(),
            is_v2,
            options: Vec::new(),
        };
        let folder = place.path().join("a").join(name_of(&own));
        fs::create_dir_all(&folder).unwrap();
        assert_eq!(trusted(&own, &folder, &[mount(true)]), None, "no cgroup");
        fs::write(folder.join("cgroup.procs"), "").unwrap();
        assert_eq!(trusted(&own, &folder, &[mount(true)]), Some(folder.clone()));
        assert_eq!(trusted(&own, &folder, &[mount(false)]), None);
        assert_eq!(trusted(&own, folder.parent().unwrap(), &[mount(true)]), None);
        let around = place.path().join("b/../a").join(name_of(&own));
        assert_eq!(trusted(&own, &around, &[mount(true)]), None);
        let other_boot = ProcessIdentity { boot_id: "another".into(), ..own.clone() };
        assert_eq!(trusted(&other_boot, &folder, &[mount(true)]), None);
        let other = ProcessIdentity { start_time: own.start_time + 1, ..own };
        assert_eq!(trusted(&other, &folder, &[mount(true)]), None);
    }

    #[test]
    fn a_folder_names_its_worker() {
        for (name, expected) in [
            ("ropewalk-12-345", Some((12, 345))),
            ("ropewalk-12-345-6", Some((12, 345))),
            ("ropewalk-12", None),
            ("ropewalk-survey-12", None),
            ("user-12-345", None),
        ] {
            assert_eq!(owner(Path::new(name)), expected, "{name}");
        }
    }
}

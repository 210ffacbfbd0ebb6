//! A full disk: nothing is called done whose data is gone, the engine waits instead of ending, and goes on by itself
//! when there is space again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::plain::tell;
use crate::support::{Bench, Running, wait_at_most, wait_for};

/// The size of the disk: room for the database and its log, and soon full.
const SIZE: &str = "size=64m";

/// From the moment when there is space again to the moment when all that was asked for is done.
const RESUMED: Duration = Duration::from_secs(10);

/// Set for this program in a name space of its own, in which it may mount.
const INSIDE: &str = "ROPEWALK_TEST_MAY_MOUNT";

/// A small disk of its own in memory. Gone with the value.
pub(crate) struct Disk {
    folder: PathBuf,
}

impl Disk {
    fn mount(folder: &Path) -> Option<Disk> {
        fs::create_dir_all(folder).expect("a folder to mount at");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(folder).stderr(Stdio::null());
        let mounted = mount.status().is_ok_and(|status| status.success());
        mounted.then(|| Disk { folder: folder.to_owned() })
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }

    /// Until the very last byte is gone, whatever was given back meanwhile.
    pub(crate) fn fill(&self) {
        let mut fill = Command::new("dd");
        fill.arg("if=/dev/zero")
            .arg(format!("of={}", self.filler().display()))
            .args(["bs=4k", "oflag=append"]);
        let ended = fill.args(["conv=notrunc"]).stderr(Stdio::null()).status().expect("dd");
        assert!(!ended.success(), "the disk has no end");
    }

    pub(crate) fn free(&self) {
        fs::remove_file(self.filler()).expect("the filler");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.folder).stderr(Stdio::null()).status();
    }
}

/// Runs a test on a small disk: as it is where we may mount, else in a name space of our own, else not at all.
pub(crate) fn on_a_small_disk(name: &str, test: impl FnOnce(&Bench, &Disk)) {
    let mut bench = Bench::bare_of_repository();
    let folder = bench.root().join("disk");
    if let Some(disk) = Disk::mount(&folder) {
        bench.home = folder.join("state");
        test(&bench, &disk);
        return;
    }
    assert!(std::env::var_os(INSIDE).is_none(), "a name space of its own in which nothing can be mounted");
    let own = std::env::current_exe().expect("this test's path");
    let can = Command::new("unshare").args(["-rm", "true"]).stderr(Stdio::null()).status();
    if !can.is_ok_and(|status| status.success()) {
        tell("not tested: neither mount nor unshare -rm is allowed here");
        return;
    }
    let mut again = Command::new("unshare");
    again.arg("-rm").arg(own).args([name, "--exact", "--nocapture"]).env(INSIDE, "1");
    assert!(again.status().expect("unshare").success(), "{name} failed in a name space of its own");
}

fn has_ended(engine: &mut Running) -> bool {
    engine.has_ended()
}

/// Waits until all these are done; the time that it took since.
fn resumed(bench: &Bench, engine: &mut Running, tasks: &[u64], since: Instant) -> Duration {
    let done = wait_at_most(Duration::from_secs(60), || {
        // An engine that has nothing more to do ends by itself.
        let is_over = has_ended(engine);
        (is_over || bench.is_served()).then(|| bench.not_done(tasks)).filter(Vec::is_empty)
    });
    assert!(done.is_some(), "not done a minute after there was space: {:?}", bench.not_done(tasks));
    since.elapsed()
}

/// Asks for a task; `None` when it was refused.
fn ask(bench: &Bench, agent: &str) -> Option<u64> {
    let ran = bench.run(&["task", "add", "asked for", "--no-worktree", "--command", agent, "--json"]);
    if ran.code == Some(0) { ran.value()["tasks"][0].as_u64() } else { None }
}

#[test]
fn on_a_full_disk_nothing_is_done_that_is_lost_and_it_goes_on_by_itself() {
    let name = "disk::on_a_full_disk_nothing_is_done_that_is_lost_and_it_goes_on_by_itself";
    on_a_small_disk(name, |bench, disk| {
        // One fills the disk, some end while it is full, some wait in the queue.
        let filler = format!("fill {}; gate go", disk.filler().display());
        let mut tasks = vec![bench.add(&bench.agent(&filler), &[])];
        for _ in 0..3 {
            tasks.push(bench.add(&bench.agent("gate full; gate go"), &[]));
            tasks.push(bench.add(&bench.agent("gate full"), &[]));
        }
        for _ in 0..3 {
            tasks.push(bench.add(&bench.agent("say queued"), &[]));
        }
        let mut engine = bench.engine("7", |_| ());
        bench.wait_for_record("a full disk", |record| record.what == "full");
        disk.fill();
        bench.open_gate("full");
        // Three come to their end now, and what they were is to be written.
        let ends = || bench.record().iter().filter(|record| record.what == "end").count();
        wait_for("ends on a full disk", || (ends() >= 3).then_some(()));
        // What is acknowledged now must be kept, and what is refused is no loss.
        for number in 0..5 {
            tasks.extend(ask(bench, &bench.agent(&format!("say asked {number}"))));
        }
        // Longer than any of our own waits between two tries.
        let ended = wait_at_most(Duration::from_secs(3), || has_ended(&mut engine).then_some(()));
        if ended.is_some() {
            let ran = engine.wait();
            panic!("the engine ended instead of waiting: {ran}");
        }
        for (task, state) in bench.states() {
            let has_record = bench.note(&format!("{task}.1"), "exit.json").is_some();
            assert!(state != "done" || has_record, "task {task} is done without a record of its end");
        }

        disk.free();
        let since = Instant::now();
        bench.open_gate("go");
        let took = resumed(bench, &mut engine, &tasks, since);
        tell(&format!("all is done {took:?} after there was space"));
        assert!(took < RESUMED, "it took {took:?}");
        engine.wait().expect(0);
        assert_eq!(bench.not_done(&tasks), [], "all that was acknowledged is kept");
        for task in &tasks {
            let view = bench.task(*task);
            assert!(!view["attempts_made"][0]["outcome"].is_null(), "{view}");
        }
        bench.assert_no_clash();
    });
}

#[test]
fn an_engine_killed_on_a_full_disk_loses_nothing_that_was_acknowledged() {
    let name = "disk::an_engine_killed_on_a_full_disk_loses_nothing_that_was_acknowledged";
    on_a_small_disk(name, |bench, disk| {
        let mut tasks = vec![bench.add(&bench.agent("gate full"), &[])];
        tasks.push(bench.add(&bench.agent("gate go; say well"), &[]));
        let engine = bench.engine("2", |_| ());
        wait_for("both", || (bench.record().len() == 2).then_some(()));
        disk.fill();
        bench.open_gate("full");
        wait_for("an end on a full disk", || {
            bench.record().iter().any(|record| record.what == "end").then_some(())
        });
        tasks.extend(ask(bench, &bench.agent("say asked")));
        let done: Vec<_> = bench.states().into_iter().filter(|(_, state)| state == "done").collect();
        engine.kill();
        disk.free();
        let since = Instant::now();
        let mut engine = bench.engine("2", |_| ());
        for line in &done {
            assert!(bench.states().contains(line), "{line:?} was told, and is gone");
        }
        bench.open_gate("go");
        let took = resumed(bench, &mut engine, &tasks, since);
        assert!(took < RESUMED, "it took {took:?}");
        engine.wait().expect(0);
        for task in tasks.iter().take(2) {
            assert_eq!(bench.task(*task)["attempts"], 1, "its work was done once");
        }
        bench.assert_no_clash();
    });
}

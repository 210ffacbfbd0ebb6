//! Where the engine's session began outside of what it can see, as in a container: its own session's number is 0 there,
//! which no process has.

use std::process::{Command, Stdio};

use crate::support::plain::tell;
use crate::support::{Bench, send, wait_for};

/// Set for this program in a name space of its own.
const INSIDE: &str = "ROPEWALK_TEST_IN_CONTAINER";

#[test]
fn a_worker_killed_in_a_container_is_missed_and_its_attempt_made_again() {
    if std::env::var_os(INSIDE).is_some() {
        return a_worker_is_killed();
    }
    let name = "container::a_worker_killed_in_a_container_is_missed_and_its_attempt_made_again";
    // The shell is the first process there; it stays, to reap.
    let contained = ["-rpf", "--mount-proc", "sh", "-c", "\"$0\" \"$@\"; exit $?"];
    let can = Command::new("unshare").args(contained).arg("true").stderr(Stdio::null()).status();
    if !can.is_ok_and(|status| status.success()) {
        return tell("not tested: unshare -rpf is not allowed here");
    }
    let mut again = Command::new("unshare");
    again.args(contained).arg(std::env::current_exe().expect("this test's path"));
    again.args([name, "--exact", "--nocapture"]).env(INSIDE, "1");
    assert!(again.status().expect("unshare").success(), "{name} failed in a name space of its own");
}

fn a_worker_is_killed() {
    let bench = Bench::bare_of_repository();
    let task = bench.add(&bench.agent("first 1 leave orphan hang; mark ready; first 1 gate never"), &[]);
    let engine = bench.spawn(&["run"]);
    bench.wait_for_record("the agent", |record| record.what == "ready");
    send("-KILL", bench.worker_of(&format!("{task}.1")).expect("a worker"));
    engine.wait().expect(0);
    assert_eq!(bench.task(task)["attempts"], 2);
    // Idle workers end with their engine, a moment after it.
    wait_for("the end of all processes", || bench.processes().is_empty().then_some(()));
}

//! What deaths of the daemon and of workers change: nothing, and what they must.

mod worker_support;

use std::fs;

use ropewalk_host::identity::{ProcessIdentity, Signalled};
use ropewalk_host::pool::WorkerEvent;
use ropewalk_host::worker::record::End;
use rustix::process::Signal;
use worker_support::{Bench, pids_from, worker_of};

#[test]
fn an_agent_outlives_its_daemon_and_is_adopted_by_the_next() {
    let bench = Bench::new();
    let (ready, go) = (bench.fifo("ready"), bench.fifo("go"));
    let command = format!("echo $$ > {}; read x < {}; exit 9", ready.display(), go.display());
    let assignment = bench.script("1.1", &command);
    let first = bench.open(2);
    first.pool.run(assignment.clone()).unwrap();
    let agent = pids_from(&ready).remove(0);
    assert_eq!(first.started("1.1"), agent);
    assert_eq!(first.pool.close(true), 1);
    drop(first);
    assert!(agent.is_alive());

    let second = bench.open(0);
    second.pool.run(assignment.clone()).unwrap();
    assert_eq!(second.started("1.1"), agent, "the very same process");
    assert_eq!(second.pool.keys_running(), ["1.1"]);
    fs::write(&go, "go\n").unwrap();
    assert_eq!(second.record_of("1.1").end, End::Exited { code: 9 });
    second.nothing_more();
    assert!(second.pool.keys_running().is_empty());
    // Its worker is this daemon's now and takes the next.
    let next = bench.script("1.2", "true");
    assert_eq!(second.end_of(&next), End::Exited { code: 0 });
    assert_eq!(worker_of(&next), worker_of(&assignment));
}

#[test]
fn an_end_while_no_daemon_lives_is_told_from_its_record_every_time_it_is_asked() {
    let bench = Bench::new();
    let (ready, go) = (bench.fifo("ready"), bench.fifo("go"));
    let command = format!("echo $$ > {}; read x < {}; exit 5", ready.display(), go.display());
    let assignment = bench.script("1.1", &command);
    let first = bench.open(1);
    first.pool.run(assignment.clone()).unwrap();
    pids_from(&ready);
    drop(first);
    let worker = worker_of(&assignment);
    fs::write(&go, "go\n").unwrap();
    // It waits for a daemon, then it ends by itself and takes its socket along.
    assert!(worker.wait_for_end(30_000).unwrap());
    assert!(!bench.home.join(format!("workers/{}.sock", worker.pid)).exists());
    let second = bench.open(0);
    for _ in 0..2 {
        assert_eq!(second.end_of(&assignment), End::Exited { code: 5 });
    }
}

#[test]
fn a_limit_holds_while_no_daemon_lives() {
    let bench = Bench::new();
    let ready = bench.fifo("ready");
    let mut assignment = bench.script("1.1", &format!("echo $$ > {}; exec sleep 1000", ready.display()));
    assignment.timeout_ms = 1_000;
    let first = bench.open(1);
    first.pool.run(assignment.clone()).unwrap();
    let agent = pids_from(&ready).remove(0);
    drop(first);
    assert!(agent.wait_for_end(30_000).unwrap());
    assert_eq!(bench.open(0).end_of(&assignment), End::TimedOut { stalled: false });
}

#[test]
fn a_stop_reaches_an_agent_that_is_still_to_be_adopted() {
    let bench = Bench::new();
    let ready = bench.fifo("ready");
    let assignment = bench.script("1.1", &format!("echo $$ > {}; exec sleep 1000", ready.display()));
    let first = bench.open(1);
    first.pool.run(assignment.clone()).unwrap();
    pids_from(&ready);
    drop(first);
    let second = bench.open(0);
    second.pool.run(assignment).unwrap();
    second.pool.stop("1.1", false);
    assert_eq!(second.record_of("1.1").end, End::Stopped);
}

#[test]
fn an_agent_that_is_found_again_keeps_the_grace_that_it_was_given() {
    let bench = Bench::new();
    let ready = bench.fifo("ready");
    let command = format!(
        "trap 'sleep 2.5; echo saved; exit 7' TERM; echo $$ > {}; while :; do sleep 0.05; done",
        ready.display()
    );
    let mut assignment = bench.script("1.1", &command);
    assignment.grace_ms = 20_000;
    let first = bench.open(1);
    first.pool.run(assignment.clone()).unwrap();
    pids_from(&ready);
    drop(first);
    // Who finds it again knows only its folder.
    (assignment.grace_ms, assignment.timeout_ms) = (0, 0);
    let second = bench.open(0);
    second.pool.run(assignment.clone()).unwrap();
    second.pool.stop("1.1", false);
    assert_eq!(second.record_of("1.1").end, End::Stopped);
    assert_eq!(fs::read_to_string(assignment.folder.join("stdout")).unwrap(), "saved\n");
}

#[test]
fn a_killed_worker_is_told_as_lost_and_what_it_left_is_killed() {
    let bench = Bench::new();
    let ready = bench.fifo("ready");
    // One in the agent's session, one in its own, one in its own without the environment but in a session with
    // a process that has it.
    let command = format!(
        "sleep 1000 & a=$!; setsid sleep 1000 & b=$!; sh -c 'exec env -i sleep 1000' & c=$!; \
         echo $$ $a $b $c > {}; wait",
        ready.display()
    );
    let assignment = bench.script("1.1", &command);
    let daemon = bench.open(1);
    daemon.pool.run(assignment.clone()).unwrap();
    let agent = daemon.started("1.1");
    let left = pids_from(&ready);
    assert!(left.len() == 4 && left[0] == agent);
    assert_eq!(worker_of(&assignment).signal(Signal::KILL).unwrap(), Signalled::Sent);
    match daemon.next() {
        WorkerEvent::Lost { key, detail } => {
            assert!(key == "1.1" && detail.contains("were killed"), "{detail}")
        }
        other => panic!("{other:?}"),
    }
    assert!(left.iter().all(|process| !process.is_alive()), "{left:?}");
    // Asked again, also by another daemon, the folder says the same.
    drop(daemon);
    let next = bench.open(0);
    next.pool.run(assignment).unwrap();
    assert!(matches!(next.next(), WorkerEvent::Lost { .. }));
}

#[test]
fn a_killed_worker_does_not_take_the_next_assignment_with_it() {
    let bench = Bench::new();
    let daemon = bench.open(1);
    let first = bench.script("1.1", "true");
    daemon.run(&first);
    let worker = worker_of(&first);
    worker.signal(Signal::KILL).unwrap();
    assert!(worker.wait_for_end(10_000).unwrap());
    for number in 2..6 {
        assert_eq!(daemon.end_of(&bench.script(&format!("1.{number}"), "true")), End::Exited { code: 0 });
    }
}

#[test]
fn a_workers_note_of_another_boot_or_process_is_lost_and_nobody_is_signalled() {
    let bench = Bench::new();
    let daemon = bench.open(1);
    let own = ProcessIdentity::own().unwrap();
    for (key, worker) in [
        ("1.1", ProcessIdentity { boot_id: "another".into(), ..own.clone() }),
        ("1.2", ProcessIdentity { start_time: own.start_time - 1, ..own.clone() }),
    ] {
        let assignment = bench.script(key, "true");
        let note = serde_json::json!({ "key": key, "worker": worker, "started_at_ms": 1, "deadline_boot_ms": 1,
            "timeout_ms": 1, "grace_ms": 1, "a_later_field": true });
        fs::write(assignment.folder.join("worker.json"), note.to_string()).unwrap();
        let agent = serde_json::json!({ "key": key, "agent": worker });
        fs::write(assignment.folder.join("agent.json"), agent.to_string()).unwrap();
        daemon.pool.run(assignment).unwrap();
        assert!(matches!(daemon.next(), WorkerEvent::Lost { .. }));
    }
}

#[test]
fn a_record_that_cannot_be_read_is_lost_and_never_success_nor_run_again() {
    let bench = Bench::new();
    let daemon = bench.open(1);
    for (key, file) in [("1.1", "exit.json"), ("1.2", "worker.json")] {
        let assignment = bench.script(key, "touch $FOLDER/ran");
        fs::write(assignment.folder.join(file), "{\"key\":").unwrap();
        daemon.pool.run(assignment.clone()).unwrap();
        match daemon.next() {
            WorkerEvent::Lost { detail, .. } => assert!(detail.contains(file), "{detail}"),
            other => panic!("{other:?}"),
        }
        assert!(!assignment.folder.join("ran").exists());
    }
}

#[test]
fn sigterm_to_a_worker_ends_its_agent_with_grace_and_then_itself() {
    let bench = Bench::new();
    let ready = bench.fifo("ready");
    let command =
        format!("trap 'echo bye; exit 0' TERM; echo $$ > {}; while :; do sleep 0.05; done", ready.display());
    let assignment = bench.script("1.1", &command);
    let daemon = bench.open(1);
    daemon.pool.run(assignment.clone()).unwrap();
    pids_from(&ready);
    let worker = worker_of(&assignment);
    for forgotten in [Signal::HUP, Signal::INT] {
        worker.signal(forgotten).unwrap();
    }
    worker.signal(Signal::TERM).unwrap();
    assert_eq!(daemon.record_of("1.1").end, End::Stopped);
    assert!(worker.wait_for_end(10_000).unwrap());
    assert_eq!(fs::read_to_string(assignment.folder.join("stdout")).unwrap(), "bye\n");
}

#[test]
fn a_long_home_works_for_both_ends() {
    let mut bench = Bench::new();
    bench.home = bench.folder.path().join("long/".repeat(40)).join("home");
    assert!(bench.home.as_os_str().len() > 200);
    let (ready, go) = (bench.fifo("ready"), bench.fifo("go"));
    let command = format!("echo $$ > {}; read x < {}; exit 6", ready.display(), go.display());
    let assignment = bench.script("1.1", &command);
    let first = bench.open(1);
    first.pool.run(assignment.clone()).unwrap();
    pids_from(&ready);
    drop(first);
    let second = bench.open(0);
    second.pool.run(assignment).unwrap();
    second.started("1.1");
    fs::write(&go, "go\n").unwrap();
    assert_eq!(second.record_of("1.1").end, End::Exited { code: 6 });
}

#[test]
fn a_worker_whose_state_folder_was_removed_ends_what_it_runs_and_itself() {
    let bench = Bench::new();
    let ready = bench.fifo("ready");
    let mut assignment = bench.script("1.1", &format!("echo $$ > {}; exec sleep 1000", ready.display()));
    assignment.timeout_ms = 1_000;
    let daemon = bench.open(1);
    daemon.pool.run(assignment.clone()).unwrap();
    let agent = pids_from(&ready).remove(0);
    let worker = worker_of(&assignment);
    drop(daemon);
    drop(bench);
    assert!(worker.wait_for_end(30_000).unwrap());
    assert!(!agent.is_alive());
}

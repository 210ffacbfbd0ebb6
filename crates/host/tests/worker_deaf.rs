//! Time: what a worker does when it is up, and what the pool does when the worker does not.

mod worker_support;

use std::fs;
use std::time::{Duration, Instant};

use ropewalk_core::resource::Rung;
use ropewalk_host::identity::ProcessIdentity;
use ropewalk_host::pool::WorkerEvent;
use ropewalk_host::worker::protocol::Assignment;
use ropewalk_host::worker::record::{End, ExitRecord};
use rustix::process::Signal;
use worker_support::{Bench, Daemon, has, pids_from, program_on, worker_of};

/// An assignment at work, with a process in a session of its own, whose worker is stopped.
fn stopped(
    bench: &Bench,
    daemon: &Daemon,
    limits: impl FnOnce(&mut Assignment),
) -> (Assignment, Vec<ProcessIdentity>) {
    let ready = bench.fifo("ready");
    let mut assignment =
        bench.script("1.1", &format!("setsid sleep 1000 & echo $$ $! > {}; wait", ready.display()));
    assignment.grace_ms = 300;
    limits(&mut assignment);
    daemon.pool.run(assignment.clone()).unwrap();
    let mut processes = pids_from(&ready);
    daemon.started("1.1");
    let worker = worker_of(&assignment);
    worker.signal(Signal::STOP).unwrap();
    processes.push(worker);
    (assignment, processes)
}

#[test]
fn a_stop_ends_what_a_stopped_worker_runs() {
    for rung in [Rung::Cgroup, Rung::Subreaper, Rung::Group].into_iter().filter(|rung| has(*rung)) {
        for kill in [false, true] {
            let bench = Bench::new();
            let daemon = bench.open_with(program_on(rung), 1);
            let (assignment, processes) = stopped(&bench, &daemon, |_| {});
            let asked = Instant::now();
            daemon.pool.stop("1.1", kill);
            match daemon.next() {
                WorkerEvent::Lost { detail, .. } => {
                    assert!(detail.contains("did not answer"), "{detail}");
                    assert!(!detail.contains("may be left"), "{detail}");
                }
                other => panic!("{other:?}"),
            }
            let grace = Duration::from_millis(if kill { 0 } else { assignment.grace_ms });
            assert!(asked.elapsed() < grace + Duration::from_secs(20), "{:?}", asked.elapsed());
            assert!(processes.iter().all(|process| !process.is_alive()), "{rung:?}");
            // Others take its place.
            assert_eq!(daemon.end_of(&bench.script("1.2", "exit 4")), End::Exited { code: 4 });
        }
    }
}

#[test]
fn a_deadline_holds_although_the_worker_is_stopped_and_everybody_hears_the_same() {
    let bench = Bench::new();
    let daemon = bench.open(1);
    let (assignment, processes) = stopped(&bench, &daemon, |assignment| assignment.timeout_ms = 1_500);
    let record = daemon.record_of("1.1");
    assert_eq!(record.end, End::TimedOut { stalled: false });
    assert!((1_800..30_000).contains(&record.usage.wall_ms), "{record:?}");
    assert!(record.leaked >= 1);
    assert!(processes.iter().all(|process| !process.is_alive()));
    drop(daemon);
    assert_eq!(bench.open(0).run(&assignment), record);
}

#[test]
fn a_close_is_not_held_up_by_a_stopped_worker() {
    let bench = Bench::new();
    let daemon = bench.open(1);
    let (_, processes) = stopped(&bench, &daemon, |_| {});
    let asked = Instant::now();
    assert_eq!(daemon.pool.close(false), 0);
    assert!(asked.elapsed() < Duration::from_secs(9), "{:?}", asked.elapsed());
    assert!(processes.iter().all(|process| !process.is_alive()));
    assert!(matches!(daemon.next(), WorkerEvent::Lost { .. }));
}

#[test]
fn the_next_daemon_ends_what_a_stopped_worker_runs_too() {
    let bench = Bench::new();
    let first = bench.open(1);
    let (assignment, processes) = stopped(&bench, &first, |assignment| assignment.timeout_ms = 2_000);
    drop(first);
    let second = bench.open(0);
    second.pool.run(assignment).unwrap();
    assert_eq!(second.record_of("1.1").end, End::TimedOut { stalled: false });
    assert!(processes.iter().all(|process| !process.is_alive()));
}

#[test]
fn a_worker_that_waits_to_write_its_record_is_not_killed_for_it() {
    let bench = Bench::new();
    let daemon = bench.open(1);
    let mut assignment = bench.script("1.1", "mkdir $FOLDER/exit.json; exit 2");
    (assignment.timeout_ms, assignment.grace_ms) = (400, 100);
    daemon.pool.run(assignment.clone()).unwrap();
    daemon.started("1.1");
    // What its worker says when it cannot write.
    assert!(matches!(daemon.next(), WorkerEvent::Alive { .. }));
    daemon.pool.stop("1.1", true);
    // Longer than anything else is waited for.
    let end = Instant::now() + Duration::from_millis(2_500);
    while Instant::now() < end {
        std::thread::park_timeout(end - Instant::now());
    }
    daemon.nothing_more();
    fs::remove_dir(assignment.folder.join("exit.json")).unwrap();
    assert_eq!(daemon.record_of("1.1").end, End::Exited { code: 2 });
}

#[test]
fn it_is_said_when_nine_tenths_of_the_time_are_gone_and_said_again_to_the_next_daemon() {
    let bench = Bench::new();
    let first = bench.open(1);
    let mut assignment = bench.script("1.1", "exec sleep 1000");
    assignment.timeout_ms = 10_000;
    first.pool.run(assignment.clone()).unwrap();
    first.started("1.1");
    let near = |daemon: &Daemon| match daemon.next() {
        WorkerEvent::NearDeadline { key, left_ms } if key == "1.1" => left_ms,
        other => panic!("{other:?}"),
    };
    assert!((1..=1_000).contains(&near(&first)));
    drop(first);
    let second = bench.open(0);
    second.pool.run(assignment).unwrap();
    second.started("1.1");
    assert!(near(&second) <= 1_000);
    second.pool.stop("1.1", true);
    assert_eq!(second.record_of("1.1").end, End::Stopped);
}

#[test]
fn neither_output_nor_work_is_a_stall_and_either_is_none() {
    let bench = Bench::new();
    let daemon = bench.open(1);
    let run = |key: &str, command: &str| -> ExitRecord {
        let mut assignment = bench.script(key, command);
        assignment.stall_ms = Some(1_000);
        assignment.grace_ms = 300;
        daemon.run(&assignment)
    };
    let record = run("1.1", "echo begin; sleep 1000");
    assert_eq!(record.end, End::TimedOut { stalled: true });
    assert!((1_000..30_000).contains(&record.usage.wall_ms), "{record:?}");
    let speaks = "i=0; while [ $i -lt 10 ]; do echo $i; sleep 0.2; i=$((i+1)); done; exit 3";
    assert_eq!(run("1.2", speaks).end, End::Exited { code: 3 });
    let works = "e=$(($(date +%s)+3)); while [ $(date +%s) -lt $e ]; do :; done; exit 4";
    assert_eq!(run("1.3", works).end, End::Exited { code: 4 });
}

#[test]
fn workers_beyond_those_that_are_wanted_are_let_go() {
    let bench = Bench::new();
    let daemon = bench.open(1);
    daemon.pool.set_wanted(2);
    let all: Vec<_> = (0..4).map(|n| bench.script(&format!("{n}.1"), "sleep 0.5")).collect();
    for assignment in &all {
        daemon.pool.run(assignment.clone()).unwrap();
    }
    for _ in 0..4 {
        while !matches!(daemon.next(), WorkerEvent::Ended { .. }) {}
    }
    let workers: Vec<_> = all.iter().map(worker_of).collect();
    let deadline = Instant::now() + Duration::from_secs(30);
    let alive = || workers.iter().filter(|worker| worker.is_alive()).count();
    while alive() > 2 && Instant::now() < deadline {
        std::thread::park_timeout(Duration::from_millis(50));
    }
    assert_eq!(alive(), 2);
    // Those that are left still work, and more are started when they are needed.
    assert_eq!(daemon.end_of(&bench.script("9.1", "exit 4")), End::Exited { code: 4 });
}

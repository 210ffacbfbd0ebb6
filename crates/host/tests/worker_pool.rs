//! Many assignments, few workers, and the pool's own beginnings and ends.

mod worker_support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use ropewalk_host::pool::{PoolError, WorkerEvent};
use ropewalk_host::worker::record::End;
use worker_support::{Bench, children_of, pids_from, program, worker_of};

#[test]
fn thirty_assignments_on_eight_workers_all_end_rightly() {
    let bench = Bench::new();
    let daemon = bench.open(8);
    let all: Vec<_> =
        (0..30).map(|n| bench.script(&format!("{n}.1"), &format!("sleep 0.02; exit {n}"))).collect();
    let mut waiting = all.iter();
    for assignment in waiting.by_ref().take(8) {
        daemon.pool.run(assignment.clone()).unwrap();
    }
    let mut ended = BTreeSet::new();
    while ended.len() < all.len() {
        match daemon.next() {
            WorkerEvent::Ended { key, record } => {
                let code = key.trim_end_matches(".1").parse().unwrap();
                assert_eq!(record.end, End::Exited { code });
                assert!(ended.insert(key), "told twice");
                if let Some(assignment) = waiting.next() {
                    daemon.pool.run(assignment.clone()).unwrap();
                }
            }
            WorkerEvent::Started { .. } | WorkerEvent::Alive { .. } | WorkerEvent::NearDeadline { .. } => {}
            WorkerEvent::Lost { key, detail } => panic!("{key}: {detail}"),
        }
    }
    let workers: BTreeSet<_> = all.iter().map(worker_of).collect();
    assert!(workers.len() <= 8, "{}", workers.len());
    assert!(daemon.pool.keys_running().is_empty());
    for worker in &workers {
        assert_eq!(children_of(worker.pid), [""; 0], "zombies");
    }
    assert_eq!(daemon.pool.close(false), 0);
    assert!(workers.iter().all(|worker| !worker.is_alive()));
    let sockets = fs::read_dir(bench.home.join("workers"))
        .unwrap()
        .filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "sock"));
    assert_eq!(sockets.count(), 0);
}

#[test]
fn sockets_and_folder_are_the_users_alone_and_a_worker_is_small() {
    let bench = Bench::new();
    let daemon = bench.open(1);
    let assignment = bench.script("1.1", "true");
    daemon.run(&assignment);
    let worker = worker_of(&assignment);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&bench.home.join("workers")), 0o700);
    assert_eq!(mode(&bench.home.join(format!("workers/{}.sock", worker.pid))), 0o600);
    let status = fs::read_to_string(format!("/proc/{}/status", worker.pid)).unwrap();
    let kib: u64 = status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    assert!(kib < 8 << 10, "{kib} KiB");
}

#[test]
fn a_key_that_runs_already_is_not_run_twice() {
    let bench = Bench::new();
    let (ready, go) = (bench.fifo("ready"), bench.fifo("go"));
    let daemon = bench.open(2);
    let assignment =
        bench.script("1.1", &format!("echo $$ > {}; read x < {}", ready.display(), go.display()));
    daemon.pool.run(assignment.clone()).unwrap();
    daemon.pool.run(assignment.clone()).unwrap();
    pids_from(&ready);
    daemon.pool.run(assignment).unwrap();
    fs::write(&go, "go\n").unwrap();
    daemon.record_of("1.1");
    daemon.run(&bench.script("1.2", "true"));
    daemon.nothing_more();
}

#[test]
fn a_worker_program_that_does_not_work_is_told_to_all_that_need_it() {
    let bench = Bench::new();
    for (n, broken) in ["/no/such/ropewalk", "/bin/false"].into_iter().enumerate() {
        let daemon = bench.open_with(vec![broken.into()], 2);
        for key in [format!("{n}.1"), format!("{n}.2")] {
            match daemon.end_of(&bench.script(&key, "true")) {
                End::NotStarted { reason, .. } => {
                    assert!(reason.contains("no worker can be started"), "{reason}")
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn stale_sockets_are_cleared_away_and_block_nobody() {
    let bench = Bench::new();
    let workers = bench.home.join("workers");
    fs::create_dir_all(&workers).unwrap();
    let stale = workers.join("1.sock");
    drop(UnixListener::bind(&stale).unwrap());
    assert!(stale.exists());
    let daemon = bench.open(1);
    daemon.run(&bench.script("1.1", "true"));
    assert!(!stale.exists());
}

#[test]
fn closing_without_leaving_ends_what_runs() {
    let bench = Bench::new();
    let ready = bench.fifo("ready");
    let daemon = bench.open(1);
    let assignment = bench.script("1.1", &format!("echo $$ > {}; exec sleep 1000", ready.display()));
    daemon.pool.run(assignment.clone()).unwrap();
    let agent = pids_from(&ready).remove(0);
    assert_eq!(daemon.pool.close(false), 0);
    assert!(!agent.is_alive() && !worker_of(&assignment).is_alive());
    assert_eq!(daemon.record_of("1.1").end, End::Stopped);
    assert!(matches!(daemon.pool.run(assignment), Err(PoolError::Closed { .. })));
}

#[test]
fn one_that_was_stopped_before_it_had_a_worker_never_runs() {
    let bench = Bench::new();
    // Warm workers are none, and this one takes its time to say hello.
    let slow = vec!["/bin/sh".into(), "-c".into(), "sleep 0.3; exec \"$0\" \"$@\"".into()];
    let slow = slow.into_iter().chain(program()).collect();
    let daemon = bench.open_with(slow, 0);
    let assignment = bench.script("1.1", "touch $FOLDER/ran");
    daemon.pool.run(assignment.clone()).unwrap();
    daemon.pool.stop("1.1", false);
    assert_eq!(daemon.record_of("1.1").end, End::Stopped);
    assert!(!assignment.folder.join("ran").exists());
}

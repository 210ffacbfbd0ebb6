//! Nothing of an assignment is alive once its end is told: every habit, every ending, every rung that this machine
//! has, and the exceptions that the weaker rungs are documented to have.

mod worker_support;

use std::collections::BTreeMap;
use std::fs;

use ropewalk_core::resource::Rung;
use ropewalk_host::durable;
use ropewalk_host::identity::ProcessIdentity;
use ropewalk_host::pool::WorkerEvent;
use ropewalk_host::worker::protocol::Assignment;
use ropewalk_host::worker::record::{End, WorkerNote};
use rustix::process::Signal;
use worker_support::{Bench, Daemon, children_of, has, pids_from, program_on, worker_of};

/// Ways to leave something behind. Each writes the pids of what stays into the pipe $P.
const HABITS: [(&str, &str); 8] = [
    ("ignores_term", "sh -c 'trap \"\" TERM HUP INT; echo $$ > $P; while :; do sleep 1; done' &"),
    ("stops_itself", "sh -c 'echo $$ > $P; kill -STOP $$' &"),
    ("own_group", "set -m; sh -c 'echo $$ > $P; exec sleep 1000' &"),
    ("setsid", "setsid sh -c 'echo $$ > $P; exec sleep 1000' &"),
    ("double_fork", r#"(setsid sh -c 'sh -c "echo \$\$ > $P; exec sleep 1000" &' &)"#),
    ("clears_environment", "setsid env -i P=$P sh -c 'echo $$ > $P; exec sleep 1000' &"),
    ("closes_output", "setsid sh -c 'exec >&- 2>&- <&-; echo $$ > $P; exec sleep 1000' &"),
    ("many", "(i=0; while [ $i -lt 300 ]; do sleep 1000 >&- & echo $!; i=$((i+1)); done > $P) &"),
];

/// What a rung is documented not to find.
fn escapes(rung: Rung, habit: &str, ending: &str) -> bool {
    habit == "clears_environment"
        && match rung {
            Rung::Cgroup => false,
            Rung::Subreaper => ending == "worker killed",
            Rung::Group => true,
        }
}

struct Case {
    habit: &'static str,
    assignment: Assignment,
    left: Vec<ProcessIdentity>,
    go: std::path::PathBuf,
}

fn start(bench: &Bench, daemon: &Daemon, ending: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for (number, (habit, command)) in HABITS.iter().enumerate() {
        let key = format!("{number}.{}", ending.replace(' ', "-"));
        let pids = bench.fifo(&format!("{key}.pids"));
        let go = bench.fifo(&format!("{key}.go"));
        let after = if ending == "exit" { "exit 3" } else { "while :; do sleep 1; done" };
        let script = format!("P={}; export P\n{command}\nread x < {}\n{after}", pids.display(), go.display());
        let mut assignment = bench.script(&key, &script);
        assignment.grace_ms = 300;
        if ending == "timeout" {
            assignment.timeout_ms = 3_000;
        }
        daemon.pool.run(assignment.clone()).unwrap();
        let left = pids_from(&pids);
        assert!(!left.is_empty() && left.iter().all(ProcessIdentity::is_alive), "{habit}");
        cases.push(Case { habit, assignment, left, go });
    }
    cases
}

fn end(daemon: &Daemon, cases: &[Case], ending: &str) -> BTreeMap<String, WorkerEvent> {
    for case in cases {
        match ending {
            "exit" => fs::write(&case.go, "go\n").unwrap(),
            "stop" => daemon.pool.stop(&case.assignment.key, false),
            "kill" => daemon.pool.stop(&case.assignment.key, true),
            "worker killed" => {
                worker_of(&case.assignment).signal(Signal::KILL).unwrap();
            }
            _ => {}
        }
    }
    let mut told = BTreeMap::new();
    while told.len() < cases.len() {
        match daemon.next() {
            WorkerEvent::Ended { key, record } => {
                assert!(told.insert(key.clone(), WorkerEvent::Ended { key, record }).is_none());
            }
            WorkerEvent::Lost { key, detail } => {
                assert!(told.insert(key.clone(), WorkerEvent::Lost { key, detail }).is_none());
            }
            WorkerEvent::Started { .. } | WorkerEvent::Alive { .. } | WorkerEvent::NearDeadline { .. } => {}
        }
    }
    told
}

fn nothing_is_alive_once_the_end_is_told(rung: Rung) {
    if !has(rung) {
        return;
    }
    for ending in ["exit", "stop", "kill", "timeout", "worker killed"] {
        let bench = Bench::new();
        let daemon = bench.open_with(program_on(rung), HABITS.len());
        let cases = start(&bench, &daemon, ending);
        let note: WorkerNote =
            durable::read_record(&cases[0].assignment.folder.join("worker.json")).unwrap().unwrap();
        assert_eq!(note.rung, Some(rung));
        assert_eq!(note.cgroup.is_some(), rung == Rung::Cgroup);
        let told = end(&daemon, &cases, ending);
        for case in &cases {
            let what = format!("{} by {ending} on {rung:?}", case.habit);
            match (&told[&case.assignment.key], ending) {
                (WorkerEvent::Lost { .. }, "worker killed") => {}
                (WorkerEvent::Ended { record, .. }, "exit") => {
                    assert_eq!(record.end, End::Exited { code: 3 }, "{what}");
                    assert_eq!(record.rung, Some(rung));
                    // Where nobody takes the orphans, the kernel ends a stopped one when its group's leader ends.
                    let is_gone = rung == Rung::Group && case.habit == "stops_itself";
                    let is_unknown = is_gone || escapes(rung, case.habit, ending);
                    assert!(record.leaked >= 1 || is_unknown, "{what}: {record:?}");
                }
                (WorkerEvent::Ended { record, .. }, "timeout") => {
                    assert_eq!(record.end, End::TimedOut { stalled: false }, "{what}");
                }
                (WorkerEvent::Ended { record, .. }, "stop" | "kill") => {
                    assert_eq!(record.end, End::Stopped, "{what}");
                }
                (other, _) => panic!("{what}: {other:?}"),
            }
            for process in &case.left {
                let is_alive = process.is_alive();
                assert!(!is_alive || escapes(rung, case.habit, ending), "{what}: {process}");
                // What may escape is not to stay all the same.
                let _ = process.signal(Signal::KILL);
            }
            if ending != "worker killed" {
                assert_eq!(children_of(worker_of(&case.assignment).pid), [""; 0], "{what}: a zombie");
            }
        }
        // And every worker that lives is as good as before.
        assert_eq!(daemon.end_of(&bench.script("9.9", "exit 4")), End::Exited { code: 4 });
        assert_eq!(daemon.pool.close(false), 0);
        if let Some(cgroup) = note.cgroup {
            assert!(!cgroup.exists(), "{} is left", cgroup.display());
        }
    }
}

#[test]
fn nothing_is_alive_on_the_rung_cgroup() {
    nothing_is_alive_once_the_end_is_told(Rung::Cgroup);
}

#[test]
fn nothing_is_alive_on_the_rung_subreaper() {
    nothing_is_alive_once_the_end_is_told(Rung::Subreaper);
}

#[test]
fn nothing_is_alive_on_the_rung_group() {
    nothing_is_alive_once_the_end_is_told(Rung::Group);
}

/// Processes that start others without end, each in a session of its own, in all the ways to be ended.
#[test]
fn a_fork_storm_does_not_outrun_its_end() {
    for rung in [Rung::Cgroup, Rung::Subreaper].into_iter().filter(|rung| has(*rung)) {
        for ending in ["exit", "kill", "worker killed"] {
            let bench = Bench::new();
            let ready = bench.fifo("ready");
            let daemon = bench.open_with(program_on(rung), 1);
            // Each starts its successor and ends: at any moment one is alive that no look has seen. Sixteen at once.
            let chain = "setsid sh -c 'while [ ! -e stop ]; do (exec sh -c :) & (sh -c : &); done' &";
            let script = format!(
                "i=0; while [ $i -lt 16 ]; do {chain} i=$((i+1)); done; echo $$ > {}; {}",
                ready.display(),
                if ending == "exit" { "exit 3" } else { "wait" }
            );
            let assignment = bench.script("1.1", &script);
            daemon.pool.run(assignment.clone()).unwrap();
            let _ = fs::read_to_string(&ready).unwrap();
            match ending {
                "kill" => daemon.pool.stop("1.1", true),
                "worker killed" => {
                    worker_of(&assignment).signal(Signal::KILL).unwrap();
                }
                _ => {}
            }
            loop {
                match daemon.next() {
                    WorkerEvent::Ended { record, .. } if ending == "exit" => {
                        assert_eq!(record.end, End::Exited { code: 3 });
                        break;
                    }
                    WorkerEvent::Ended { record, .. } => {
                        assert_eq!((record.end, ending), (End::Stopped, "kill"));
                        break;
                    }
                    WorkerEvent::Lost { .. } => {
                        assert_eq!(ending, "worker killed");
                        break;
                    }
                    WorkerEvent::Started { .. }
                    | WorkerEvent::Alive { .. }
                    | WorkerEvent::NearDeadline { .. } => {}
                }
            }
            let left = living_in(&assignment);
            assert_eq!(left, [0; 0], "{ending} on {rung:?}");
        }
    }
}

/// Living processes whose working folder is this assignment's: all that a storm of shells consists of.
fn living_in(assignment: &Assignment) -> Vec<i32> {
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|e| e.ok()?.file_name().to_str()?.parse::<i32>().ok());
    // A zombie has no working folder any more.
    pids.filter(|pid| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|dir| dir == assignment.dir))
        .collect()
}

#[test]
fn an_agent_that_kills_its_worker_is_killed_itself() {
    for rung in [Rung::Cgroup, Rung::Subreaper, Rung::Group].into_iter().filter(|rung| has(*rung)) {
        let bench = Bench::new();
        let ready = bench.fifo("ready");
        let daemon = bench.open_with(program_on(rung), 1);
        let script = format!(
            "setsid sleep 1000 & echo $$ $! > {}; kill -9 $PPID; while :; do sleep 1; done",
            ready.display()
        );
        let assignment = bench.script("1.1", &script);
        daemon.pool.run(assignment.clone()).unwrap();
        // The worker may be dead and cleaned up after before its pids are looked up: so by their numbers.
        let text = fs::read_to_string(&ready).unwrap();
        loop {
            match daemon.next() {
                WorkerEvent::Lost { .. } => break,
                WorkerEvent::Started { .. } | WorkerEvent::Alive { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        for pid in text.split_whitespace() {
            let is_alive =
                ProcessIdentity::of(pid.parse().unwrap()).is_some_and(|process| process.is_alive());
            assert!(!is_alive, "{pid} on {rung:?}");
        }
        assert_eq!(daemon.end_of(&bench.script("1.2", "exit 4")), End::Exited { code: 4 });
    }
}

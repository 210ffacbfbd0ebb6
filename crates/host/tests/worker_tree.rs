//! When an assignment has ended, nothing that it started is alive, however it detached.

mod worker_support;

use ropewalk_host::worker::record::End;
use worker_support::{Bench, children_of, pids_from, worker_of};

/// Ways to leave something behind. Each writes the pid of what stays into the pipe $P.
const HABITS: [(&str, &str); 8] = [
    ("background", "sh -c 'echo $$ > $P; exec sleep 1000' & wait_for_it"),
    ("own_group", "set -m; sh -c 'echo $$ > $P; exec sleep 1000' & wait_for_it"),
    ("setsid", "setsid sh -c 'echo $$ > $P; exec sleep 1000' & wait_for_it"),
    ("double_fork", r#"(setsid sh -c 'sh -c "echo \$\$ > $P; exec sleep 1000" &' &) ; wait_for_it"#),
    ("clears_environment", "setsid env -i P=$P sh -c 'echo $$ > $P; exec sleep 1000' & wait_for_it"),
    ("closes_output", "setsid sh -c 'exec >&- 2>&- <&-; echo $$ > $P; exec sleep 1000' & wait_for_it"),
    (
        // /proc shows the name as it is: bytes that are no UTF-8.
        "raw_name",
        r#"(printf '\377x' > /proc/self/comm; sh -c 'echo $PPID > $P'; while :; do sleep 1; done) & wait_for_it"#,
    ),
    (
        "ignores_everything",
        "setsid sh -c 'trap \"\" TERM HUP INT; echo $$ > $P; while :; do sleep 1; done' & wait_for_it",
    ),
];

#[test]
fn nothing_is_alive_once_the_end_is_told() {
    let bench = Bench::new();
    let daemon = bench.open(1);
    for (number, (habit, command)) in HABITS.iter().enumerate() {
        for ending in ["exit", "stop", "kill", "timeout"] {
            let key = format!("{number}.{ending}");
            let pids = bench.fifo(&format!("{key}.pids"));
            let go = bench.fifo(&format!("{key}.go"));
            // The agent itself goes on until the test has seen what it left.
            let after = if ending == "exit" { "exit 3" } else { "while :; do sleep 1; done" };
            let script = format!(
                "P={}; export P; wait_for_it() {{ read x < {}; }}\n{command}\n{after}",
                pids.display(),
                go.display()
            );
            let mut assignment = bench.script(&key, &script);
            assignment.grace_ms = 300;
            if ending == "timeout" {
                assignment.timeout_ms = 1_000;
            }
            daemon.pool.run(assignment.clone()).unwrap();
            let left = pids_from(&pids);
            assert!(!left.is_empty() && left.iter().all(|process| process.is_alive()), "{habit}");
            if ending != "timeout" {
                std::fs::write(&go, "go\n").unwrap();
            }
            match ending {
                "stop" => daemon.pool.stop(&key, false),
                "kill" => daemon.pool.stop(&key, true),
                _ => {}
            }
            let record = daemon.record_of(&key);
            let expected = match ending {
                "exit" => End::Exited { code: 3 },
                "timeout" => End::TimedOut { stalled: false },
                _ => End::Stopped,
            };
            assert_eq!(record.end, expected, "{habit} {ending}");
            assert!(left.iter().all(|process| !process.is_alive()), "{habit} {ending}");
            assert_eq!(children_of(worker_of(&assignment).pid), [""; 0], "{habit} {ending}: a zombie");
            if ending == "exit" {
                assert!(record.leaked >= 1, "{habit}: {record:?}");
            }
        }
    }
}

#[test]
fn five_hundred_short_orphans_leave_no_zombie_and_the_end_is_right() {
    let bench = Bench::new();
    let daemon = bench.open(1);
    let assignment = bench.script("1.1", "i=0; while [ $i -lt 500 ]; do (true &) ; i=$((i+1)); done; exit 4");
    assert_eq!(daemon.end_of(&assignment), End::Exited { code: 4 });
    assert_eq!(children_of(worker_of(&assignment).pid), [""; 0]);
}

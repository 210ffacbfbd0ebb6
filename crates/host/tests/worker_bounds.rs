//! Bounds on what an assignment uses: each ends that assignment, as what it is, and no other.

mod worker_support;

use std::fs;

use ropewalk_core::resource::{Bounds, Resource};
use ropewalk_host::containment::survey;
use ropewalk_host::pool::WorkerEvent;
use ropewalk_host::worker::record::End;
use rustix::process::Signal;
use worker_support::{Bench, Daemon, pids_from, program, program_with, worker_of};

/// What goes over its bound, and what is allowed in words.
fn breaches() -> Vec<(Resource, Bounds, &'static str, &'static str)> {
    let none = Bounds::default();
    vec![
        (
            Resource::Memory,
            Bounds { memory_bytes: Some(64 << 20), ..none },
            // One endless line, which tail has to hold.
            "cat /dev/zero | tail > /dev/null; wait; sleep 1000",
            "memory: 64 MiB allowed",
        ),
        (
            Resource::CpuTime,
            Bounds { cpu_ms: Some(300), ..none },
            // In a child, and in one that has ended.
            "(i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done); sh -c 'while :; do :; done'",
            "CPU time: 0.300 s allowed",
        ),
        (
            Resource::Processes,
            Bounds { processes: Some(12), ..none },
            "i=0; while [ $i -lt 100 ]; do sleep 1000 & i=$((i+1)); done; wait",
            "processes: 12 allowed",
        ),
        (
            Resource::OpenFiles,
            Bounds { open_files: Some(40), ..none },
            // tail goes on with those that it could open.
            "i=0; while [ $i -lt 60 ]; do : > $FOLDER/f$i; i=$((i+1)); done; tail -f $FOLDER/f*",
            "open files: 40 of one process allowed",
        ),
        (
            Resource::FileSize,
            Bounds { file_bytes: Some(1 << 20), ..none },
            "head -c 2000000 /dev/zero > $FOLDER/large",
            "file size: 1 MiB allowed",
        ),
    ]
}

fn each_breach_ends_its_own_assignment(bench: &Bench, daemon: &Daemon) {
    let (ready, go) = (bench.fifo("ready"), bench.fifo("go"));
    let mut neighbour =
        bench.script("0.1", &format!("echo $$ > {}; read x < {}; exit 5", ready.display(), go.display()));
    // Bounded too, and far from it.
    neighbour.bounds = Bounds {
        memory_bytes: Some(256 << 20),
        cpu_ms: Some(20_000),
        processes: Some(50),
        open_files: Some(200),
        file_bytes: Some(10 << 20),
        nice: Some(1),
    };
    daemon.pool.run(neighbour).unwrap();
    let agent = pids_from(&ready).remove(0);
    for (number, (resource, bounds, command, words)) in breaches().into_iter().enumerate() {
        let mut assignment = bench.script(&format!("1.{number}"), command);
        assignment.bounds = bounds;
        assignment.grace_ms = 300;
        let record = daemon.run(&assignment);
        assert_eq!(record.end, End::OverLimit { resource, detail: words.to_owned() }, "{record:?}");
        assert!(agent.is_alive(), "after {resource:?}");
    }
    fs::write(&go, "go\n").unwrap();
    assert_eq!(daemon.record_of("0.1").end, End::Exited { code: 5 });
}

#[test]
fn each_breach_ends_its_own_assignment_with_what_controllers_there_are() {
    let bench = Bench::new();
    let daemon = bench.open_with(program(), 2);
    each_breach_ends_its_own_assignment(&bench, &daemon);
}

#[test]
fn each_breach_ends_its_own_assignment_without_controllers() {
    let bench = Bench::new();
    let daemon = bench.open_with(program_with(&["--controllers", "none"]), 2);
    each_breach_ends_its_own_assignment(&bench, &daemon);
}

#[test]
fn an_agent_within_its_bounds_is_as_without_them() {
    let bench = Bench::new();
    let daemon = bench.open(1);
    let mut assignment =
        bench.script("1.1", "env | cut -d= -f1 | sort | tr '\\n' ' '; ulimit -n; ulimit -f; nice; exit 6");
    assignment.bounds = Bounds {
        memory_bytes: Some(256 << 20),
        cpu_ms: Some(20_000),
        processes: Some(50),
        open_files: Some(100),
        file_bytes: Some(1 << 20),
        nice: Some(7),
    };
    let record = daemon.run(&assignment);
    assert_eq!(record.end, End::Exited { code: 6 });
    // A shell tells blocks of 512 bytes. PWD is its own doing.
    let said = fs::read_to_string(assignment.folder.join("stdout")).unwrap();
    assert_eq!(said, "FOLDER PATH PWD ROPEWALK_MARK 100\n2048\n7\n");
    assert!(record.usage.memory_peak_bytes.is_some_and(|bytes| bytes > 100_000), "{record:?}");
    // The same name and environment for the program itself, and an exit code like the trampoline's stays its own.
    let mut assignment = bench.script("1.2", "exit 125");
    assignment.bounds.nice = Some(1);
    assert_eq!(daemon.end_of(&assignment), End::Exited { code: 125 });
}

#[test]
fn what_the_trampoline_cannot_start_is_told_with_its_reason() {
    let bench = Bench::new();
    let daemon = bench.open(1);
    let broken = bench.folder.path().join("broken");
    fs::write(&broken, "#!/no/such/shell\n").unwrap();
    fs::set_permissions(&broken, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut assignment = bench.script("1.1", "true");
    assignment.argv = vec![broken.to_str().unwrap().to_owned()];
    assignment.bounds.nice = Some(1);
    match daemon.end_of(&assignment) {
        End::NotStarted { reason, passing } => {
            assert!(reason.contains("cannot start") && reason.contains("broken") && !passing, "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_used_is_told_of_all_its_processes() {
    let bench = Bench::new();
    let daemon = bench.open(1);
    let busy = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
    // A child, an orphan that ends before the agent does, and what they read and write.
    let script = format!(
        "(setsid sh -c '{busy}; head -c 3000000 /dev/zero > /dev/null; echo > $FOLDER/done' &); \
         while [ ! -e $FOLDER/done ]; do sleep 0.01; done; printf 12345; printf 123 >&2"
    );
    let used = daemon.run(&bench.script("1.1", &script)).usage;
    assert!(used.cpu_ms >= 10, "{used:?}");
    assert!(used.io_read_bytes >= 3_000_000 && used.io_written_bytes >= 3_000_000, "{used:?}");
    assert!(used.io_operations >= 100, "{used:?}");
    assert_eq!((used.stdout_bytes, used.stderr_bytes, used.output_dropped_bytes), (5, 3, 0));
    // The same worker's next assignment begins at nothing. Its memory is told although no look ever saw it.
    let used = daemon.run(&bench.script("1.2", "exec head -c 1 /dev/zero")).usage;
    assert!(used.cpu_ms < 100 && used.io_read_bytes < 1_000_000, "{used:?}");
    assert!(used.memory_peak_bytes.is_some_and(|bytes| bytes < 50 << 20), "{used:?}");
}

#[test]
fn what_bounded_it_is_taken_away_also_when_its_worker_was_killed() {
    let bench = Bench::new();
    let ready = bench.fifo("ready");
    let daemon = bench.open(1);
    let mut assignment =
        bench.script("1.1", &format!("cat /proc/self/cgroup > {}; sleep 1000", ready.display()));
    assignment.bounds = Bounds { memory_bytes: Some(256 << 20), processes: Some(50), ..Bounds::default() };
    daemon.pool.run(assignment.clone()).unwrap();
    let told = fs::read_to_string(&ready).unwrap();
    let worker = worker_of(&assignment);
    // Of every hierarchy that it was moved in, the folder's own name.
    let own = format!("ropewalk-{}-{}", worker.pid, worker.start_time);
    let bounded: Vec<&str> = told.lines().filter(|line| line.contains(&format!("{own}-"))).collect();
    let by_controller = survey().bounds.iter().filter(|offer| offer.kept_by == "cgroup v1").count();
    assert_eq!(bounded.len(), by_controller, "{told}");
    worker.signal(Signal::KILL).unwrap();
    while !matches!(daemon.next(), WorkerEvent::Lost { .. }) {}
    for line in bounded {
        let path = line.rsplit(':').next().unwrap().trim_start_matches('/');
        let controller = line.split(':').nth(1).unwrap();
        let folder = std::path::Path::new("/sys/fs/cgroup").join(controller).join(path);
        assert!(!folder.exists(), "{}", folder.display());
    }
}

//! How an assignment ends, and what its record says.

mod worker_support;

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;

use ropewalk_host::durable;
use ropewalk_host::worker::record::{End, ExitRecord};
use worker_support::Bench;

#[test]
fn an_exit_code_is_recorded_as_it_is_and_the_record_is_on_disk_when_told() {
    let bench = Bench::new();
    let daemon = bench.open(1);
    for code in [0, 1, 7, 127, 255] {
        let assignment = bench.script(&format!("1.{code}"), &format!("exit {code}"));
        let record = daemon.run(&assignment);
        assert_eq!(record.end, End::Exited { code });
        assert_eq!(record.leaked, 0);
        assert!(record.finished_at_ms >= record.started_at_ms && record.started_at_ms > 1_600_000_000_000);
        let on_disk: Option<ExitRecord> = durable::read_record(&assignment.folder.join("exit.json")).unwrap();
        assert_eq!(on_disk, Some(record));
    }
}

#[test]
fn a_death_by_os_signal_is_no_exit_code() {
    let bench = Bench::new();
    let daemon = bench.open(1);
    let end = daemon.end_of(&bench.script("1.1", "kill -SEGV $$"));
    assert_eq!(end, End::Signalled { os_signal: 11 });
}

#[test]
fn one_that_ignores_sigterm_is_gone_after_limit_and_grace() {
    let bench = Bench::new();
    let daemon = bench.open(1);
    let mut assignment = bench.script("1.1", "trap '' TERM; echo before; while :; do sleep 1; done");
    (assignment.timeout_ms, assignment.grace_ms) = (300, 200);
    let record = daemon.run(&assignment);
    assert_eq!(record.end, End::TimedOut { stalled: false });
    assert!((500..2_500).contains(&record.usage.wall_ms), "{}", record.usage.wall_ms);
    assert_eq!(fs::read_to_string(assignment.folder.join("stdout")).unwrap(), "before\n");
}

#[test]
fn one_that_has_stopped_itself_is_gone_after_its_limit_too() {
    let bench = Bench::new();
    let daemon = bench.open(1);
    // SIGCONT wakes it, and the SIGTERM that waited ends it: no grace is used up.
    let mut assignment = bench.script("1.1", "kill -STOP $$");
    (assignment.timeout_ms, assignment.grace_ms) = (300, 30_000);
    let record = daemon.run(&assignment);
    assert_eq!(record.end, End::TimedOut { stalled: false });
    assert!(record.usage.wall_ms < 10_000, "{}", record.usage.wall_ms);
}

#[test]
fn the_agents_own_children_have_the_grace_too() {
    let bench = Bench::new();
    let fifo = bench.fifo("ready");
    let daemon = bench.open(1);
    // The outer shell dies of SIGTERM at once; the inner one saves its work first.
    let inner = format!(
        "trap 'sleep 0.3; echo saved; exit 0' TERM; echo $$ > {}; while :; do sleep 0.05; done",
        fifo.display()
    );
    let assignment = bench.script("1.1", &format!("sh -c '{}' ; true", inner.replace('\'', "'\\''")));
    daemon.pool.run(assignment.clone()).unwrap();
    let pids = worker_support::pids_from(&fifo);
    daemon.pool.stop("1.1", false);
    let record = daemon.record_of("1.1");
    assert_eq!((record.end, record.leaked), (End::Stopped, 0));
    assert_eq!(fs::read_to_string(assignment.folder.join("stdout")).unwrap(), "saved\n");
    assert!(!pids[0].is_alive());
}

#[test]
fn a_stop_gives_grace_and_a_kill_gives_none() {
    let bench = Bench::new();
    let fifo = bench.fifo("ready");
    let daemon = bench.open(1);
    let command =
        format!("trap 'echo bye; exit 0' TERM; echo $$ > {}; while :; do sleep 0.05; done", fifo.display());
    for (key, kill, said) in [("1.1", false, "bye\n"), ("1.2", true, "")] {
        let mut assignment = bench.script(key, &command);
        assignment.grace_ms = 30_000;
        daemon.pool.run(assignment.clone()).unwrap();
        worker_support::pids_from(&fifo);
        daemon.pool.stop(key, kill);
        let record = daemon.record_of(key);
        assert_eq!(record.end, End::Stopped);
        assert!(record.usage.wall_ms < 10_000, "{}", record.usage.wall_ms);
        assert_eq!(fs::read_to_string(assignment.folder.join("stdout")).unwrap(), said, "{key}");
    }
}

#[test]
fn a_kill_cuts_the_grace_of_an_earlier_stop_short() {
    let bench = Bench::new();
    let (ready, told) = (bench.fifo("ready"), bench.fifo("told"));
    let daemon = bench.open(1);
    let command = format!(
        "trap 'echo $$ > {}' TERM; echo $$ > {}; while :; do sleep 0.05; done",
        told.display(),
        ready.display()
    );
    let mut assignment = bench.script("1.1", &command);
    assignment.grace_ms = 50_000;
    daemon.pool.run(assignment).unwrap();
    worker_support::pids_from(&ready);
    daemon.pool.stop("1.1", false);
    worker_support::pids_from(&told);
    daemon.pool.stop("1.1", true);
    let record = daemon.record_of("1.1");
    assert_eq!(record.end, End::Stopped);
    assert!(record.usage.wall_ms < 20_000, "{}", record.usage.wall_ms);
}

#[test]
fn what_cannot_be_started_is_told_with_its_reason_and_runs_nothing() {
    let bench = Bench::new();
    let daemon = bench.open(1);
    let at = |name: &str| bench.folder.path().join(name);
    fs::create_dir(at("a_folder")).unwrap();
    fs::write(at("plain_file"), "#!/bin/sh\n").unwrap();
    fs::write(at("broken"), "#!/no/such/shell\n").unwrap();
    fs::set_permissions(at("broken"), fs::Permissions::from_mode(0o755)).unwrap();
    let path_of = |name: &str| at(name).to_str().unwrap().to_owned();
    let cases = [
        ("1.1", "no-such-agent".to_owned(), "no-such-agent"),
        ("1.2", "/no/such/agent".to_owned(), "there is no program /no/such/agent"),
        ("1.3", path_of("a_folder"), "is a folder"),
        ("1.4", path_of("plain_file"), "may not be executed"),
        ("1.5", path_of("broken"), "cannot start"),
    ];
    for (key, program, expected) in cases {
        let mut assignment = bench.script(key, "touch $FOLDER/ran");
        assignment.argv = vec![program.clone()];
        refused(&daemon, &assignment, expected);
        // The same fault when it is the first word of a shell's command: told before the shell is started.
        if key != "1.5" {
            let mut assignment = bench.script(&format!("shell-{key}"), "touch $FOLDER/ran");
            assignment.program = Some(program);
            refused(&daemon, &assignment, expected);
        }
    }
    let mut assignment = bench.script("2.1", "touch $FOLDER/ran");
    assignment.dir = at("nowhere");
    refused(&daemon, &assignment, "nowhere");
    let mut assignment = bench.script("2.2", "touch $FOLDER/ran");
    assignment.stdin = Some(at("no_prompt"));
    refused(&daemon, &assignment, "no_prompt");
    let mut assignment = bench.script("2.3", "touch $FOLDER/ran");
    assignment.argv.clear();
    refused(&daemon, &assignment, "empty");
    let mut assignment = bench.script("2.4", "touch $FOLDER/ran");
    assignment.env.push(("LONG".into(), "x".repeat(2 << 20)));
    refused(&daemon, &assignment, "too long");
    // And the worker is as good as before.
    assert_eq!(daemon.end_of(&bench.script("3.1", "true")), End::Exited { code: 0 });
}

fn refused(
    daemon: &worker_support::Daemon,
    assignment: &ropewalk_host::worker::protocol::Assignment,
    expected: &str,
) {
    match daemon.end_of(assignment) {
        End::NotStarted { reason, .. } => assert!(reason.contains(expected), "{}: {reason}", assignment.key),
        other => panic!("{}: {other:?}", assignment.key),
    }
    assert!(!assignment.folder.join("ran").exists());
}

#[test]
fn output_is_whole_in_its_own_files_and_input_is_the_prompt() {
    let bench = Bench::new();
    let daemon = bench.open(1);
    let mut assignment =
        bench.script("1.1", "cat; head -c 3000000 /dev/zero; echo to-err >&2; head -c 70000 /dev/zero >&2");
    let prompt = assignment.folder.join("prompt.txt");
    fs::write(&prompt, "the prompt\n").unwrap();
    assignment.stdin = Some(prompt);
    assert_eq!(daemon.end_of(&assignment), End::Exited { code: 0 });
    let stdout = fs::read(assignment.folder.join("stdout")).unwrap();
    assert_eq!(stdout.len(), 3_000_000 + 11);
    assert!(stdout.starts_with(b"the prompt\n"));
    assert_eq!(fs::metadata(assignment.folder.join("stderr")).unwrap().len(), 70_000 + 7);
    let mode = fs::metadata(assignment.folder.join("stdout")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn an_agent_has_the_environment_it_was_given_and_the_usual_file_mask() {
    let bench = Bench::new();
    let daemon = bench.open(1);
    let assignment = bench.script("1.1", "env | cut -d= -f1 | sort | tr '\\n' ' '; umask; trap");
    daemon.run(&assignment);
    let said = fs::read_to_string(assignment.folder.join("stdout")).unwrap();
    let mask =
        String::from_utf8(std::process::Command::new("sh").args(["-c", "umask"]).output().unwrap().stdout)
            .unwrap();
    // PWD is the shell's own doing.
    assert_eq!(said, format!("FOLDER PATH PWD ROPEWALK_MARK {mask}"));
}

#[test]
fn cpu_time_and_memory_are_those_of_this_assignment() {
    let bench = Bench::new();
    let daemon = bench.open(1);
    let busy = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
    let first = daemon.run(&bench.script("1.1", &format!("sh -c '{busy}'; true")));
    assert!(first.usage.cpu_ms >= 20, "{first:?}");
    let second = daemon.run(&bench.script("1.2", "true"));
    assert!(second.usage.cpu_ms < first.usage.cpu_ms, "{second:?}");
    let fifo = bench.fifo("ready");
    daemon.pool.run(bench.script("1.3", &format!("echo $$ > {}; sleep 1000; true", fifo.display()))).unwrap();
    worker_support::pids_from(&fifo);
    daemon.pool.stop("1.3", false);
    let third = daemon.record_of("1.3");
    assert!(third.usage.memory_peak_bytes.is_some_and(|bytes| bytes > 100_000), "{third:?}");
}

#[test]
fn a_record_that_cannot_be_written_is_tried_again_and_nothing_is_told_before() {
    let bench = Bench::new();
    fs::create_dir_all(bench.home.join("workers")).unwrap();
    let log = bench.fifo("home/workers/log");
    let assignment = bench.script("1.1", "mkdir $FOLDER/exit.json; exit 2");
    let obstacle = assignment.folder.join("exit.json");
    let healer = std::thread::spawn(move || {
        let lines = BufReader::new(File::open(log).unwrap()).lines();
        let complaint = lines.map(Result::unwrap).find(|line| line.contains("trying again")).unwrap();
        fs::remove_dir(obstacle).unwrap();
        complaint
    });
    let daemon = bench.open(1);
    assert_eq!(daemon.end_of(&assignment), End::Exited { code: 2 });
    assert!(healer.join().unwrap().contains("exit.json"));
}

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::*;
use crate::output::index::Index;

/// Starts a shell with a capture around it.
fn start(folder: &Path, rules: &OutputRules, script: &str) -> (Capture, Child) {
    let (capture, stdout, stderr) = Capture::open(folder, rules).unwrap();
    let mut command = Command::new("sh");
    let child = command.arg("-c").arg(script).stdout(stdout).stderr(stderr).spawn().unwrap();
    (capture, child)
}

/// Waits for what the capture waits for: a descriptor, or its time. `false`: nothing within a minute.
fn turn(capture: &mut Capture) -> Option<Resource> {
    let now = boot_ms();
    let wait_ms = capture.next_at().map_or(60_000, |at| at.saturating_sub(now));
    let timeout = Timespec { tv_sec: (wait_ms / 1000) as i64, tv_nsec: (wait_ms % 1000) as i64 * 1_000_000 };
    let ready = {
        let fds = capture.fds();
        let mut fds: Vec<_> = fds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        poll(&mut fds, Some(&timeout)).unwrap() > 0
    };
    if ready {
        capture.ready();
    }
    assert!(ready || capture.next_at().is_some(), "nothing came");
    capture.advance(boot_ms())
}

fn stored(folder: &Path, stream: Stream) -> Vec<u8> {
    std::fs::read(stream.path(folder)).unwrap()
}

#[test]
fn directly_captured_output_is_in_its_files_and_the_index_tells_when_it_came() {
    let folder = tempfile::tempdir().unwrap();
    let before = wall_ms();
    let script = "echo out; echo err >&2; read wait; printf more";
    let (mut capture, stdout, stderr) = Capture::open(folder.path(), &OutputRules::default()).unwrap();
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).stdin(Stdio::piped()).stdout(stdout).stderr(stderr);
    let mut child = command.spawn().unwrap();
    // Not watched from the first: most that end soon need it not.
    assert!(capture.fds().is_empty() && capture.next_at().is_some());
    while capture.seen != [4, 4] {
        assert_eq!(turn(&mut capture), None);
    }
    assert_eq!(capture.bytes(), 8);
    // It rests until the next look, which finds nothing, and then waits for the next writing.
    assert!(capture.fds().is_empty() && capture.next_at().is_some());
    while capture.next_at().is_some() {
        assert_eq!(turn(&mut capture), None);
    }
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(turn(&mut capture), None);
    let captured = capture.finish();
    assert_eq!((captured.stdout_bytes, captured.stderr_bytes, captured.dropped_bytes), (8, 4, 0));
    assert_eq!((captured.own_read_bytes, captured.own_operations > 0), (0, true));
    assert_eq!(
        (stored(folder.path(), Stream::Stdout), stored(folder.path(), Stream::Stderr)),
        (b"out\nmore".into(), b"err\n".into())
    );
    let index = Index::read(folder.path(), Stream::Stdout).unwrap();
    assert_eq!((index.offset_at(before - 1), index.offset_at(wall_ms() + 1_000)), (0, 8));
}

#[test]
fn beyond_the_cap_the_middle_is_given_back_and_offsets_stay_true() {
    let folder = tempfile::tempdir().unwrap();
    let rules = OutputRules { bytes_max: 1 << 20, ..OutputRules::default() };
    let (mut capture, mut child) = start(folder.path(), &rules, "seq 1000000; echo end >&2");
    assert!(child.wait().unwrap().success());
    assert_eq!(turn(&mut capture), None);
    let captured = capture.finish();
    let whole: String = (1..=1_000_000).map(|n| format!("{n}\n")).collect();
    let (whole, kept) = (whole.as_bytes(), stored(folder.path(), Stream::Stdout));
    assert_eq!((captured.stdout_bytes, kept.len()), (whole.len() as u64, whole.len()));
    let hole = Index::read(folder.path(), Stream::Stdout).unwrap().hole.unwrap();
    assert_eq!(captured.dropped_bytes, hole.end - hole.start);
    assert!(
        (whole.len() as u64 - captured.dropped_bytes).abs_diff(1 << 20) < 4 * BLOCK_BYTES,
        "{captured:?}"
    );
    let (from, to) = (hole.start as usize, hole.end as usize);
    assert!(
        kept[..from] == whole[..from]
            && kept[to..] == whole[to..]
            && kept[from..to].iter().all(|byte| *byte == 0)
    );
    let blocks = std::fs::metadata(Stream::Stdout.path(folder.path())).unwrap().blocks();
    assert!(blocks * 512 <= (1 << 20) + 64 * BLOCK_BYTES, "{blocks} blocks are still taken");
    assert_eq!(stored(folder.path(), Stream::Stderr), b"end\n");
}

#[test]
fn the_cap_can_end_the_attempt_instead() {
    let folder = tempfile::tempdir().unwrap();
    let rules = OutputRules { bytes_max: 1_000, over: OverOutput::End, ..OutputRules::default() };
    let (mut capture, mut child) = start(folder.path(), &rules, "seq 1000");
    assert!(child.wait().unwrap().success());
    assert_eq!(turn(&mut capture), Some(Resource::Output));
    capture.finish();
}

#[test]
fn each_stream_keeps_half_of_the_cap_and_what_the_other_leaves() {
    const K: u64 = 1 << 20;
    assert_eq!(holes([10 * K, 0], 10 * K), [None, None]);
    assert_eq!(holes([12 * K, 0], 10 * K), [Some(5 * K..7 * K), None]);
    assert_eq!(holes([12 * K, 2 * K], 10 * K), [Some(4 * K..8 * K), None]);
    assert_eq!(holes([12 * K, 4 * K], 8 * K), [Some(2 * K..10 * K), None]);
    assert_eq!(holes([16 * K, 16 * K], 8 * K), [Some(2 * K..14 * K), Some(2 * K..14 * K)]);
    assert_eq!(holes([u64::MAX, 5], 0)[1], None);
}

fn filtered(secret: &str) -> OutputRules {
    OutputRules { secrets: vec![secret.to_owned()], ..OutputRules::default() }
}

#[test]
fn a_secret_never_reaches_the_disk_and_its_pipe_delays_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let script = "printf 'key=open sesa'; printf 'me; ope'; printf b3BlbiBzZXNhbWU= >&2";
    let (mut capture, mut child) = start(folder.path(), &filtered("open sesame"), script);
    assert_eq!(capture.fds().len(), 2);
    assert!(child.wait().unwrap().success());
    while !capture.fds().is_empty() {
        assert_eq!(turn(&mut capture), None);
    }
    assert_eq!(stored(folder.path(), Stream::Stdout), b"key=[redacted]; ");
    assert_eq!(capture.bytes(), 36);
    let captured = capture.finish();
    assert_eq!(stored(folder.path(), Stream::Stdout), b"key=[redacted]; ope");
    assert_eq!(stored(folder.path(), Stream::Stderr), b"[redacted]=");
    assert_eq!((captured.stdout_bytes, captured.own_read_bytes), (19, 36));
}

#[test]
fn what_is_still_in_the_pipe_is_taken_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    // The background process keeps the pipe open.
    let (mut capture, mut child) =
        start(folder.path(), &filtered("open sesame"), "seq 10000; sleep 60 & echo $!");
    // More than a pipe of the usual size holds, in case no larger one is given.
    while child.try_wait().unwrap().is_none() {
        if capture.bytes() == 0 {
            turn(&mut capture);
        }
        capture.ready();
    }
    let captured = capture.finish();
    let text = String::from_utf8(stored(folder.path(), Stream::Stdout)).unwrap();
    let last = text.lines().last().unwrap();
    assert_eq!(captured.stdout_bytes, text.len() as u64);
    assert_eq!(text.lines().count(), 10_001);
    assert!(Command::new("kill").arg(last).status().unwrap().success());
}

#[test]
fn a_file_that_cannot_be_written_holds_the_child_up_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut capture, mut child) = start(folder.path(), &filtered("open sesame"), "seq 10; echo open sesame");
    assert!(child.wait().unwrap().success());
    let path = Stream::Stdout.path(folder.path());
    // A file that was opened for reading refuses every write.
    let good = std::mem::replace(&mut capture.files[0].file, File::open(&path).unwrap());
    turn(&mut capture);
    assert_eq!(stored(folder.path(), Stream::Stdout), b"");
    let at = capture.next_at().unwrap();
    assert!(at > boot_ms());
    capture.files[0].file = good;
    capture.advance(at + 2_000);
    assert_eq!(stored(folder.path(), Stream::Stdout), b"1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n[redacted]\n");
    assert_eq!(capture.finish().dropped_bytes, 0);
}

#[test]
fn an_output_file_that_is_a_symlink_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/null", folder.path().join("stderr")).unwrap();
    assert!(Capture::open(folder.path(), &OutputRules::default()).is_err());
}

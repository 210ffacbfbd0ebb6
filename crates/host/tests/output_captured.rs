//! What an attempt prints, from its process to a reader: with real workers.

mod worker_support;

use std::fs;
use std::io::Write;
use std::path::Path;

use ropewalk_host::output::follow::{Follower, Progress};
use ropewalk_host::output::stored::Piece;
use ropewalk_host::output::{self, Stored, Stream};
use ropewalk_host::worker::protocol::{Assignment, OutputRules};
use rustix::process::Signal;
use worker_support::{Bench, pids_from, worker_of};

const SECRET: &str = "correct-horse-battery-staple";

/// Reads on from where the last reading stopped.
fn read_on(stored: &mut Stored, text: &mut Vec<u8>) {
    let mut buffer = [0; 1_000];
    while let Piece::Bytes(count) = stored.read_at(text.len() as u64, &mut buffer).unwrap() {
        text.extend_from_slice(&buffer[..count]);
    }
}

/// Follows an attempt's stdout until its end; `seen` is called with all that has come.
fn follow(folder: &Path, mut seen: impl FnMut(&[u8])) -> Vec<u8> {
    let (mut follower, mut text) = (Follower::new(folder), Vec::new());
    loop {
        let mut stored = Stored::open(folder, Stream::Stdout).unwrap();
        let progress = follower.look(&stored);
        read_on(&mut stored, &mut text);
        seen(&text);
        match progress {
            Progress::Over => return text,
            Progress::NotBegun | Progress::Running => follower.wait(),
        }
    }
}

fn filtered(bench: &Bench, key: &str, command: &str) -> Assignment {
    let mut assignment = bench.script(key, command);
    assignment.env.push(("SECRET".to_owned(), SECRET.to_owned()));
    assignment.output = OutputRules { secrets: vec![SECRET.to_owned()], ..OutputRules::default() };
    assignment
}

#[test]
fn output_is_followed_while_it_comes_and_to_its_end() {
    for is_filtered in [false, true] {
        let bench = Bench::new();
        let daemon = bench.open(1);
        let gate = bench.fifo("gate");
        let command = format!("echo first; read line < {}; seq 1000; printf last", gate.display());
        let mut assignment = bench.script("1.1", &command);
        assignment.output.filtered = is_filtered;
        daemon.pool.run(assignment.clone()).unwrap();
        let mut gate_is_open = false;
        let text = follow(&assignment.folder, |text| {
            if text == b"first\n" && !gate_is_open {
                // Only a reader that sees the first line lets it go on.
                fs::OpenOptions::new().write(true).open(&gate).unwrap().write_all(b"go\n").unwrap();
                gate_is_open = true;
            }
        });
        let numbers: String = (1..=1_000).map(|number| format!("{number}\n")).collect();
        assert_eq!(String::from_utf8(text).unwrap(), format!("first\n{numbers}last"));
        assert_eq!(daemon.record_of("1.1").usage.stdout_bytes, numbers.len() as u64 + 10);
    }
}

#[test]
fn a_follower_hears_of_the_death_of_the_worker() {
    let bench = Bench::new();
    let daemon = bench.open(1);
    let ready = bench.fifo("ready");
    let assignment = bench.script("1.1", &format!("echo begun; echo $$ > {}; sleep 1000", ready.display()));
    daemon.pool.run(assignment.clone()).unwrap();
    let agent = pids_from(&ready);
    let worker = worker_of(&assignment);
    let mut is_killed = false;
    let text = follow(&assignment.folder, |_| {
        if !std::mem::replace(&mut is_killed, true) {
            worker.signal(Signal::KILL).unwrap();
        }
    });
    assert_eq!(text, b"begun\n");
    assert!(agent[0].wait_for_end(60_000).unwrap());
}

#[test]
fn a_secret_is_nowhere_in_the_state_in_whatever_pieces_it_was_printed() {
    let bench = Bench::new();
    let daemon = bench.open(1);
    for (number, size) in [1, 7, 4_096].into_iter().enumerate() {
        // Each piece is a write of its own.
        let command = format!(
            "for form in \"$SECRET\" \"$(printf %s \"$SECRET\" | base64)\" \
             \"$(printf %s \"x$SECRET\" | base64)\"; do \
             printf %s \"<$form>\" | dd bs={size} status=none iflag=fullblock; \
             printf %s \"<$form>\" | dd bs={size} status=none iflag=fullblock >&2; done"
        );
        let assignment = filtered(&bench, &format!("1.{number}"), &command);
        daemon.run(&assignment);
        for stream in Stream::BOTH {
            let text = fs::read_to_string(stream.path(&assignment.folder)).unwrap();
            assert_eq!(text.matches("[redacted]").count(), 3, "{text}");
        }
    }
    daemon.pool.close(false);
    let forms = [SECRET, "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5LXN0YXBsZQ", "jb3JyZWN0LWhvcnNlLWJhdHRlcnktc3RhcGxl"];
    let mut folders = vec![bench.folder.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() {
                let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
                assert!(!forms.iter().any(|form| text.contains(form)), "{}: {text}", path.display());
            }
        }
    }
}

#[test]
fn output_is_read_alike_before_and_after_it_is_compressed_and_is_gone_after_purging() {
    let bench = Bench::new();
    let daemon = bench.open(1);
    let assignment = bench.script("1.1", "seq 100000");
    daemon.run(&assignment);
    let before = follow(&assignment.folder, |_| ());
    output::compress(&assignment.folder).unwrap();
    assert!(!Stream::Stdout.path(&assignment.folder).exists());
    assert!(before == follow(&assignment.folder, |_| ()) && before.len() == 588_895);
    output::purge(&assignment.folder).unwrap();
    assert!(Stored::open(&assignment.folder, Stream::Stdout).unwrap().is_absent());
    assert!(assignment.folder.join("exit.json").exists());
}

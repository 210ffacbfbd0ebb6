use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::process::Command;

use rustix::fs::{FallocateFlags, fallocate};

use super::compressed::{SEGMENT_BYTES, Step, compress_stream};
use super::stored::{PIECE_BYTES, Piece};
use super::*;

const K: u64 = 1 << 10;

/// All of a stream from an offset on, holes as their length in brackets.
fn all(stored: &mut Stored, mut at: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 100_000];
    loop {
        match stored.read_at(at, &mut buffer).unwrap() {
            Piece::End => return bytes,
            Piece::Bytes(count) => {
                assert!(count > 0);
                bytes.extend_from_slice(&buffer[..count]);
                at += count as u64;
            }
            Piece::Hole(hole) => {
                assert!(hole.start == at && hole.end > at);
                write!(bytes, "[{}]", hole.end - hole.start).unwrap();
                at = hole.end;
            }
        }
    }
}

fn numbered(lines: std::ops::Range<u64>) -> Vec<u8> {
    lines.flat_map(|line| format!("line {line}\n").into_bytes()).collect()
}

fn punch(folder: &Path, from: u64, length: u64) {
    let file = File::options().write(true).open(Stream::Stdout.path(folder)).unwrap();
    fallocate(&file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, from, length).unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A folder whose stdout takes several segments.
fn large() -> (tempfile::TempDir, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let line = |number| format!("line {number} {:80}\n", "and more").into_bytes();
    let mut bytes: Vec<u8> = (0..400_000).flat_map(line).collect();
    bytes.extend_from_slice(b"no end of line");
    assert!(bytes.len() as u64 > 2 * SEGMENT_BYTES);
    fs::write(Stream::Stdout.path(folder.path()), &bytes).unwrap();
    (folder, bytes)
}

#[test]
fn compressed_output_reads_as_before_from_any_offset() {
    let (folder, bytes) = large();
    fs::write(Stream::Stderr.path(folder.path()), b"").unwrap();
    let before = disk_bytes(folder.path()).unwrap();
    compress(folder.path()).unwrap();
    assert_eq!(names(folder.path()), ["stderr", "stdout.zst"]);
    assert!(disk_bytes(folder.path()).unwrap() < before / 5);
    let mut stored = Stored::open(folder.path(), Stream::Stdout).unwrap();
    assert_eq!(stored.size().unwrap(), bytes.len() as u64);
    let segment = SEGMENT_BYTES as usize;
    for at in [
        0,
        1,
        segment - 1,
        segment,
        segment + 77,
        2 * segment + 5,
        bytes.len() - 1,
        bytes.len(),
        bytes.len() + 9,
    ] {
        assert!(all(&mut stored, at as u64) == bytes[at.min(bytes.len())..], "from {at}");
    }
    // Backwards within a segment as well.
    for at in [9_000_000, 1_000] {
        let mut buffer = [0; 50];
        assert_eq!(stored.read_at(at, &mut buffer).unwrap(), Piece::Bytes(50));
        assert_eq!(buffer, bytes[at as usize..][..50]);
    }
    compress(folder.path()).unwrap();
    assert_eq!(names(folder.path()), ["stderr", "stdout.zst"]);
}

#[test]
fn what_is_compressed_is_what_zstd_reads() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(Stream::Stderr.path(folder.path()), numbered(0..1_000)).unwrap();
    compress(folder.path()).unwrap();
    let file = File::open(folder.path().join("stderr.zst")).unwrap();
    assert!(zstd::stream::decode_all(file).unwrap() == numbered(0..1_000));
}

#[test]
fn compressing_that_is_interrupted_anywhere_is_taken_up_again() {
    for stop in [Step::Begun, Step::Written, Step::Renamed, Step::Synced] {
        let folder = tempfile::tempdir().unwrap();
        let bytes = numbered(0..50_000);
        fs::write(Stream::Stdout.path(folder.path()), &bytes).unwrap();
        let at = |step| {
            let fault = || FileError::at("stop", Path::new("here"))(io::Error::other("test"));
            if step == stop { Err(fault()) } else { Ok(()) }
        };
        compress_stream(folder.path(), Stream::Stdout, at).unwrap_err();
        let mut stored = Stored::open(folder.path(), Stream::Stdout).unwrap();
        assert!(all(&mut stored, 0) == bytes, "{stop:?}");
        compress(folder.path()).unwrap();
        assert_eq!(names(folder.path()), ["stdout.zst"], "{stop:?}");
        let mut stored = Stored::open(folder.path(), Stream::Stdout).unwrap();
        assert!(all(&mut stored, 0) == bytes, "{stop:?}");
    }
}

#[test]
fn a_damaged_or_foreign_file_is_an_error_and_replaced_while_the_raw_one_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stdout.zst");
    for foreign in [b"".as_slice(), b"short", &[0; 100], &[0xff; 5_000]] {
        fs::write(&path, foreign).unwrap();
        let text = Stored::open(folder.path(), Stream::Stdout).unwrap_err().to_string();
        assert!(text.contains("stdout.zst"), "{text}");
    }
    fs::write(Stream::Stdout.path(folder.path()), numbered(0..10_000)).unwrap();
    compress(folder.path()).unwrap();
    assert_eq!(names(folder.path()), ["stdout.zst"]);
    let file = File::options().write(true).open(&path).unwrap();
    file.write_all_at(b"\0\0\0\0\0\0\0\0", 300).unwrap();
    let mut stored = Stored::open(folder.path(), Stream::Stdout).unwrap();
    let mut buffer = vec![0; 200_000];
    let mut at = 0;
    let error = loop {
        match stored.read_at(at, &mut buffer) {
            Ok(Piece::Bytes(count)) => at += count as u64,
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().starts_with("cannot read"), "{error}");
}

#[test]
fn holes_are_told_in_both_forms_and_cost_nothing() {
    let (folder, bytes) = large();
    let (from, length) = (4 << 20, 20 << 20);
    punch(folder.path(), from, length);
    // And an end that nothing was written to, as no program of good will makes one.
    let end = bytes.len() as u64 + (1 << 40);
    File::options().write(true).open(Stream::Stdout.path(folder.path())).unwrap().set_len(end).unwrap();
    let mut expected = bytes[..from as usize].to_vec();
    expected.extend_from_slice(format!("[{length}]").as_bytes());
    expected.extend_from_slice(&bytes[(from + length) as usize..]);
    for form in ["raw", "compressed"] {
        let mut stored = Stored::open(folder.path(), Stream::Stdout).unwrap();
        assert_eq!(stored.size().unwrap(), end);
        let read = all(&mut stored, 0);
        assert!(read.starts_with(&expected), "{form}");
        assert!(read.len() < expected.len() + 5_000 && read.ends_with(b"]"), "{form}");
        assert_eq!(all(&mut stored, end - 5), b"[5]");
        compress(folder.path()).unwrap();
    }
    assert_eq!(names(folder.path()), ["stdout.zst"]);
}

#[test]
fn the_last_lines_are_found_in_both_forms() {
    let (folder, bytes) = large();
    let text = std::str::from_utf8(&bytes).unwrap();
    for _ in ["raw", "compressed"] {
        let mut stored = Stored::open(folder.path(), Stream::Stdout).unwrap();
        let tail =
            |stored: &mut Stored, lines| text[stored.tail_offset(lines).unwrap() as usize..].to_owned();
        assert_eq!(tail(&mut stored, 0), "");
        assert_eq!(tail(&mut stored, 1), "no end of line");
        let three = tail(&mut stored, 3);
        assert!(three.starts_with("line 399998 ") && three.lines().count() == 3, "{three}");
        let many = tail(&mut stored, 350_001);
        assert!(many.starts_with("line 50000 "), "{}", &many[..20]);
        assert_eq!(stored.tail_offset(400_001).unwrap(), 0);
        assert_eq!(stored.tail_offset(u64::MAX).unwrap(), 0);
        let line = text.find("line 200000 ").unwrap() as u64;
        for at in [0, 1, 90] {
            assert_eq!(stored.line_start(line + at).unwrap(), line);
        }
        assert_eq!(stored.line_start(3).unwrap(), 0);
        compress(folder.path()).unwrap();
    }
}

#[test]
fn a_line_end_at_the_end_begins_no_line_and_an_endless_line_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = Stream::Stdout.path(folder.path());
    fs::write(&path, b"one\ntwo\n").unwrap();
    let mut stored = Stored::open(folder.path(), Stream::Stdout).unwrap();
    assert_eq!([1, 2, 3].map(|lines| stored.tail_offset(lines).unwrap()), [4, 0, 0]);
    fs::write(&path, vec![b'x'; 3 * PIECE_BYTES]).unwrap();
    assert_eq!(stored.tail_offset(1).unwrap(), 0);
    assert_eq!(stored.line_start(2 * PIECE_BYTES as u64).unwrap(), 2 * PIECE_BYTES as u64);
    fs::write(&path, b"").unwrap();
    assert_eq!(stored.tail_offset(1).unwrap(), 0);
    assert_eq!(all(&mut stored, 0), b"");
}

#[test]
fn nothing_but_plain_files_is_read_and_purging_removes_them_all() {
    let folder = tempfile::tempdir().unwrap();
    let (stdout, stderr) = (Stream::Stdout.path(folder.path()), Stream::Stderr.path(folder.path()));
    assert!(Stored::open(folder.path(), Stream::Stdout).unwrap().is_absent());
    let outside = folder.path().join("outside");
    fs::write(&outside, vec![b'x'; 100_000]).unwrap();
    std::os::unix::fs::symlink(&outside, &stdout).unwrap();
    assert!(Command::new("mkfifo").arg(&stderr).status().unwrap().success());
    for stream in Stream::BOTH {
        assert!(Stored::open(folder.path(), stream).is_err());
    }
    assert!(compress(folder.path()).is_err());
    let taken = disk_bytes(folder.path()).unwrap();
    assert!((100 * K - 4 * K..200 * K).contains(&taken), "{taken}");
    purge(folder.path()).unwrap();
    purge(folder.path()).unwrap();
    assert_eq!(names(folder.path()), ["outside"]);
    assert_eq!(disk_bytes(&folder.path().join("gone")).unwrap(), 0);
}

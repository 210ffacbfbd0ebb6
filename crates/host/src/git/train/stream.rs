//! Commits written by one `fast-import`. Knows its language and what it leaves behind; unaware of why a commit has
//! the files it has.

use std::fs::{self, File};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use ropewalk_core::id::Oid;
use ropewalk_core::settings::LandMethod;

use super::Car;
use super::apart::{How, PathChange};
use crate::git::repository::Repository;
use crate::git::run::GitError;

/// Beyond so many objects they stay in one pack with one fsync. Below, as for a train of four cars, they become loose
/// like those of any commit: the user's own git tidies up by itself only when there are fifty packs.
const LOOSE_OBJECTS_MAX: &str = "fastimport.unpackLimit=20";
/// For the allocator of glibc: it gives back and takes again the 300 kB that each object's compression needs, which
/// was a quarter of the time of a train of a hundred (measured: 18 ms of processor time, 13.5 ms without).
const KEEP_MEMORY: [(&str, &str); 2] =
    [("MALLOC_TRIM_THRESHOLD_", "100000000"), ("MALLOC_MMAP_THRESHOLD_", "4000000")];

/// A commit to be written on the one before it.
#[derive(Debug)]
pub(super) struct NewCommit {
    pub content: Content,
    second_parent: Option<Oid>,
    author: Author,
    at_ms: i64,
}

/// The files of a commit.
#[derive(Debug)]
pub(super) enum Content {
    /// Those of its parent with these changes.
    Changes(Vec<PathChange>),
    Tree(Oid),
}

/// Who wrote a commit, and what of it: all that is kept when it is replayed.
#[derive(Debug)]
pub(super) struct Author {
    /// With the date; nothing: as the committer.
    line: Option<Vec<u8>>,
    encoding: Option<Vec<u8>>,
    message: Vec<u8>,
}

impl NewCommit {
    pub(super) fn new(car: &Car<'_>, author: Author, content: Content) -> NewCommit {
        let second_parent = match car.method {
            LandMethod::Merge => Some(car.head.clone()),
            LandMethod::Squash | LandMethod::Rebase => None,
        };
        NewCommit { content, second_parent, author, at_ms: car.at_ms }
    }

    /// What is known to be changed by it.
    pub(super) fn changes(&self) -> &[PathChange] {
        match &self.content {
            Content::Changes(changes) => changes,
            Content::Tree(_) => &[],
        }
    }
}

impl Author {
    /// The author of the car's own commit.
    pub(super) fn of(car: &Car<'_>) -> Author {
        Author { line: None, encoding: None, message: car.message.into() }
    }

    /// Reads a commit as git stores it. An author that git would not take again is left out.
    pub(super) fn parse(raw: &[u8]) -> Author {
        let end = raw.windows(2).position(|two| two == b"\n\n").unwrap_or(raw.len());
        let header = |name: &[u8]| {
            raw[..end]
                .split(|byte| *byte == b'\n')
                .find_map(|line| line.strip_prefix(name))
                .map(<[u8]>::to_vec)
        };
        let is_name = |text: &Vec<u8>| text.iter().all(|byte| byte.is_ascii_graphic());
        Author {
            line: header(b"author ").filter(|line| is_author(line)),
            encoding: header(b"encoding ").filter(is_name),
            message: raw.get(end + 2..).unwrap_or_default().to_vec(),
        }
    }
}

/// Whether it is `NAME <ADDRESS> SECONDS +HHMM`.
fn is_author(line: &[u8]) -> bool {
    let is_bracket = |byte: &u8| b"<>".contains(byte);
    let parts: Vec<&[u8]> = line.split(is_bracket).collect();
    let [name, _, date] = parts.as_slice() else { return false };
    let opens = line.get(name.len()) == Some(&b'<') && (name.is_empty() || name.ends_with(b" "));
    let date = std::str::from_utf8(date).ok().and_then(|date| date.strip_prefix(' ')?.split_once(' '));
    let Some((seconds, zone)) = date else { return false };
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    // What git holds a date and a zone to.
    let is_zone = zone.len() == 5
        && zone.starts_with(['+', '-'])
        && zone.get(1..).is_some_and(|hours| is_number(hours) && hours < "1400");
    opens && is_zone && is_number(seconds) && (1..=10).contains(&seconds.len())
}

/// Whether a path has no part that some system takes for git's own folder; to such, `fast-import` may say no.
pub(super) fn is_plain_path(path: &[u8]) -> bool {
    let is_special = |part: &[u8], start: &[u8]| {
        part.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start))
            && part.get(start.len()).is_none_or(|next| !next.is_ascii_alphabetic())
    };
    path.split(|byte| *byte == b'/').all(|part| {
        let is_step = part.is_empty() || part == b"." || part == b"..";
        !is_step && !is_special(part, b".git") && !is_special(part, b"git~")
    })
}

/// Commits that are to be written, one on the other.
#[derive(Debug, Default)]
pub(super) struct Stream {
    onto: Option<Oid>,
    commits: Vec<NewCommit>,
    /// The number of each car, and its commits.
    cars: Vec<(usize, Range<usize>)>,
}

impl Stream {
    /// Adds a car's commits; those of the first car lie on `onto`.
    pub(super) fn add(&mut self, car: usize, onto: &Oid, commits: Vec<NewCommit>) {
        self.onto.get_or_insert_with(|| onto.clone());
        let start = self.commits.len();
        self.commits.extend(commits);
        self.cars.push((car, start..self.commits.len()));
    }

    /// In the language of `fast-import`. It tells the id and the tree of each car's last commit.
    fn text(&self, place: &str, onto: &Oid, committer: &str) -> Vec<u8> {
        let mut text = b"feature done\n".to_vec();
        for (_, range) in &self.cars {
            for at in range.clone() {
                text.extend(format!("commit {place}\n").bytes());
                self.commits[at].write(at, onto, committer, &mut text);
            }
            text.extend(format!("get-mark :{0}\nls :{0} \"\"\n", range.end).bytes());
        }
        // A place at no commit is one that needs no ref.
        text.extend(format!("reset {place}\nfrom {}\n\ndone\n", "0".repeat(onto.as_str().len())).bytes());
        text
    }
}

impl NewCommit {
    fn write(&self, before: usize, onto: &Oid, committer: &str, text: &mut Vec<u8>) {
        text.extend(format!("mark :{}\n", before + 1).bytes());
        if let Some(author) = &self.author.line {
            text.extend([b"author ", author.as_slice(), b"\n"].concat());
        }
        let seconds = Repository::seconds(self.at_ms);
        text.extend(format!("committer {committer} {seconds} +0000\n").bytes());
        if let Some(encoding) = &self.author.encoding {
            text.extend([b"encoding ", encoding.as_slice(), b"\n"].concat());
        }
        text.extend(format!("data {}\n", self.author.message.len()).bytes());
        text.extend_from_slice(&self.author.message);
        let parent = if before == 0 { onto.to_string() } else { format!(":{before}") };
        text.extend(format!("\nfrom {parent}\n").bytes());
        if let Some(second) = &self.second_parent {
            text.extend(format!("merge {second}\n").bytes());
        }
        match &self.content {
            Content::Tree(tree) => text.extend(format!("M 040000 {tree} \"\"\n").bytes()),
            Content::Changes(changes) => {
                // Deletions first: a file may take the place of a folder.
                for change in changes.iter().filter(|change| change.how == How::Deleted) {
                    text.extend(format!("D {}\n", quoted(&change.path)).bytes());
                }
                for change in changes {
                    if let How::Added(entry) | How::Modified(entry) = &change.how {
                        let path = quoted(&change.path);
                        text.extend(format!("M {} {} {path}\n", entry.mode, entry.oid).bytes());
                    }
                }
            }
        }
    }
}

/// A path as `fast-import` reads any.
fn quoted(path: &[u8]) -> String {
    let mut text = String::from("\"");
    for byte in path {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => text += &format!("\\{byte:03o}"),
        }
    }
    text + "\""
}

impl Repository {
    /// Writes the commits. Gives the id and the tree of each car's last one. No ref points to them.
    pub(super) fn write_commits(&self, stream: Stream) -> Result<Vec<(usize, Oid, Oid)>, GitError> {
        let Some(onto) = &stream.onto else { return Ok(Vec::new()) };
        // A branch in the control folder, taken back at the stream's end before git would write it.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let place = format!("refs/ropewalk/{}/{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let text = stream.text(&place, onto, self.committer()?);
        // A folded name would put a file in another's place.
        let call =
            self.on_objects("fast-import").args(["-c", LOOSE_OBJECTS_MAX, "-c", "core.ignoreCase=false"]);
        let said = KEEP_MEMORY
            .iter()
            .fold(call, |call, (name, value)| call.env(name, value))
            .args(["fast-import", "--quiet"])
            .stdin(text)
            .run();
        let said = said.inspect_err(|_| self.remove_reports())?.text();
        // git syncs what it wrote, not the folder that names it.
        let packs = self.common().join("objects/pack");
        let synced = File::open(&packs).and_then(|folder| folder.sync_all());
        synced.map_err(|error| GitError::io("fast-import", &packs, &error))?;
        let strange = || GitError::new("fast-import", self.top(), "it said something unknown");
        let mut lines = said.lines();
        let mut told = Vec::new();
        for (car, _) in &stream.cars {
            let commit = self.oid("fast-import", lines.next().ok_or_else(strange)?)?;
            let tree = lines.next().and_then(|line| line.strip_prefix("040000 tree ")).ok_or_else(strange)?;
            told.push((*car, commit, self.oid("fast-import", tree.trim())?));
        }
        Ok(told)
    }

    /// What it writes for programmers when it refuses.
    fn remove_reports(&self) {
        for entry in fs::read_dir(self.control()).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with("fast_import_crash_") {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_author_is_kept_only_if_git_would_take_it_again() {
        for (line, is_kept) in [
            ("A <a@b> 1700000000 +0000", true),
            ("A B <> 1 -0730", true),
            ("<a> 0 +1359", true),
            ("A<a> 0 +0000", false),
            ("A <a> 0 +1400", false),
            ("A <a> 12345678901 +0000", false),
            ("A <a>> 0 +0000", false),
            ("A <a> -5 +0000", false),
            ("A <a>", false),
            ("", false),
        ] {
            assert_eq!(is_author(line.as_bytes()), is_kept, "{line}");
        }
    }

    #[test]
    fn a_commit_is_read_as_far_as_it_is_kept() {
        let raw = b"tree 1\nparent 2\nauthor A <a> 0 +0000\ncommitter C <c> 1 +0000\nencoding latin1\n\nauthor <x>\n\n\xe9";
        let author = Author::parse(raw);
        assert_eq!(author.line.as_deref(), Some(b"A <a> 0 +0000".as_slice()));
        assert_eq!(author.encoding.as_deref(), Some(b"latin1".as_slice()));
        assert_eq!(author.message, b"author <x>\n\n\xe9");
        assert_eq!(Author::parse(b"tree 1").message, b"");
    }

    #[test]
    fn paths_are_quoted_whole_and_those_like_git_s_own_are_seen() {
        assert_eq!(quoted(b"a \"b\\\n\xc3"), "\"a \\\"b\\\\\\012\\303\"");
        for (path, is_plain) in [
            (".github/x", true),
            ("a/.gitignore", true),
            ("git", true),
            ("a/.Git/x", false),
            (".git ", false),
            ("GIT~1/x", false),
            ("a/../b", false),
            ("a//b", false),
        ] {
            assert_eq!(is_plain_path(path.as_bytes()), is_plain, "{path}");
        }
    }
}

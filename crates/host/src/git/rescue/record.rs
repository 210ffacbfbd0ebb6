//! What a rescue says of itself: its commit's message, written and read. Knows words and one line of JSON; unaware of how
//! anything is found.

use std::path::Path;

use ropewalk_core::disk::size;
use ropewalk_core::id::{AttemptId, AttemptNumber, Oid, TaskId};
use serde::{Deserialize, Serialize};

use super::files::Leftovers;

/// What is left out is listed one by one up to here; the rest is counted.
const LEFT_OUT_MAX: usize = 200;

/// The line of the message that is ours to read begins with this.
const LINE: &str = "Ropewalk-Rescue: ";

/// Something that was not kept, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Below the worktree; a folder ends with a slash.
    pub path: String,
    pub bytes: u64,
    /// A lowercase fragment.
    pub why: String,
}

impl LeftOut {
    pub(super) fn of(path: &Path, is_folder: bool, bytes: u64, why: &str) -> Self {
        let slash = if is_folder { "/" } else { "" };
        LeftOut { path: format!("{}{slash}", path.display()), bytes, why: why.into() }
    }
}

/// One thing besides the files: a commit that would have gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    /// `index`, `stash-1`, `commit-1` …
    pub(super) name: String,
    pub(super) commit: String,
}

/// The line of JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    pub(super) attempt: String,
    /// The state folder that made it: another one on the same repository counts its tasks alike.
    pub(super) by: String,
    pub(super) ended: String,
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) ignored: u64,
    pub(super) parts: Vec<Part>,
    pub(super) left_out: Vec<LeftOut>,
    /// Things left out beyond those that are listed.
    pub(super) left_out_more: u64,
}

impl Record {
    pub(super) fn count(&mut self, leftovers: &Leftovers) {
        self.files = leftovers.files;
        self.bytes = leftovers.bytes;
        self.ignored = leftovers.ignored;
        let mut left_out = leftovers.left_out.clone();
        left_out.sort_by(|a, b| (b.bytes, &a.path).cmp(&(a.bytes, &b.path)));
        self.left_out_more = left_out.len().saturating_sub(LEFT_OUT_MAX) as u64;
        left_out.truncate(LEFT_OUT_MAX);
        self.left_out = left_out;
    }

    pub(super) fn message(&self) -> String {
        let mut text = format!("ropewalk: rescue of attempt {}\n\n", self.attempt);
        if !self.ended.is_empty() {
            text += &format!("It ended: {}.\n", self.ended);
        }
        text += &format!("Kept: {}.\n", why(self.files, self.ignored, &self.names()));
        if !self.left_out.is_empty() {
            text += "\nIgnored, and left out:\n";
            for left in &self.left_out {
                // A name may hold anything; a line of its own must stay one.
                let path = left.path.escape_debug();
                text += &format!("  {path} ({}, {})\n", size(left.bytes), left.why);
            }
            if self.left_out_more > 0 {
                text += &format!("  and {} more\n", self.left_out_more);
            }
        }
        let line = serde_json::to_string(self).unwrap_or_default();
        format!("{text}\n{LINE}{line}\n")
    }

    fn names(&self) -> Vec<&str> {
        self.parts.iter().map(|part| part.name.as_str()).collect()
    }

    fn read(message: &str) -> Option<Record> {
        let line = message.lines().rev().find_map(|line| line.strip_prefix(LINE))?;
        serde_json::from_str(line).ok()
    }
}

/// What was kept, in words.
fn why(files: u64, ignored: u64, parts: &[&str]) -> String {
    let count = |n: usize, one: &str, many: &str| match n {
        0 => None,
        1 => Some(format!("1 {one}")),
        n => Some(format!("{n} {many}")),
    };
    let with = |stem: &str| parts.iter().filter(|name| name.starts_with(stem)).count();
    let plain = usize::try_from(files.saturating_sub(ignored)).unwrap_or(usize::MAX);
    let ignored = usize::try_from(ignored).unwrap_or(usize::MAX);
    let words: Vec<String> = [
        count(plain, "file not committed", "files not committed"),
        count(ignored, "ignored file", "ignored files"),
        count(with("index"), "version in the index alone", "versions in the index alone"),
        count(with("stash"), "stash", "stashes"),
        count(with("nested"), "history of a repository inside", "histories of repositories inside"),
        count(with("commit") + with("head"), "line of commits on no branch", "lines of commits on no branch"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if words.is_empty() { "commits".to_owned() } else { words.join(", ") }
}

/// A rescue as it is found again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rescue {
    /// `7.1`, or `7.1-1` for a second one of the same attempt.
    pub id: String,
    pub attempt: AttemptId,
    /// The full ref that pins it.
    pub name: String,
    pub commit: Oid,
    /// When it was made, in milliseconds since 1970.
    pub at_ms: i64,
    /// How the attempt ended; empty: unknown.
    pub ended: String,
    /// What names the state folder that made it; empty: unknown.
    pub by: String,
    /// What was kept, in words.
    pub why: String,
    /// Files that differ from the commit that the worktree was at, and the bytes of those that are there.
    pub files: u64,
    pub bytes: u64,
    /// Those of them that are ignored.
    pub ignored: u64,
    /// What can be had besides the files: a name and a commit.
    pub parts: Vec<(String, Oid)>,
    pub left_out: Vec<LeftOut>,
    pub left_out_more: u64,
}

impl Rescue {
    /// Reads a ref below `refs/ropewalk/rescue/`; nothing when it is none of ours.
    pub(super) fn read(name: &str, commit: &str, at_s: &str, message: &str) -> Option<Rescue> {
        let (task, number) = name.strip_prefix("refs/ropewalk/rescue/")?.split_once('/')?;
        let (own, _) = number.split_once('-').unwrap_or((number, ""));
        let attempt =
            AttemptId { task: TaskId(task.parse().ok()?), number: AttemptNumber(own.parse().ok()?) };
        let record = Record::read(message).unwrap_or_default();
        let parts = record.parts.iter();
        Some(Rescue {
            id: format!("{task}.{number}"),
            attempt,
            name: name.to_owned(),
            commit: Oid::new(commit).ok()?,
            at_ms: at_s.parse::<i64>().ok()?.saturating_mul(1000),
            why: why(record.files, record.ignored, &record.names()),
            ended: record.ended,
            by: record.by,
            files: record.files,
            bytes: record.bytes,
            ignored: record.ignored,
            parts: parts.filter_map(|part| Some((part.name.clone(), Oid::new(&part.commit).ok()?))).collect(),
            left_out: record.left_out,
            left_out_more: record.left_out_more,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_message_says_is_read_again() {
        let oid = "a".repeat(40);
        let left =
            LeftOut { path: "a\nRopewalk-Rescue: {}\nb/".into(), bytes: 3 << 30, why: "too large".into() };
        let record = Record {
            attempt: "7.1".into(),
            by: "12345678".into(),
            ended: "timed out".into(),
            files: 3,
            bytes: 5,
            ignored: 1,
            parts: vec![Part { name: "stash-1".into(), commit: oid.clone() }],
            left_out: vec![left.clone()],
            left_out_more: 0,
        };
        let message = record.message();
        assert!(message.contains("Kept: 2 files not committed, 1 ignored file, 1 stash."), "{message}");
        let read = Rescue::read("refs/ropewalk/rescue/7/1-2", &oid, "12", &message).unwrap();
        assert_eq!(
            (read.id.as_str(), read.attempt.to_string().as_str(), read.at_ms),
            ("7.1-2", "7.1", 12_000)
        );
        assert_eq!(read.left_out, [left]);
        assert_eq!(read.parts, [("stash-1".to_owned(), Oid::new(&oid).unwrap())]);
    }

    #[test]
    fn a_rescue_without_a_message_of_ours_is_found_all_the_same() {
        let oid = "a".repeat(40);
        let read = Rescue::read("refs/ropewalk/rescue/7/1", &oid, "0", "by hand\n").unwrap();
        assert_eq!((read.id.as_str(), read.parts.len()), ("7.1", 0));
        for name in ["refs/ropewalk/rescue/x/1", "refs/ropewalk/rescue/7", "refs/heads/7/1"] {
            assert_eq!(Rescue::read(name, &oid, "0", ""), None, "{name}");
        }
    }
}

//! Names of things. Knows how each is written and what is refused; unaware of what they name.
//!
//! Everything that comes from outside passes through one of these types exactly once, so that past this
//! file no name can turn into a path, an option, a ref or shell text. On disk things are named by the
//! numbers only ([`TaskId`], [`AttemptId`]).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// A git repository that Ropewalk works on, numbered from 1 within a state folder.
    ProjectId,
    u32
);
number!(
    /// A task, numbered from 1 within a state folder. People type it.
    TaskId,
    u64
);
number!(
    /// A PRD's internal number, from 1 within a state folder. People type its [`PrdKey`].
    PrdNumber,
    u32
);
number!(
    /// The number of an attempt within its task, from 1. It is the fencing token: whatever bears an older
    /// one is refused.
    AttemptNumber,
    u32
);

/// One execution of one task, written `7.2`: attempt 2 of task 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    pub task: TaskId,
    pub number: AttemptNumber,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.task, self.number)
    }
}

impl FromStr for AttemptId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let malformed = || NameError::new("an attempt", text, "it is written TASK.NUMBER, such as 7.2");
        let (task, number) = text.split_once('.').ok_or_else(malformed)?;
        Ok(AttemptId {
            task: TaskId(task.parse().map_err(|_| malformed())?),
            number: AttemptNumber(number.parse().map_err(|_| malformed())?),
        })
    }
}

/// A name from outside that is not accepted: what it was meant to be, the text (escaped), and the rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} cannot name {what}: {rule}")]
pub struct NameError {
    pub what: &'static str,
    /// The offending text, cut to 80 characters.
    pub text: String,
    pub rule: String,
}

impl NameError {
    fn new(what: &'static str, text: &str, rule: impl Into<String>) -> Self {
        NameError { what, text: text.chars().take(80).collect(), rule: rule.into() }
    }
}

/// The longest id of a story or a PRD, in bytes. Real ones have at most 23 (`PRD-TIER1-VALIDATION` …).
pub const ID_BYTES_MAX: usize = 64;

/// The longest branch name, in bytes: a loose ref is a file, and file systems stop at 255.
pub const BRANCH_BYTES_MAX: usize = 200;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Reads a name from outside.
            ///
            /// # Errors
            /// Says which rule the text breaks.
            pub fn new(text: &str) -> Result<Self, NameError> {
                check_id($what, text)?;
                Ok($name(text.to_owned()))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The form in which two ids count as the same: ASCII case does not tell them apart.
            pub fn folded(&self) -> String {
                self.0.to_ascii_lowercase()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    };
}

name!(
    /// What people call a PRD: `PRD-001`, `INT-001`, `PRD-TIER1-VALIDATION`. One of a kind within its project.
    PrdKey,
    "a PRD"
);
name!(
    /// A story's id within its PRD: `US-001`, `US-007-DEL-001`.
    StoryId,
    "a story"
);

/// The rules that ids of stories and PRDs share. Braces are allowed because templates carry
/// `{{PLACEHOLDERS}}` in their ids: such a PRD may be looked at but is not approved.
fn check_id(what: &'static str, text: &str) -> Result<(), NameError> {
    let refuse = |rule: String| Err(NameError::new(what, text, rule));
    if text.trim().is_empty() {
        return refuse("it is blank".into());
    }
    if text.trim() != text {
        return refuse("it begins or ends with white space".into());
    }
    if text.len() > ID_BYTES_MAX {
        return refuse(format!("it has {} bytes, and {ID_BYTES_MAX} are the most", text.len()));
    }
    if let Some(bad) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || "-_.{}".contains(*c))) {
        return refuse(format!("it holds {bad:?}; letters, digits, '-', '_' and '.' are allowed"));
    }
    if text.starts_with(['-', '.']) {
        return refuse("it begins with '-' or '.'".into());
    }
    if text.contains("..") {
        return refuse("it holds '..'".into());
    }
    if text.to_ascii_lowercase().ends_with(".lock") || text.ends_with('.') {
        return refuse("it ends with '.' or '.lock', which git keeps for itself".into());
    }
    Ok(())
}

/// A branch's short name (`main`, `feature/PRD-001`), stricter than git's own rules.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BranchName(String);

impl BranchName {
    /// Reads a branch name from outside.
    ///
    /// # Errors
    /// Says which rule the text breaks: git's (`git check-ref-format`), and on top of them no leading dash,
    /// no `refs/…`, no `HEAD` or `@`, no component that begins with a dash.
    pub fn new(text: &str) -> Result<Self, NameError> {
        check_branch(text)?;
        Ok(BranchName(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `refs/heads/<name>`.
    pub fn full_ref(&self) -> String {
        format!("refs/heads/{}", self.0)
    }

    /// The `n`th name to try when this one is taken: itself, `name-1`, `name-2` …
    pub fn with_suffix(&self, n: u32) -> BranchName {
        if n == 0 { self.clone() } else { BranchName(format!("{}-{n}", self.0)) }
    }
}

fn check_branch(text: &str) -> Result<(), NameError> {
    let refuse = |rule: &str| Err(NameError::new("a branch", text, rule));
    if text.trim().is_empty() || text.trim() != text {
        return refuse("it is blank, or begins or ends with white space");
    }
    if text.len() > BRANCH_BYTES_MAX {
        return refuse("it is longer than 200 bytes");
    }
    if text == "@" || text.eq_ignore_ascii_case("head") {
        return refuse("git keeps this word for itself");
    }
    if text.to_ascii_lowercase().starts_with("refs/") {
        return refuse("give the short name, without refs/…");
    }
    if text.contains("..") || text.contains("@{") || text.contains("//") {
        return refuse("it holds '..', '@{' or '//'");
    }
    if let Some(bad) =
        text.chars().find(|c| c.is_control() || c.is_whitespace() || "~^:?*[\\\"'`$;&|<>()!#%".contains(*c))
    {
        return Err(NameError::new("a branch", text, format!("it holds {bad:?}")));
    }
    for part in text.split('/') {
        if part.is_empty() || part.starts_with(['-', '.']) || part.ends_with('.') {
            return refuse("a part of it is empty, begins with '-' or '.', or ends with '.'");
        }
        if part.to_ascii_lowercase().ends_with(".lock") {
            return refuse("a part of it ends with '.lock'");
        }
    }
    Ok(())
}

impl fmt::Display for BranchName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for BranchName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl TryFrom<String> for BranchName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(&text)
    }
}

impl From<BranchName> for String {
    fn from(name: BranchName) -> String {
        name.0
    }
}

/// A git object's id in hexadecimal: 40 digits (SHA-1) or 64 (SHA-256).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Oid(String);

impl Oid {
    /// Reads an object id.
    ///
    /// # Errors
    /// When the text is not 40 or 64 lower-case hexadecimal digits.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let hex = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if hex && (text.len() == 40 || text.len() == 64) {
            Ok(Oid(text.to_owned()))
        } else {
            Err(NameError::new("a git object", text, "it is not 40 or 64 hexadecimal digits"))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first ten digits, for people.
    pub fn short(&self) -> &str {
        &self.0[..10]
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<String> for Oid {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(&text)
    }
}

impl From<Oid> for String {
    fn from(oid: Oid) -> String {
        oid.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_real_files_are_accepted() {
        for id in
            ["US-001", "PAR-003", "US-010-DECIDE", "US-007-DEL-001", "T-001", "S1", "31.1", "{{PRD_ID}}-001"]
        {
            assert_eq!(StoryId::new(id).map(|s| s.to_string()), Ok(id.to_owned()));
        }
    }

    #[test]
    fn hostile_ids_are_refused() {
        let long = "x".repeat(65);
        for id in [
            "",
            " ",
            " a",
            "a ",
            "../x",
            "a/b",
            "a\0b",
            "a\nb",
            "-rf",
            "refs/heads/x",
            "a..b",
            ".git",
            "x.lock",
            "$(touch x)",
            "é",
            "a b",
            "x.",
            long.as_str(),
        ] {
            assert!(StoryId::new(id).is_err(), "{id:?} must be refused");
        }
    }

    #[test]
    fn hostile_branch_names_are_refused() {
        for name in [
            "",
            "-x",
            "a/-x",
            "@",
            "HEAD",
            "head",
            "refs/heads/x",
            "a..b",
            "a b",
            "a\nb",
            "a~1",
            "a^",
            "a:b",
            "a?",
            "a*",
            "[a",
            "a\\b",
            "a//b",
            "/a",
            "a/",
            ".a",
            "a/.b",
            "a.lock",
            "a.lock/b",
            "a@{1}",
            "$(x)",
            "a;b",
        ] {
            assert!(BranchName::new(name).is_err(), "{name:?} must be refused");
        }
        for name in ["main", "feature/PRD-001", "release/1.2", "ralph/task_7", "a@b", "ração"] {
            assert!(BranchName::new(name).is_ok(), "{name:?} must be accepted");
        }
    }

    #[test]
    fn attempt_ids_read_what_they_write() {
        let id = AttemptId { task: TaskId(7), number: AttemptNumber(2) };
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("7".parse::<AttemptId>().is_err());
        assert!("7.x".parse::<AttemptId>().is_err());
    }
}

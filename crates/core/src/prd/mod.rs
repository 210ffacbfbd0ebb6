//! PRD files: reading, checking and writing them back. Knows the formats of the ralph family, of claude-loop
//! and their `MANIFEST.yaml`; unaware of files, tasks and attempts.
//!
//! A document is read in one pass that either gives a [`PrdDocument`] in which nothing is left to check, or
//! every fault at once. What a story's text says of itself (`passes: true`) is a claim, never a fact.

mod check;
mod export;
mod faults;
mod find;
mod head;
mod json;
mod manifest;
mod outline;
mod read;
mod story;
mod told;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use check::branch_form;
pub use export::{Shell, export};
pub use faults::FAULTS_MAX;
pub use manifest::Manifest;
pub use read::read;
pub use told::{StoryText, story_text};

use crate::id::{BranchName, PrdKey, StoryId};
use crate::priority::Priority;

/// What [`read`] reads: the bytes of a PRD and of the manifest beside it.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    pub bytes: &'a [u8],
    /// The file's name without its ending: the title of a document that names none.
    pub file_stem: &'a str,
    /// `MANIFEST.yaml`, where there is one.
    pub manifest: Option<&'a [u8]>,
}

/// A PRD without faults.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PrdDocument {
    /// The id it gives itself: the manifest's `id`, else `id` or `prdId` at the top.
    pub key: Option<PrdKey>,
    pub title: String,
    pub description: String,
    /// The branch it asks to land on. Never a protected one.
    pub branch: Option<BranchName>,
    pub tags: Vec<String>,
    pub owner: Option<String>,
    /// In file order.
    pub stories: Vec<StoryDocument>,
    /// What [`export`] puts round the stories.
    pub shell: Shell,
    /// SHA-256 of the file's bytes, 64 lower-case hexadecimal digits.
    pub hash: String,
    pub manifest: Option<Manifest>,
    pub approval: Approval,
    /// Accepted, but worth saying.
    pub warnings: Vec<Fault>,
    /// A `{{NAME}}` that nobody filled in stands in an id, a title or the branch.
    pub has_placeholders: bool,
}

impl PrdDocument {
    /// What the manifest says of its approval, for people: `approved by user at 2026-01-28T08:35:00Z, for
    /// these very bytes`. Empty where it says nothing.
    pub fn approval_text(&self) -> String {
        let who = self.manifest.as_ref().and_then(|manifest| manifest.approved_by.as_deref());
        let when = self.manifest.as_ref().and_then(|manifest| manifest.approved_at.as_deref());
        let how = match self.approval {
            Approval::None if who.is_none() && when.is_none() => return String::new(),
            Approval::None => "with no hash to check",
            Approval::Verified => "for these very bytes",
            Approval::Mismatch { .. } => "but edited since",
        };
        let by = who.map_or_else(String::new, |who| format!(" by {who}"));
        let at = when.map_or_else(String::new, |when| format!(" at {when}"));
        format!("approved{by}{at}, {how}")
    }
}

/// One story of a PRD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoryDocument {
    pub id: StoryId,
    pub title: String,
    pub priority: Priority,
    /// Indices into the document's stories, sorted, each once.
    pub depends_on: Vec<u32>,
    /// The file says that it is done. Unverified.
    pub claimed: bool,
    /// `fileScope`: the files that it means to touch.
    pub files: Vec<String>,
    pub criteria: Vec<String>,
    pub description: String,
    /// Its JSON text, byte for byte as in the file.
    pub body: String,
    /// The first eight bytes of the SHA-256 of `body`, the first the highest.
    pub hash: u64,
}

/// Whether the manifest's approval is of these very bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Approval {
    /// No approval hash is recorded.
    #[default]
    None,
    Verified,
    /// Approved once, edited since.
    Mismatch {
        recorded: String,
        actual: String,
    },
}

/// Something wrong with a document, or worth saying of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    pub place: Place,
    /// A stable code, such as `duplicate-id`.
    pub rule: &'static str,
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for Fault {
    /// `userStories[3].id, line 14: the message`, without the hint.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.place.path.as_str(), self.place.line) {
            ("", None) => f.write_str(&self.message),
            ("", Some(line)) => write!(f, "line {line}: {}", self.message),
            (path, None) => write!(f, "{path}: {}", self.message),
            (path, Some(line)) => write!(f, "{path}, line {line}: {}", self.message),
        }
    }
}

/// Where in a document something stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Place {
    /// `userStories[3].dependencies[0]`, or empty for the whole file. The manifest's begin with `MANIFEST`.
    pub path: String,
    /// From 1.
    pub line: Option<u32>,
    /// In characters, from 1.
    pub column: Option<u32>,
}

//! A PRD and its stories as rows. Unaware of files: `prd` reads those.

use serde::{Deserialize, Serialize};

use crate::id::{BranchName, Oid, PrdKey, PrdNumber, ProjectId, StoryId, TaskId};
use crate::settings::Settings;
use crate::time::Time;

/// A git repository that Ropewalk works on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Project {
    pub id: ProjectId,
    /// Absolute path of the repository's top folder.
    pub top: String,
    /// Absolute path of its common git folder: what makes two paths the same project.
    pub common_dir: String,
    /// The branch that was checked out when the project was added.
    pub base: BranchName,
    pub settings: Settings,
    pub created_at: Time,
}

/// The key of a project's collection of single tasks.
pub const COLLECTION_KEY: &str = "TASKS";

/// The part of a PRD that lives in the engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prd {
    pub number: PrdNumber,
    pub project: ProjectId,
    pub key: PrdKey,
    pub title: String,
    pub state: PrdState,
    /// The name that the file asks for, else `feature/<key>`.
    pub wanted_branch: BranchName,
    pub branch: PrdBranch,
    pub settings: Settings,
    /// The key was given by the file or by the user; else it is ours, and the PRD is known by its file.
    #[serde(default)]
    pub has_own_key: bool,
    /// The collection of single tasks: never ends, and its branch follows the base once landed.
    pub is_collection: bool,
    /// Template placeholders are left in it: it is not approved before they are filled.
    pub has_placeholders: bool,
    pub created_at: Time,
    pub updated_at: Time,
}

/// The part of a PRD that only people and exports need.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PrdContent {
    pub description: String,
    /// Absolute path of the file it came from.
    pub source: Option<String>,
    /// SHA-256 of that file's bytes.
    pub hash: String,
    pub tags: Vec<String>,
    pub owner: Option<String>,
    /// The document round its story list, for export.
    pub shell: String,
    /// What the file's approval block says, for people.
    pub approval: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum PrdState {
    Draft,
    Active,
    Completed { at: Time },
    Abandoned { at: Time, reason: String },
}

impl PrdState {
    pub fn name(&self) -> &'static str {
        match self {
            PrdState::Draft => "draft",
            PrdState::Active => "active",
            PrdState::Completed { .. } => "completed",
            PrdState::Abandoned { .. } => "abandoned",
        }
    }

    pub fn is_final(&self) -> bool {
        matches!(self, PrdState::Completed { .. } | PrdState::Abandoned { .. })
    }

    /// Both ends are terminal, except that stories added to a completed PRD open it again.
    pub fn may_become(&self, to: &PrdState) -> bool {
        use PrdState::*;
        match (self, to) {
            // Stopped by a person, it is a draft again: who approves it lets it go on.
            (Draft, Active | Abandoned { .. }) | (Active, Draft | Completed { .. } | Abandoned { .. }) => {
                true
            }
            (Completed { .. }, Active) => true,
            (
                Draft | Active | Completed { .. } | Abandoned { .. },
                Draft | Active | Completed { .. } | Abandoned { .. },
            ) => false,
        }
    }
}

/// The branch that a PRD's stories land on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "branch")]
pub enum PrdBranch {
    Unplanned,
    /// The name was free; it is written down before the branch is made, so that a crash in between does not
    /// mistake our own branch for somebody else's.
    Planned {
        name: BranchName,
        at: Oid,
    },
    Made {
        name: BranchName,
        at: Oid,
    },
}

impl PrdBranch {
    pub fn made(&self) -> Option<&BranchName> {
        match self {
            PrdBranch::Made { name, .. } => Some(name),
            PrdBranch::Unplanned | PrdBranch::Planned { .. } => None,
        }
    }
}

/// One story of a PRD.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Story {
    pub prd: PrdNumber,
    /// Its place in the file, from 0.
    pub position: u32,
    pub id: StoryId,
    pub title: String,
    pub task: TaskId,
    /// The file says that it passes. Shown as claimed, believed only on request.
    pub claimed: bool,
    /// The story's JSON, byte for byte.
    pub body: String,
    /// Tells a changed story from an unchanged one.
    pub hash: u64,
}

/// How many of a PRD's stories are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub stories: u32,
    pub done: u32,
    pub cancelled: u32,
    pub parked: u32,
    pub running: u32,
    pub landing: u32,
    pub ready: u32,
    pub blocked: u32,
}

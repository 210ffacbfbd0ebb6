//! git, worktrees and landing. Knows how Ropewalk reads and writes a user's repository; unaware of tasks'
//! states, queues and checks.
//!
//! The user's repository is sacred. Everything that looks at commits and files runs with a *control* git
//! folder of ours that borrows the user's objects: there is no configuration, hook, attribute or filter of the
//! user's or of an agent's in it. Refs and the administration of worktrees are in the user's repository
//! and are written there with hooks off (see `run`).
//!
//! What follows from that, on purpose: filters (git LFS too) do not run in worktrees that Ropewalk makes or
//! moves. Conversions that `.gitattributes` asks for without a program (`text`, `eol`) do.

mod admin;
mod checkpoint;
mod collect;
mod create;
mod discover;
mod guard;
mod keep;
mod kept_out;
mod land;
mod meeting;
mod merge;
mod nested;
mod refs;
mod release;
mod repository;
mod rescue;
mod run;
mod snapshot;
mod spare;
mod specimen;
mod stale;
mod train;
mod worktree;

pub use collect::Left;
pub use create::create;
pub use discover::{Discovered, RepositoryFault, discover, has_branch, version_check};
pub use guard::Guard;
pub use land::Landing;
pub use meeting::{Meeting, Work};
pub use merge::Merge;
pub use refs::MadeBranch;
pub use repository::Repository;
pub use rescue::{LeftOut, Parting, Rescue, Restored};
pub use run::GitError;
pub use spare::{SPARES_MAX, Spare, Spares};
pub use specimen::Specimen;
pub use train::{Car, Coupled, Train};
pub use worktree::name_before_removal;
pub(crate) use worktree::remove_tree;

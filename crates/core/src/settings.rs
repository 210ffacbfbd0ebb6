//! What a user may set for a project, a PRD or a task. Unaware of files and flags: the rim merges those
//! and hands over the result.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::BranchName;
use crate::resource::Bounds;
use crate::setup::WorktreeSettings;

/// What happens to the dependents of a task that is parked or cancelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDependencyFailure {
    /// They stay blocked, and `why` names the dependency.
    #[default]
    Block,
    /// They are cancelled, and theirs in turn.
    Skip,
    /// They run as if the dependency had landed.
    Run,
}

/// Where an attempt's environment variable comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvValue {
    /// Copied from the environment of the process that runs the engine; left out when absent there.
    Inherit,
    /// This text.
    Text(String),
}

/// What happens to output beyond its cap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnOutputFull {
    /// The first and the last half of the cap are kept, and what was between them is not.
    #[default]
    Drop,
    /// The attempt ends as over its limit.
    End,
}

/// How a finished piece of work becomes part of a branch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LandMethod {
    /// A merge commit: its first parent is the branch, its second the work.
    #[default]
    Merge,
    /// One commit with all of the work.
    Squash,
    /// The commits of the work, one after the other.
    Rebase,
}

/// Overrides by layer: an absent field leaves the layer below in force. A project's come from its
/// `ropewalk.toml`, a PRD's and a task's from flags.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The shell agent's command line, run by `sh -c` in the worktree with the prompt on its stdin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Commands that must succeed on the merged tree before it lands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checks: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check_timeout_ms: Option<u64>,
    /// Neither output nor CPU time for so long ends an attempt; 0: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stall_ms: Option<u64>,
    /// From SIGTERM to SIGKILL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kill_grace_ms: Option<u64>,
    /// What an attempt may use of the machine.
    #[serde(skip_serializing_if = "Bounds::is_empty")]
    pub bounds: Bounds,
    /// Names of variables whose values never reach the disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secrets: Option<Vec<String>>,
    /// Keep known patterns of keys out of the stored output, even if no secret is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter_output: Option<bool>,
    /// Both streams together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_bytes_max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_output_full: Option<OnOutputFull>,
    /// Between two checkpoints of a running attempt; 0: only at its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_every_ms: Option<u64>,
    /// Checkpoints of a task that stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoints_kept: Option<u32>,
    /// How often in a row the same fault may end a task's attempts before it is parked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub same_fault_max: Option<u32>,
    /// How many failed attempts park a task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts_max: Option<u32>,
    /// Environment beyond the fixed list (PATH, HOME …) and the `ROPEWALK_*` names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, EnvValue>,
    /// The branch that work starts from and PRDs land on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<BranchName>,
    /// Land a PRD's branch on the base as soon as its last story has landed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_land: Option<bool>,
    /// How a PRD's branch lands on the base.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub land_method: Option<LandMethod>,
    /// Whether a person looks at each attempt's work before it lands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub review: Option<bool>,
    /// How many candidates are merged, checked and landed together, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_max: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_dependency_failure: Option<OnDependencyFailure>,
    /// Whether an attempt that changed nothing counts as failed. Stories: yes by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_change: Option<bool>,
    /// What each worktree gets, and what is run in it before and after.
    #[serde(skip_serializing_if = "WorktreeSettings::is_empty")]
    pub worktree: WorktreeSettings,
}

impl Settings {
    /// This layer laid over `below`: what is given here wins; environments are joined by name.
    pub fn over(&self, below: &Settings) -> Settings {
        let mut env = below.env.clone();
        env.extend(self.env.clone());
        Settings {
            command: self.command.clone().or_else(|| below.command.clone()),
            checks: self.checks.clone().or_else(|| below.checks.clone()),
            timeout_ms: self.timeout_ms.or(below.timeout_ms),
            check_timeout_ms: self.check_timeout_ms.or(below.check_timeout_ms),
            stall_ms: self.stall_ms.or(below.stall_ms),
            kill_grace_ms: self.kill_grace_ms.or(below.kill_grace_ms),
            bounds: self.bounds.over(&below.bounds),
            secrets: joined(self.secrets.as_deref(), below.secrets.as_deref()),
            filter_output: self.filter_output.or(below.filter_output),
            output_bytes_max: self.output_bytes_max.or(below.output_bytes_max),
            on_output_full: self.on_output_full.or(below.on_output_full),
            checkpoint_every_ms: self.checkpoint_every_ms.or(below.checkpoint_every_ms),
            checkpoints_kept: self.checkpoints_kept.or(below.checkpoints_kept),
            same_fault_max: self.same_fault_max.or(below.same_fault_max),
            attempts_max: self.attempts_max.or(below.attempts_max),
            env,
            base: self.base.clone().or_else(|| below.base.clone()),
            auto_land: self.auto_land.or(below.auto_land),
            land_method: self.land_method.or(below.land_method),
            review: self.review.or(below.review),
            train_max: self.train_max.or(below.train_max),
            on_dependency_failure: self.on_dependency_failure.or(below.on_dependency_failure),
            require_change: self.require_change.or(below.require_change),
            worktree: self.worktree.over(&below.worktree),
        }
    }

    pub fn is_empty(&self) -> bool {
        *self == Settings::default()
    }
}

/// What one layer calls secret no other can make plain.
fn joined(above: Option<&[String]>, below: Option<&[String]>) -> Option<Vec<String>> {
    let mut names = above.or(below)?.to_vec();
    names.extend(below.unwrap_or_default().iter().cloned());
    names.sort_unstable();
    names.dedup();
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upper_layer_wins_and_environments_are_joined() {
        let text = |t: &str| EnvValue::Text(t.into());
        let below = Settings {
            secrets: Some(vec!["B".into(), "A".into()]),
            command: Some("a".into()),
            timeout_ms: Some(1),
            env: BTreeMap::from([("X".into(), text("1")), ("Y".into(), text("1"))]),
            ..Settings::default()
        };
        let above = Settings {
            secrets: Some(vec!["C".into(), "B".into()]),
            command: Some("b".into()),
            env: BTreeMap::from([("X".into(), text("2"))]),
            ..Settings::default()
        };
        let merged = above.over(&below);
        assert_eq!(merged.secrets, Some(vec!["A".to_owned(), "B".to_owned(), "C".to_owned()]));
        assert_eq!((merged.command.as_deref(), merged.timeout_ms), (Some("b"), Some(1)));
        assert_eq!(merged.env, BTreeMap::from([("X".into(), text("2")), ("Y".into(), text("1"))]));
    }
}

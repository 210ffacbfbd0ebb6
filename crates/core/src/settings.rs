//! What a user may set for a project, a PRD or a task. Unaware of files and flags: the rim merges those
//! and hands over the result.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::BranchName;

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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_dependency_failure: Option<OnDependencyFailure>,
    /// Whether an attempt that changed nothing counts as failed. Stories: yes by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_change: Option<bool>,
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
            attempts_max: self.attempts_max.or(below.attempts_max),
            env,
            base: self.base.clone().or_else(|| below.base.clone()),
            auto_land: self.auto_land.or(below.auto_land),
            on_dependency_failure: self.on_dependency_failure.or(below.on_dependency_failure),
            require_change: self.require_change.or(below.require_change),
        }
    }

    pub fn is_empty(&self) -> bool {
        *self == Settings::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upper_layer_wins_and_environments_are_joined() {
        let text = |t: &str| EnvValue::Text(t.into());
        let below = Settings {
            command: Some("a".into()),
            timeout_ms: Some(1),
            env: BTreeMap::from([("X".into(), text("1")), ("Y".into(), text("1"))]),
            ..Settings::default()
        };
        let above = Settings {
            command: Some("b".into()),
            env: BTreeMap::from([("X".into(), text("2"))]),
            ..Settings::default()
        };
        let merged = above.over(&below);
        assert_eq!((merged.command.as_deref(), merged.timeout_ms), (Some("b"), Some(1)));
        assert_eq!(merged.env, BTreeMap::from([("X".into(), text("2")), ("Y".into(), text("1"))]));
    }
}

//! The keys of the project as a whole and of its agent.

use ropewalk_core::id::BranchName;

use super::{Flag, Key, one};
use crate::config::value::{Kind, Value};

/// The most attempts at once: what one node is built and tested for. Beyond it the machine, not the number, is
/// the bound.
const WORKERS_MAX: u64 = 500;

pub(super) static KEYS: [Key; 10] = [
    Key {
        path: "workers",
        kind: Kind::Whole { min: 1, max: |_| WORKERS_MAX },
        flag: Some(Flag { name: "--workers", texts: |flags| one(&flags.workers) }),
        default: |limits| Some(Value::Whole(u64::from(limits.slots))),
        example: None,
        doc: "How many attempts run at once.",
        apply: |effective, value| effective.workers = value.whole(),
    },
    Key {
        path: "max_prds",
        kind: Kind::Whole { min: 1, max: |limits| u64::from(limits.prds_at_once_max) },
        flag: Some(Flag { name: "--max-prds", texts: |flags| one(&flags.max_prds) }),
        default: |limits| Some(Value::Whole(u64::from(limits.prds_at_once))),
        example: None,
        doc: "How many PRDs are worked on at once; the others wait for their turn.",
        apply: |effective, value| effective.max_prds = value.whole(),
    },
    Key {
        path: "base",
        kind: Kind::Branch,
        flag: Some(Flag { name: "--base", texts: |flags| one(&flags.base) }),
        default: |_| None,
        example: Some("\"main\""),
        doc: "The branch that work starts from and that PRDs land on; unset, the one that was checked out when the \
        project was added.",
        apply: |effective, value| {
            effective.settings.base = value.text().and_then(|name| BranchName::new(&name).ok())
        },
    },
    Key {
        path: "auto_land",
        kind: Kind::Switch,
        flag: None,
        default: |_| Some(Value::Switch(false)),
        example: None,
        doc: "Land a PRD's branch on the base as soon as its last story has landed.",
        apply: |effective, value| effective.settings.auto_land = value.switch(),
    },
    Key {
        path: "on_dependency_failure",
        kind: Kind::Choice(&["block", "skip", "run"]),
        flag: None,
        default: |_| Some(Value::Text("block".to_owned())),
        example: None,
        doc: "What becomes of the dependents of a task that is parked or cancelled: they stay blocked, \
        are skipped, or run.",
        apply: |effective, value| effective.settings.on_dependency_failure = value.word(),
    },
    Key {
        path: "land.method",
        kind: Kind::Choice(&["merge", "squash", "rebase"]),
        flag: None,
        default: |_| Some(Value::Text("merge".to_owned())),
        example: None,
        doc: "How a PRD's branch lands on the base: all its commits and one that merges them, one commit with all its \
        changes, or its commits made anew one by one.",
        apply: |effective, value| effective.settings.land_method = value.word(),
    },
    Key {
        path: "land.review",
        kind: Kind::Switch,
        flag: None,
        default: |_| Some(Value::Switch(false)),
        example: None,
        doc: "Whether each attempt's work waits for `ropewalk review` before it lands.",
        apply: |effective, value| effective.settings.review = value.switch(),
    },
    Key {
        path: "land.train_max",
        kind: Kind::Whole { min: 1, max: |limits| u64::from(limits.train_max_max) },
        flag: None,
        default: |limits| Some(Value::Whole(u64::from(limits.train_max))),
        example: None,
        doc: "How many candidates are merged one upon the other, checked together and landed together; 1: each alone.",
        apply: |effective, value| effective.settings.train_max = value.whole(),
    },
    Key {
        path: "agent.use",
        kind: Kind::Choice(&["shell"]),
        flag: None,
        default: |_| Some(Value::Text("shell".to_owned())),
        example: None,
        doc: "Which adapter drives the agent; \"shell\" runs a command.",
        // With one adapter there is nothing to choose; with the key, files stay valid once there are more.
        apply: |_, _| (),
    },
    Key {
        path: "agent.shell.command",
        kind: Kind::Command,
        flag: Some(Flag { name: "--command", texts: |flags| one(&flags.command) }),
        default: |_| None,
        example: Some("\"./agent.sh\""),
        doc: "The agent's command line, run by sh in the worktree with the prompt on its stdin; a path \
        counts from this file's folder.",
        apply: |effective, value| effective.settings.command = value.text(),
    },
];

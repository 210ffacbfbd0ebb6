//! The keys of worktrees: what each gets, and what is run in it before and after the agent.

use ropewalk_core::setup::{Ports, SETUP_TIMEOUT_MS, TEARDOWN_TIMEOUT_MS, TEARDOWN_TIMEOUT_MS_MAX};

use super::Key;
use crate::config::value::{Kind, Least, Value};

pub(super) static KEYS: [Key; 6] = [
    Key {
        path: "worktree.include",
        kind: Kind::Paths,
        flag: None,
        default: |_| Some(Value::Commands(Vec::new())),
        example: Some("[\".env\"]"),
        doc: "Ignored files of your checkout that each worktree gets a copy of, readable by you alone; they are taken \
        away at the end, and never stored.",
        apply: |effective, value| effective.settings.worktree.include = value.commands(),
    },
    Key {
        path: "worktree.setup",
        kind: Kind::Commands,
        flag: None,
        default: |_| Some(Value::Commands(Vec::new())),
        example: Some("[\"npm ci\"]"),
        doc: "Commands that are run in a worktree before the agent; when one fails, the task is parked.",
        apply: |effective, value| effective.settings.worktree.setup = value.commands(),
    },
    Key {
        path: "worktree.setup_timeout",
        kind: Kind::Timeout,
        flag: None,
        default: |_| Some(Value::DurationMs(SETUP_TIMEOUT_MS)),
        example: None,
        doc: "How long they may take together.",
        apply: |effective, value| effective.settings.worktree.setup_timeout_ms = value.duration_ms(),
    },
    Key {
        path: "worktree.teardown",
        kind: Kind::Commands,
        flag: None,
        default: |_| Some(Value::Commands(Vec::new())),
        example: Some("[\"docker compose down\"]"),
        doc: "Commands that are run in a worktree before it goes, however the attempt ended.",
        apply: |effective, value| effective.settings.worktree.teardown = value.commands(),
    },
    Key {
        path: "worktree.teardown_timeout",
        kind: Kind::Duration { least: Least::Some, ms_max: |_| TEARDOWN_TIMEOUT_MS_MAX },
        flag: None,
        default: |_| Some(Value::DurationMs(TEARDOWN_TIMEOUT_MS)),
        example: None,
        doc: "How long they may take together.",
        apply: |effective, value| effective.settings.worktree.teardown_timeout_ms = value.duration_ms(),
    },
    Key {
        path: "worktree.ports",
        kind: Kind::Ports,
        flag: None,
        default: |_| Some(Value::Text(Ports::default().to_string())),
        example: None,
        doc: "Where the ten ports of each worktree are taken from.",
        apply: |effective, value| {
            effective.settings.worktree.ports = value.text().and_then(|text| text.parse().ok());
        },
    },
];

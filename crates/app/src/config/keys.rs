//! The one table of what can be configured. Parsing, the names of variables, `config show`, the reference, the
//! template of `init` and the suggestions all read it, so they cannot disagree. Unaware of files and layers.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use ropewalk_core::id::BranchName;
use ropewalk_core::limits::Limits;
use ropewalk_core::settings::Settings;

use super::Flags;
use super::fault::{edits, nearest};
use super::value::{Kind, Value};

/// The most attempts at once: what one node is built and tested for. Beyond it the machine, not the number, is
/// the bound.
const WORKERS_MAX: u64 = 500;

/// One thing that can be configured.
#[derive(Debug)]
pub(super) struct Key {
    /// Its place in the file, with dots: `agent.shell.command`.
    pub(super) path: &'static str,
    pub(super) kind: Kind,
    pub(super) flag: Option<Flag>,
    /// `None`: nothing is in force until somebody says something.
    pub(super) default: fn(&Limits) -> Option<Value>,
    /// What the template shows when the default would show nothing.
    pub(super) example: Option<&'static str>,
    /// One sentence for the reference and the template.
    pub(super) doc: &'static str,
    /// Puts the value where the program reads it.
    pub(super) apply: fn(&mut Effective, &Value),
}

/// A key's flag: its name, and what was given with it.
#[derive(Debug)]
pub(super) struct Flag {
    pub(super) name: &'static str,
    pub(super) texts: fn(&Flags) -> Vec<&str>,
}

/// What the values add up to.
#[derive(Clone, Debug, Default)]
pub(super) struct Effective {
    pub(super) settings: Settings,
    pub(super) workers: Option<u32>,
}

impl Key {
    /// `ROPEWALK_AGENT_SHELL_COMMAND` for `agent.shell.command`.
    pub(super) fn variable(&self) -> String {
        format!("ROPEWALK_{}", self.path.replace('.', "_").to_ascii_uppercase())
    }
}

fn one(given: &Option<String>) -> Vec<&str> {
    given.as_deref().into_iter().collect()
}

fn all(given: &[String]) -> Vec<&str> {
    given.iter().map(String::as_str).collect()
}

/// The table, in the order of the template: the top level must come first, as TOML wants it.
pub(super) static KEYS: [Key; 12] = [
    Key {
        path: "workers",
        kind: Kind::Whole { max: |_| WORKERS_MAX },
        flag: Some(Flag { name: "--workers", texts: |flags| one(&flags.workers) }),
        default: |limits| Some(Value::Whole(u64::from(limits.slots))),
        example: None,
        doc: "How many attempts run at once.",
        apply: |effective, value| effective.workers = value.whole(),
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
        // Core's own spelling of the words; a test holds the choices to it.
        apply: |effective, value| {
            effective.settings.on_dependency_failure = serde_json::from_value(value.to_json()).ok();
        },
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
    Key {
        path: "attempt.timeout",
        kind: Kind::Duration { ms_max: |limits| limits.timeout_ms_max },
        flag: Some(Flag { name: "--timeout", texts: |flags| one(&flags.timeout) }),
        default: |limits| Some(Value::DurationMs(limits.timeout_ms)),
        example: None,
        doc: "How long an attempt may take.",
        apply: |effective, value| effective.settings.timeout_ms = value.duration_ms(),
    },
    Key {
        path: "attempt.attempts_max",
        kind: Kind::Whole { max: |limits| u64::from(limits.attempts_max_max) },
        flag: Some(Flag { name: "--attempts", texts: |flags| one(&flags.attempts) }),
        default: |limits| Some(Value::Whole(u64::from(limits.attempts_max))),
        example: None,
        doc: "How many failed attempts park a task.",
        apply: |effective, value| effective.settings.attempts_max = value.whole(),
    },
    Key {
        path: "attempt.require_change",
        kind: Kind::Switch,
        flag: None,
        default: |_| Some(Value::Switch(true)),
        example: None,
        doc: "Whether an attempt that changed nothing counts as failed.",
        apply: |effective, value| effective.settings.require_change = value.switch(),
    },
    Key {
        path: "attempt.env",
        kind: Kind::Variables,
        flag: Some(Flag { name: "--env", texts: |flags| all(&flags.env) }),
        default: |_| Some(Value::Variables(BTreeMap::new())),
        example: Some("[\"NAME\", \"NAME=VALUE\"]"),
        doc: "Variables for the agent: NAME is copied from yours, NAME=VALUE is set; added to those of \
        lower layers.",
        apply: |effective, value| effective.settings.env = value.variables().unwrap_or_default(),
    },
    Key {
        path: "check.commands",
        kind: Kind::Commands,
        flag: Some(Flag { name: "--check", texts: |flags| all(&flags.checks) }),
        default: |_| Some(Value::Commands(Vec::new())),
        example: Some("[\"cargo test\"]"),
        doc: "Commands that must succeed on the merged tree before it lands.",
        apply: |effective, value| effective.settings.checks = value.commands(),
    },
    Key {
        path: "check.timeout",
        // An attempt's bound serves a check as well: both hold a slot, and neither may hold it all night.
        kind: Kind::Duration { ms_max: |limits| limits.timeout_ms_max },
        flag: None,
        default: |limits| Some(Value::DurationMs(limits.check_timeout_ms)),
        example: None,
        doc: "How long a check may take.",
        apply: |effective, value| effective.settings.check_timeout_ms = value.duration_ms(),
    },
];

/// The tables of the file: every beginning of a key's path.
static SECTIONS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let mut sections: Vec<&str> = Vec::new();
    for key in &KEYS {
        for (dot, _) in key.path.match_indices('.') {
            if !sections.contains(&&key.path[..dot]) {
                sections.push(&key.path[..dot]);
            }
        }
    }
    sections
});

pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

pub(super) fn section(path: &str) -> Option<&'static str> {
    SECTIONS.iter().find(|section| **section == path).copied()
}

/// The keys nearest to an unknown one; of the tables, when it is a table.
pub(super) fn nearest_paths(path: &str, is_table: bool) -> Vec<&'static str> {
    /// What it counts to be in the wrong table: a name that is right but elsewhere is a likely meaning, and a
    /// slip in the right table is a likelier one.
    const ELSEWHERE: usize = 4;
    let known: Vec<&'static str> =
        if is_table { SECTIONS.clone() } else { KEYS.iter().map(|key| key.path).collect() };
    let (section, name) = split(path);
    nearest(known, |candidate| {
        let (known_section, known_name) = split(candidate);
        Some(edits(name, known_name)? + edits(section, known_section).unwrap_or(ELSEWHERE))
    })
}

/// The table that a path is in (empty for the top level), and its name there.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

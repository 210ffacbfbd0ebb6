//! The one table of what can be configured. Parsing, the names of variables, `config show`, the reference, the
//! template of `init` and the suggestions all read it, so they cannot disagree. Unaware of files and layers.

mod attempt;
pub(super) mod engine;
mod project;
mod worktree;

use std::sync::LazyLock;

use ropewalk_core::limits::Limits;
use ropewalk_core::settings::{EnvValue, Settings};

use super::Flags;
use super::engine::EngineSettings;
use super::fault::{edits, nearest};
use super::value::{Kind, Value};

/// The key that bounds every [`Kind::Timeout`].
pub(super) const TIMEOUT_MAX: &str = "attempt.timeout_max";

/// The variables of the agent, and those of them that are secret.
pub(super) const ENV: &str = "attempt.env";
pub(super) const SECRETS: &str = "attempt.secrets";

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
    pub(super) max_prds: Option<u32>,
    pub(super) engine: EngineSettings,
}

impl Effective {
    /// A secret is for the agent: it is handed on without being named a second time.
    pub(super) fn hand_on_secrets(&mut self) {
        for name in self.settings.secrets.iter().flatten() {
            self.settings.env.entry(name.clone()).or_insert(EnvValue::Inherit);
        }
    }
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

fn each(given: &[String]) -> Vec<&str> {
    given.iter().map(String::as_str).collect()
}

/// Every key, in the order of the template: the top level must come first, as TOML wants it.
pub(super) fn all() -> impl Iterator<Item = &'static Key> {
    [project::KEYS.as_slice(), &attempt::KEYS, &worktree::KEYS, &engine::KEYS].into_iter().flatten()
}

/// The tables of the file: every beginning of a key's path.
static SECTIONS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let mut sections: Vec<&str> = Vec::new();
    for key in all() {
        for (dot, _) in key.path.match_indices('.') {
            if !sections.contains(&&key.path[..dot]) {
                sections.push(&key.path[..dot]);
            }
        }
    }
    sections
});

pub(super) fn find(path: &str) -> Option<&'static Key> {
    all().find(|key| key.path == path)
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
        if is_table { SECTIONS.clone() } else { all().map(|key| key.path).collect() };
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

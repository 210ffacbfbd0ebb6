//! The configuration: flags over environment over the project's file over the user's file over defaults.
//!
//! Knows how the layers are joined and keeps where each value came from. Unaware of what the values are used
//! for, of the terminal, and of which folders are looked at: paths and environment are handed in.

pub(crate) mod duration;
mod engine;
mod fault;
mod file;
mod keys;
mod origin;
mod outside;
mod read;
mod rules;
mod size;
mod template;
mod trust;
mod value;

#[cfg(test)]
mod tests;

use std::path::Path;

use ropewalk_core::limits::Limits;
use ropewalk_core::settings::Settings;
use serde::Serialize;

pub(crate) use engine::EngineSettings;
pub(crate) use fault::ConfigFault;
pub(crate) use file::Source;
pub(crate) use keys::engine::STOP_GRACE_MS_MAX;
pub(crate) use origin::{Layer, Origin};
pub(crate) use outside::{environment, home, user_file};
pub(crate) use template::{reference, template};
pub(crate) use trust::{Demand, demands};

use keys::{Effective, Key, TIMEOUT_MAX};
use value::Value;

/// The project's file, in the top folder of its repository.
pub(crate) const PROJECT_FILE: &str = "ropewalk.toml";

/// What is in force, and why.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    held: Vec<Held>,
    effective: Effective,
}

/// What flags gave, as typed. An empty list means that the flag was not given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags {
    pub(crate) command: Option<String>,
    /// Replace the checks of the layers below.
    pub(crate) checks: Vec<String>,
    pub(crate) timeout: Option<String>,
    pub(crate) stall: Option<String>,
    pub(crate) memory: Option<String>,
    pub(crate) cpu_time: Option<String>,
    pub(crate) processes: Option<String>,
    pub(crate) open_files: Option<String>,
    pub(crate) file_size: Option<String>,
    pub(crate) nice: Option<String>,
    pub(crate) attempts: Option<String>,
    pub(crate) workers: Option<String>,
    pub(crate) max_prds: Option<String>,
    /// Added to those of the layers below, by name.
    pub(crate) env: Vec<String>,
    /// Names, added to those of the layers below.
    pub(crate) secrets: Vec<String>,
    pub(crate) base: Option<String>,
}

/// One line of `config show`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Entry {
    pub(crate) key: &'static str,
    /// As the file would say it, on one line. Empty when nothing is in force (and then `json` is null).
    #[serde(skip)]
    pub(crate) value: String,
    #[serde(rename = "value")]
    pub(crate) json: serde_json::Value,
    pub(crate) origin: Origin,
    /// The lower layers that the value is joined with, highest first: only `attempt.env` and
    /// `attempt.secrets` join.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) joined_with: Vec<Origin>,
}

/// A key's value as one layer gives it.
#[derive(Debug)]
struct Given {
    key: &'static Key,
    value: Value,
    origin: Origin,
}

/// A key with what is in force for it.
#[derive(Clone, Debug)]
struct Held {
    key: &'static Key,
    value: Option<Value>,
    /// Where the value comes from, highest layer first; more than one only where values are joined.
    origins: Vec<Origin>,
}

impl Config {
    fn of(held: Vec<Held>) -> Config {
        let mut effective = Effective::default();
        for Held { key, value, .. } in &held {
            if let Some(value) = value {
                (key.apply)(&mut effective, value);
            }
        }
        effective.hand_on_secrets();
        Config { held, effective }
    }

    /// What core is to be told: all effective values, so that nothing below fills in another default.
    pub(crate) fn settings(&self) -> Settings {
        self.effective.settings.clone()
    }

    /// How many attempts run at once.
    pub(crate) fn workers(&self) -> u32 {
        self.effective.workers.unwrap_or(Limits::default().slots)
    }

    /// How many PRDs are worked on at once.
    pub(crate) fn max_prds(&self) -> u32 {
        self.effective.max_prds.unwrap_or(Limits::default().prds_at_once)
    }

    /// What the engine is told beside that.
    pub(crate) fn engine(&self) -> &EngineSettings {
        &self.effective.engine
    }

    /// Every key in the order of the table, given or not.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.held.iter().map(Held::entry).collect()
    }

    /// Where the value of a key comes from; `None` for a key that does not exist.
    pub(crate) fn origin(&self, key: &str) -> Option<&Origin> {
        self.held.iter().find(|held| held.key.path == key)?.origins.first()
    }
}

impl Held {
    fn entry(&self) -> Entry {
        let (origin, joined_with) = match self.origins.split_first() {
            Some((first, rest)) => (first.clone(), rest.to_vec()),
            None => (Origin::default_value(), Vec::new()),
        };
        let json = self.value.as_ref().map_or(serde_json::Value::Null, Value::to_json);
        let value = self.value.as_ref().map_or(String::new(), Value::to_string);
        Entry { key: self.key.path, value, json, origin, joined_with }
    }

    fn duration_ms(&self) -> Option<u64> {
        self.value.as_ref().and_then(Value::duration_ms)
    }

    fn is_default(&self) -> bool {
        self.origins.iter().all(|origin| origin.layer == Layer::Default)
    }

    /// Lays a layer's value over what is held.
    fn lay(&mut self, given: &Given) {
        if !self.value.as_ref().is_some_and(Value::is_joined) {
            self.origins.clear();
        }
        self.origins.insert(0, given.origin.clone());
        self.value = Some(given.value.clone().over(self.value.take()));
    }
}

/// Reads all layers and lays them over each other. A file that does not exist gives nothing.
///
/// # Errors
/// All faults of all layers at once, those of the highest layer first: a value that a higher layer hides is
/// held to the rules too, lest it surprise whoever takes the flag away.
pub(crate) fn resolve(
    flags: &Flags,
    env: impl Iterator<Item = (String, String)>,
    project_file: Option<&Source>,
    user_file: Option<&Path>,
) -> Result<Config, Vec<ConfigFault>> {
    let limits = Limits::default();
    let read_file = |source: Option<&Source>, layer| {
        source.map(|source| file::read(source, layer, &limits)).unwrap_or_default()
    };
    let user_file = user_file.map(Source::read);
    let layers = [
        outside::read_flags(flags, &limits),
        outside::read_environment(env, &limits),
        read_file(project_file, Layer::Project),
        read_file(user_file.as_ref(), Layer::User),
    ];
    let (given, faults): (Vec<_>, Vec<_>) = layers.into_iter().unzip();
    let mut faults = faults.concat();
    let held = join(&given, &limits);
    // What was meant for the maximum is not known when it is refused itself.
    let is_max_known = faults.iter().all(|fault| fault.key() != Some(TIMEOUT_MAX));
    if is_max_known {
        faults.extend(rules::timeouts(&held));
    }
    faults.extend(rules::plain_secrets(&given));
    if faults.is_empty() { Ok(Config::of(held)) } else { Err(faults) }
}

/// The layers, highest first, laid over the defaults.
fn join(layers: &[Vec<Given>], limits: &Limits) -> Vec<Held> {
    let default = |key: &'static Key| Held {
        key,
        value: (key.default)(limits),
        origins: vec![Origin::default_value()],
    };
    let mut held: Vec<Held> = keys::all().map(default).collect();
    for given in layers.iter().rev().flatten() {
        if let Some(held) = held.iter_mut().find(|held| held.key.path == given.key.path) {
            held.lay(given);
        }
    }
    rules::lower_defaults(&mut held);
    held
}

//! What a key can hold, and how it is written. Unaware of which keys there are and of how a value is read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ropewalk_core::limits::Limits;
use ropewalk_core::settings::EnvValue;
use serde_json::json;

use super::duration::show_duration;
use super::keys::{Key, TIMEOUT_MAX};
use super::size::show_size;

/// The largest size: the whole numbers up to here are exact in every JSON reader, and no machine has as much.
pub(super) const SIZE_BYTES_MAX: u64 = 1 << 53;

/// Nothing is counted for longer than ten years: beyond, a unit has been mistaken.
pub(super) const TEN_YEARS_MS: u64 = 10 * 365 * 24 * 3_600_000;

/// The kinds of value. A range's upper end is core's to say, hence the functions of `Limits`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// A whole number.
    Whole {
        min: u64,
        max: fn(&Limits) -> u64,
    },
    /// `true` or `false`.
    Switch,
    Branch,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// One command line.
    Command,
    /// A length of time.
    Duration {
        least: Least,
        ms_max: fn(&Limits) -> u64,
    },
    /// A length of time from one millisecond to what `attempt.timeout_max` says in the end, whichever layer sets it.
    Timeout,
    /// A number of bytes.
    Size {
        min: u64,
    },
    /// Command lines, in order.
    Commands,
    /// `NAME` or `NAME=VALUE`, joined by name across the layers.
    Variables,
    /// Names of variables, joined across the layers.
    Names,
    /// Paths below the project's folder, with `*` and `?`.
    Paths,
    /// A range of ports.
    Ports,
}

impl Kind {
    pub(super) fn is_list(self) -> bool {
        matches!(self, Kind::Commands | Kind::Variables | Kind::Names | Kind::Paths)
    }

    /// Whether a value of a repository's own file counts only once the user has trusted that file: what is run, what
    /// decides what is run (PATH and its like), and what of the user's is handed to it.
    pub(super) fn needs_trust(self) -> bool {
        match self {
            Kind::Command | Kind::Commands | Kind::Variables | Kind::Names | Kind::Paths => true,
            Kind::Whole { .. }
            | Kind::Switch
            | Kind::Branch
            | Kind::Choice(_)
            | Kind::Duration { .. }
            | Kind::Timeout
            | Kind::Size { .. }
            | Kind::Ports => false,
        }
    }
}

/// The shortest that a length of time may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Least {
    /// One millisecond: nothing at all would make no sense.
    Some,
    /// `0s`: nothing at all, at once.
    Zero,
    /// One millisecond, or `off`: never.
    Off,
}

/// The word for a length of time that never comes.
pub(super) const OFF: &str = "off";

/// A value that has been read and accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Whole(u64),
    Switch(bool),
    Text(String),
    DurationMs(u64),
    /// A length of time that never comes.
    Off,
    SizeBytes(u64),
    Commands(Vec<String>),
    Variables(BTreeMap<String, EnvValue>),
    Names(BTreeSet<String>),
}

impl Value {
    pub(super) fn whole<N: TryFrom<u64>>(&self) -> Option<N> {
        if let Value::Whole(n) = self { N::try_from(*n).ok() } else { None }
    }

    pub(super) fn switch(&self) -> Option<bool> {
        if let Value::Switch(on) = self { Some(*on) } else { None }
    }

    pub(super) fn text(&self) -> Option<String> {
        if let Value::Text(text) = self { Some(text.clone()) } else { None }
    }

    /// `off` is 0, as core has it.
    pub(super) fn duration_ms(&self) -> Option<u64> {
        match self {
            Value::DurationMs(ms) => Some(*ms),
            Value::Off => Some(0),
            _ => None,
        }
    }

    pub(super) fn size_bytes(&self) -> Option<u64> {
        if let Value::SizeBytes(bytes) = self { Some(*bytes) } else { None }
    }

    /// Core's own reading of a word; a test holds the choices to it.
    pub(super) fn word<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_value(self.to_json()).ok()
    }

    pub(super) fn commands(&self) -> Option<Vec<String>> {
        if let Value::Commands(commands) = self { Some(commands.clone()) } else { None }
    }

    pub(super) fn variables(&self) -> Option<BTreeMap<String, EnvValue>> {
        if let Value::Variables(variables) = self { Some(variables.clone()) } else { None }
    }

    pub(super) fn names(&self) -> Option<BTreeSet<String>> {
        if let Value::Names(names) = self { Some(names.clone()) } else { None }
    }

    /// Whether it is joined with the values of lower layers, and there is anything in it.
    pub(super) fn is_joined(&self) -> bool {
        match self {
            Value::Variables(variables) => !variables.is_empty(),
            Value::Names(names) => !names.is_empty(),
            _ => false,
        }
    }

    /// This value laid over the one of a lower layer.
    pub(super) fn over(self, below: Option<Value>) -> Value {
        match (self, below) {
            (Value::Variables(above), Some(Value::Variables(mut joined))) => {
                joined.extend(above);
                Value::Variables(joined)
            }
            // A secret of a lower layer stays one: a list that replaced it would make it plain.
            (Value::Names(above), Some(Value::Names(mut joined))) => {
                joined.extend(above);
                Value::Names(joined)
            }
            (above, _) => above,
        }
    }

    /// The shape it has in `--json`: as in the file, so a duration is text, and a size too.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match self {
            Value::Whole(n) => json!(n),
            Value::Switch(on) => json!(on),
            Value::Text(text) => json!(text),
            Value::DurationMs(ms) => json!(show_duration(*ms)),
            Value::Off => json!(OFF),
            Value::SizeBytes(bytes) => json!(show_size(*bytes)),
            Value::Commands(commands) => json!(commands),
            Value::Variables(variables) => variables.iter().map(variable_text).collect(),
            Value::Names(names) => json!(names),
        }
    }
}

/// Written as TOML, on one line.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = match self {
            Value::Commands(commands) => commands.iter().map(|text| quoted(text)).collect(),
            Value::Variables(variables) => {
                variables.iter().map(|pair| quoted(&variable_text(pair))).collect()
            }
            Value::Names(names) => names.iter().map(|name| quoted(name)).collect(),
            Value::Whole(n) => return n.fmt(f),
            Value::Switch(on) => return on.fmt(f),
            Value::Text(text) => return f.write_str(&quoted(text)),
            Value::DurationMs(ms) => return f.write_str(&quoted(&show_duration(*ms))),
            Value::Off => return f.write_str(&quoted(OFF)),
            Value::SizeBytes(bytes) => return f.write_str(&quoted(&show_size(*bytes))),
        };
        write!(f, "[{}]", texts.join(", "))
    }
}

/// A TOML basic string on one line. JSON's escapes are TOML's too; DEL alone needs one in TOML only.
pub(super) fn quoted(text: &str) -> String {
    json!(text).to_string().replace('\u{7f}', "\\u007f")
}

fn variable_text((name, value): (&String, &EnvValue)) -> String {
    match value {
        EnvValue::Inherit => name.clone(),
        EnvValue::Text(text) => format!("{name}={text}"),
    }
}

/// What the key takes, with its range.
pub(super) fn expected(key: &Key, limits: &Limits) -> String {
    match key.kind {
        Kind::Whole { min, max } => format!("a whole number from {min} to {}", max(limits)),
        Kind::Switch => "true or false".to_owned(),
        Kind::Branch => "the name of a branch, in quotes".to_owned(),
        Kind::Choice([only]) => format!("{only:?}, the only choice in this version"),
        Kind::Choice(words) => format!("one of {}", words.join(", ")),
        Kind::Command => "a command line, in quotes".to_owned(),
        Kind::Duration { least, ms_max } => {
            let (from, off) = match least {
                Least::Some => ("1ms", ""),
                Least::Zero => ("0s", ""),
                Least::Off => ("1ms", ", or \"off\""),
            };
            let most = show_duration(ms_max(limits));
            format!("a duration from {from} to {most}, such as \"90s\" or \"1h30m\"{off}")
        }
        Kind::Timeout => {
            format!("a duration from 1ms to {TIMEOUT_MAX}, such as \"90s\" or \"1h30m\"")
        }
        Kind::Size { min } => {
            let most = show_size(SIZE_BYTES_MAX);
            format!("a size from {min} to {most}, such as \"512MiB\" or \"2GB\"")
        }
        Kind::Commands => "a list of command lines, such as [\"cargo test\"]".to_owned(),
        Kind::Variables => "a list of variables, such as [\"NAME\", \"NAME=VALUE\"]".to_owned(),
        Kind::Names => "a list of names of variables, such as [\"API_KEY\"]".to_owned(),
        Kind::Paths => "a list of paths, such as [\".env\", \"config/*.local\"]".to_owned(),
        Kind::Ports => "a range of at least 10 ports, such as \"20000-29999\"".to_owned(),
    }
}

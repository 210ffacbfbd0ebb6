//! What a key can hold, and how it is read from text or TOML and written back. Unaware of which keys there are
//! and of where the text came from.

use std::collections::BTreeMap;
use std::fmt;

use ropewalk_core::id::BranchName;
use ropewalk_core::limits::Limits;
use ropewalk_core::settings::EnvValue;
use serde_json::json;
use toml::de::DeValue;

use super::duration::{parse_duration, show_duration};
use super::fault::{Wrong, edits, nearest, quote};
use super::keys::Key;

/// The kinds of value. A range's upper end is core's to say, hence the functions of `Limits`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// A whole number from 1.
    Whole {
        max: fn(&Limits) -> u64,
    },
    /// `true` or `false`.
    Switch,
    Branch,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// One command line.
    Command,
    /// A length of time from one millisecond.
    Duration {
        ms_max: fn(&Limits) -> u64,
    },
    /// Command lines, in order.
    Commands,
    /// `NAME` or `NAME=VALUE`, joined by name across the layers.
    Variables,
}

/// A value that has been read and accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Whole(u64),
    Switch(bool),
    Text(String),
    DurationMs(u64),
    Commands(Vec<String>),
    Variables(BTreeMap<String, EnvValue>),
}

impl Value {
    pub(super) fn whole(&self) -> Option<u32> {
        if let Value::Whole(n) = self { u32::try_from(*n).ok() } else { None }
    }

    pub(super) fn switch(&self) -> Option<bool> {
        if let Value::Switch(on) = self { Some(*on) } else { None }
    }

    pub(super) fn text(&self) -> Option<String> {
        if let Value::Text(text) = self { Some(text.clone()) } else { None }
    }

    pub(super) fn duration_ms(&self) -> Option<u64> {
        if let Value::DurationMs(ms) = self { Some(*ms) } else { None }
    }

    pub(super) fn commands(&self) -> Option<Vec<String>> {
        if let Value::Commands(commands) = self { Some(commands.clone()) } else { None }
    }

    pub(super) fn variables(&self) -> Option<BTreeMap<String, EnvValue>> {
        if let Value::Variables(variables) = self { Some(variables.clone()) } else { None }
    }

    /// This value laid over the one of a lower layer.
    pub(super) fn over(self, below: Option<Value>) -> Value {
        match (self, below) {
            (Value::Variables(above), Some(Value::Variables(mut joined))) => {
                joined.extend(above);
                Value::Variables(joined)
            }
            (above, _) => above,
        }
    }

    /// The shape it has in `--json`: as in the file, so a duration is text.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match self {
            Value::Whole(n) => json!(n),
            Value::Switch(on) => json!(on),
            Value::Text(text) => json!(text),
            Value::DurationMs(ms) => json!(show_duration(*ms)),
            Value::Commands(commands) => json!(commands),
            Value::Variables(variables) => variables.iter().map(variable_text).collect(),
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
            Value::Whole(n) => return n.fmt(f),
            Value::Switch(on) => return on.fmt(f),
            Value::Text(text) => return f.write_str(&quoted(text)),
            Value::DurationMs(ms) => return f.write_str(&quoted(&show_duration(*ms))),
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

/// Reads a key's value from a file. The faults come with the span (in bytes) of what is wrong, which for a
/// list is the element.
pub(super) fn from_toml(
    key: &'static Key,
    given: &toml::Spanned<DeValue<'_>>,
    limits: &Limits,
) -> Result<Value, Vec<(std::ops::Range<usize>, Wrong)>> {
    let one = |result: Result<Value, Wrong>| result.map_err(|wrong| vec![(given.span(), wrong)]);
    match (key.kind, given.get_ref()) {
        (Kind::Whole { .. }, DeValue::Integer(n)) => {
            one(whole(key, &n.to_string(), i128::from_str_radix(n.as_str(), n.radix()).ok(), limits))
        }
        (Kind::Switch, DeValue::Boolean(on)) => Ok(Value::Switch(*on)),
        (Kind::Branch | Kind::Choice(_) | Kind::Command | Kind::Duration { .. }, DeValue::String(text)) => {
            one(from_text(key, text, limits))
        }
        (Kind::Commands | Kind::Variables, DeValue::Array(elements)) => {
            let (mut texts, mut wrongs) = (Vec::new(), Vec::new());
            for element in elements.iter() {
                let checked = match element.get_ref() {
                    DeValue::String(text) => check_element(key, text).map(|()| texts.push(text.as_ref())),
                    other => Err(wrong_type(key, limits, &describe(other))),
                };
                wrongs.extend(checked.err().map(|wrong| (element.span(), wrong)));
            }
            if wrongs.is_empty() { Ok(list(key, &texts)) } else { Err(wrongs) }
        }
        (_, other) => one(Err(wrong_type(key, limits, &describe(other)))),
    }
}

/// Reads a key's value from flags or a variable: for a list each text is an element, otherwise there is one.
pub(super) fn from_texts(key: &'static Key, texts: &[&str], limits: &Limits) -> Result<Value, Vec<Wrong>> {
    if let Kind::Commands | Kind::Variables = key.kind {
        let wrongs: Vec<Wrong> = texts.iter().filter_map(|text| check_element(key, text).err()).collect();
        return if wrongs.is_empty() { Ok(list(key, texts)) } else { Err(wrongs) };
    }
    from_text(key, texts.last().copied().unwrap_or_default(), limits).map_err(|wrong| vec![wrong])
}

fn from_text(key: &'static Key, text: &str, limits: &Limits) -> Result<Value, Wrong> {
    let refused = |rule: String| Wrong::Refused { key: key.path, found: quote(text), rule };
    match key.kind {
        Kind::Whole { .. } => {
            let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return Err(wrong_type(key, limits, &quote(text)));
            }
            whole(key, text, text.parse().ok(), limits)
        }
        Kind::Switch => text.parse().map(Value::Switch).map_err(|_| wrong_type(key, limits, &quote(text))),
        Kind::Branch => match BranchName::new(text) {
            Ok(_) => Ok(Value::Text(text.to_owned())),
            Err(error) => Err(refused(format!("cannot name a branch: {}", error.rule))),
        },
        Kind::Choice(words) if words.contains(&text) => Ok(Value::Text(text.to_owned())),
        Kind::Choice(words) => {
            let near = nearest(words.iter().copied(), |word| edits(text, word));
            let hint = near.first().map(|word| format!("; did you mean {word}?")).unwrap_or_default();
            Err(refused(format!("is not {}{hint}", expected(key, limits))))
        }
        Kind::Command => check_command(text).map_err(refused).map(|()| Value::Text(text.to_owned())),
        Kind::Duration { ms_max } => match parse_duration(text) {
            Err(rule) => Err(refused(rule)),
            Ok(ms) if (1..=ms_max(limits)).contains(&ms) => Ok(Value::DurationMs(ms)),
            Ok(_) => Err(refused(format!("is not {}", expected(key, limits)))),
        },
        Kind::Commands | Kind::Variables => check_element(key, text).map(|()| list(key, &[text])),
    }
}

/// A whole number within the key's range. `number` is `None` when it is too large to be held at all.
fn whole(key: &'static Key, text: &str, number: Option<i128>, limits: &Limits) -> Result<Value, Wrong> {
    let max = if let Kind::Whole { max } = key.kind { max(limits) } else { 0 };
    match number.and_then(|n| u64::try_from(n).ok()) {
        Some(n) if (1..=max).contains(&n) => Ok(Value::Whole(n)),
        _ => Err(Wrong::Refused {
            key: key.path,
            found: text.chars().take(40).collect(),
            rule: format!("is not {}", expected(key, limits)),
        }),
    }
}

/// Whether a text may be an element of the key's list.
fn check_element(key: &'static Key, text: &str) -> Result<(), Wrong> {
    let (found, checked) = if let Kind::Variables = key.kind {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        // The value may be a secret: a message shows the name only.
        (quote(name), check_variable(name, value))
    } else {
        (quote(text), check_command(text))
    };
    checked.map_err(|rule| Wrong::Refused { key: key.path, found, rule })
}

fn check_command(text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err("is blank; give a command line".to_owned());
    }
    if text.contains('\0') {
        return Err("holds a NUL, which no command line can".to_owned());
    }
    Ok(())
}

fn check_variable(name: &str, value: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(fits) {
        return Err("is not a variable's name; write NAME or NAME=VALUE".to_owned());
    }
    if name.starts_with("ROPEWALK_") {
        return Err("begins with ROPEWALK_; those are set for each attempt by ropewalk itself".to_owned());
    }
    if value.contains('\0') {
        return Err("has a value with a NUL in it, which no variable can hold".to_owned());
    }
    Ok(())
}

/// The list that checked elements make. Of a name given twice the later wins, as on a command line.
fn list(key: &Key, texts: &[&str]) -> Value {
    if let Kind::Variables = key.kind {
        let variables = texts.iter().map(|text| match text.split_once('=') {
            Some((name, value)) => (name.to_owned(), EnvValue::Text(value.to_owned())),
            None => ((*text).to_owned(), EnvValue::Inherit),
        });
        return Value::Variables(variables.collect());
    }
    Value::Commands(texts.iter().map(|text| (*text).to_owned()).collect())
}

fn wrong_type(key: &'static Key, limits: &Limits, found: &str) -> Wrong {
    Wrong::Type { key: key.path, expected: expected(key, limits), found: found.to_owned() }
}

/// What the key takes, with its range.
pub(super) fn expected(key: &Key, limits: &Limits) -> String {
    match key.kind {
        Kind::Whole { max } => format!("a whole number from 1 to {}", max(limits)),
        Kind::Switch => "true or false".to_owned(),
        Kind::Branch => "the name of a branch, in quotes".to_owned(),
        Kind::Choice([only]) => format!("{only:?}, the only choice in this version"),
        Kind::Choice(words) => format!("one of {}", words.join(", ")),
        Kind::Command => "a command line, in quotes".to_owned(),
        Kind::Duration { ms_max } => {
            format!("a duration from 1ms to {}, such as \"90s\" or \"1h30m\"", show_duration(ms_max(limits)))
        }
        Kind::Commands => "a list of command lines, such as [\"cargo test\"]".to_owned(),
        Kind::Variables => "a list of variables, such as [\"NAME\", \"NAME=VALUE\"]".to_owned(),
    }
}

/// What was found instead.
pub(super) fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the text {}", quote(text)),
        DeValue::Integer(n) => format!("the whole number {n}"),
        DeValue::Float(n) => format!("the number {n}"),
        DeValue::Boolean(on) => on.to_string(),
        DeValue::Datetime(instant) => format!("the date or time {instant}"),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

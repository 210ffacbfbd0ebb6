//! How a value is read from text or from TOML, and what is wrong with it. Unaware of which keys there are, of where
//! the text came from, and of the other layers.

use ropewalk_core::id::BranchName;
use ropewalk_core::limits::Limits;
use ropewalk_core::settings::EnvValue;
use ropewalk_core::setup::{Pattern, Ports};
use toml::de::DeValue;

use super::duration::parse_duration;
use super::fault::{Wrong, edits, nearest, quote};
use super::keys::Key;
use super::size::parse_size;
use super::value::{Kind, Least, OFF, SIZE_BYTES_MAX, Value, expected};

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
        (Kind::Size { .. }, DeValue::Integer(n)) => {
            let bytes = i128::from_str_radix(n.as_str(), n.radix()).ok();
            one(size(key, cut(&n.to_string()), bytes.and_then(|n| u64::try_from(n).ok()), limits))
        }
        (
            Kind::Branch
            | Kind::Choice(_)
            | Kind::Command
            | Kind::Duration { .. }
            | Kind::Timeout
            | Kind::Size { .. }
            | Kind::Ports,
            DeValue::String(text),
        ) => one(from_text(key, text, limits)),
        (Kind::Commands | Kind::Variables | Kind::Names | Kind::Paths, DeValue::Array(elements)) => {
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
    if key.kind.is_list() {
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
        Kind::Duration { least: Least::Off, .. } if text == OFF => Ok(Value::Off),
        Kind::Duration { least, ms_max } => {
            let min = if least == Least::Zero { 0 } else { 1 };
            match parse_duration(text).map_err(refused)? {
                ms if (min..=ms_max(limits)).contains(&ms) => Ok(Value::DurationMs(ms)),
                _ => Err(refused(format!("is not {}", expected(key, limits)))),
            }
        }
        // Its maximum is known only when all layers are: see `rules`.
        Kind::Timeout => match parse_duration(text).map_err(refused)? {
            0 => Err(refused(format!("is not {}", expected(key, limits)))),
            ms => Ok(Value::DurationMs(ms)),
        },
        Kind::Size { .. } => size(key, quote(text), Some(parse_size(text).map_err(refused)?), limits),
        Kind::Ports => match text.parse::<Ports>() {
            Ok(ports) => Ok(Value::Text(ports.to_string())),
            Err(rule) => Err(refused(rule)),
        },
        Kind::Commands | Kind::Variables | Kind::Names | Kind::Paths => {
            check_element(key, text).map(|()| list(key, &[text]))
        }
    }
}

/// A whole number within the key's range. `number` is `None` when it is too large to be held at all.
fn whole(key: &'static Key, text: &str, number: Option<i128>, limits: &Limits) -> Result<Value, Wrong> {
    let range = if let Kind::Whole { min, max } = key.kind { min..=max(limits) } else { 0..=0 };
    match number.and_then(|n| u64::try_from(n).ok()) {
        Some(n) if range.contains(&n) => Ok(Value::Whole(n)),
        _ => Err(outside(key, cut(text), limits)),
    }
}

/// A number of bytes within the key's range. `None`: too large to be held at all, or below zero.
fn size(key: &'static Key, found: String, bytes: Option<u64>, limits: &Limits) -> Result<Value, Wrong> {
    let min = if let Kind::Size { min } = key.kind { min } else { 0 };
    match bytes {
        Some(bytes) if (min..=SIZE_BYTES_MAX).contains(&bytes) => Ok(Value::SizeBytes(bytes)),
        _ => Err(outside(key, found, limits)),
    }
}

fn outside(key: &'static Key, found: String, limits: &Limits) -> Wrong {
    Wrong::Refused { key: key.path, found, rule: format!("is not {}", expected(key, limits)) }
}

/// A number for a message.
fn cut(digits: &str) -> String {
    digits.chars().take(40).collect()
}

/// Whether a text may be an element of the key's list.
fn check_element(key: &'static Key, text: &str) -> Result<(), Wrong> {
    // The value may be a secret: a message shows the name only.
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    let (found, checked) = match key.kind {
        Kind::Variables => (quote(name), check_variable(name, value)),
        // Somebody may have written the secret itself where its name belongs: nothing of it is shown.
        Kind::Names => ("an entry".to_owned(), check_secret(text)),
        Kind::Paths => (quote(text), text.parse::<Pattern>().map(|_| ())),
        _ => (quote(text), check_command(text)),
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

/// What the names of an attempt's own variables begin with.
const OURS: &str = "ROPEWALK_";

fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !text.is_empty() && !text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(fits)
}

fn check_secret(text: &str) -> Result<(), String> {
    match text.starts_with(OURS) {
        true => Err(format!("begins with {OURS}; those are set for each attempt by ropewalk itself")),
        false if is_name(text) => Ok(()),
        false => Err("is not a variable's name; write the name alone, its value is taken from your \
            environment"
            .to_owned()),
    }
}

fn check_variable(name: &str, value: &str) -> Result<(), String> {
    if !is_name(name) {
        return Err("is not a variable's name; write NAME or NAME=VALUE".to_owned());
    }
    if name.starts_with(OURS) {
        return Err(format!("begins with {OURS}; those are set for each attempt by ropewalk itself"));
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
    let texts = texts.iter().map(|text| (*text).to_owned());
    if let Kind::Names = key.kind { Value::Names(texts.collect()) } else { Value::Commands(texts.collect()) }
}

fn wrong_type(key: &'static Key, limits: &Limits, found: &str) -> Wrong {
    Wrong::Type { key: key.path, expected: expected(key, limits), found: found.to_owned() }
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

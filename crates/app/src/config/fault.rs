//! What is wrong with a configuration: where, what, and what to do about it. Unaware of how it was found and
//! of how it is printed.

use std::fmt;

use super::origin::Origin;

/// One fault. `Display` gives the place and what is wrong; [`ConfigFault::hint`] what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfigFault {
    /// Boxed to keep `Result`s small.
    pub(crate) origin: Box<Origin>,
    /// Characters from the start of the line, from 1; only for a place in a file.
    pub(crate) column: Option<usize>,
    pub(crate) what: Wrong,
}

/// The ways in which a configuration can be wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    Unreadable {
        error: String,
    },
    /// Not TOML, in toml's own words: several lines, with a caret under the spot.
    Syntax {
        error: String,
    },
    UnknownKey {
        key: String,
        /// The known names nearest to it; several when they are equally near.
        near: Vec<&'static str>,
    },
    UnknownVariable {
        near: Vec<String>,
    },
    Type {
        key: &'static str,
        expected: String,
        found: String,
    },
    /// The type is right and the value is not.
    Refused {
        key: &'static str,
        found: String,
        rule: String,
    },
    /// A time above the maximum that a layer sets, or the default.
    TooLong {
        key: &'static str,
        found: String,
        max_key: &'static str,
        max: String,
        /// Where the maximum comes from.
        max_origin: Box<Origin>,
    },
    /// A secret is given with its value.
    PlainSecret {
        key: &'static str,
        name: String,
        /// What declares it.
        declared: Box<Origin>,
    },
    /// A variable that must hold an absolute path does not.
    NotAbsolute {
        found: String,
    },
    /// Neither `ROPEWALK_HOME` nor `HOME` says where the state folder is.
    NoHome,
    /// The variable's value is not UTF-8.
    NotText,
}

impl ConfigFault {
    pub(super) fn new(origin: Origin, column: Option<usize>, what: Wrong) -> ConfigFault {
        ConfigFault { origin: Box::new(origin), column, what }
    }

    /// The key whose value is wrong, where it is a key's.
    pub(super) fn key(&self) -> Option<&'static str> {
        match self.what {
            Wrong::Type { key, .. }
            | Wrong::Refused { key, .. }
            | Wrong::TooLong { key, .. }
            | Wrong::PlainSecret { key, .. } => Some(key),
            Wrong::Unreadable { .. }
            | Wrong::Syntax { .. }
            | Wrong::UnknownKey { .. }
            | Wrong::UnknownVariable { .. }
            | Wrong::NotAbsolute { .. }
            | Wrong::NoHome
            | Wrong::NotText => None,
        }
    }

    /// What to do about it, where there is more to say than the message does.
    pub(crate) fn hint(&self) -> Option<String> {
        match &self.what {
            Wrong::UnknownKey { key, near } => match near.as_slice() {
                [] => Some("`ropewalk config show` lists the keys there are".to_owned()),
                // TOML's trap: a key of the top level that is written below a [table] belongs to that table.
                [one] if key.contains('.') && !one.contains('.') => {
                    Some(format!("did you mean {one}? it goes above the first [table] of the file"))
                }
                names => Some(format!("did you mean {}?", names.join(" or "))),
            },
            Wrong::UnknownVariable { near } => Some(match near.as_slice() {
                [] => "unset it: names that begin with ROPEWALK_ are kept for ropewalk".to_owned(),
                names => format!("did you mean {}?", names.join(" or ")),
            }),
            Wrong::TooLong { max_key, .. } => Some(format!("shorten it, or raise {max_key}")),
            Wrong::PlainSecret { name, .. } => Some(format!(
                "write {name} alone, and set it in the environment that `ropewalk run` is started in"
            )),
            Wrong::NoHome => {
                Some("set HOME, or ROPEWALK_HOME to the folder that is to hold the state".to_owned())
            }
            Wrong::NotAbsolute { .. } => Some("give the whole path, from / on".to_owned()),
            Wrong::Unreadable { .. } => Some("make it a readable file, or take it away".to_owned()),
            Wrong::Syntax { .. } | Wrong::Type { .. } | Wrong::Refused { .. } | Wrong::NotText => None,
        }
    }

    /// A word for scripts that stays the same when messages are reworded.
    pub(crate) fn code(&self) -> &'static str {
        match self.what {
            Wrong::Unreadable { .. } => "config-unreadable",
            Wrong::Syntax { .. } => "config-syntax",
            Wrong::UnknownKey { .. } => "config-unknown-key",
            Wrong::UnknownVariable { .. } => "config-unknown-variable",
            Wrong::Type { .. } => "config-wrong-type",
            Wrong::Refused { .. } => "config-refused",
            Wrong::TooLong { .. } => "config-too-long",
            Wrong::PlainSecret { .. } => "config-plain-secret",
            Wrong::NotAbsolute { .. } => "config-not-absolute",
            Wrong::NoHome => "config-no-home",
            Wrong::NotText => "config-not-utf8",
        }
    }
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.origin.fmt(f)?;
        if let Some(column) = self.column {
            write!(f, ":{column}")?;
        }
        f.write_str(": ")?;
        match &self.what {
            Wrong::Unreadable { error } => write!(f, "cannot be read: {error}"),
            Wrong::Syntax { error } => f.write_str(error),
            Wrong::UnknownKey { key, .. } => write!(f, "unknown key {key}"),
            Wrong::UnknownVariable { .. } => f.write_str("unknown variable"),
            Wrong::Type { key, expected, found } => write!(f, "{key} takes {expected}, not {found}"),
            Wrong::Refused { key, found, rule } => write!(f, "{key}: {found} {rule}"),
            Wrong::TooLong { key, found, max_key, max, max_origin } => {
                write!(f, "{key}: {found} is longer than {max_key}, {max} ({max_origin})")
            }
            Wrong::PlainSecret { key, name, declared } => write!(
                f,
                "{key}: {name} is a secret ({declared}) and is given with its value, which would be stored"
            ),
            Wrong::NotAbsolute { found } => write!(f, "{found} is not an absolute path"),
            Wrong::NoHome => f.write_str("not set, so there is no place for the state folder"),
            Wrong::NotText => f.write_str("the value is not UTF-8"),
        }
    }
}

impl std::error::Error for ConfigFault {}

/// A text from outside, quoted and escaped for a message, and cut: a message is not the place for a novel.
pub(super) fn quote(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    let cut: String = text.chars().take(CHARS_MAX).collect();
    if cut.len() < text.len() { format!("{cut:?}…") } else { format!("{cut:?}") }
}

/// The candidates nearest to a mistyped word, or none when all are far. Equally near ones are all given, at
/// most three.
pub(super) fn nearest<T: Clone>(
    candidates: impl IntoIterator<Item = T>,
    distance: impl Fn(&T) -> Option<usize>,
) -> Vec<T> {
    let scored: Vec<(usize, T)> = candidates.into_iter().filter_map(|c| Some((distance(&c)?, c))).collect();
    let least = scored.iter().map(|(d, _)| *d).min();
    scored.into_iter().filter(|(d, _)| Some(*d) == least).map(|(_, c)| c).take(3).collect()
}

/// How many edits apart two words are; `None` when too many for one to be a slip of the other. A third of
/// the letters: past that, suggestions are noise (`env` for `cpu`).
pub(super) fn edits(word: &str, known: &str) -> Option<usize> {
    let far = (word.chars().count() / 3).max(1);
    Some(strsim::osa_distance(word, known)).filter(|d| *d <= far)
}

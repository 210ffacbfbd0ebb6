//! What comes from outside the files: flags, the environment, and the folders that it names. Knows which
//! variables are ours; unaware of the layers below.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use ropewalk_core::limits::Limits;

use super::fault::{ConfigFault, Wrong, edits, nearest, quote};
use super::keys::{self, Key};
use super::origin::Origin;
use super::read;
use super::{Flags, Given};

/// The variable that names the state folder.
const HOME: &str = "ROPEWALK_HOME";

/// Variables that begin with `ROPEWALK_` and are no keys: the first two are the program's own, an attempt's
/// agent is given the rest.
const OTHER_VARIABLES: [&str; 17] = [
    HOME,
    "ROPEWALK_LOG",
    "ROPEWALK_TASK",
    "ROPEWALK_ATTEMPT",
    "ROPEWALK_STORY",
    "ROPEWALK_PRD",
    "ROPEWALK_WORKTREE",
    BASE,
    "ROPEWALK_PROMPT",
    "ROPEWALK_PREVIOUS",
    "ROPEWALK_SESSION_FILE",
    "ROPEWALK_SESSION",
    "ROPEWALK_CHECKPOINT",
    "ROPEWALK_PORT",
    "ROPEWALK_PORTS",
    "ROPEWALK_DATABASE",
    "ROPEWALK_CACHE",
];

/// Both the key `base` and what an attempt's agent is told.
const BASE: &str = "ROPEWALK_BASE";

/// This process's environment as text. (`std::env::vars` panics at the first variable that is none.)
///
/// # Errors
/// Names our variables that are not UTF-8. Others that are not are left out: nobody asks for them here.
pub(crate) fn environment() -> Result<Vec<(String, String)>, Vec<ConfigFault>> {
    texts(std::env::vars_os())
}

pub(super) fn texts(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, Vec<ConfigFault>> {
    let (mut kept, mut faults) = (Vec::new(), Vec::new());
    for (name, value) in variables {
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => kept.push((name, value)),
            (Ok(name), Err(_)) if name.starts_with("ROPEWALK_") => {
                faults.push(ConfigFault::new(Origin::variable(&name), None, Wrong::NotText));
            }
            _ => {}
        }
    }
    if faults.is_empty() { Ok(kept) } else { Err(faults) }
}

pub(super) fn read_flags(flags: &Flags, limits: &Limits) -> (Vec<Given>, Vec<ConfigFault>) {
    let given = keys::all().filter_map(|key| {
        let flag = key.flag.as_ref()?;
        let texts = (flag.texts)(flags);
        (!texts.is_empty()).then(|| (key, texts, Origin::flag(flag.name)))
    });
    accept(given, limits)
}

pub(super) fn read_environment(
    env: impl Iterator<Item = (String, String)>,
    limits: &Limits,
) -> (Vec<Given>, Vec<ConfigFault>) {
    // Sorted, so that the same environment gives the same faults in the same order.
    let ours: BTreeMap<String, String> = env.filter(|(name, _)| name.starts_with("ROPEWALK_")).collect();
    // An agent that calls ropewalk inherits what its attempt was told. There ROPEWALK_BASE says what the
    // worktree was cut from, which is no wish about where the project's work starts.
    let in_attempt = ours.contains_key("ROPEWALK_ATTEMPT");
    let (mut given, mut unknown) = (Vec::new(), Vec::new());
    for (name, text) in &ours {
        match keys::all().find(|key| key.variable() == *name) {
            Some(_) if in_attempt && name == BASE => {}
            Some(key) => given.push((key, elements(key, text), Origin::variable(name))),
            None if OTHER_VARIABLES.contains(&name.as_str()) => {}
            None => unknown.push(unknown_variable(name)),
        }
    }
    let (given, mut faults) = accept(given.into_iter(), limits);
    faults.extend(unknown);
    (given, faults)
}

/// A variable's text as the elements of the key's list, one per line; an empty text is the empty list.
fn elements<'t>(key: &Key, text: &'t str) -> Vec<&'t str> {
    if !key.kind.is_list() {
        return vec![text];
    }
    text.lines().filter(|line| !line.trim().is_empty()).collect()
}

fn accept<'t>(
    given: impl Iterator<Item = (&'static Key, Vec<&'t str>, Origin)>,
    limits: &Limits,
) -> (Vec<Given>, Vec<ConfigFault>) {
    let (mut accepted, mut faults) = (Vec::new(), Vec::new());
    for (key, texts, origin) in given {
        match read::from_texts(key, &texts, limits) {
            Ok(value) => accepted.push(Given { key, value, origin }),
            Err(wrongs) => {
                faults.extend(wrongs.into_iter().map(|what| ConfigFault::new(origin.clone(), None, what)))
            }
        }
    }
    (accepted, faults)
}

fn unknown_variable(name: &str) -> ConfigFault {
    let others = OTHER_VARIABLES.into_iter().filter(|other| *other != BASE).map(str::to_owned);
    let word = name.trim_start_matches("ROPEWALK_");
    let near = nearest(keys::all().map(Key::variable).chain(others), |candidate| {
        // ROPEWALK_TIMEOUT: right but for the table. Any slip in spelling is nearer.
        let without_table = || candidate.ends_with(&format!("_{word}")).then_some(usize::MAX);
        edits(word, candidate.trim_start_matches("ROPEWALK_")).or_else(without_table)
    });
    ConfigFault::new(Origin::variable(name), None, Wrong::UnknownVariable { near })
}

/// The state folder: `ROPEWALK_HOME`, or `ropewalk` in the XDG state folder. Nothing is created.
///
/// # Errors
/// When the path is not absolute (the daemon and its clients stand in different folders and must mean the
/// same one), or when there is neither `ROPEWALK_HOME` nor `HOME`.
pub(crate) fn home(env: impl Iterator<Item = (String, String)>) -> Result<PathBuf, ConfigFault> {
    let env: BTreeMap<String, String> = env.collect();
    match env.get(HOME) {
        Some(text) if Path::new(text).is_absolute() => Ok(PathBuf::from(text)),
        Some(text) => Err(not_absolute(HOME, text)),
        None => Ok(xdg_folder(&env, "XDG_STATE_HOME", ".local/state")?.join("ropewalk")),
    }
}

/// Where the user's own file is, existing or not: `ropewalk/config.toml` in the XDG configuration folder.
/// Without a home there is none, which is no fault: a service account needs no file of its own.
pub(crate) fn user_file(env: impl Iterator<Item = (String, String)>) -> Option<PathBuf> {
    let env: BTreeMap<String, String> = env.collect();
    Some(xdg_folder(&env, "XDG_CONFIG_HOME", ".config").ok()?.join("ropewalk").join("config.toml"))
}

/// A folder of the XDG Base Directory Specification, read from the environment that was handed in. A relative
/// path in an XDG variable is ignored, as the specification demands.
fn xdg_folder(
    env: &BTreeMap<String, String>,
    variable: &str,
    below_home: &str,
) -> Result<PathBuf, ConfigFault> {
    if let Some(folder) = env.get(variable).map(Path::new).filter(|folder| folder.is_absolute()) {
        return Ok(folder.to_owned());
    }
    match env.get("HOME").map(String::as_str) {
        None | Some("") => Err(ConfigFault::new(Origin::variable("HOME"), None, Wrong::NoHome)),
        Some(home) if Path::new(home).is_absolute() => Ok(Path::new(home).join(below_home)),
        Some(home) => Err(not_absolute("HOME", home)),
    }
}

fn not_absolute(variable: &str, text: &str) -> ConfigFault {
    let what = Wrong::NotAbsolute { found: quote(text) };
    ConfigFault::new(Origin::variable(variable), None, what)
}

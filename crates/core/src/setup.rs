//! What a project wants of each worktree before an agent works in it and after. Unaware of files, ports and processes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How long the set-up commands may take together: installing what a project depends on takes minutes, and what takes
/// longer hangs.
pub const SETUP_TIMEOUT_MS: u64 = 10 * 60_000;

/// How long the teardown commands may take together: they stop and delete, and a finished attempt's slot waits for them.
pub const TEARDOWN_TIMEOUT_MS: u64 = 60_000;

/// The longest that anybody may give a teardown: an engine that ends waits for it.
pub const TEARDOWN_TIMEOUT_MS_MAX: u64 = 10 * 60_000;

/// Ports per worktree: a server, its database, a debugger, and some.
pub const PORTS_PER_SLOT: u16 = 10;

/// By layer, like all settings: an absent field leaves the layer below in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorktreeSettings {
    /// Ignored files of the user's checkout that each worktree gets a copy of; each a [`Pattern`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include: Option<Vec<String>>,
    /// Commands that are run in it before the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setup: Option<Vec<String>>,
    /// Commands that are run in it before it is given back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teardown: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setup_timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teardown_timeout_ms: Option<u64>,
    /// Where its ports are taken from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<Ports>,
}

impl WorktreeSettings {
    /// These laid over `below`: what is given here wins.
    pub fn over(&self, below: &WorktreeSettings) -> WorktreeSettings {
        WorktreeSettings {
            include: self.include.clone().or_else(|| below.include.clone()),
            setup: self.setup.clone().or_else(|| below.setup.clone()),
            teardown: self.teardown.clone().or_else(|| below.teardown.clone()),
            setup_timeout_ms: self.setup_timeout_ms.or(below.setup_timeout_ms),
            teardown_timeout_ms: self.teardown_timeout_ms.or(below.teardown_timeout_ms),
            ports: self.ports.or(below.ports),
        }
    }

    pub fn is_empty(&self) -> bool {
        *self == WorktreeSettings::default()
    }
}

/// Port numbers from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Ports {
    pub first: u16,
    pub last: u16,
}

impl Default for Ports {
    /// Above what systems give to servers, below what Linux hands out for outgoing connections (32768).
    fn default() -> Self {
        Ports { first: 20_000, last: 29_999 }
    }
}

impl Ports {
    /// How many slots find their ports here.
    pub fn slots(&self) -> u32 {
        (u32::from(self.last) - u32::from(self.first) + 1) / u32::from(PORTS_PER_SLOT)
    }

    /// The first port of a slot's; nothing when there are not so many.
    pub fn of_slot(&self, slot: u32) -> Option<u16> {
        if slot >= self.slots() {
            return None;
        }
        u16::try_from(u32::from(self.first) + slot * u32::from(PORTS_PER_SLOT)).ok()
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl From<Ports> for String {
    fn from(ports: Ports) -> String {
        ports.to_string()
    }
}

impl TryFrom<String> for Ports {
    type Error = String;

    fn try_from(text: String) -> Result<Ports, String> {
        text.parse()
    }
}

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Ports, String> {
        let number = |text: &str| {
            let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u16>().ok().filter(|port| is_plain && *port > 0)
        };
        let ports = text.split_once('-').and_then(|(first, last)| Some((number(first)?, number(last)?)));
        match ports {
            Some((first, last)) if first <= last && last - first >= PORTS_PER_SLOT - 1 => {
                Ok(Ports { first, last })
            }
            Some(_) => Err(format!("holds no {PORTS_PER_SLOT} ports, and each worktree gets as many")),
            None => Err("is not a range of ports; write FIRST-LAST, such as 20000-29999".to_owned()),
        }
    }
}

/// A path below the top folder, `*` and `?` standing for any characters, or one, of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    names: Vec<String>,
}

impl Pattern {
    /// The names of the path, from the top.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Pattern, String> {
        let names: Vec<String> = text.split('/').map(str::to_owned).collect();
        if text.trim().is_empty() || names.iter().any(String::is_empty) {
            return Err("is not a path below the project's folder, such as .env or config/*.local".to_owned());
        }
        if text.contains(['\0', '\n']) {
            return Err("holds a line end or a NUL, which no included file's name may".to_owned());
        }
        if names.iter().any(|name| name == "." || name == "..") {
            return Err("leads by . or .., and a path below the project's folder needs neither".to_owned());
        }
        if names.iter().any(|name| name.eq_ignore_ascii_case(".git")) {
            return Err("leads into git's own folder".to_owned());
        }
        if text.contains("**") {
            return Err("holds **; * stands for a part of one name".to_owned());
        }
        Ok(Pattern { names })
    }
}

/// Whether a name of a pattern stands for others.
pub fn is_wild(name: &str) -> bool {
    name.contains(['*', '?'])
}

/// Whether a name of a pattern fits a file's. As in a shell, a leading dot must be written.
pub fn fits(pattern: &str, name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && !pattern.starts_with('.') {
        return false;
    }
    let pattern = pattern.as_bytes();
    // The classic walk with one way back: to the last star, one byte further on.
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, n) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// The name of an attempt's database: plain, so that every server takes it without quotes.
pub fn database(project: u64, slot: u32) -> String {
    format!("ropewalk_{project}_{slot}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_cut_into_whole_blocks_and_no_further() {
        let ports: Ports = "20000-20025".parse().unwrap();
        assert_eq!((ports.slots(), ports.of_slot(0), ports.of_slot(1)), (2, Some(20_000), Some(20_010)));
        assert_eq!(ports.of_slot(2), None);
        assert_eq!(Ports::default().slots(), 1_000);
        assert_eq!(Ports { first: 65_526, last: 65_535 }.of_slot(0), Some(65_526));
        assert_eq!("20000-29999".parse(), Ok(Ports::default()));
        for wrong in ["", "1", "-", "1-", "0-100", "20-10", "1-9", "1-65536", "+1-100", "a-b", "1 - 100"] {
            assert!(wrong.parse::<Ports>().is_err(), "{wrong}");
        }
        let json = serde_json::to_string(&ports).unwrap();
        assert_eq!(
            (json.as_str(), serde_json::from_str::<Ports>(&json).unwrap()),
            ("\"20000-20025\"", ports)
        );
    }

    #[test]
    fn a_pattern_stays_below_the_top_and_out_of_gits_folder() {
        for fine in [".env", "config/*.local", "a/b/c", "?", "-x", "a b", ".github/x"] {
            assert!(fine.parse::<Pattern>().is_ok(), "{fine}");
        }
        for wrong in [
            "",
            " ",
            "/etc/passwd",
            "../x",
            "a/../../x",
            "./x",
            "a//b",
            "a/",
            ".git/config",
            "x/.GIT",
            "**/x",
            "a\nb",
        ] {
            assert!(wrong.parse::<Pattern>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn stars_stand_for_parts_of_a_name_but_not_for_its_leading_dot() {
        for (pattern, name) in [
            ("*", "a"),
            ("*.local", "x.local"),
            (".*", ".env"),
            ("a?c", "abc"),
            ("*a*b*", "xaybz"),
            ("**", "x"),
        ] {
            assert!(fits(pattern, name.as_bytes()), "{pattern} {name}");
        }
        for (pattern, name) in
            [("*", ".env"), ("?env", ".env"), ("*.local", "x.locale"), ("a?c", "ac"), ("a", "ab")]
        {
            assert!(!fits(pattern, name.as_bytes()), "{pattern} {name}");
        }
        assert!(!fits(&"*a".repeat(200), "a".repeat(199).as_bytes()));
        assert!(fits(&"*a".repeat(200), "a".repeat(200).as_bytes()));
    }
}

//! What an agent's process is made of: its environment, its command line, its program. Knows the shell's
//! grammar just enough to name a plain command's program; unaware of who starts it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ropewalk_core::settings::EnvValue;

/// What an agent inherits: enough to find programs, its home and the user's language, and nothing that could be
/// a secret. Names ending in `*` stand for all that begin so.
const INHERITED: [&str; 11] =
    ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_*", "TERM", "TMPDIR", "TZ", "SHELL", "NO_COLOR"];

/// A PATH for a daemon that was started without one: POSIX's own place for standard programs.
const PATH_DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin";

/// The whole environment of an agent, sorted by name. `inherited` is the daemon's own, `given` are the
/// `ROPEWALK_*` names, which win over `configured`, which wins over the fixed list.
pub fn environment(
    inherited: impl IntoIterator<Item = (String, String)>,
    configured: &BTreeMap<String, EnvValue>,
    given: &[(&str, String)],
) -> Vec<(String, String)> {
    let inherited: BTreeMap<String, String> = inherited.into_iter().collect();
    let mut env: BTreeMap<String, String> = BTreeMap::from([("PATH".to_owned(), PATH_DEFAULT.to_owned())]);
    env.extend(inherited.iter().filter(|(name, _)| is_inherited(name)).map(|(n, v)| (n.clone(), v.clone())));
    for (name, value) in configured {
        let text = match value {
            EnvValue::Inherit => inherited.get(name).cloned(),
            EnvValue::Text(text) => Some(text.clone()),
        };
        env.extend(text.map(|text| (name.clone(), text)));
    }
    env.extend(given.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    env.into_iter().collect()
}

/// This process's environment as text. A name or value that is not UTF-8 is left out: it could not be handed
/// on unchanged.
pub fn own_environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn is_inherited(name: &str) -> bool {
    INHERITED.iter().any(|allowed| match allowed.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == *allowed,
    })
}

/// The program and arguments for a command line: it is the shell's to understand.
pub fn argv_of(command: &str) -> Vec<String> {
    ["/bin/sh", "-c", command].map(str::to_owned).to_vec()
}

/// The program that a shell command begins with, when that can be told without a shell: a first word without
/// expansions or assignments, plain or in single quotes, that is no keyword or builtin.
pub fn program_of(command: &str) -> Option<String> {
    if let Some(quoted) = quoted_word(command) {
        return Some(quoted);
    }
    let word = first_word(command)?;
    (!SHELL_WORDS.contains(&word)).then(|| word.to_owned())
}

/// A first word in single quotes, the way [`quote`] writes it.
fn quoted_word(command: &str) -> Option<String> {
    let mut rest = command.trim_start().strip_prefix('\'')?;
    let mut word = String::new();
    loop {
        let end = rest.find('\'')?;
        word += &rest[..end];
        rest = &rest[end + 1..];
        match rest.strip_prefix(r"\''") {
            Some(more) => {
                word.push('\'');
                rest = more;
            }
            None => return (rest.is_empty() || rest.starts_with([' ', '\t', '\n'])).then_some(word),
        }
    }
}

/// Keywords and builtins of POSIX's shell, and what common shells add: not programs, or not only.
const SHELL_WORDS: [&str; 56] = [
    "!", ".", ":", "alias", "bg", "break", "builtin", "case", "cd", "command", "continue", "declare", "do",
    "done", "echo", "elif", "else", "esac", "eval", "exec", "exit", "export", "false", "fg", "fi", "for",
    "function", "getopts", "hash", "if", "jobs", "kill", "let", "local", "printf", "pwd", "read", "readonly",
    "return", "select", "set", "shift", "source", "test", "then", "time", "times", "trap", "true", "type",
    "ulimit", "umask", "unset", "until", "wait", "while",
];

fn first_word(command: &str) -> Option<&str> {
    let command = command.trim_start();
    let end = command.find([' ', '\t', '\n']).unwrap_or(command.len());
    let word = &command[..end];
    let plain = |c: char| c.is_alphanumeric() || "/._-+@%:,".contains(c);
    (!word.is_empty() && word.chars().all(plain)).then_some(word)
}

/// Why a program cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProgramFault {
    #[error("there is no program {0}")]
    Missing(String),
    #[error("{0} is there but may not be executed")]
    NotExecutable(String),
    #[error("{0} is a folder, not a program")]
    IsDirectory(String),
}

/// Finds a program as a shell would: a word with a slash is a path, relative to `dir`; else the first
/// executable file of that name in `path` (PATH's value).
///
/// # Errors
/// What was found instead. A plain name that PATH holds only as something unusable is told as that.
pub fn find_program(word: &str, dir: &Path, path: &str) -> Result<PathBuf, ProgramFault> {
    if word.contains('/') {
        return usable(dir.join(word), word);
    }
    let mut fault = ProgramFault::Missing(format!("{word} on the PATH ({path})"));
    for folder in path.split(':') {
        // An empty entry means the current folder.
        match usable(dir.join(folder).join(word), word) {
            Ok(program) => return Ok(program),
            Err(ProgramFault::Missing(_)) => {}
            Err(unusable) => fault = unusable,
        }
    }
    Err(fault)
}

fn usable(program: PathBuf, word: &str) -> Result<PathBuf, ProgramFault> {
    let shown =
        if word.starts_with('/') { word.to_owned() } else { format!("{word} ({})", program.display()) };
    let Ok(metadata) = fs::metadata(&program) else { return Err(ProgramFault::Missing(shown)) };
    if metadata.is_dir() {
        return Err(ProgramFault::IsDirectory(shown));
    }
    // The bits, not `access`: root may "execute" nothing without them either, and the kernel has the last word.
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err(ProgramFault::NotExecutable(shown));
    }
    Ok(program)
}

/// Makes a command that names its program by a relative path (`./agent.sh`, `tools/run`) mean the one under
/// `folder`: the project's, not the copy in a worktree that an agent may have changed. Others are unchanged.
pub fn anchor(command: &str, folder: &Path) -> String {
    let start = command.len() - command.trim_start().len();
    match first_word(command) {
        Some(word) if word.contains('/') && !word.starts_with('/') => {
            let path = folder.join(word.trim_start_matches("./"));
            format!("{}{}", quote(&path.to_string_lossy()), &command[start + word.len()..])
        }
        _ => command.to_owned(),
    }
}

/// A text as one word of a shell command.
pub fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%:,=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_holds_what_is_listed_and_nothing_else() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let own = [
            pair("HOME", "/h"),
            pair("LC_ALL", "C"),
            pair("AWS_SECRET", "s"),
            pair("TOKEN", "t"),
            pair("ROPEWALK_TASK", "1"),
        ];
        let configured = BTreeMap::from([
            ("TOKEN".to_owned(), EnvValue::Inherit),
            ("ABSENT".to_owned(), EnvValue::Inherit),
            ("HOME".to_owned(), EnvValue::Text("/x".into())),
            ("ROPEWALK_TASK".to_owned(), EnvValue::Text("forged".into())),
        ]);
        let env = environment(own, &configured, &[("ROPEWALK_TASK", "7".into())]);
        let expected = [
            pair("HOME", "/x"),
            pair("LC_ALL", "C"),
            pair("PATH", PATH_DEFAULT),
            pair("ROPEWALK_TASK", "7"),
            pair("TOKEN", "t"),
        ];
        assert_eq!(env, expected);
    }

    #[test]
    fn a_program_is_named_only_when_it_is_certain() {
        let certain = [("claude -p", "claude"), ("  ./agent.sh\n", "./agent.sh"), ("make && x", "make")];
        for (command, program) in certain {
            assert_eq!(program_of(command), Some(program.to_owned()), "{command}");
        }
        assert_eq!(program_of("'/my repo/a' -x").as_deref(), Some("/my repo/a"));
        assert_eq!(program_of(&quote("/it's mine/a")).as_deref(), Some("/it's mine/a"));
        for command in [
            "",
            " ",
            "'a b'c",
            "'a b",
            "$AGENT x",
            "X=1 claude",
            "(a)",
            "a;b",
            "a|b",
            "~/x",
            "cd x",
            "if x",
            "a*",
            "`x`",
            "a>b",
        ] {
            assert_eq!(program_of(command), None, "{command}");
        }
    }

    #[test]
    fn a_relative_program_is_anchored_and_quoted() {
        let folder = Path::new("/my repo's");
        assert_eq!(anchor("./a.sh -x 'y z'", folder), r"'/my repo'\''s/a.sh' -x 'y z'");
        assert_eq!(anchor(" tools/run", Path::new("/r")), "/r/tools/run");
        for same in ["claude -p", "/bin/x y", "$X/y", "a=b/c d", ""] {
            assert_eq!(anchor(same, folder), same);
        }
    }

    #[test]
    fn programs_are_found_as_a_shell_finds_them() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("bin")).unwrap();
        fs::create_dir(at("bin/sub")).unwrap();
        fs::write(at("bin/plain"), "").unwrap();
        fs::write(at("run"), "").unwrap();
        fs::set_permissions(at("run"), fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:/bin", at("bin").display());
        assert_eq!(find_program("./run", dir.path(), &path), Ok(dir.path().join("./run")));
        assert_eq!(find_program("sh", dir.path(), &path), Ok(PathBuf::from("/bin/sh")));
        assert!(matches!(find_program("run", dir.path(), &path), Err(ProgramFault::Missing(_))));
        assert!(matches!(find_program("plain", dir.path(), &path), Err(ProgramFault::NotExecutable(_))));
        assert!(matches!(find_program("sub", dir.path(), &path), Err(ProgramFault::IsDirectory(_))));
        assert!(matches!(find_program("/no/such", dir.path(), &path), Err(ProgramFault::Missing(_))));
    }
}

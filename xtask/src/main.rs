//! `cargo run -p xtask -- tidy`: the rules of the tree that the compiler cannot hold.
//!
//! Knows which crate may use which, and what no source may contain. The rules are pure functions of text;
//! only the first few functions know git, cargo and files. `tidy` is a test too, so `cargo test` holds the
//! rules without anybody having to remember them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

/// Which of our crates each may use, other than in its tests. Arrows point at core; nothing knows sim.
const MAY_USE: [(&str, &[&str]); 7] = [
    ("ropewalk-core", &[]),
    ("ropewalk-store", &["ropewalk-core"]),
    ("ropewalk-host", &["ropewalk-core"]),
    ("ropewalk-daemon", &["ropewalk-core", "ropewalk-store", "ropewalk-host"]),
    ("ropewalk", &["ropewalk-core", "ropewalk-store", "ropewalk-host", "ropewalk-daemon"]),
    ("ropewalk-sim", &["ropewalk-core"]),
    ("xtask", &[]),
];

/// What core may use of others' crates: data structures, formats, hashes. Nothing that touches the machine.
const CORE_MAY_USE: [&str; 7] =
    ["rustc-hash", "serde", "serde-saphyr", "serde_json", "sha2", "strsim", "thiserror"];

/// The longest line of Rust, in characters. rustfmt stops at 110 but leaves long literals alone.
const LINE_CHARS_MAX: usize = 130;

/// The longest file, in lines. Past it a file is two files.
const FILE_LINES_MAX: usize = 900;

/// Files that may be longer, each with the reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// Words that say that something is not finished, in two halves so that this file does not contain them.
const UNFINISHED_WORDS: [(&str, &str); 3] = [("FIX", "ME"), ("TO", "DO"), ("XX", "X")];

/// What no Rust source contains (also in two halves), and what to do instead.
const BANNED_IN_RUST: [(&str, &str, &str); 6] = [
    ("todo", "!", "finish it, or take it out"),
    ("unimplemented", "!", "finish it, or return a typed error"),
    ("dbg", "!", "take it out"),
    ("#[ig", "nore", "mend the test or delete it; a test that nobody runs is no test"),
    ("#[al", "low(", "mend what the lint says, or use #[expect(…, reason = \"…\")]"),
    ("#![al", "low(", "mend what the lint says, or use #[expect(…, reason = \"…\")]"),
];

/// Last words of a type's or module's name that say nothing about it (GLOSSARY.md: avoid).
const EMPTY_NAMES: [&str; 6] = ["manager", "service", "helper", "util", "handler", "processor"];

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let result = match arguments.as_slice() {
        [name] if name == "tidy" => tidy(&root()),
        _ => Err(anyhow::anyhow!("usage: cargo run -p xtask -- tidy")),
    };
    match result {
        Ok(failures) if failures.is_empty() => ExitCode::SUCCESS,
        Ok(failures) => complain(&format!("{}\n{} failures", failures.join("\n"), failures.len())),
        Err(error) => complain(&format!("error: {error:#}")),
    }
}

fn complain(text: &str) -> ExitCode {
    // Nothing is left to be done when the terminal is gone: the exit code says it too.
    let _ = writeln!(std::io::stderr(), "{text}");
    ExitCode::FAILURE
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Every breach of the rules in the tree, one text each: where, what, and what to edit.
fn tidy(root: &Path) -> anyhow::Result<Vec<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let metadata = output(root, &cargo, &["metadata", "--offline", "--no-deps", "--format-version", "1"])?;
    let metadata = serde_json::from_str(&metadata).context("cargo metadata gives no JSON")?;
    let mut failures = check_dependencies(&metadata);

    let files = output(root, "git", &["ls-files", "-z", "--cached", "--others", "--exclude-standard"])?;
    let mut paths: Vec<&str> = files.split_terminator('\0').filter(|path| is_source(path)).collect();
    paths.sort_unstable();
    paths.dedup();
    ensure!(!paths.is_empty(), "git names no source file in {}", root.display());
    for (path, _) in LONG_FILES {
        if !paths.contains(path) {
            failures.push(format!("{path}: is gone; take it out of LONG_FILES in xtask/src/main.rs"));
        }
    }
    for path in paths {
        let file = root.join(path);
        // Git still names a file that was deleted and not yet staged.
        if file.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
            let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {path}"))?;
            failures.extend(check_source(path, &text));
        }
    }
    Ok(failures)
}

fn output(folder: &Path, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let said = format!("{program} {}", arguments.join(" "));
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .output()
        .with_context(|| format!("cannot run {said}"))?;
    if !output.status.success() {
        bail!("{said}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{said} gives no UTF-8"))
}

/// Rust, documents, manifests, and shell: by its ending, or without one in the folders that hold scripts.
fn is_source(path: &str) -> bool {
    match Path::new(path).extension() {
        Some(ending) => ["rs", "md", "sh", "toml"].iter().any(|known| ending == *known),
        None => path.starts_with("scripts/") || path.starts_with(".ci/"),
    }
}

/// Holds the crates to [`MAY_USE`] and core to [`CORE_MAY_USE`].
fn check_dependencies(metadata: &Value) -> Vec<String> {
    let none = Vec::new();
    let packages = metadata["packages"].as_array().unwrap_or(&none);
    let names: Vec<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let mut failures = Vec::new();
    if names.is_empty() {
        failures.push("cargo metadata: names no package; run it by hand".to_owned());
    }
    for package in packages {
        let user = package["name"].as_str().unwrap_or_default();
        let manifest = package["manifest_path"].as_str().unwrap_or(user);
        let Some((_, may_use)) = MAY_USE.iter().find(|(name, _)| *name == user) else {
            failures
                .push(format!("{manifest}: {user} is a new crate; add it to MAY_USE in xtask/src/main.rs"));
            continue;
        };
        for dependency in package["dependencies"].as_array().unwrap_or(&none) {
            let used = dependency["name"].as_str().unwrap_or_default();
            // Tests may use anything of ours: they are no part of what is built.
            if dependency["kind"] == "dev" {
                continue;
            }
            let ours = names.contains(&used) || MAY_USE.iter().any(|(name, _)| *name == used);
            if ours && !may_use.contains(&used) {
                failures
                    .push(format!("{manifest}: {user} may not use {used}; take it out of [dependencies]"));
            }
            if !ours && user == "ropewalk-core" && !CORE_MAY_USE.contains(&used) {
                failures.push(format!("{manifest}: core may not use {used}; move what needs it out of core"));
            }
        }
    }
    failures
}

/// Holds one file to the rules that can be seen in its text.
fn check_source(path: &str, text: &str) -> Vec<String> {
    let mut failures = check_whole_file(path, text);
    let in_tests_folder = path.contains("tests");
    let mut in_tests = in_tests_folder;
    let mut after_cfg_test = false;
    for (number, line) in text.lines().enumerate() {
        let mut fail = |what: String| failures.push(format!("{path}:{}: {what}", number + 1));
        for (head, tail) in UNFINISHED_WORDS {
            let word = format!("{head}{tail}");
            if words(line).any(|w| w == word) {
                fail(format!("says {word}; do it, or open an issue and take the word out"));
            }
        }
        if !path.ends_with(".rs") {
            continue;
        }
        // Unit tests stand at the end of a file, so what follows their module's head is theirs.
        in_tests |= after_cfg_test && line.trim_start().starts_with("mod ") && line.ends_with('{');
        after_cfg_test = line.trim() == "#[cfg(test)]";
        check_rust_line(path, line, in_tests, &mut fail);
    }
    failures
}

fn check_whole_file(path: &str, text: &str) -> Vec<String> {
    let mut failures = Vec::new();
    let lines = text.lines().count();
    let listed = LONG_FILES.iter().any(|(long, _)| *long == path);
    if lines > FILE_LINES_MAX && !listed {
        failures
            .push(format!("{path}: has {lines} lines, and {FILE_LINES_MAX} are the most; make it two files"));
    }
    if lines <= FILE_LINES_MAX && listed {
        failures.push(format!("{path}: is no longer long; take it out of LONG_FILES in xtask/src/main.rs"));
    }
    let is_top = path.ends_with("src/lib.rs") || path.ends_with("src/main.rs");
    if is_top && !text.starts_with("//!") {
        failures
            .push(format!("{path}: begins without //!; say what the crate knows and what it is unaware of"));
    }
    if path.ends_with("/Cargo.toml") && !path.starts_with("crates/store/") && text.contains(&sqlite()) {
        failures.push(format!("{path}: names {}; only crates/store may use it", sqlite()));
    }
    failures
}

fn check_rust_line(path: &str, line: &str, in_tests: bool, fail: &mut impl FnMut(String)) {
    let chars = line.chars().count();
    if chars > LINE_CHARS_MAX {
        fail(format!("has {chars} characters, and {LINE_CHARS_MAX} are the most; break the line"));
    }
    for (head, tail, instead) in BANNED_IN_RUST {
        let banned = format!("{head}{tail}");
        if let Some(at) = line.find(&banned)
            // `todo` is banned, a macro of ours that merely ends in it is not.
            && !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
        {
            fail(format!("has {banned}; {instead}"));
        }
    }
    if in_tests && line.contains(&["thread::", "sleep"].concat()) {
        fail("sleeps in a test; wait for the event itself, with a deadline".to_owned());
    }
    if let Some(name) = named(line).filter(|name| is_empty_name(name)) {
        fail(format!("{name} says nothing; name the noun or the verb instead (GLOSSARY.md)"));
    }
    let starts_processes = line.contains(&["process::", "Command"].concat())
        || (line.contains("process::{") && words(line).any(|word| word == "Command"));
    // The fake agent's habit is to start processes; it is a test's program and never shipped.
    let may_start =
        ["crates/host/", "xtask/", "crates/sim/src/bin/"].iter().any(|folder| path.starts_with(folder));
    if starts_processes && !in_tests && !may_start {
        fail("starts processes; only crates/host may, so move it there".to_owned());
    }
    if !path.starts_with("crates/store/") && words(line).any(|word| word == sqlite()) {
        fail(format!("names {}; only crates/store may use it, so move it there", sqlite()));
    }
}

/// The crate that only store may name, written so that this file does not.
fn sqlite() -> String {
    ["rus", "qlite"].concat()
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}

/// The name that a line gives to a type, a trait or a module.
fn named(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    if let Some(after) = rest.strip_prefix("pub") {
        // `pub(in some::path)` holds words of its own.
        let scope_end = if after.starts_with('(') { after.find(')').map_or(0, |at| at + 1) } else { 0 };
        rest = after[scope_end..].trim_start();
    }
    rest = rest.strip_prefix("unsafe ").unwrap_or(rest);
    let (keyword, after) = rest.split_once(' ')?;
    if ["struct", "enum", "trait", "mod", "type", "union"].contains(&keyword) {
        words(after).next()
    } else {
        None
    }
}

/// Whether the last word of a name, in either spelling (`LockManager`, `lock_managers`), is an empty one.
fn is_empty_name(name: &str) -> bool {
    let last_start = name.rfind(|c: char| c.is_uppercase() || c == '_').unwrap_or(0);
    let last = name[last_start..].trim_start_matches('_').to_lowercase();
    EMPTY_NAMES.iter().any(|empty| last == *empty || last.strip_suffix('s') == Some(empty))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let failures = tidy(&root()).expect("tidy runs");
        assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    }

    /// How many rules a file with this text breaks.
    fn breaches(path: &str, text: &str) -> usize {
        check_source(path, text).len()
    }

    #[test]
    fn what_is_unfinished_or_silenced_is_found() {
        for (head, tail, _) in BANNED_IN_RUST {
            assert_eq!(breaches("crates/host/src/x.rs", &format!("    {head}{tail}")), 1, "{head}{tail}");
            assert_eq!(breaches("docs/x.md", &format!("    {head}{tail}")), 0, "{head}{tail}");
        }
        for (head, tail) in UNFINISHED_WORDS {
            for path in ["crates/host/src/x.rs", "docs/x.md", "scripts/x.sh", "Cargo.toml"] {
                assert_eq!(breaches(path, &format!("# {head}{tail}: later")), 1, "{path}");
                assert_eq!(breaches(path, &format!("mktemp {head}{tail}{tail}{tail}")), 0, "{path}");
            }
        }
        assert_eq!(breaches("crates/core/src/x.rs", "our_todo!(); #[expect(dead_code)]"), 0);
    }

    #[test]
    fn a_test_that_sleeps_is_found_and_a_program_that_does_is_clippys_to_find() {
        let sleeps = ["std::thread::", "sleep(second)"].concat();
        assert_eq!(breaches("crates/host/tests/x.rs", &sleeps), 1);
        assert_eq!(breaches("crates/host/src/x.rs", &sleeps), 0);
        let unit = format!("fn f() {{}}\n#[cfg(test)]\nmod tests {{\n    {sleeps}\n}}\n");
        assert_eq!(breaches("crates/host/src/x.rs", &unit), 1);
    }

    #[test]
    fn empty_names_are_found_where_they_are_given() {
        for line in [
            "struct LockManager;",
            "pub(crate) enum TaskHandler {",
            "    pub trait Processor {",
            "mod utils;",
            "pub mod git_helpers {",
            "pub(in crate::x) struct HttpServices(u8);",
            "type Util = u8;",
        ] {
            assert_eq!(breaches("crates/core/src/x.rs", line), 1, "{line}");
        }
        for line in [
            "struct Managed;",
            "mod utility;",
            "// struct LockManager",
            "use http::Service;",
            "struct Selfservice;",
        ] {
            assert_eq!(breaches("crates/core/src/x.rs", line), 0, "{line}");
        }
    }

    #[test]
    fn processes_and_sql_are_found_outside_their_crates() {
        let import = ["use std::process::", "Command;"].concat();
        let group = ["use std::process::", "{Command, Stdio};"].concat();
        let sql = format!("use {}::Connection;", sqlite());
        for (path, process, store) in [
            ("crates/app/src/x.rs", 1, 1),
            ("crates/host/src/x.rs", 0, 1),
            ("crates/store/src/x.rs", 1, 0),
            ("crates/app/tests/x.rs", 0, 1),
            ("xtask/src/x.rs", 0, 1),
        ] {
            assert_eq!((breaches(path, &import), breaches(path, &group)), (process, process), "{path}");
            assert_eq!(breaches(path, &sql), store, "{path}");
        }
        let manifest = format!("[dependencies]\n{}.workspace = true\n", sqlite());
        assert_eq!(breaches("crates/host/Cargo.toml", &manifest), 1);
        assert_eq!(breaches("Cargo.toml", &manifest), 0);
        assert_eq!(breaches("crates/app/src/x.rs", "use std::process::ExitCode;"), 0);
    }

    #[test]
    fn long_lines_long_files_and_crates_without_a_word_are_found() {
        assert_eq!(breaches("crates/core/src/x.rs", &"é".repeat(LINE_CHARS_MAX)), 0);
        assert_eq!(breaches("crates/core/src/x.rs", &"é".repeat(LINE_CHARS_MAX + 1)), 1);
        assert_eq!(breaches("docs/x.md", &"é".repeat(LINE_CHARS_MAX + 1)), 0);
        assert_eq!(breaches("docs/x.md", &"\n".repeat(FILE_LINES_MAX)), 0);
        assert_eq!(breaches("docs/x.md", &"\n".repeat(FILE_LINES_MAX + 1)), 1);
        assert_eq!(breaches("crates/core/src/lib.rs", "pub mod id;\n"), 1);
        assert_eq!(breaches("crates/core/src/lib.rs", "//! Pure.\npub mod id;\n"), 0);
    }

    #[test]
    fn forbidden_arrows_between_crates_are_found() {
        let package = |name: &str, used: &str, kind: Value| {
            let dependencies = json!([{"name": used, "kind": kind}]);
            let metadata = json!({"packages": [{"name": name, "dependencies": dependencies}]});
            check_dependencies(&metadata).len()
        };
        for (name, used, kind, expected) in [
            ("ropewalk-store", "ropewalk-core", Value::Null, 0),
            ("ropewalk-store", "ropewalk-host", Value::Null, 1),
            ("ropewalk-store", "ropewalk-host", json!("build"), 1),
            ("ropewalk-store", "ropewalk-sim", json!("dev"), 0),
            ("ropewalk-daemon", "ropewalk-sim", Value::Null, 1),
            ("ropewalk-sim", "ropewalk-store", Value::Null, 1),
            ("ropewalk-sim", "ropewalk-store", json!("dev"), 0),
            ("ropewalk-core", "serde", Value::Null, 0),
            ("ropewalk-core", "tokio", Value::Null, 1),
            ("ropewalk-core", "proptest", json!("dev"), 0),
            ("ropewalk", "tokio", Value::Null, 0),
            ("ropewalk-new", "serde", Value::Null, 1),
        ] {
            assert_eq!(package(name, used, kind.clone()), expected, "{name} -> {used} ({kind})");
        }
        assert_eq!(check_dependencies(&json!({})).len(), 1);
    }
}

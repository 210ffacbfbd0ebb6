//! Which keys of a repository's file need the user's trust, and that what is judged is what is used.

use super::*;

fn demanded(text: &str) -> Vec<String> {
    let source = Source::of_bytes(Path::new("/x/ropewalk.toml"), text.as_bytes().to_vec());
    demands(&source).iter().map(Demand::text).collect()
}

#[test]
fn whatever_is_run_or_decides_what_is_run_needs_trust_and_limits_do_not() {
    let needing: Vec<&str> = keys::all().filter(|key| key.kind.needs_trust()).map(|key| key.path).collect();
    for path in [
        "agent.shell.command",
        "attempt.env",
        "attempt.secrets",
        "check.commands",
        "worktree.include",
        "worktree.setup",
        "worktree.teardown",
    ] {
        assert!(needing.contains(&path), "{path}: {needing:?}");
    }
    for path in ["workers", "base", "attempt.timeout", "attempt.memory", "engine.keep"] {
        assert!(!needing.contains(&path), "{path}");
    }
    assert_eq!(demanded("workers = 3\nbase = 'main'\n[attempt]\ntimeout = '1m'"), [""; 0]);
    assert_eq!(
        demanded("[check]\ncommands = ['a', 'b']\n[attempt]\nenv = ['PATH=/x']\n"),
        ["attempt.env = [\"PATH=/x\"]", "check.commands = [\"a\", \"b\"]"]
    );
    assert_eq!(demanded("check.commands = []"), ["check.commands = []"], "it may hide the user's own checks");
}

#[test]
fn a_template_as_it_is_written_needs_no_trust() {
    assert_eq!(demanded(&template(&BranchName::new("main").unwrap())), [""; 0]);
}

#[test]
fn a_file_that_changes_after_it_was_read_changes_nothing() {
    let files = Files::new(Some(b"workers = 3"), None);
    let source = Source::read(&files.project());
    std::fs::write(files.project(), "check.commands = ['evil']").unwrap();
    let config = resolve(&Flags::default(), std::iter::empty(), Some(&source), None).unwrap();
    assert_eq!((config.workers(), config.settings().checks), (3, Some(vec![])));
    assert_eq!(demands(&source), []);
}

#[test]
fn a_link_is_followed_within_the_folder_and_refused_out_of_it() {
    let files = Files::new(None, None);
    let top = files.folder.path().canonicalize().unwrap();
    let inner = top.join("inner");
    std::fs::create_dir(&inner).unwrap();
    std::fs::write(top.join("outside.toml"), "workers = 3").unwrap();
    std::fs::write(inner.join("real.toml"), "workers = 5").unwrap();
    let read = |to: &str| {
        let _ = std::fs::remove_file(inner.join(PROJECT_FILE));
        std::os::unix::fs::symlink(to, inner.join(PROJECT_FILE)).unwrap();
        let source = Source::read_within(&inner, PROJECT_FILE);
        resolve(&Flags::default(), std::iter::empty(), Some(&source), None)
    };
    assert_eq!(read("real.toml").unwrap().workers(), 5);
    let fault = one_fault(read("../outside.toml"));
    assert!(fault.contains("outside of the repository") && fault.starts_with("ropewalk.toml: "), "{fault}");
    assert_eq!(read("nothing.toml").unwrap().workers(), Limits::default().slots);
}

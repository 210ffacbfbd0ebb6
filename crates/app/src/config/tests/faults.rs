//! Every fault of a file, with its place, its words and its hint.

use super::*;

#[test]
fn unknown_keys_are_placed_and_the_nearest_is_offered() {
    for (text, expected) in [
        ("worker = 4", "ropewalk.toml:1:1: unknown key worker (did you mean workers?)"),
        ("\n  auto-land = true", "ropewalk.toml:2:3: unknown key auto-land (did you mean auto_land?)"),
        (
            "timeout = '1m'",
            "ropewalk.toml:1:1: unknown key timeout (did you mean attempt.timeout or check.timeout?)",
        ),
        (
            "[attempt]\ntimeot = '1m'",
            "ropewalk.toml:2:1: unknown key attempt.timeot (did you mean attempt.timeout?)",
        ),
        (
            "[check]\ncommand = 'x'",
            "ropewalk.toml:2:1: unknown key check.command (did you mean check.commands?)",
        ),
        (
            "agent.shell.comand = 'x'",
            "ropewalk.toml:1:13: unknown key agent.shell.comand (did you mean agent.shell.command?)",
        ),
        (
            "[attempts]\ntimeout = '1m'\nx = 1",
            "ropewalk.toml:1:2: unknown key attempts (did you mean attempt?)",
        ),
        ("[shell]\ncommand = 'x'", "ropewalk.toml:1:2: unknown key shell (did you mean agent.shell?)"),
        (
            "[agent]\nworkers = 2",
            "ropewalk.toml:2:1: unknown key agent.workers (did you mean workers? it goes above the first \
            [table] of the file)",
        ),
        (
            "colour = 1",
            "ropewalk.toml:1:1: unknown key colour (`ropewalk config show` lists the keys there are)",
        ),
        ("'agent.use' = 'shell'", "ropewalk.toml:1:1: unknown key \"agent.use\" (did you mean agent.use?)"),
        (
            "\"\\u001b[2J\" = 1",
            "ropewalk.toml:1:1: unknown key \"\\u{1b}[2J\" (`ropewalk config show` lists the keys there \
            are)",
        ),
    ] {
        assert_eq!(one_fault(project(text)), expected, "{text}");
    }
}

#[test]
fn wrong_types_say_what_was_found() {
    for (text, expected) in [
        ("workers = '4'", "1:11: workers takes a whole number from 1 to 500, not the text \"4\""),
        ("workers = 4.0", "1:11: workers takes a whole number from 1 to 500, not the number 4.0"),
        ("workers = true", "1:11: workers takes a whole number from 1 to 500, not true"),
        (
            "workers = 2026-01-02",
            "1:11: workers takes a whole number from 1 to 500, not the date or time 2026-01-02",
        ),
        ("auto_land = 1", "1:13: auto_land takes true or false, not the whole number 1"),
        ("base = ['main']", "1:8: base takes the name of a branch, in quotes, not a list"),
        ("[workers]\nx = 1", "1:1: workers takes a whole number from 1 to 500, not a table"),
        ("agent = 'claude'", "1:9: agent takes a table, [agent], not the text \"claude\""),
        ("[[check]]\ncommands = []", "1:1: check takes a table, [check], not a list"),
        (
            "[attempt]\ntimeout = 1800000",
            "2:11: attempt.timeout takes a duration from 1ms to attempt.timeout_max, such as \"90s\" or \
            \"1h30m\", not the whole number 1800000",
        ),
        (
            "[check]\ncommands = 'cargo test'",
            "2:12: check.commands takes a list of command lines, such as [\"cargo test\"], not the text \
            \"cargo test\"",
        ),
        (
            "[attempt]\nenv = ['A',\n  7]",
            "3:3: attempt.env takes a list of variables, such as [\"NAME\", \"NAME=VALUE\"], not the \
            whole number 7",
        ),
    ] {
        assert_eq!(one_fault(project(text)), format!("ropewalk.toml:{expected}"), "{text}");
    }
}

#[test]
fn values_outside_their_range_are_refused_with_the_range() {
    let whole = |max: u32| format!("is not a whole number from 1 to {max}");
    let range = "is not a duration from 1ms to attempt.timeout_max, such as \"90s\" or \"1h30m\"";
    let no_unit = "has no unit; write days, hours, minutes and seconds, such as 90s, 30m, 7d or 1h30m";
    let nines = "9".repeat(40);
    for (text, expected) in [
        ("workers = 0", format!("1:11: workers: 0 {}", whole(500))),
        ("workers = -1", format!("1:11: workers: -1 {}", whole(500))),
        ("workers = 501", format!("1:11: workers: 501 {}", whole(500))),
        ("workers = 0xfff", format!("1:11: workers: 0xfff {}", whole(500))),
        (
            "workers = 99999999999999999999999999999999999999999999",
            format!("1:11: workers: {nines} {}", whole(500)),
        ),
        ("attempt.attempts_max = 101", format!("1:24: attempt.attempts_max: 101 {}", whole(100))),
        (
            "attempt.attempts_max = 4294967297",
            format!("1:24: attempt.attempts_max: 4294967297 {}", whole(100)),
        ),
        ("attempt.timeout = '0s'", format!("1:19: attempt.timeout: \"0s\" {range}")),
        ("check.timeout = '0m'", format!("1:17: check.timeout: \"0m\" {range}")),
        (
            "check.timeout = '9999999999999999h'",
            "1:17: check.timeout: \"9999999999999999h\" is too long to be counted".into(),
        ),
        ("check.timeout = '30'", format!("1:17: check.timeout: \"30\" {no_unit}")),
    ] {
        assert_eq!(one_fault(project(text)), format!("ropewalk.toml:{expected}"), "{text}");
    }
    assert_eq!(
        project("workers = 500\nattempt = {attempts_max = 100, timeout = '2h'}").unwrap().workers(),
        500
    );
}

#[test]
fn values_that_break_a_rule_are_refused_with_the_rule() {
    for (text, expected) in [
        ("base = 'a b'", "1:8: base: \"a b\" cannot name a branch: it holds ' '"),
        (
            "base = '-x'",
            "1:8: base: \"-x\" cannot name a branch: a part of it is empty, begins with '-' or '.', or \
            ends with '.'",
        ),
        (
            "on_dependency_failure = 'skp'",
            "1:25: on_dependency_failure: \"skp\" is not one of block, skip, run; did you mean skip?",
        ),
        (
            "agent.use = 'claude'",
            "1:13: agent.use: \"claude\" is not \"shell\", the only choice in this version",
        ),
        ("agent.shell.command = ' '", "1:23: agent.shell.command: \" \" is blank; give a command line"),
        ("check.commands = ['a', '']", "1:24: check.commands: \"\" is blank; give a command line"),
        (
            "check.commands = [\"a\\u0000\"]",
            "1:19: check.commands: \"a\\0\" holds a NUL, which no command line can",
        ),
        (
            "attempt.env = ['1A=secret']",
            "1:16: attempt.env: \"1A\" is not a variable's name; write NAME or NAME=VALUE",
        ),
        (
            "attempt.env = ['=x']",
            "1:16: attempt.env: \"\" is not a variable's name; write NAME or NAME=VALUE",
        ),
        (
            "attempt.env = ['ROPEWALK_TASK=1']",
            "1:16: attempt.env: \"ROPEWALK_TASK\" begins with ROPEWALK_; those are set for each attempt \
            by ropewalk itself",
        ),
        (
            "attempt.env = [\"A=\\u0000\"]",
            "1:16: attempt.env: \"A\" has a value with a NUL in it, which no variable can hold",
        ),
    ] {
        assert_eq!(one_fault(project(text)), format!("ropewalk.toml:{expected}"), "{text}");
    }
}

#[test]
fn all_faults_of_all_layers_are_reported_at_once_in_the_order_of_the_layers_and_lines() {
    let files = Files::new(
        Some(b"workers = 0\nbas = 1\n[check]\ncommands = ['', 7]\nbogus = 1\n"),
        Some(b"auto_land = 'yes'\n"),
    );
    let flags =
        Flags { timeout: Some("30".into()), checks: vec!["ok".into(), "".into()], ..Flags::default() };
    let faults =
        files.resolve(&flags, env(&[("ROPEWALK_WORKER", "1"), ("ROPEWALK_WORKERS", "x")])).unwrap_err();
    let places: Vec<String> =
        said(&faults).iter().map(|text| text.split_once(": ").unwrap().0.to_owned()).collect();
    assert_eq!(
        places,
        [
            "--timeout",
            "--check",
            "ROPEWALK_WORKERS",
            "ROPEWALK_WORKER",
            "ropewalk.toml:1:11",
            "ropewalk.toml:2:1",
            "ropewalk.toml:4:13",
            "ropewalk.toml:4:17",
            "ropewalk.toml:5:1",
            "config.toml:1:13",
        ]
    );
    let codes: Vec<&str> = faults.iter().map(ConfigFault::code).collect();
    assert_eq!(
        codes[..5],
        [
            "config-refused",
            "config-refused",
            "config-wrong-type",
            "config-unknown-variable",
            "config-refused"
        ]
    );
}

#[test]
fn a_file_that_is_no_toml_is_shown_with_a_caret() {
    // Its unknown key goes unmentioned: what toml makes of the rest is a guess.
    let text = one_fault(project("workers = 4\nbase = main\nworker = 1\n"));
    assert!(text.starts_with("ropewalk.toml:2:8: TOML parse error at line 2, column 8\n"), "{text}");
    assert!(text.contains("2 | base = main\n  |        ^^^^\n"), "{text}");
    let twice = one_fault(project("workers = 4\nworkers = 5\n"));
    assert!(twice.starts_with("ropewalk.toml:2:1: ") && twice.contains("duplicate key"), "{twice}");
    let colours = one_fault(project("base = \x1b[2J\n"));
    assert!(!colours.contains('\x1b'), "{colours:?}");
    let deep = project(&format!("workers = {}", "[".repeat(100_000))).expect_err("must be refused");
    assert!(deep.iter().all(|fault| fault.to_string().len() < 2_000));
    let garbage = project(&"?\n".repeat(400_000)).expect_err("must be refused");
    assert!(garbage.len() <= 100, "{}", garbage.len());
    let strange: String = (0..50_000).map(|n| format!("key{n} = 1\n")).collect();
    assert_eq!(project(&strange).expect_err("must be refused").len(), 100);
}

#[test]
fn a_file_that_is_not_utf8_is_shown_with_a_caret() {
    let files = Files::new(Some(b"workers = 4\nbase = '\xc3\xa9\xff'\n"), Some(b"nope = 1"));
    let faults = files.resolve(&Flags::default(), Vec::new()).unwrap_err();
    let said = said(&faults);
    let expected = "ropewalk.toml:2:10: the file is not UTF-8: invalid utf-8 sequence of 1 bytes from \
                    index 22\n  |\n2 | base = 'é\n  |          ^";
    assert_eq!((said.len(), said[0].as_str()), (2, expected));
}

#[test]
fn files_that_are_none_or_too_large_are_refused_and_absent_ones_give_nothing() {
    let files = Files::new(None, None);
    assert!(files.resolve(&Flags::default(), Vec::new()).is_ok());
    let below_a_file = Files::new(Some(b""), None).project().join("x.toml");
    assert!(resolve(&Flags::default(), std::iter::empty(), Some(&Source::read(&below_a_file)), None).is_ok());

    let refused = |path: &Path| {
        let faults =
            resolve(&Flags::default(), std::iter::empty(), Some(&Source::read(path)), None).unwrap_err();
        assert_eq!(faults[0].code(), "config-unreadable");
        said(&faults).concat()
    };
    assert!(refused(files.folder.path()).contains("cannot be read: it is not a file"));
    assert!(refused(Path::new("/dev/zero")).contains("cannot be read: it is not a file"));
    std::fs::write(files.project(), vec![b'#'; (1 << 20) + 1]).unwrap();
    assert!(refused(&files.project()).contains("more than 1048576 bytes"));
}

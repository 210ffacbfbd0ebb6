//! What each kind of value takes and refuses at its borders.

use super::*;

fn settings(text: &str) -> Settings {
    project(text).unwrap_or_else(|faults| panic!("{text}: {:#?}", said(&faults))).settings()
}

#[test]
fn sizes_are_text_or_plain_numbers_within_their_range() {
    let memory = |value: &str| settings(&format!("attempt.memory = {value}")).bounds.memory_bytes;
    assert_eq!(memory("'512MiB'"), Some(512 << 20));
    assert_eq!(memory("'2GB'"), Some(2_000_000_000));
    assert_eq!(memory("'2G'"), Some(2 << 30));
    assert_eq!(memory("'1'"), Some(1));
    assert_eq!(memory("0x1000"), Some(4_096));
    assert_eq!(memory("9007199254740992"), Some(1 << 53));
    let range = "a size from 1 to 8192TiB, such as \"512MiB\" or \"2GB\"";
    let shape = "write bytes with or without a unit, such as 512MiB, 2GB or 1500000";
    for (value, expected) in [
        ("0", format!("attempt.memory: 0 is not {range}")),
        ("-1", format!("attempt.memory: -1 is not {range}")),
        ("'0B'", format!("attempt.memory: \"0B\" is not {range}")),
        ("9007199254740993", format!("attempt.memory: 9007199254740993 is not {range}")),
        ("'8193TiB'", format!("attempt.memory: \"8193TiB\" is not {range}")),
        ("'99999999T'", "attempt.memory: \"99999999T\" is too large to be counted".into()),
        ("'2 GB'", format!("attempt.memory: \"2 GB\" is not a size; {shape}")),
        ("1.5", format!("attempt.memory takes {range}, not the number 1.5")),
        ("true", format!("attempt.memory takes {range}, not true")),
    ] {
        let text = one_fault(project(&format!("attempt.memory = {value}")));
        assert_eq!(text, format!("ropewalk.toml:1:18: {expected}"), "{value}");
    }
}

#[test]
fn only_what_may_be_off_can_be_off_and_only_what_may_be_nothing_can_be_zero() {
    assert_eq!(settings("attempt.stall = 'off'").stall_ms, Some(0));
    assert_eq!(settings("attempt.stall = '1ms'").stall_ms, Some(1));
    assert_eq!(settings("attempt.checkpoint_every = 'off'").checkpoint_every_ms, Some(0));
    assert_eq!(settings("attempt.kill_grace = '0s'").kill_grace_ms, Some(0));
    assert_eq!(settings("attempt.kill_grace = '10m'").kill_grace_ms, Some(600_000));
    assert_eq!(project("engine.stop_grace = '0s'").unwrap().engine().stop_grace_ms, 0);
    let such = "such as \"90s\" or \"1h30m\"";
    for (text, expected) in [
        (
            "attempt.stall = '0s'",
            format!("1:17: attempt.stall: \"0s\" is not a duration from 1ms to 7d, {such}, or \"off\""),
        ),
        (
            "attempt.stall = false",
            format!("1:17: attempt.stall takes a duration from 1ms to 7d, {such}, or \"off\", not false"),
        ),
        (
            "attempt.kill_grace = '10m1ms'",
            format!("1:22: attempt.kill_grace: \"10m1ms\" is not a duration from 0s to 10m, {such}"),
        ),
        (
            "engine.keep = '3651d'",
            format!("1:15: engine.keep: \"3651d\" is not a duration from 0s to 3650d, {such}"),
        ),
        (
            "attempt.timeout_max = '0s'",
            format!("1:23: attempt.timeout_max: \"0s\" is not a duration from 1ms to 7d, {such}"),
        ),
        (
            "attempt.kill_grace = 'off'",
            "1:22: attempt.kill_grace: \"off\" is not a duration; write days, hours, minutes and seconds, such as \
             90s, 30m, 7d or 1h30m"
                .into(),
        ),
    ] {
        assert_eq!(one_fault(project(text)), format!("ropewalk.toml:{expected}"), "{text}");
    }
}

#[test]
fn a_disk_floor_of_zero_is_none_at_all() {
    let floor = |text: &str| project(text).unwrap().engine().floor;
    assert_eq!((floor("engine.disk_floor = 0").bytes, floor("engine.disk_floor = '0'").inodes), (0, 0));
    assert_eq!((floor("engine.disk_floor = 1").bytes, floor("engine.disk_floor = 1").inodes), (1, 1_000));
}

#[test]
fn whole_numbers_begin_where_their_key_says() {
    assert_eq!(settings("attempt.nice = 0").bounds.nice, Some(0));
    for (text, expected) in [
        ("attempt.nice = 20", "1:16: attempt.nice: 20 is not a whole number from 0 to 19"),
        ("attempt.nice = -1", "1:16: attempt.nice: -1 is not a whole number from 0 to 19"),
        ("attempt.processes = 0", "1:21: attempt.processes: 0 is not a whole number from 1 to 4194304"),
        (
            "attempt.checkpoints_kept = 1001",
            "1:28: attempt.checkpoints_kept: 1001 is not a whole number from 1 to 1000",
        ),
    ] {
        assert_eq!(one_fault(project(text)), format!("ropewalk.toml:{expected}"), "{text}");
    }
}

#[test]
fn what_is_no_name_of_a_secret_is_refused_without_being_shown() {
    let rule = "is not a variable's name; write the name alone, its value is taken from your environment";
    for given in ["sk-ant-0123", "TOKEN=0123", "", "0123", "ROPEWALK_0123"] {
        let flags = Flags { secrets: vec![given.into()], ..Flags::default() };
        let text = one_fault(flags_and_env(&flags, &[]));
        assert!(!text.contains("0123"), "{text}");
        match given.starts_with("ROPEWALK_") {
            true => assert!(text.starts_with("--secret: attempt.secrets: an entry begins with ROPEWALK_;")),
            false => assert_eq!(text, format!("--secret: attempt.secrets: an entry {rule}")),
        }
    }
}

#[test]
fn paths_stay_below_the_project_and_ports_are_a_range() {
    let include = |value: &str| project(&format!("worktree.include = [{value}]"));
    assert_eq!(
        include("'.env', 'a/*.b'").unwrap().settings().worktree.include.map(|list| list.len()),
        Some(2)
    );
    for (value, rule) in [
        ("'/etc/passwd'", "is not a path below the project's folder, such as .env or config/*.local"),
        ("'../x'", "leads by . or .., and a path below the project's folder needs neither"),
        ("'.git/config'", "leads into git's own folder"),
    ] {
        let text = one_fault(include(value));
        assert!(text.starts_with("ropewalk.toml:1:21: worktree.include: ") && text.ends_with(rule), "{text}");
    }
    let ports = |value: &str| project(&format!("worktree.ports = {value}"));
    assert_eq!(ports("'80-90'").unwrap().settings().worktree.ports.map(|ports| ports.last), Some(90));
    for (value, rule) in [
        ("'20000'", "\"20000\" is not a range of ports; write FIRST-LAST, such as 20000-29999"),
        ("'20-25'", "\"20-25\" holds no 10 ports, and each worktree gets as many"),
    ] {
        assert_eq!(one_fault(ports(value)), format!("ropewalk.toml:1:18: worktree.ports: {rule}"));
    }
    let text = one_fault(ports("20000"));
    assert!(text.ends_with(
        "takes a range of at least 10 ports, such as \"20000-29999\", not the whole number 20000"
    ));
}

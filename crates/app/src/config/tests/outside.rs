//! Variables that are not ours, not known or not text, and the folders that variables name.

use super::*;
use crate::config::outside::texts;

#[test]
fn unknown_variables_of_ours_are_refused_and_others_are_none_of_our_business() {
    for (name, expected) in [
        ("ROPEWALK_WORKER", "did you mean ROPEWALK_WORKERS?"),
        ("ROPEWALK_HOM", "did you mean ROPEWALK_HOME?"),
        (
            "ROPEWALK_TIMEOUT",
            "did you mean ROPEWALK_ATTEMPT_TIMEOUT or ROPEWALK_CHECK_TIMEOUT or ROPEWALK_WORKTREE_SETUP_TIMEOUT?",
        ),
        ("ROPEWALK_BASES", "did you mean ROPEWALK_BASE?"),
        ("ROPEWALK_ZZZZZZ", "unset it: names that begin with ROPEWALK_ are kept for ropewalk"),
        ("ROPEWALK_", "unset it: names that begin with ROPEWALK_ are kept for ropewalk"),
    ] {
        let text = one_fault(flags_and_env(&Flags::default(), &[(name, "1")]));
        assert_eq!(text, format!("{name}: unknown variable ({expected})"));
    }
    let of_attempts =
        ["PREVIOUS", "SESSION_FILE", "SESSION", "CHECKPOINT", "PORT", "PORTS", "DATABASE", "CACHE"];
    let known = ["HOME", "LOG", "TASK", "ATTEMPT", "STORY", "PRD", "WORKTREE", "BASE", "PROMPT"];
    let known = known.iter().chain(&of_attempts);
    let variables: Env = known.map(|word| (format!("ROPEWALK_{word}"), "x".to_owned())).collect();
    let others = env(&[("ROPE", "1"), ("ropewalk_x", "1"), ("XROPEWALK_Y", "1")]);
    assert!(resolve(&Flags::default(), variables.into_iter().chain(others), None, None).is_ok());
}

#[test]
fn inside_an_attempt_the_base_variable_is_no_setting() {
    let inside =
        flags_and_env(&Flags::default(), &[("ROPEWALK_ATTEMPT", "2"), ("ROPEWALK_BASE", "0123abc")]).unwrap();
    assert_eq!(inside.origin("base").unwrap().layer, Layer::Default);
    let outside = flags_and_env(&Flags::default(), &[("ROPEWALK_BASE", "dev")]).unwrap();
    assert_eq!(outside.origin("base").unwrap().layer, Layer::Environment);
}

#[test]
fn variables_that_hold_no_value_of_the_type_are_refused() {
    for (name, value, expected) in [
        ("ROPEWALK_WORKERS", "", "workers takes a whole number from 1 to 500, not \"\""),
        ("ROPEWALK_WORKERS", "four", "workers takes a whole number from 1 to 500, not \"four\""),
        ("ROPEWALK_WORKERS", "-4", "workers: -4 is not a whole number from 1 to 500"),
        ("ROPEWALK_AUTO_LAND", "1", "auto_land takes true or false, not \"1\""),
        ("ROPEWALK_AGENT_SHELL_COMMAND", "", "agent.shell.command: \"\" is blank; give a command line"),
    ] {
        let text = one_fault(flags_and_env(&Flags::default(), &[(name, value)]));
        assert_eq!(text, format!("{name}: {expected}"));
    }
}

#[test]
fn the_state_folder_comes_from_our_variable_then_xdg_then_home() {
    let home = |pairs: &[(&str, &str)]| home(env(pairs).into_iter());
    let all = [("ROPEWALK_HOME", "/r"), ("XDG_STATE_HOME", "/s"), ("HOME", "/h")];
    assert_eq!(home(&all), Ok("/r".into()));
    assert_eq!(home(&all[1..]), Ok("/s/ropewalk".into()));
    assert_eq!(home(&all[2..]), Ok("/h/.local/state/ropewalk".into()));
    assert_eq!(home(&[("XDG_STATE_HOME", "s"), ("HOME", "/h")]), Ok("/h/.local/state/ropewalk".into()));
    let text = |pairs: &[(&str, &str)]| said(&[home(pairs).unwrap_err()]).concat();
    let no_home = "HOME: not set, so there is no place for the state folder \
                   (set HOME, or ROPEWALK_HOME to the folder that is to hold the state)";
    assert_eq!((text(&[]), text(&[("HOME", "")])), (no_home.to_owned(), no_home.to_owned()));
    let relative = |name: &str, value: &str| {
        format!("{name}: {value:?} is not an absolute path (give the whole path, from / on)")
    };
    assert_eq!(text(&[("ROPEWALK_HOME", "r"), ("HOME", "/h")]), relative("ROPEWALK_HOME", "r"));
    assert_eq!(text(&[("ROPEWALK_HOME", ""), ("HOME", "/h")]), relative("ROPEWALK_HOME", ""));
    assert_eq!(text(&[("HOME", "h")]), relative("HOME", "h"));
}

#[test]
fn the_users_file_is_in_the_configuration_folder() {
    let path = |pairs: &[(&str, &str)]| user_file(env(pairs).into_iter());
    assert_eq!(path(&[("XDG_CONFIG_HOME", "/c"), ("HOME", "/h")]), Some("/c/ropewalk/config.toml".into()));
    assert_eq!(path(&[("HOME", "/h")]), Some("/h/.config/ropewalk/config.toml".into()));
    assert_eq!(path(&[]), None);
}

#[test]
fn variables_that_are_no_text_do_not_panic() {
    let bad = || OsString::from_vec(vec![0xff]);
    let others = vec![("A".into(), bad()), (bad(), "x".into()), ("B".into(), "1".into())];
    assert_eq!(texts(others.into_iter()), Ok(env(&[("B", "1")])));
    let ours = vec![("ROPEWALK_HOME".into(), bad())];
    let faults = texts(ours.into_iter()).unwrap_err();
    assert_eq!(said(&faults), ["ROPEWALK_HOME: the value is not UTF-8"]);
}

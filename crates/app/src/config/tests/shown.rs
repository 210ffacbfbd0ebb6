//! What people are shown: entries, template, reference; and that the table behind them is sound.

use super::*;

#[test]
fn entries_are_ready_for_json() {
    let config = flags_and_env(&Flags::default(), &[("ROPEWALK_ATTEMPT_TIMEOUT", "90s")]).unwrap();
    let json = serde_json::to_value(entry(&config, "attempt.timeout")).unwrap();
    let origin = serde_json::json!({"layer": "environment", "name": "ROPEWALK_ATTEMPT_TIMEOUT"});
    assert_eq!(json, serde_json::json!({"key": "attempt.timeout", "value": "1m30s", "origin": origin}));
}

#[test]
fn a_shown_value_is_toml_whatever_is_in_it() {
    let nasty = "say \"a\",\"b\" \\ '\t\u{7f}é";
    let flags = Flags {
        command: Some(nasty.into()),
        checks: vec!["a\",".into(), "b".into(), nasty.into()],
        env: vec![format!("X={nasty}"), "Y".into()],
        secrets: vec!["Z".into()],
        ..Flags::default()
    };
    let config = flags_and_env(&flags, &[]).unwrap();
    let text: String = config
        .entries()
        .iter()
        .filter(|e| !e.value.is_empty())
        .map(|e| format!("{} = {}\n", e.key, e.value))
        .collect();
    assert_eq!(project(&text).unwrap().settings(), config.settings(), "{text}");
}

#[test]
fn the_template_parses_to_the_defaults_with_its_base() {
    let defaults = flags_and_env(&Flags::default(), &[]).unwrap();
    for base in ["main", "release/1.2", "ração"] {
        let base = BranchName::new(base).unwrap();
        let config = project(&template(&base)).unwrap();
        assert_eq!(config.settings(), Settings { base: Some(base), ..defaults.settings() });
        assert_eq!(config.workers(), defaults.workers());
    }
}

#[test]
fn each_commented_line_of_the_template_is_valid_once_uncommented() {
    let text = template(&BranchName::new("main").unwrap());
    let bare = |line: &str| match line.strip_prefix("# ") {
        Some(rest) if keys::all().any(|key| rest.starts_with(&format!("{} = ", keys::split(key.path).1))) => {
            rest.to_owned()
        }
        _ => line.to_owned(),
    };
    let uncommented: Vec<String> = text.lines().map(bare).collect();
    let config = project(&uncommented.join("\n")).unwrap();
    assert!(config.entries().iter().all(|entry| entry.origin.layer == Layer::Project), "{uncommented:#?}");
    assert_eq!(config.settings().command.as_deref(), Some("./agent.sh"));
}

#[test]
fn the_table_is_sound() {
    let limits = Limits::default();
    let mut effective = keys::Effective::default();
    for key in keys::all() {
        // Whatever a default shows, the key itself accepts.
        if let Some(value) = (key.default)(&limits) {
            assert!(project(&format!("{} = {value}", key.path)).is_ok(), "{}", key.path);
            (key.apply)(&mut effective, &value);
        }
        if let Kind::Choice(words) = key.kind {
            for word in words {
                assert!(project(&format!("{} = '{word}'", key.path)).is_ok(), "{word}");
            }
        }
    }
    assert_eq!(effective.workers, Some(limits.slots));
    assert_eq!(effective.engine, EngineSettings::default());
    for word in ["drop", "end"] {
        let text = format!("attempt.on_output_full = '{word}'");
        assert!(project(&text).unwrap().settings().on_output_full.is_some(), "{word}");
    }
    for word in ["block", "skip", "run"] {
        assert!(
            project(&format!("on_dependency_failure = '{word}'"))
                .unwrap()
                .settings()
                .on_dependency_failure
                .is_some()
        );
    }
    let mut variables: Vec<String> = keys::all().map(keys::Key::variable).collect();
    variables.sort();
    variables.dedup();
    assert_eq!(variables.len(), keys::all().count(), "two keys must not share a variable");
}

#[test]
fn the_reference_names_every_key_with_its_variable() {
    let text = reference();
    for key in keys::all() {
        assert!(
            text.contains(&format!("| `{}` |", key.path)) && text.contains(&key.variable()),
            "{}",
            key.path
        );
    }
    assert!(text.lines().all(|line| line.matches('|').count() == 7), "{text}");
}

#[test]
fn the_reference_in_the_documents_is_the_one_that_is_printed() {
    let document = include_str!("../../../../../docs/settings.md");
    assert!(
        document.contains(&reference()),
        "put what `ropewalk config reference` prints into docs/settings.md"
    );
}

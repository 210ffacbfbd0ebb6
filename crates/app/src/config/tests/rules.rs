//! What must hold between keys, whichever layers give them.

use super::*;

const HINT: &str = "(shorten it, or raise attempt.timeout_max)";

#[test]
fn a_timeout_above_the_maximum_names_both_and_their_places() {
    let text = one_fault(project("[check]\ntimeout = '2h1ms'"));
    let max = format!("is longer than attempt.timeout_max, \"2h\" (default) {HINT}");
    assert_eq!(text, format!("ropewalk.toml:2: check.timeout: \"2h1ms\" {max}"));
    let files = Files::new(
        Some(b"attempt.timeout_max = '1h'\ncheck.timeout = '3h'"),
        Some(b"attempt.timeout = '90m'"),
    );
    let flags = Flags { timeout: Some("1h1s".into()), ..Flags::default() };
    let max = format!("is longer than attempt.timeout_max, \"1h\" ({}:1) {HINT}", files.project().display());
    let folder = format!("{}/", files.folder.path().display());
    let faults = files.resolve(&flags, Vec::new()).unwrap_err();
    assert_eq!(
        said(&faults),
        [
            format!("--timeout: attempt.timeout: \"1h1s\" {max}"),
            // The file's own faults have its folder left out.
            format!("ropewalk.toml:2: check.timeout: \"3h\" {}", max.replace(&folder, "")),
        ]
    );
    assert!(faults.iter().all(|fault| fault.code() == "config-too-long"));
}

#[test]
fn any_layer_may_set_the_maximum_and_a_hidden_timeout_is_not_held_to_it() {
    let files =
        Files::new(Some(b"attempt.timeout = '1h'"), Some(b"[attempt]\ntimeout = '6d'\ntimeout_max = '7d'"));
    let resolved = |text| files.resolve(&Flags::default(), env(&[("ROPEWALK_ATTEMPT_TIMEOUT_MAX", text)]));
    assert_eq!(resolved("1h").unwrap().settings().timeout_ms, Some(3_600_000));
    let text = one_fault(resolved("59m"));
    let expected = "ropewalk.toml:1: attempt.timeout: \"1h\" is longer than attempt.timeout_max, \"59m\" \
                    (ROPEWALK_ATTEMPT_TIMEOUT_MAX) (shorten it, or raise attempt.timeout_max)";
    assert_eq!(text, expected);
}

#[test]
fn a_timeout_that_nobody_gave_follows_a_maximum_below_it() {
    let config = project("[attempt]\ntimeout_max = '10m'").unwrap();
    assert_eq!(config.settings().timeout_ms, Some(600_000));
    assert_eq!(config.settings().check_timeout_ms, Some(600_000));
    let timeout = entry(&config, "attempt.timeout");
    assert_eq!((timeout.value.as_str(), timeout.origin.layer), ("\"10m\"", Layer::Default));
    let wide = project("[attempt]\ntimeout_max = '7d'\ntimeout = '7d'").unwrap();
    assert_eq!(wide.settings().timeout_ms, Some(7 * 86_400_000));
    assert_eq!(wide.settings().check_timeout_ms, Some(1_800_000));
}

#[test]
fn a_maximum_that_is_refused_itself_brings_no_second_fault() {
    let text = one_fault(project("[attempt]\ntimeout_max = '8d'\ntimeout = '3h'"));
    assert!(text.starts_with("ropewalk.toml:2:15: attempt.timeout_max: \"8d\" is not a duration"), "{text}");
}

#[test]
fn faults_between_keys_come_with_all_others() {
    let text = "workers = 0\n[attempt]\ntimeout = '3h'\nenv = ['KEY=abcdef', '1=x']\nsecrets = ['KEY', '']\nmemory = 0";
    let faults = project(text).unwrap_err();
    let places: Vec<String> =
        said(&faults).iter().map(|t| t.split(": ").take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        places,
        [
            "ropewalk.toml:1:11 workers",
            "ropewalk.toml:4:22 attempt.env",
            "ropewalk.toml:5:19 attempt.secrets",
            "ropewalk.toml:6:10 attempt.memory",
            "ropewalk.toml:3 attempt.timeout",
        ]
    );
}

#[test]
fn secrets_of_all_layers_are_joined_and_handed_to_the_agent() {
    let files = Files::new(Some(b"attempt.secrets = ['B', 'A']"), Some(b"attempt.secrets = ['C']"));
    let flags = Flags { secrets: vec!["D".into(), "A".into()], ..Flags::default() };
    let config = files.resolve(&flags, Vec::new()).unwrap();
    let settings = config.settings();
    assert_eq!(settings.secrets, Some(["A", "B", "C", "D"].map(str::to_owned).to_vec()));
    let env: Vec<_> = settings.env.into_iter().collect();
    assert_eq!(env, ["A", "B", "C", "D"].map(|name| (name.to_owned(), EnvValue::Inherit)));
    let shown = entry(&config, "attempt.secrets");
    assert_eq!((shown.value.as_str(), shown.joined_with.len()), (r#"["A", "B", "C", "D"]"#, 2));
    assert_eq!(entry(&config, "attempt.env").value, "[]");
}

#[test]
fn a_secret_with_its_value_in_any_layer_is_refused_without_showing_the_value() {
    let files =
        Files::new(Some(b"[attempt]\nsecrets = ['KEY']\n"), Some(b"[attempt]\nenv = ['KEY=hush1', 'X=1']\n"));
    let declared = format!("{}:2", files.project().display());
    let hint = "(write KEY alone, and set it in the environment that `ropewalk run` is started in)";
    let flags = Flags { env: vec!["KEY=hush2".into()], ..Flags::default() };
    let faults = files.resolve(&flags, env(&[("ROPEWALK_ATTEMPT_ENV", "KEY=hush3")])).unwrap_err();
    let rule = "attempt.env: KEY is a secret";
    let what = "and is given with its value, which would be stored";
    assert_eq!(
        said(&faults),
        [
            format!("--env: {rule} ({declared}) {what} {hint}"),
            format!("ROPEWALK_ATTEMPT_ENV: {rule} ({declared}) {what} {hint}"),
            format!("config.toml:2: {rule} ({declared}) {what} {hint}"),
        ]
    );
    assert!(faults.iter().all(|fault| fault.code() == "config-plain-secret"));
    let by_name = Flags { env: vec!["KEY".into()], ..Flags::default() };
    assert!(Files::new(Some(b"attempt.secrets = ['KEY']"), None).resolve(&by_name, Vec::new()).is_ok());
}

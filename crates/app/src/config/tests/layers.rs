//! Which layer wins, and where a value says it comes from.

use super::*;

#[test]
fn without_any_layer_the_defaults_are_in_force() {
    let config = flags_and_env(&Flags::default(), &[]).unwrap();
    let expected = Settings {
        command: None,
        checks: Some(Vec::new()),
        timeout_ms: Some(1_800_000),
        check_timeout_ms: Some(1_800_000),
        attempts_max: Some(3),
        env: BTreeMap::new(),
        base: None,
        auto_land: Some(false),
        on_dependency_failure: Some(OnDependencyFailure::Block),
        require_change: Some(true),
    };
    assert_eq!((config.settings(), config.workers()), (expected, 4));
    assert_eq!(config.entries().len(), KEYS.len());
    assert!(config.entries().iter().all(|entry| entry.origin.layer == Layer::Default));
    let command = entry(&config, "agent.shell.command");
    assert_eq!((command.value.as_str(), command.json), ("", serde_json::Value::Null));
}

#[test]
fn each_layer_wins_over_those_below_it() {
    let files = Files::new(Some(b"workers = 3"), Some(b"workers = 2\nauto_land = true"));
    let flags = Flags { workers: Some("5".into()), ..Flags::default() };
    let variables = || env(&[("ROPEWALK_WORKERS", "4")]);
    let workers = |config: &Config| (config.workers(), config.origin("workers").unwrap().layer);

    let all = files.resolve(&flags, variables()).unwrap();
    assert_eq!(workers(&all), (5, Layer::Flag));
    let without_flag = files.resolve(&Flags::default(), variables()).unwrap();
    assert_eq!(workers(&without_flag), (4, Layer::Environment));
    let files_only = files.resolve(&Flags::default(), Vec::new()).unwrap();
    assert_eq!(workers(&files_only), (3, Layer::Project));
    let user_only = resolve(&Flags::default(), std::iter::empty(), None, Some(&files.user())).unwrap();
    assert_eq!(workers(&user_only), (2, Layer::User));
    // A key that only a low layer gives shows through all of them.
    assert_eq!(all.settings().auto_land, Some(true));
}

#[test]
fn every_key_is_read_from_a_file() {
    let config = project(
        r#"
        workers = 7
        base = "trunk/x"
        auto_land = true
        on_dependency_failure = "skip"
        [agent]
        use = "shell"
        [agent.shell]
        command = "./agent.sh --fast"
        [attempt]
        timeout = "1h30m"
        attempts_max = 9
        require_change = false
        env = ["TOKEN", "MODE=a=b", "EMPTY="]
        [check]
        commands = ["cargo fmt --check", "cargo test"]
        timeout = "90s"
        "#,
    )
    .unwrap();
    let text = |text: &str| EnvValue::Text(text.into());
    let expected = Settings {
        command: Some("./agent.sh --fast".into()),
        checks: Some(vec!["cargo fmt --check".into(), "cargo test".into()]),
        timeout_ms: Some(5_400_000),
        check_timeout_ms: Some(90_000),
        attempts_max: Some(9),
        env: BTreeMap::from([
            ("TOKEN".into(), EnvValue::Inherit),
            ("MODE".into(), text("a=b")),
            ("EMPTY".into(), text("")),
        ]),
        base: Some(BranchName::new("trunk/x").unwrap()),
        auto_land: Some(true),
        on_dependency_failure: Some(OnDependencyFailure::Skip),
        require_change: Some(false),
    };
    assert_eq!((config.settings(), config.workers()), (expected, 7));
}

#[test]
fn every_key_is_read_from_its_variable() {
    let config = flags_and_env(
        &Flags::default(),
        &[
            ("ROPEWALK_WORKERS", "7"),
            ("ROPEWALK_BASE", "trunk"),
            ("ROPEWALK_AUTO_LAND", "true"),
            ("ROPEWALK_ON_DEPENDENCY_FAILURE", "run"),
            ("ROPEWALK_AGENT_USE", "shell"),
            ("ROPEWALK_AGENT_SHELL_COMMAND", "./a"),
            ("ROPEWALK_ATTEMPT_TIMEOUT", "1m"),
            ("ROPEWALK_ATTEMPT_ATTEMPTS_MAX", "2"),
            ("ROPEWALK_ATTEMPT_REQUIRE_CHANGE", "false"),
            ("ROPEWALK_ATTEMPT_ENV", "A\n\nB=1\n"),
            ("ROPEWALK_CHECK_COMMANDS", "make one\nmake two"),
            ("ROPEWALK_CHECK_TIMEOUT", "2m"),
            ("PATH", "/bin"),
        ],
    )
    .unwrap();
    assert!(config.entries().iter().all(|entry| entry.origin.layer == Layer::Environment), "{config:#?}");
    let settings = config.settings();
    assert_eq!(settings.on_dependency_failure, Some(OnDependencyFailure::Run));
    assert_eq!(settings.checks, Some(vec!["make one".into(), "make two".into()]));
    assert_eq!(settings.env.len(), 2);
    let none = flags_and_env(&Flags::default(), &[("ROPEWALK_CHECK_COMMANDS", "")]).unwrap();
    assert_eq!(entry(&none, "check.commands").origin.layer, Layer::Environment);
}

#[test]
fn every_flag_reaches_its_key() {
    let flags = Flags {
        command: Some("./a".into()),
        checks: vec!["x".into(), "y".into()],
        timeout: Some("1s".into()),
        attempts: Some("1".into()),
        workers: Some("500".into()),
        env: vec!["A=1".into(), "A=2".into()],
        base: Some("dev".into()),
    };
    let config = flags_and_env(&flags, &[]).unwrap();
    for (key, name, value) in [
        ("agent.shell.command", "--command", r#""./a""#),
        ("check.commands", "--check", r#"["x", "y"]"#),
        ("attempt.timeout", "--timeout", r#""1s""#),
        ("attempt.attempts_max", "--attempts", "1"),
        ("workers", "--workers", "500"),
        ("attempt.env", "--env", r#"["A=2"]"#),
        ("base", "--base", r#""dev""#),
    ] {
        let entry = entry(&config, key);
        assert_eq!((entry.origin.to_string().as_str(), entry.value.as_str()), (name, value), "{key}");
    }
}

#[test]
fn checks_replace_those_of_lower_layers_and_variables_join_them_by_name() {
    let files = Files::new(
        Some(b"[attempt]\nenv = ['A=2', 'B']\n[check]\ncommands = ['p']"),
        Some(b"[attempt]\nenv = ['A=1', 'C=1']\n[check]\ncommands = ['u', 'v']"),
    );
    let flags = Flags { checks: vec!["f".into()], env: vec!["B=3".into()], ..Flags::default() };
    let config = files.resolve(&flags, Vec::new()).unwrap();
    assert_eq!(config.settings().checks, Some(vec!["f".to_owned()]));
    let variables = entry(&config, "attempt.env");
    assert_eq!(variables.value, r#"["A=2", "B=3", "C=1"]"#);
    assert_eq!(variables.origin.name.as_deref(), Some("--env"));
    let below: Vec<Layer> = variables.joined_with.iter().map(|origin| origin.layer).collect();
    assert_eq!(below, [Layer::Project, Layer::User]);
}

#[test]
fn an_origin_names_the_line_and_the_folder_that_relative_paths_count_from() {
    let files = Files::new(Some(b"# top\n\n[agent.shell]\ncommand = './agent.sh'\n"), None);
    let config = files.resolve(&Flags::default(), Vec::new()).unwrap();
    let origin = config.origin("agent.shell.command").unwrap();
    assert_eq!(
        origin,
        &Origin { layer: Layer::Project, name: None, file: Some(files.project()), line: Some(4) }
    );
    assert_eq!(origin.folder(), Some(files.folder.path()));
    assert_eq!(config.origin("workers").unwrap().folder(), None);
    assert_eq!(config.origin("nothing"), None);
    let bare = Origin { file: Some("ropewalk.toml".into()), ..origin.clone() };
    assert_eq!((bare.folder(), bare.to_string().as_str()), (None, "ropewalk.toml:4"));
    let flags = Flags { command: Some("./b".into()), ..Flags::default() };
    let config = files.resolve(&flags, Vec::new()).unwrap();
    assert_eq!(config.origin("agent.shell.command").unwrap().folder(), None);
}

//! Which layer wins, and where a value says it comes from.

use super::*;

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

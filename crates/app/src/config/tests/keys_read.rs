//! Every key, from every layer that can give it.

use ropewalk_core::command::AtStop;
use ropewalk_core::disk::Floor;
use ropewalk_core::resource::Bounds;
use ropewalk_core::retention::Retention;
use ropewalk_core::settings::LandMethod;
use ropewalk_core::setup::{Ports, WorktreeSettings};

use super::*;

#[test]
fn without_any_layer_the_defaults_are_in_force() {
    let config = flags_and_env(&Flags::default(), &[]).unwrap();
    let expected = Settings {
        command: None,
        checks: Some(Vec::new()),
        timeout_ms: Some(1_800_000),
        check_timeout_ms: Some(1_800_000),
        stall_ms: Some(0),
        kill_grace_ms: Some(5_000),
        bounds: Bounds::default(),
        secrets: Some(Vec::new()),
        filter_output: Some(false),
        output_bytes_max: Some(1 << 30),
        on_output_full: Some(OnOutputFull::Drop),
        checkpoint_every_ms: Some(600_000),
        checkpoints_kept: Some(5),
        same_fault_max: Some(3),
        attempts_max: Some(3),
        env: BTreeMap::new(),
        base: None,
        auto_land: Some(false),
        land_method: Some(LandMethod::Merge),
        review: Some(false),
        train_max: Some(8),
        on_dependency_failure: Some(OnDependencyFailure::Block),
        require_change: Some(true),
        worktree: WorktreeSettings {
            include: Some(Vec::new()),
            setup: Some(Vec::new()),
            teardown: Some(Vec::new()),
            setup_timeout_ms: Some(600_000),
            teardown_timeout_ms: Some(60_000),
            ports: Some(Ports { first: 20_000, last: 29_999 }),
        },
    };
    assert_eq!((config.settings(), config.workers()), (expected, 4));
    let engine = EngineSettings {
        stop_grace_ms: 60_000,
        at_stop: AtStop::End,
        containment: "auto".into(),
        floor: Floor { bytes: 1 << 30, inodes: 1_000 },
        spare_bytes_max: 10 << 30,
        retention: Retention {
            compress_after_ms: 3_600_000,
            keep_ms: 7 * 86_400_000,
            keep_failed_ms: 30 * 86_400_000,
            state_bytes_max: 20 << 30,
        },
    };
    assert_eq!(config.engine(), &engine);
    assert_eq!(config.entries().len(), keys::all().count());
    assert!(config.entries().iter().all(|entry| entry.origin.layer == Layer::Default));
    let command = entry(&config, "agent.shell.command");
    assert_eq!((command.value.as_str(), command.json), ("", serde_json::Value::Null));
    let shown = |key| entry(&config, key).value;
    assert_eq!([shown("attempt.stall"), shown("engine.disk_floor")], ["\"off\"", "\"1GiB\""]);
    assert_eq!([shown("attempt.timeout_max"), shown("engine.keep_failed")], ["\"2h\"", "\"30d\""]);
}

#[test]
fn every_key_is_read_from_a_file() {
    let config = project(
        r#"
        workers = 7
        max_prds = 2
        base = "trunk/x"
        auto_land = true
        on_dependency_failure = "skip"
        [land]
        method = "rebase"
        review = true
        train_max = 1
        [agent]
        use = "shell"
        [agent.shell]
        command = "./agent.sh --fast"
        [attempt]
        timeout_max = "3h"
        timeout = "2h30m"
        stall = "10m"
        kill_grace = "0s"
        memory = "2G"
        cpu_time = "1d"
        processes = 200
        open_files = 1024
        file_size = 5000000
        nice = 0
        attempts_max = 9
        same_fault_max = 4
        require_change = false
        env = ["TOKEN", "MODE=a=b", "EMPTY="]
        secrets = ["TOKEN", "KEY"]
        filter_output = true
        output_max = "10MB"
        on_output_full = "end"
        checkpoint_every = "off"
        checkpoints_kept = 2
        [check]
        commands = ["cargo fmt --check", "cargo test"]
        timeout = "90s"
        [worktree]
        include = [".env", "config/*.local"]
        setup = ["npm ci"]
        setup_timeout = "5m"
        teardown = ["docker compose down"]
        teardown_timeout = "10s"
        ports = "4000-4999"
        [engine]
        stop_grace = "0s"
        at_stop = "leave"
        containment = "group"
        disk_floor = 0
        spare_space = "3MB"
        compress_after = "0s"
        keep = "2d"
        keep_failed = "3d12h"
        state_max = "1TB"
        "#,
    )
    .unwrap();
    assert!(config.entries().iter().all(|entry| entry.origin.layer == Layer::Project), "{config:#?}");
    let text = |text: &str| EnvValue::Text(text.into());
    let expected = Settings {
        command: Some("./agent.sh --fast".into()),
        checks: Some(vec!["cargo fmt --check".into(), "cargo test".into()]),
        timeout_ms: Some(9_000_000),
        check_timeout_ms: Some(90_000),
        stall_ms: Some(600_000),
        kill_grace_ms: Some(0),
        bounds: Bounds {
            memory_bytes: Some(2 << 30),
            cpu_ms: Some(86_400_000),
            processes: Some(200),
            open_files: Some(1_024),
            file_bytes: Some(5_000_000),
            nice: Some(0),
        },
        secrets: Some(vec!["KEY".into(), "TOKEN".into()]),
        filter_output: Some(true),
        output_bytes_max: Some(10_000_000),
        on_output_full: Some(OnOutputFull::End),
        checkpoint_every_ms: Some(0),
        checkpoints_kept: Some(2),
        same_fault_max: Some(4),
        attempts_max: Some(9),
        env: BTreeMap::from([
            ("TOKEN".into(), EnvValue::Inherit),
            ("KEY".into(), EnvValue::Inherit),
            ("MODE".into(), text("a=b")),
            ("EMPTY".into(), text("")),
        ]),
        base: Some(BranchName::new("trunk/x").unwrap()),
        auto_land: Some(true),
        land_method: Some(LandMethod::Rebase),
        review: Some(true),
        train_max: Some(1),
        on_dependency_failure: Some(OnDependencyFailure::Skip),
        require_change: Some(false),
        worktree: WorktreeSettings {
            include: Some(vec![".env".into(), "config/*.local".into()]),
            setup: Some(vec!["npm ci".into()]),
            teardown: Some(vec!["docker compose down".into()]),
            setup_timeout_ms: Some(300_000),
            teardown_timeout_ms: Some(10_000),
            ports: Some(Ports { first: 4_000, last: 4_999 }),
        },
    };
    assert_eq!((config.settings(), config.workers()), (expected, 7));
    let engine = EngineSettings {
        stop_grace_ms: 0,
        at_stop: AtStop::Leave,
        containment: "group".into(),
        floor: Floor { bytes: 0, inodes: 0 },
        spare_bytes_max: 3_000_000,
        retention: Retention {
            compress_after_ms: 0,
            keep_ms: 2 * 86_400_000,
            keep_failed_ms: 302_400_000,
            state_bytes_max: 1_000_000_000_000,
        },
    };
    assert_eq!(config.engine(), &engine);
}

#[test]
fn every_key_is_read_from_its_variable() {
    let config = flags_and_env(
        &Flags::default(),
        &[
            ("ROPEWALK_WORKERS", "7"),
            ("ROPEWALK_MAX_PRDS", "1000"),
            ("ROPEWALK_BASE", "trunk"),
            ("ROPEWALK_AUTO_LAND", "true"),
            ("ROPEWALK_ON_DEPENDENCY_FAILURE", "run"),
            ("ROPEWALK_LAND_METHOD", "squash"),
            ("ROPEWALK_LAND_TRAIN_MAX", "100"),
            ("ROPEWALK_LAND_REVIEW", "true"),
            ("ROPEWALK_AGENT_USE", "shell"),
            ("ROPEWALK_AGENT_SHELL_COMMAND", "./a"),
            ("ROPEWALK_ATTEMPT_TIMEOUT_MAX", "1h"),
            ("ROPEWALK_ATTEMPT_TIMEOUT", "1m"),
            ("ROPEWALK_ATTEMPT_STALL", "off"),
            ("ROPEWALK_ATTEMPT_KILL_GRACE", "1s"),
            ("ROPEWALK_ATTEMPT_MEMORY", "1000000"),
            ("ROPEWALK_ATTEMPT_CPU_TIME", "1m"),
            ("ROPEWALK_ATTEMPT_PROCESSES", "10"),
            ("ROPEWALK_ATTEMPT_OPEN_FILES", "10"),
            ("ROPEWALK_ATTEMPT_FILE_SIZE", "1M"),
            ("ROPEWALK_ATTEMPT_NICE", "19"),
            ("ROPEWALK_ATTEMPT_ATTEMPTS_MAX", "2"),
            ("ROPEWALK_ATTEMPT_SAME_FAULT_MAX", "2"),
            ("ROPEWALK_ATTEMPT_REQUIRE_CHANGE", "false"),
            ("ROPEWALK_ATTEMPT_ENV", "A\n\nB=1\n"),
            ("ROPEWALK_ATTEMPT_SECRETS", "A\nC"),
            ("ROPEWALK_ATTEMPT_FILTER_OUTPUT", "true"),
            ("ROPEWALK_ATTEMPT_OUTPUT_MAX", "1G"),
            ("ROPEWALK_ATTEMPT_ON_OUTPUT_FULL", "end"),
            ("ROPEWALK_ATTEMPT_CHECKPOINT_EVERY", "5m"),
            ("ROPEWALK_ATTEMPT_CHECKPOINTS_KEPT", "1"),
            ("ROPEWALK_CHECK_COMMANDS", "make one\nmake two"),
            ("ROPEWALK_CHECK_TIMEOUT", "2m"),
            ("ROPEWALK_WORKTREE_INCLUDE", ".env\na/b"),
            ("ROPEWALK_WORKTREE_SETUP", "one\ntwo"),
            ("ROPEWALK_WORKTREE_SETUP_TIMEOUT", "1m"),
            ("ROPEWALK_WORKTREE_TEARDOWN", "three"),
            ("ROPEWALK_WORKTREE_TEARDOWN_TIMEOUT", "1m"),
            ("ROPEWALK_WORKTREE_PORTS", "5000-5009"),
            ("ROPEWALK_ENGINE_STOP_GRACE", "5s"),
            ("ROPEWALK_ENGINE_AT_STOP", "leave"),
            ("ROPEWALK_ENGINE_CONTAINMENT", "subreaper"),
            ("ROPEWALK_ENGINE_DISK_FLOOR", "5GB"),
            ("ROPEWALK_ENGINE_SPARE_SPACE", "4GB"),
            ("ROPEWALK_ENGINE_COMPRESS_AFTER", "1m"),
            ("ROPEWALK_ENGINE_KEEP", "1d"),
            ("ROPEWALK_ENGINE_KEEP_FAILED", "1d"),
            ("ROPEWALK_ENGINE_STATE_MAX", "5GB"),
            ("PATH", "/bin"),
        ],
    )
    .unwrap();
    assert!(config.entries().iter().all(|entry| entry.origin.layer == Layer::Environment), "{config:#?}");
    let settings = config.settings();
    assert_eq!(settings.on_dependency_failure, Some(OnDependencyFailure::Run));
    assert_eq!(settings.checks, Some(vec!["make one".into(), "make two".into()]));
    assert_eq!(settings.env.len(), 3);
    assert_eq!(settings.bounds.memory_bytes, Some(1_000_000));
    assert_eq!(config.engine().floor, Floor { bytes: 5_000_000_000, inodes: 1_000 });
    assert_eq!(config.engine().spare_bytes_max, 4_000_000_000);
    let none = flags_and_env(&Flags::default(), &[("ROPEWALK_CHECK_COMMANDS", "")]).unwrap();
    assert_eq!(entry(&none, "check.commands").origin.layer, Layer::Environment);
}

#[test]
fn every_flag_reaches_its_key() {
    let flags = Flags {
        command: Some("./a".into()),
        checks: vec!["x".into(), "y".into()],
        timeout: Some("1s".into()),
        stall: Some("5m".into()),
        memory: Some("512MiB".into()),
        cpu_time: Some("10s".into()),
        processes: Some("20".into()),
        open_files: Some("30".into()),
        file_size: Some("1GB".into()),
        nice: Some("5".into()),
        attempts: Some("1".into()),
        workers: Some("500".into()),
        max_prds: Some("6".into()),
        env: vec!["A=1".into(), "A=2".into()],
        secrets: vec!["S".into(), "R".into()],
        base: Some("dev".into()),
    };
    let config = flags_and_env(&flags, &[]).unwrap();
    let expected = [
        ("agent.shell.command", "--command", r#""./a""#),
        ("check.commands", "--check", r#"["x", "y"]"#),
        ("attempt.timeout", "--timeout", r#""1s""#),
        ("attempt.stall", "--stall", r#""5m""#),
        ("attempt.memory", "--memory", r#""512MiB""#),
        ("attempt.cpu_time", "--cpu-time", r#""10s""#),
        ("attempt.processes", "--processes", "20"),
        ("attempt.open_files", "--open-files", "30"),
        ("attempt.file_size", "--file-size", r#""1GB""#),
        ("attempt.nice", "--nice", "5"),
        ("attempt.attempts_max", "--attempts", "1"),
        ("workers", "--workers", "500"),
        ("max_prds", "--max-prds", "6"),
        ("attempt.env", "--env", r#"["A=2"]"#),
        ("attempt.secrets", "--secret", r#"["R", "S"]"#),
        ("base", "--base", r#""dev""#),
    ];
    for (key, name, value) in expected {
        let entry = entry(&config, key);
        assert_eq!((entry.origin.to_string().as_str(), entry.value.as_str()), (name, value), "{key}");
    }
    assert_eq!(keys::all().filter(|key| key.flag.is_some()).count(), expected.len());
}

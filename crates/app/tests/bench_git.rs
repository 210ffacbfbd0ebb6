//! `ropewalk bench git`, small: that every way ends with the same files, and nothing stays.

use std::process::Command;

#[test]
fn a_train_is_measured_beside_git_and_ends_with_the_same_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new(env!("CARGO_BIN_EXE_ropewalk"))
        .args(["bench", "git", "--files", "100", "--rounds", "1", "--json", "--dir"])
        .arg(folder.path())
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{output:?}");
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON value");
    let part = &value["parts"][0];
    assert_eq!((part["part"].as_str(), &part["identical"]), (Some("train"), &true.into()));
    assert_eq!(part["ways"].as_array().map(Vec::len), Some(3));
    for promise in part["promises"].as_array().expect("promises") {
        assert!(promise["ratio"].as_f64().is_some_and(|ratio| ratio > 1.0), "{promise}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 0);
}

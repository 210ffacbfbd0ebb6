//! `ropewalk bench output`, small: that it measures with real workers, compares what was stored, and leaves
//! nothing.

use std::process::Command;

#[test]
fn capture_is_measured_compared_and_cleared_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new(env!("CARGO_BIN_EXE_ropewalk"))
        .args(["bench", "output", "--mib", "8", "--rounds", "1", "--json", "--dir"])
        .arg(folder.path())
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{output:?}");
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON value");
    assert_eq!(value["identical"], true);
    assert_eq!(value["ways"].as_array().map(Vec::len), Some(4));
    for way in value["ways"].as_array().into_iter().flatten() {
        assert!(way["mb_per_s"].as_f64().is_some_and(|speed| speed > 0.0), "{way}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 0);
}

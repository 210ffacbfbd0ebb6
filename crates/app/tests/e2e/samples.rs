//! Real PRD files of other programs go in; the two largest run to the end.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Bench, Story, story};
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/tests/data/samples")
}

fn documents() -> Vec<String> {
    let entries = folder().read_dir().expect("the samples");
    let names = entries.map(|entry| entry.expect("a sample").file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names.filter(|name| !name.ends_with("MANIFEST.yaml")).collect();
    names.sort();
    names
}

/// Puts a sample into a folder of its own under the name that it had, its manifest beside it.
fn put(bench: &Bench, name: &str) -> PathBuf {
    let own = bench.root().join("samples").join(name);
    fs::create_dir_all(&own).expect("a folder");
    let path = own.join("prd.json");
    fs::copy(folder().join(name), &path).expect("a copy");
    let manifest = name.rsplit_once('~').map(|(before, _)| folder().join(format!("{before}~MANIFEST.yaml")));
    if let Some(manifest) = manifest.filter(|path| path.exists()) {
        fs::copy(manifest, own.join("MANIFEST.yaml")).expect("a copy");
    }
    path
}

#[test]
fn every_sample_is_imported_and_exported_as_it_was() {
    let bench = Bench::new();
    let names = documents();
    assert!(names.len() >= 18, "samples are missing: {names:?}");
    for (number, name) in names.iter().enumerate() {
        let path = put(&bench, name);
        let id = format!("S-{number}");
        bench.expect(0, &["prd", "import", path.to_str().expect("UTF-8"), "--id", &id]);
        let exported = bench.expect(0, &["prd", "export", &id]).value();
        let was: Value = serde_json::from_slice(&fs::read(&path).expect(name)).expect(name);
        assert_eq!(exported, was, "{name}");
    }
    assert_eq!(bench.json(&["prd", "list"]).as_array().map(Vec::len), Some(names.len()));
}

/// Ids and dependencies as the file has them, read by other means than the program's.
fn stories_of(path: &Path) -> Vec<Story> {
    let document: Value = serde_json::from_slice(&fs::read(path).expect("a sample")).expect("JSON");
    let list = ["userStories", "stories", "tasks", "items"]
        .iter()
        .find_map(|key| document.get(key).and_then(Value::as_array))
        .expect("a list of stories");
    let read = |entry: &Value| {
        let on = ["dependencies", "dependsOn", "blockedBy"].iter().find_map(|key| entry.get(key)?.as_array());
        let on: Vec<_> = on.into_iter().flatten().filter_map(Value::as_str).collect();
        let id = entry["id"].as_str().map_or_else(|| entry["id"].to_string(), str::to_owned);
        story(&id, &on)
    };
    list.iter().map(read).collect()
}

fn runs_to_the_end(name: &str, stories: usize, edges: usize) {
    let bench = Bench::new();
    let path = put(&bench, name);
    let wanted = stories_of(&path);
    assert_eq!(wanted.len(), stories, "{name}");
    assert_eq!(wanted.iter().map(|story| story.after.len()).sum::<usize>(), edges, "{name}");
    let path = path.to_str().expect("UTF-8");
    bench.expect(0, &["run", path, "--id", "SAMPLE", "--command", &bench.agent(""), "--workers", "8"]);
    let shown = bench.json(&["prd", "show", "SAMPLE"]);
    let branch = shown["branch"].as_str().expect("a branch").to_owned();
    bench.assert_landed_in_order(&branch, &wanted);
    bench.assert_clean(&["main", &branch]);
}

#[test]
fn a_graph_of_45_stories_and_91_edges_runs_to_the_end_in_order() {
    runs_to_the_end("Liyaqa__prd.json", 45, 91);
}

#[test]
fn a_chain_of_47_stories_runs_to_the_end_in_order() {
    runs_to_the_end("site-pixel-alchemy__prd.json", 47, 46);
}

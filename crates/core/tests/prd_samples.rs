//! Real PRD files of many programs are read, and written back as they were.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use ropewalk_core::limits::Limits;
use ropewalk_core::prd::{Approval, PrdDocument, Shell, Source, export, read};
use ropewalk_core::priority::Priority;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/samples")
}

fn bytes_of(name: &str) -> Vec<u8> {
    let path = folder().join(name);
    let mut bytes = Vec::new();
    // Tests may open files; the crate's own lint is about the crate.
    std::io::Read::read_to_end(
        &mut std::fs::OpenOptions::new().read(true).open(&path).expect(name),
        &mut bytes,
    )
    .expect(name);
    bytes
}

fn names(ends: &[&str]) -> Vec<String> {
    let entries = folder().read_dir().expect("the samples are in the repository");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| ends.iter().any(|end| name.ends_with(end)));
    names.sort();
    names
}

fn read_sample(name: &str, manifest: Option<&str>) -> PrdDocument {
    let manifest = manifest.map(bytes_of);
    let source = Source { bytes: &bytes_of(name), file_stem: "stem", manifest: manifest.as_deref() };
    read(source, &Limits::default()).unwrap_or_else(|faults| panic!("{name}: {faults:#?}"))
}

fn write_back(document: &PrdDocument, landed: impl Fn(usize) -> bool) -> String {
    let stories =
        document.stories.iter().enumerate().map(|(index, story)| (story.body.as_str(), landed(index)));
    export(&document.shell, stories)
}

#[test]
fn every_sample_is_read_and_written_back_byte_for_byte() {
    let names = names(&[".json", ".example"]);
    assert!(names.len() >= 18, "samples are missing: {names:?}");
    for name in names {
        let document = read_sample(&name, None);
        assert!(!document.stories.is_empty() && !document.title.is_empty(), "{name}");
        assert_eq!(write_back(&document, |_| false).as_bytes(), bytes_of(&name), "{name}");
        let kept = Shell::from_text(&document.shell.to_text()).expect(&name);
        assert_eq!(kept, document.shell, "{name}");
    }
}

#[test]
fn landed_stories_are_claimed_when_read_again() {
    for name in names(&[".json", ".example"]) {
        let document = read_sample(&name, None);
        let text = write_back(&document, |index| index % 2 == 0);
        let source = Source { bytes: text.as_bytes(), file_stem: "stem", manifest: None };
        let again = read(source, &Limits::default()).expect(&name);
        for (index, (story, before)) in again.stories.iter().zip(&document.stories).enumerate() {
            assert_eq!(story.claimed, before.claimed || index % 2 == 0, "{name}, {}", story.id);
            assert_eq!(story.depends_on, before.depends_on, "{name}");
        }
    }
}

#[test]
fn every_manifest_is_read_beside_a_prd() {
    for name in names(&["MANIFEST.yaml"]) {
        let document = read_sample("prd.json", Some(&name));
        let manifest = document.manifest.expect(&name);
        assert!(
            manifest.status.is_some() && manifest.title.is_some() && manifest.created_at.is_some(),
            "{name}"
        );
        assert_eq!(document.key.map(String::from), manifest.id, "{name}");
    }
    let document =
        read_sample("prd.json", Some("epiloop-root~prds~active~claude-loop-integration~MANIFEST.yaml"));
    let manifest = document.manifest.as_ref().expect("given");
    assert_eq!(manifest.approved_by.as_deref(), Some("user"));
    assert_eq!(manifest.approved_at.as_deref(), Some("2026-01-28T08:35:00Z"), "a time stays the text it is");
    assert_eq!(manifest.owner.as_deref(), Some("Claude Sonnet 4.5"));
    assert_eq!(document.approval, Approval::None);
    assert!(document.approval_text().ends_with("with no hash to check"));
    assert_eq!(document.tags.len(), 4);
}

#[test]
fn an_approval_holds_for_the_bytes_that_were_approved() {
    let folder = "prds~completed~stratified-memory-v2";
    let document = read_sample(&format!("{folder}~prd.json"), Some(&format!("{folder}~MANIFEST.yaml")));
    assert_eq!(document.approval, Approval::Verified);
    let text = "approved by claude-loop at 2026-01-11T23:30:00Z, for these very bytes";
    assert_eq!(document.approval_text(), text);
    assert_eq!(document.key.as_ref().map(|key| key.as_str()), Some("SCALE-001"));
    let folder = "prds~active~tier1-validation";
    let document = read_sample(&format!("{folder}~prd.json"), Some(&format!("{folder}~MANIFEST.yaml")));
    assert!(matches!(document.approval, Approval::Mismatch { .. }));
    assert!(
        document.warnings.iter().any(|warning| warning.rule == "approval-mismatch"),
        "{:?}",
        document.warnings
    );
}

#[test]
fn a_template_is_read_with_a_warning() {
    let document = read_sample("templates~prd-feature.json", None);
    assert!(document.has_placeholders);
    let rules: Vec<&str> = document.warnings.iter().map(|warning| warning.rule).collect();
    assert_eq!(rules, ["placeholders"]);
    assert!(!read_sample("Liyaqa__prd.json", None).has_placeholders);
}

#[test]
fn the_variations_of_the_family_are_understood() {
    let edges =
        |document: &PrdDocument| document.stories.iter().map(|story| story.depends_on.len()).sum::<usize>();
    let liyaqa = read_sample("Liyaqa__prd.json", None);
    assert_eq!((liyaqa.stories.len(), edges(&liyaqa)), (45, 91));
    let bugs = read_sample("BugStore__prd.json", None);
    assert_eq!((bugs.stories.len(), edges(&bugs), bugs.shell.list.as_str()), (60, 43, "tasks"));
    assert_eq!(bugs.stories[0].priority, Priority::from_word("critical").expect("a word"));
    assert!(bugs.stories.iter().all(|story| story.claimed && story.title.chars().count() <= 120));
    assert!(bugs.stories[0].description.starts_with(&bugs.stories[0].title));
    assert_eq!(bugs.title, "stem");
    let array = read_sample("ralph-wiggum-ai__prd.json", None);
    assert_eq!(array.stories.iter().map(|story| story.id.as_str()).collect::<Vec<_>>(), ["US-001", "US-002"]);
    assert_eq!((array.stories[0].criteria.len(), array.stories[0].claimed), (7, true));
    let snake = read_sample("codex-claude-ralph__prd.json", None);
    assert_eq!(
        (snake.stories[0].criteria.len(), snake.stories[1].depends_on.as_slice()),
        (2, [0].as_slice())
    );
    assert_eq!((snake.title.as_str(), snake.stories[0].priority), ("example-project", Priority::ABSENT));
    let ultra = read_sample("ralph-ultra__2026-01-24_15-31-15_completed_prd.json", None);
    assert_eq!(ultra.stories[0].criteria[0], "cost-tracker.ts file exists in src/core/");
    let parallel = read_sample("prd-parallel-prd-support.json", None);
    assert_eq!((parallel.stories.len(), edges(&parallel)), (18, 24));
    assert!(!parallel.stories[0].files.is_empty() && parallel.branch.is_some());
}

#[test]
fn a_list_below_prd_and_marks_of_other_systems_are_read() {
    let text = "\u{feff}{\r\n \"title\": \"outer\", \"prd\": {\"name\": \"inner\", \"items\": [\r\n  \
                {\"id\": 7, \"title\": \"a\", \"priority\": 31.10},\r\n  \
                {\"id\": \"B\", \"blockedBy\": [7], \"dependsOn\": null, \"dependencies\": [\"7\"],\
 \"steps\": [{\"n\": 1.50}]}]}}\r\n";
    let source = Source { bytes: text.as_bytes(), file_stem: "stem", manifest: None };
    let document = read(source, &Limits::default()).expect("accepted");
    assert_eq!((document.title.as_str(), document.shell.list.as_str()), ("inner", "prd.items"));
    assert_eq!(document.stories[1].depends_on, [0]);
    assert_eq!(document.stories[1].criteria, [r#"{"n":1.5}"#]);
    assert_eq!(document.stories[1].title, "B");
    assert_eq!(document.warnings.iter().map(|warning| warning.rule).collect::<Vec<_>>(), ["byte-order-mark"]);
    assert_eq!(write_back(&document, |_| false), text.trim_start_matches('\u{feff}'));
    let text = write_back(&document, |index| index == 0);
    assert!(
        text.contains(r#""priority": 31.10, "passes": true}"#) || text.contains("31.10,\"passes\": true"),
        "{text}"
    );
}

#[test]
fn a_list_without_stories_is_accepted() {
    for text in [
        r#"{"userStories": []}"#,
        "[]",
        " [ ] ",
        r#"{"stories":[],"items":3}"#,
        r#"{"$schema":9,"tasks":[]}"#,
    ] {
        let source = Source { bytes: text.as_bytes(), file_stem: "stem", manifest: None };
        let document = read(source, &Limits::default()).expect(text);
        assert_eq!(write_back(&document, |_| true), text);
    }
}

fn json_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        "[^\u{0}]{0,8}".prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Into::into),
            prop::collection::btree_map("x[a-z\"\\\\é]{0,4}", inner, 0..3)
                .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_read_is_written_back(
        extras in prop::collection::vec((json_value(), any::<Option<bool>>(), any::<Option<bool>>(), any::<bool>()), 0..6),
        outer in json_value(),
        pretty in any::<bool>(),
        list in prop::sample::select(vec!["userStories", "stories", "tasks", "items"]),
    ) {
        let stories: Vec<serde_json::Value> = extras.iter().enumerate().map(|(index, (extra, passes, complete, _))| {
            let mut story = serde_json::json!({"id": format!("S-{index}"), "x": extra});
            if index > 0 {
                story["dependsOn"] = serde_json::json!([format!("S-{}", index - 1)]);
            }
            if let Some(passes) = passes {
                story["passes"] = (*passes).into();
            }
            if let Some(complete) = complete {
                story["complete"] = (*complete).into();
            }
            story
        }).collect();
        let mut value = serde_json::json!({"x": outer, list: stories, "z": 1});
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.expect("json");
        let source = Source { bytes: text.as_bytes(), file_stem: "stem", manifest: None };
        let document = read(source, &Limits::default()).expect("generated without faults");
        prop_assert_eq!(write_back(&document, |_| false), text);
        let landed = write_back(&document, |index| extras[index].3);
        for (index, (_, _, complete, landed)) in extras.iter().enumerate() {
            if *landed {
                value[list][index]["passes"] = true.into();
                if complete.is_some() {
                    value[list][index]["complete"] = true.into();
                }
            }
        }
        prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&landed).expect("json"), value);
    }

    #[test]
    fn no_bytes_whatever_make_it_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200), text in r#"[\[\]{}":,a0\\u. \n]{0,60}"#) {
        for bytes in [bytes.as_slice(), text.as_bytes()] {
            let _ = read(Source { bytes, file_stem: "stem", manifest: Some(bytes) }, &Limits::default());
        }
    }
}

#[test]
fn a_second_list_that_could_hold_stories_is_not_passed_over_in_silence() {
    let bytes = br#"{"stories":[{"id":"A","title":"a"}],"tasks":[{"id":"B"}],"items":["no story"]}"#;
    let document =
        read(Source { bytes, file_stem: "stem", manifest: None }, &Limits::default()).expect("accepted");
    let said: Vec<_> = document.warnings.iter().map(|w| (w.rule, w.place.path.as_str())).collect();
    assert_eq!(said, [("passed-over", "tasks")]);
}

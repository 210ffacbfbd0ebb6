//! What is refused, with which rule, and where.

use ropewalk_core::limits::Limits;
use ropewalk_core::prd::{FAULTS_MAX, Fault, PrdDocument, Source, read};

fn read_bytes(bytes: &[u8]) -> Result<PrdDocument, Vec<Fault>> {
    read(Source { bytes, file_stem: "stem", manifest: None }, &Limits::default())
}

fn refused(bytes: &[u8]) -> Vec<Fault> {
    match read_bytes(bytes) {
        Ok(_) => panic!("must be refused: {}", String::from_utf8_lossy(&bytes[..bytes.len().min(200)])),
        Err(faults) => faults,
    }
}

fn rules(faults: &[Fault]) -> Vec<&str> {
    faults.iter().map(|fault| fault.rule).collect()
}

/// A document with these stories, on lines of their own from line 2.
fn stories(stories: &[&str]) -> Vec<u8> {
    format!("{{\"userStories\": [\n{}\n]}}", stories.join(",\n")).into_bytes()
}

#[test]
fn texts_that_are_no_document_are_refused_with_their_place() {
    // Input, rule, line, a part of the message or the hint.
    let table: &[(&[u8], &str, Option<u32>, &str)] = &[
        (b"", "empty", None, "empty"),
        (b" \n\t", "empty", None, "empty"),
        (b"\xef\xbb\xbf", "empty", None, "empty"),
        (b"{\"userStories\": [\n {\"id\": \"a\"", "truncated", Some(2), "ends too early"),
        (b"{\"userStories\": [\n {\"id\": \"a", "truncated", Some(2), "ends too early"),
        (b"{\"userStories\": []}\n{}", "data-after-document", Some(2), "after the end"),
        (b"[] []", "data-after-document", Some(1), "after the end"),
        (b"{\"userStories\":\n [1,]}", "malformed-json", Some(2), "no comma"),
        (b"{\"userStories\": [],}", "malformed-json", Some(1), "no comma"),
        (b"// note\n{}", "malformed-json", Some(1), "no comments"),
        (b"{\n\"userStories\": [{\"id\": \"a\", \"x\": NaN}]}", "malformed-json", Some(2), "NaN"),
        (b"{\"userStories\": [{'id': 1}]}", "malformed-json", Some(1), ""),
        (b"{\"userStories\": \n[{\"id\": \"a\"}}", "malformed-json", Some(2), ""),
        (b"{\"userStories\": \n[{\"id\": \"a\", \"x\": \"\xff\"}]}", "not-utf8", Some(2), "byte 36 "),
        (b"\xff\xfe{\0}\0", "utf-16", None, "UTF-16"),
        (b"\xfe\xff\0{\0}", "utf-16", None, "UTF-16"),
        (b"7", "wrong-type", Some(1), "found a whole number"),
        (b"\"userStories\"", "wrong-type", Some(1), "found a string"),
        (b"nul", "truncated", Some(1), ""),
        (b"{\"userStories\": {}}", "wrong-type", Some(1), "found an object"),
        (b"{\"a\": 1, \"b\": 2}", "no-story-list", Some(1), "the file has a, b"),
        (b"{\"a\": 1, \"b\": 2}", "no-story-list", Some(1), "userStories, stories, tasks, items"),
        (b"{}", "no-story-list", Some(1), "no keys"),
        (b"{\"prd\": {\"a\": 1}}", "no-story-list", Some(1), "prd"),
        (b"{\"stories\": [\n{\"id\": \"a\", \"x\": \"\\ud800\"}]}", "lone-surrogate", Some(2), "surrogate"),
        (b"{\"stories\": [\n{\"id\": \"a\", \"x\": \"\\udc00\"}]}", "lone-surrogate", Some(2), "surrogate"),
        (b"{\"stories\": [],\n \"x\": [\"\\ud800x\"]}", "lone-surrogate", Some(2), "surrogate"),
        (b"{\"stories\": [\n{\"id\": \"a\", \"x\": 1e999}]}", "number-out-of-range", Some(2), "too large"),
        (b"{\"stories\": [], \"x\": {\"y\": 1, \"y\": 2}}", "duplicate-key", Some(1), "\"y\""),
        (b"{\"stories\": [],\n \"stories\": []}", "duplicate-key", Some(1), "\"stories\""),
    ];
    for (input, rule, line, part) in table {
        let shown = String::from_utf8_lossy(input);
        let faults = refused(input);
        assert_eq!(rules(&faults), [*rule], "{shown}: {faults:#?}");
        assert_eq!(faults[0].place.line, *line, "{shown}: {faults:#?}");
        let text = format!("{} {}", faults[0].message, faults[0].hint.as_deref().unwrap_or_default());
        assert!(text.contains(part), "{shown}: {text}");
    }
}

#[test]
fn columns_are_counted_in_characters_from_one() {
    let at = |text: &str| refused(text.as_bytes())[0].place.clone();
    for (text, path, line, column) in [
        ("{\"userStories\":\n [1,]}", "", 2, 5),
        ("{\"stories\": [\n  {\"é\": 1, \"id\": \"a b\"}]}", "stories[0].id", 2, 12),
        ("{\"stories\": [\n  {\"id\": \"a\",\n  \"x\": {\"y\": 1e999}}]}", "stories[0].x.y", 3, 18),
    ] {
        let place = at(text);
        assert_eq!(
            (place.path.as_str(), place.line, place.column),
            (path, Some(line), Some(column)),
            "{text}"
        );
    }
}

#[test]
fn members_of_the_wrong_kind_are_refused_by_path() {
    let table: &[(&str, &str, &str)] = &[
        (r#""a story""#, "wrong-type", "userStories[0]"),
        (r#"{"id": true}"#, "wrong-type", "userStories[0].id"),
        (r#"{"id": 1.5}"#, "wrong-type", "userStories[0].id"),
        (r#"{"id": ""}"#, "bad-id", "userStories[0].id"),
        (r#"{"id": " a"}"#, "bad-id", "userStories[0].id"),
        (r#"{"id": "../x"}"#, "bad-id", "userStories[0].id"),
        (r#"{"id": "a\u0000b"}"#, "bad-id", "userStories[0].id"),
        (r#"{"id": "a\nb"}"#, "bad-id", "userStories[0].id"),
        (r#"{"id": "$(touch x)"}"#, "bad-id", "userStories[0].id"),
        (r#"{"id": "-rf"}"#, "bad-id", "userStories[0].id"),
        (r#"{"id": "a", "title": 3}"#, "wrong-type", "userStories[0].title"),
        (r#"{"id": "a", "title": "x\u0000"}"#, "nul", "userStories[0].title"),
        (r#"{"id": "a", "priority": true}"#, "wrong-type", "userStories[0].priority"),
        (r#"{"id": "a", "priority": 1e9}"#, "number-out-of-range", "userStories[0].priority"),
        (
            r#"{"id": "a", "priority": 99999999999999999999999}"#,
            "number-out-of-range",
            "userStories[0].priority",
        ),
        (r#"{"id": "a", "priority": "soon"}"#, "unknown-priority", "userStories[0].priority"),
        (r#"{"id": "a", "passes": "yes"}"#, "wrong-type", "userStories[0].passes"),
        (r#"{"id": "a", "dependencies": "b"}"#, "wrong-type", "userStories[0].dependencies"),
        (r#"{"id": "a", "dependsOn": [{}]}"#, "wrong-type", "userStories[0].dependsOn[0]"),
        (r#"{"id": "a", "blockedBy": ["a"]}"#, "self-dependency", "userStories[0].blockedBy[0]"),
        (r#"{"id": "a", "blockedBy": ["b"]}"#, "unknown-dependency", "userStories[0].blockedBy[0]"),
        (r#"{"id": "a", "fileScope": [1]}"#, "wrong-type", "userStories[0].fileScope[0]"),
        (r#"{"id": "a", "steps": ["ok", 1]}"#, "wrong-type", "userStories[0].steps[1]"),
        (r#"{"id": "a", "description": []}"#, "wrong-type", "userStories[0].description"),
        (r#"{"id": "a", "x": [{"y y": 1, "y y": 2}]}"#, "duplicate-key", "userStories[0].x[0][\"y y\"]"),
    ];
    for (story, rule, path) in table {
        let faults = refused(&stories(&[story]));
        assert_eq!(rules(&faults), [*rule], "{story}: {faults:#?}");
        assert_eq!(faults[0].place.path, *path, "{story}: {faults:#?}");
        assert_eq!(faults[0].place.line, Some(2), "{story}");
    }
}

#[test]
fn branches_that_nobody_may_choose_are_refused() {
    for (branch, rule) in [
        ("main", "protected-branch"),
        ("Master", "protected-branch"),
        ("TRUNK", "protected-branch"),
        ("develop", "protected-branch"),
        ("HEAD", "protected-branch"),
        ("refs/heads/main", "protected-branch"),
        ("-x", "bad-branch"),
        ("--force", "bad-branch"),
        ("a..b", "bad-branch"),
        ("refs/tags/x", "bad-branch"),
        ("a b", "bad-branch"),
        ("x.lock", "bad-branch"),
    ] {
        let text = format!("{{\"stories\": [],\n\"branchName\": {branch:?}}}");
        let faults = refused(text.as_bytes());
        assert_eq!(rules(&faults), [rule], "{branch}");
        assert_eq!(
            (faults[0].place.path.as_str(), faults[0].place.line),
            ("branchName", Some(2)),
            "{branch}"
        );
    }
}

#[test]
fn all_faults_are_told_at_once_in_the_order_of_the_file() {
    let text = r#"{
  "project": 5,
  "userStories": [
    {"id": "A", "priority": {}, "title": false},
    {"id": "A", "dependencies": ["C"]},
    {"id": "a"},
    {"title": "no id"},
    {"id": "C", "dependencies": ["A", "B-1", "C", "Z"]},
    {"id": "B_1"}, {"id": "B-1", "x": {"k": 1, "k": 1}}
  ],
  "branchName": "-main"
}"#;
    let faults = refused(text.as_bytes());
    let found: Vec<(&str, &str, u32)> =
        faults.iter().map(|f| (f.rule, f.place.path.as_str(), f.place.line.expect("a line"))).collect();
    assert_eq!(
        found,
        [
            ("wrong-type", "project", 2),
            ("wrong-type", "userStories[0].priority", 4),
            ("wrong-type", "userStories[0].title", 4),
            ("duplicate-id", "userStories[1].id", 5),
            ("ids-differ-by-case", "userStories[2].id", 6),
            ("missing-id", "userStories[3]", 7),
            ("self-dependency", "userStories[4].dependencies[2]", 8),
            ("unknown-dependency", "userStories[4].dependencies[3]", 8),
            ("ids-share-a-branch", "userStories[6].id", 9),
            ("duplicate-key", "userStories[6].x.k", 9),
            ("bad-branch", "branchName", 11),
        ]
    );
    assert!(faults[3].message.contains("userStories[0].id"), "both places: {}", faults[3].message);
    assert_eq!(faults[0].place.column, Some(3));
}

#[test]
fn a_story_that_cannot_be_read_hides_no_fault_of_the_others() {
    let faults = refused(&stories(&[
        r#"{"id": "A", "x": "\ud800"}"#,
        r#"{"id": "B", "dependencies": ["A", "B"]}"#,
        r#"{"id": "b"}"#,
        "7",
        r#"{"title": "no id"}"#,
    ]));
    let expected = ["lone-surrogate", "self-dependency", "ids-differ-by-case", "wrong-type", "missing-id"];
    assert_eq!(rules(&faults), expected, "A is not called unknown: {faults:#?}");
}

#[test]
fn cycles_are_printed_as_paths() {
    let faults = refused(&stories(&[
        r#"{"id": "X"}"#,
        r#"{"id": "A", "dependencies": ["B", "X"]}"#,
        r#"{"id": "B", "dependsOn": ["C"]}"#,
        r#"{"id": "C", "blockedBy": ["A"]}"#,
        r#"{"id": "P", "blockedBy": ["Q"]}"#,
        r#"{"id": "Q", "blockedBy": ["P"]}"#,
    ]));
    assert_eq!(rules(&faults), ["cycle", "cycle"]);
    assert!(faults[0].message.ends_with("A -> B -> C -> A"), "{}", faults[0].message);
    assert!(faults[1].message.ends_with("P -> Q -> P"), "{}", faults[1].message);
    assert_eq!((faults[0].place.line, faults[1].place.line), (Some(3), Some(6)));
}

#[test]
fn near_names_are_offered_for_unknown_ones() {
    let faults = refused(&stories(&[
        r#"{"id": "US-001"}"#,
        r#"{"id": "US-012"}"#,
        r#"{"id": "other"}"#,
        r#"{"id": "US-900", "dependencies": ["us-002"]}"#,
    ]));
    assert_eq!(faults[0].hint.as_deref(), Some("did you mean US-001, US-012?"));
    let faults = refused(&stories(&[r#"{"id": "US-001", "dependencies": ["nothing like it"]}"#]));
    assert_eq!(faults[0].hint, None);
}

#[test]
fn no_more_than_a_hundred_faults_are_told() {
    let bad: Vec<&str> =
        std::iter::repeat_n(r#"{"id": "same", "dependencies": ["none"], "priority": []}"#, 1_000).collect();
    let faults = refused(&stories(&bad));
    assert_eq!(faults.len(), FAULTS_MAX + 1);
    let last = faults.last().expect("some");
    assert_eq!((last.rule, last.message.as_str()), ("more-faults", "and 2899 more"));
    assert!(faults[..FAULTS_MAX].is_sorted_by_key(|fault| fault.place.line));
}

#[test]
fn limits_are_named() {
    let limits = Limits { stories_max: 2, dependencies_max: 1, prd_bytes_max: 200, ..Limits::default() };
    let narrow = |bytes: &[u8]| match read(Source { bytes, file_stem: "stem", manifest: None }, &limits) {
        Ok(_) => panic!("must be refused"),
        Err(faults) => faults,
    };
    let faults = narrow(&stories(&["{}", "{}", "{}"]));
    assert_eq!(rules(&faults), ["too-many-stories"]);
    assert!(faults[0].message.contains("3 stories, and 2"), "{}", faults[0].message);
    let faults =
        narrow(&stories(&[r#"{"id": "a"}"#, r#"{"id": "b", "dependsOn": ["a"], "blockedBy": ["a"]}"#]));
    assert_eq!(rules(&faults), ["too-many-dependencies"]);
    assert_eq!(rules(&narrow(&[b' '; 201])), ["too-large"]);
    let keys: String = (0..1_000_001).map(|key| format!("\"{key}\":0,")).collect();
    for text in [format!("{{{keys}\"stories\":[]}}"), format!("[{{{keys}\"id\":\"a\"}}]")] {
        assert_eq!(rules(&refused(text.as_bytes())), ["too-many-values"]);
    }
    let id = "x".repeat(5_000);
    let faults = refused(&stories(&[&format!(r#"{{"id": "{id}"}}"#)]));
    assert!(faults[0].message.contains("5000 bytes, and 64"), "{}", faults[0].message);
    assert!(faults[0].message.len() < 300);
}

#[test]
fn nesting_has_a_bound_wherever_it_stands() {
    let deep = 1_000_000;
    let (open, close) = ("[".repeat(deep), "]".repeat(deep));
    let objects = format!("{}1{}", "{\"a\":".repeat(deep), "}".repeat(deep));
    for value in [format!("{open}{close}"), objects] {
        for text in [
            value.clone(),
            format!("{{\"x\": {value}, \"stories\": []}}"),
            format!("{{\"stories\": [{{\"id\": \"a\", \"x\": {value}}}]}}"),
            format!("{{\"stories\": [{{\"id\": \"a\", \"dependencies\": {value}}}]}}"),
            format!("{{\"stories\": {value}}}"),
            format!("{{\"prd\": {value}}}"),
            format!("{{\"title\": {value}, \"tasks\": []}}"),
            format!("{{\"items\": {value}, \"userStories\": []}}"),
        ] {
            let faults = refused(text.as_bytes());
            let rules = rules(&faults);
            assert!(
                rules.contains(&"too-deep") || rules == ["no-story-list"] || rules == ["wrong-type"],
                "{rules:?} for {}",
                &text[..40]
            );
            assert!(faults[0].place.path.len() < 2_000, "{}", faults[0].place.path.len());
        }
    }
    assert_eq!(rules(&refused(open.as_bytes())), ["truncated"]);
    let nearly =
        format!("{{\"stories\": [{{\"id\": \"a\", \"x\": {}1{}}}]}}", "[".repeat(120), "]".repeat(120));
    assert!(read_bytes(nearly.as_bytes()).is_ok());
}

#[test]
fn chains_and_rings_of_100_000_stories_are_told_apart() {
    let story = |index: usize, on: usize| format!(r#"{{"id":"S-{index}","dependencies":["S-{on}"]}}"#);
    let count = 100_000;
    let mut chain: Vec<String> = (1..count).map(|index| story(index, index - 1)).collect();
    chain.insert(0, r#"{"id":"S-0"}"#.to_owned());
    let document = read_bytes(format!("[{}]", chain.join(",")).as_bytes()).expect("a chain");
    assert_eq!(document.stories[count - 1].depends_on, [count as u32 - 2]);
    chain[0] = story(0, count - 1);
    let faults = refused(format!("[{}]", chain.join(",")).as_bytes());
    assert_eq!(rules(&faults), ["cycle"]);
    assert!(
        faults[0].message.contains("(99981 more)") && faults[0].message.len() < 500,
        "{}",
        faults[0].message
    );
}

#[test]
fn manifests_are_refused_by_line() {
    let bomb = format!(
        "a0: &a0 [x,x,x,x,x,x,x,x,x]\n{}",
        (1..12)
            .map(|n| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 9].join(",")))
            .collect::<String>()
    );
    let deep = format!("x: {}", "[".repeat(100_000));
    let table: &[(&[u8], &str)] = &[
        (b"id: PRD-1\ntitle: [", "malformed-yaml"),
        (b"id: PRD-1\nid: PRD-2", "malformed-yaml"),
        (b"id: a\n---\nid: b", "malformed-yaml"),
        (b"- a\n- b", "malformed-yaml"),
        (b"id: [1, 2]", "malformed-yaml"),
        (b"a: &a [*a]\n", "malformed-yaml"),
        (b"id:\n\t- x", "malformed-yaml"),
        (bomb.as_bytes(), "malformed-yaml"),
        (deep.as_bytes(), "malformed-yaml"),
        (b"title: \xff", "not-utf8"),
        (b"id: ../../etc", "bad-id"),
        (b"branch_name: main", "protected-branch"),
        (b"branch_name: -x", "bad-branch"),
    ];
    for (manifest, rule) in table {
        let shown = String::from_utf8_lossy(&manifest[..manifest.len().min(60)]).into_owned();
        let source = Source { bytes: b"{\"stories\": []}", file_stem: "stem", manifest: Some(manifest) };
        let faults = read(source, &Limits::default()).expect_err(&shown);
        assert_eq!(rules(&faults), [*rule], "{shown}: {faults:?}");
        assert!(faults[0].place.path.starts_with("MANIFEST"), "{shown}");
        assert!(*rule != "malformed-yaml" || faults[0].place.line.is_some(), "{shown}: {faults:?}");
    }
}

#[test]
fn a_manifest_keeps_its_words_as_they_are() {
    let manifest = b"id: 007\ntitle: yes\nowner: 1.10\ncreated: 2026-01-01\ntags: one\nunknown: {a: [b]}\n";
    let source = Source { bytes: b"{\"stories\": []}", file_stem: "stem", manifest: Some(manifest) };
    let document = read(source, &Limits::default()).expect("accepted");
    let manifest = document.manifest.expect("given");
    assert_eq!(manifest.id.as_deref(), Some("007"));
    assert_eq!(manifest.owner.as_deref(), Some("1.10"));
    assert_eq!(manifest.created_at.as_deref(), Some("2026-01-01"));
    assert_eq!((document.title.as_str(), document.tags.as_slice()), ("yes", ["one".to_owned()].as_slice()));
    for empty in [b"".as_slice(), b"# nothing\n", b"---\n"] {
        let source = Source { bytes: b"{\"stories\": []}", file_stem: "stem", manifest: Some(empty) };
        assert!(read(source, &Limits::default()).is_ok(), "{empty:?}");
    }
}

#[test]
fn words_of_other_validators_are_warned_of() {
    let text = stories(&[r#"{"id": "a", "estimatedComplexity": "high", "suggestedModel": "opus"}"#]);
    let document = read_bytes(&text).expect("accepted");
    assert_eq!(rules(&document.warnings), ["unknown-word"]);
    assert_eq!(document.warnings[0].place.path, "userStories[0].estimatedComplexity");
    assert_eq!(document.warnings[0].place.line, Some(2));
}

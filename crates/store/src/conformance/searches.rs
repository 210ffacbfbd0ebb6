//! Search, against the documents themselves as the oracle.

use std::collections::BTreeMap;

use ropewalk_core::change::Change;
use ropewalk_core::id::{PrdNumber, TaskId};
use ropewalk_core::port::Store;
use ropewalk_core::row::{Prd, PrdContent};
use ropewalk_core::search::Query;

use super::sample;
use super::{Open, ok};
use crate::document::Document;

fn found<S: Store>(store: &S, query: &str) -> Vec<u32> {
    let query = Query::parse(query).expect(query);
    let mut numbers: Vec<_> = ok(store.search(&query, usize::MAX)).iter().map(|n| n.0).collect();
    numbers.sort_unstable();
    numbers
}

fn titled(number: u32, title: &str) -> Prd {
    Prd { title: title.into(), ..sample::prd(number) }
}

fn plain(description: &str) -> PrdContent {
    PrdContent { description: description.into(), ..PrdContent::default() }
}

pub(super) fn words_phrases_tags_and_operators_find_prds<S: Store>(open: Open<'_, S>) {
    let mut store = open("search-words");
    let memory = PrdContent {
        tags: vec!["Stratified Memory".into(), "web/front-end".into()],
        owner: Some("Ada Lovelace".into()),
        ..plain("Remembers what worked. É and İSTANBUL and ΟΔΟΣ, 日本語")
    };
    let mut changes = vec![
        sample::put_prd(&titled(1, "Experience store"), &memory),
        sample::put_prd(&titled(2, "Parallel landing"), &plain("store of candidates")),
        sample::put_task(&sample::task(1)),
        sample::put_story(&sample::story(2, 0, "US-1", 1)),
    ];
    changes.push(sample::put_prd(&titled(3, ""), &plain("")));
    ok(store.commit(&changes));
    for (query, wanted) in [
        ("store", &[1, 2][..]),
        ("stor", &[1, 2]),
        ("tore", &[]),
        ("experience store", &[1]),
        ("\"experience store\"", &[1]),
        ("\"store experience\"", &[]),
        ("\"experience stor\"", &[]),
        ("prd-002", &[2]),
        ("PRD", &[1, 2, 3]),
        ("lovelace", &[1]),
        ("story", &[2]),
        ("tag:\"x\"", &[]),
        ("tag:web/front-end", &[1]),
        ("tag:WEB/Front-End", &[1]),
        ("tag:web", &[]),
        ("memory", &[1]),
        ("é", &[1]),
        ("e", &[1]),
        ("istanbul", &[]),
        ("İSTANBUL", &[1]),
        ("οδο", &[1]),
        ("日本", &[1]),
        ("NOT store", &[3]),
        ("NOT absent", &[1, 2, 3]),
        ("store NOT parallel", &[1]),
        ("NOT store NOT landing", &[3]),
        ("NOT (store AND parallel)", &[1, 3]),
        ("parallel OR NOT store", &[2, 3]),
        ("absent OR (experience store)", &[1]),
        // A phrase does not run from one field into the next.
        ("\"store remembers\"", &[]),
        ("\"003 prd\"", &[]),
    ] {
        assert_eq!(found(&store, query), wanted, "{query}");
    }
    assert_eq!(ok(store.search(&Query::Phrase(Vec::new()), 9)), []);
    assert_eq!(ok(store.search(&Query::Phrase(vec!["\" OR *".into()]), 9)), []);
}

pub(super) fn the_best_match_comes_first_and_the_limit_holds<S: Store>(open: Open<'_, S>) {
    let mut store = open("search-best");
    let mut changes: Vec<_> = (1..=20)
        .map(|n| sample::put_prd(&titled(n, "Other"), &plain("a text that mentions landing once")))
        .collect();
    changes.push(sample::put_prd(&titled(21, "Landing"), &plain("landing")));
    ok(store.commit(&changes));
    let query = Query::parse("landing").expect("a word");
    let best = ok(store.search(&query, 5));
    assert_eq!((best[0], best.len()), (PrdNumber(21), 5));
    assert_eq!(ok(store.search(&query, 0)), []);
    let all_but = Query::parse("NOT landing").expect("a word");
    assert_eq!(ok(store.search(&all_but, 5)), []);
}

pub(super) fn a_search_follows_every_change_of_text<S: Store>(open: Open<'_, S>) {
    let mut store = open("search-changes");
    let prd = titled(1, "Alpha");
    ok(store.commit(&[sample::put_prd(&prd, &plain("beta")), sample::put_task(&sample::task(1))]));
    assert_eq!((found(&store, "alpha beta"), found(&store, "gamma")), (vec![1], vec![]));

    let mut story = sample::story(1, 0, "US-1", 1);
    story.title = "gamma".into();
    ok(store.commit(&[sample::put_story(&story)]));
    assert_eq!(found(&store, "alpha beta gamma"), [1]);
    story.title = "delta".into();
    ok(store.commit(&[sample::put_story(&story)]));
    assert_eq!((found(&store, "gamma"), found(&store, "delta")), (vec![], vec![1]));

    ok(store.commit(&[sample::put_prd(&titled(1, "Epsilon"), &plain("beta"))]));
    assert_eq!((found(&store, "alpha"), found(&store, "epsilon delta")), (vec![], vec![1]));
    // The same again: still there once.
    ok(store.commit(&[sample::put_prd(&titled(1, "Epsilon"), &plain("beta"))]));
    assert_eq!(found(&store, "epsilon"), [1]);

    ok(store.commit(&[Change::StoryRemoved { prd: PrdNumber(1), task: TaskId(1) }]));
    assert_eq!((found(&store, "delta"), found(&store, "NOT delta")), (vec![], vec![1]));
}

/// A sequence that looks random and is the same each time (xorshift, Marsaglia 2003).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % bound
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// Prefixes of each other, several scripts, letters that change their length when folded, and marks between.
const WORDS: &[&str] = &[
    "a", "ab", "abc", "b", "ba", "x1", "1", "É", "éa", "İ", "ß", "Ⅷ", "日本", "日", "a-b", "AB", "c_d", "ΣΑΣ",
];
const TAGS: &[&str] = &["a", "A", "a b", "日本", "İ", ""];

fn text(chance: &mut Chance, most: usize) -> String {
    let words: Vec<_> = (0..chance.below(most + 1)).map(|_| chance.pick(WORDS)).collect();
    words.join(chance.pick(&[" ", ", ", "\n"]))
}

fn query(chance: &mut Chance, depth: usize) -> Query {
    let inner = |chance: &mut Chance| Box::new(query(chance, depth - 1));
    match if depth == 0 { chance.below(4) } else { chance.below(9) } {
        0 | 1 => Query::parse(chance.pick(WORDS)).expect("a word"),
        2 => Query::parse(&format!("\"{} {}\"", chance.pick(WORDS), chance.pick(WORDS))).expect("a phrase"),
        3 => Query::Tag(chance.pick(TAGS).to_lowercase()),
        4 | 5 => Query::And(inner(chance), inner(chance)),
        6 | 7 => Query::Or(inner(chance), inner(chance)),
        _ => Query::Not(inner(chance)),
    }
}

pub(super) fn random_searches_agree_with_the_documents<S: Store>(open: Open<'_, S>) {
    let mut store = open("search-random");
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let mut documents: BTreeMap<u32, Document> = BTreeMap::new();
    let mut task = 0;
    // The second time round every PRD is replaced.
    for number in (1..=60).chain(1..=60) {
        let prd = titled(number, &text(&mut chance, 3));
        let content = PrdContent {
            owner: (chance.below(2) == 0).then(|| text(&mut chance, 1)),
            tags: (0..chance.below(3)).map(|_| chance.pick(TAGS).to_owned()).collect(),
            ..plain(&text(&mut chance, 4))
        };
        let mut changes = vec![sample::put_prd(&prd, &content)];
        let old = ok(store.stories(prd.number, 0, usize::MAX));
        changes.extend(old.iter().map(|s| Change::StoryRemoved { prd: s.prd, task: s.task }));
        let titles: Vec<String> = (0..chance.below(3)).map(|_| text(&mut chance, 3)).collect();
        for (position, title) in (0..).zip(&titles) {
            task += 1;
            let mut story = sample::story(number, position, &format!("US-{position}"), task);
            story.title.clone_from(title);
            changes.extend([sample::put_task(&sample::task(task)), sample::put_story(&story)]);
        }
        ok(store.commit(&changes));
        documents.insert(number, Document::new(&prd, &content, titles));
    }
    for round in 0..600 {
        let query = query(&mut chance, round % 5);
        let wanted: Vec<u32> =
            documents.iter().filter(|(_, document)| document.matches(&query)).map(|(n, _)| *n).collect();
        let mut numbers: Vec<_> = ok(store.search(&query, usize::MAX)).iter().map(|n| n.0).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, wanted, "{query:?}");
    }
}

//! PRDs of any shape, and the one place that knows how a document is built.

use ropewalk_core::id::{BranchName, PrdKey, StoryId};
use ropewalk_core::prd::{PrdDocument, StoryDocument};
use ropewalk_core::priority::Priority;

use crate::chance::{Chance, join};

/// What a simulated PRD says.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) key: Option<String>,
    pub(crate) title: String,
    pub(crate) branch: Option<String>,
    pub(crate) has_placeholders: bool,
    pub(crate) stories: Vec<DraftStory>,
}

#[derive(Clone, Debug)]
pub(crate) struct DraftStory {
    /// Its number, which stays when the file's order changes.
    pub(crate) number: u32,
    pub(crate) title: String,
    pub(crate) priority: Option<f64>,
    pub(crate) claimed: bool,
    /// Numbers of stories in the same draft.
    pub(crate) depends_on: Vec<u32>,
}

/// The document that a file of this content would be read as.
pub(crate) fn document(draft: &Draft) -> PrdDocument {
    let position = |number: &u32| draft.stories.iter().position(|story| story.number == *number);
    let story = |story: &DraftStory| {
        let mut depends_on: Vec<u32> =
            story.depends_on.iter().filter_map(position).map(|at| at as u32).collect();
        depends_on.sort_unstable();
        let dependencies: Vec<_> = story.depends_on.iter().map(|n| format!("US-{n:03}")).collect();
        let body = format!(
            r#"{{"id":"US-{:03}","title":"{}","dependencies":{dependencies:?}}}"#,
            story.number, story.title
        );
        StoryDocument {
            id: StoryId::new(&format!("US-{:03}", story.number)).expect("a plain id"),
            title: story.title.clone(),
            priority: story.priority.and_then(Priority::from_number).unwrap_or_default(),
            depends_on,
            claimed: story.claimed,
            files: Vec::new(),
            criteria: Vec::new(),
            description: String::new(),
            hash: join(&body.bytes().map(u64::from).collect::<Vec<_>>()),
            body,
        }
    };
    PrdDocument {
        key: draft.key.as_deref().map(|key| PrdKey::new(key).expect("a plain key")),
        title: draft.title.clone(),
        branch: draft.branch.as_deref().map(|name| BranchName::new(name).expect("a plain branch")),
        stories: draft.stories.iter().map(story).collect(),
        has_placeholders: draft.has_placeholders,
        ..PrdDocument::default()
    }
}

/// A PRD of a random shape. Stories depend on lower numbers only, but stand in the file in any order.
pub(crate) fn random(chance: &mut Chance, key: Option<String>) -> Draft {
    let most = if chance.thousandths(150) { 40 } else { 12 };
    let count = if chance.thousandths(30) { 0 } else { chance.between(1, most) as u32 };
    let shape = chance.below(4);
    let width = chance.between(1, 4) as u32;
    let mut stories: Vec<_> = (1..=count)
        .map(|number| DraftStory {
            number,
            title: format!("story {number}"),
            priority: chance.thousandths(500).then(|| chance.below(4) as f64),
            claimed: chance.thousandths(100),
            depends_on: dependencies(chance, shape, number, width),
        })
        .collect();
    if chance.thousandths(300) {
        shuffle(chance, &mut stories);
    }
    Draft {
        branch: chance.thousandths(200).then(|| "feature/shared".to_owned()),
        title: "simulated".into(),
        has_placeholders: chance.thousandths(50),
        key,
        stories,
    }
}

fn dependencies(chance: &mut Chance, shape: u64, number: u32, width: u32) -> Vec<u32> {
    let lower = 1..number;
    match shape {
        // A chain.
        0 => lower.rev().take(1).collect(),
        // Diamonds: one, then `width` that depend on it, then one that depends on them.
        1 => {
            let place = (number - 1) % (width + 1);
            if place == 0 { lower.rev().take(width as usize).collect() } else { vec![number - place] }
        }
        // Layers.
        2 => {
            let first = (number - 1) / width * width;
            (first.saturating_sub(width) + 1..=first).filter(|_| chance.thousandths(600)).collect()
        }
        // Independent, but for a few.
        _ => lower.filter(|_| chance.thousandths(20)).collect(),
    }
}

fn shuffle<T>(chance: &mut Chance, list: &mut [T]) {
    for at in (1..list.len()).rev() {
        list.swap(at, chance.below(at as u64 + 1) as usize);
    }
}

/// Somebody edits the file.
pub(crate) fn edit(chance: &mut Chance, draft: &mut Draft) {
    draft.has_placeholders = false;
    draft.stories.retain(|_| !chance.thousandths(50));
    let numbers: Vec<u32> = draft.stories.iter().map(|story| story.number).collect();
    for story in &mut draft.stories {
        story.depends_on.retain(|on| numbers.contains(on));
        if chance.thousandths(150) {
            story.title.push('!');
        }
        if chance.thousandths(100) {
            let (own, width) = (story.number, chance.between(1, 3) as usize);
            let mut on: Vec<u32> = numbers.iter().copied().filter(|n| *n < own).collect();
            shuffle(chance, &mut on);
            on.truncate(width);
            story.depends_on = on;
        }
    }
    let next = numbers.iter().max().copied().unwrap_or(0) + 1;
    for number in next..next + chance.below(3) as u32 {
        let on = chance.pick(&numbers).copied().into_iter().collect();
        let title = format!("story {number}, late");
        draft.stories.push(DraftStory { number, title, priority: None, claimed: false, depends_on: on });
    }
    if chance.thousandths(300) {
        shuffle(chance, &mut draft.stories);
    }
}

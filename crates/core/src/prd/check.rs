//! What can only be said of all stories together: ids that clash, dependencies that lead nowhere or round
//! in a circle. Knows the stories' names and edges; unaware of JSON.

use std::collections::BTreeMap;

use super::faults::{Faults, fault};
use super::story::Draft;
use crate::graph::Graph;
use crate::id::StoryId;
use crate::limits::{Limits, shorten};

/// Near names offered for one that is unknown.
const NEAR_NAMES_MAX: usize = 3;
/// Names compared in search of near ones, for the whole document: a second's worth in a debug build.
const COMPARISONS_MAX: usize = 1_000_000;
/// Cycles named. One edge may close many, and taking out a few edges opens them all.
const CYCLES_MAX: usize = 10;
/// Stories of a cycle that are printed; the middle of a longer one is counted.
const CYCLE_STORIES_MAX: usize = 20;

/// The ids and edges of stories that passed.
pub(super) struct Checked {
    pub(super) ids: Vec<StoryId>,
    /// Per story: indices of what it depends on, sorted, each once.
    pub(super) depends_on: Vec<Vec<u32>>,
}

/// The form in which an id stands in branch names and folders: lower case, and every run of other signs
/// than letters and digits one dash. Two ids with one form would share a branch.
pub fn branch_form(id: &str) -> String {
    let mut form = String::with_capacity(id.len());
    for c in id.chars() {
        if c.is_ascii_alphanumeric() {
            form.push(c.to_ascii_lowercase());
        } else if !form.is_empty() && !form.ends_with('-') {
            form.push('-');
        }
    }
    form.truncate(form.trim_end_matches('-').len());
    if form.is_empty() { id.to_ascii_lowercase() } else { form }
}

/// Checks the stories against each other. The answer is of use only when `faults` stayed as it was.
pub(super) fn check(drafts: &[Draft<'_>], limits: &Limits, faults: &mut Faults) -> Checked {
    let ids = check_ids(drafts, faults);
    let mut edge_faults = Faults::default();
    let depends_on = check_edges(drafts, limits, &mut edge_faults);
    faults.absorb(edge_faults);
    let edges: Vec<(u32, u32)> =
        (0_u32..).zip(&depends_on).flat_map(|(node, on)| on.iter().map(move |&on| (node, on))).collect();
    if !edges.is_empty() {
        let mut cycle_faults = Faults::default();
        for cycle in Graph::build(drafts.len(), &edges).cycles(CYCLES_MAX) {
            refuse_cycle(drafts, &cycle, &mut cycle_faults);
        }
        faults.absorb(cycle_faults);
    }
    Checked { ids, depends_on }
}

fn check_ids(drafts: &[Draft<'_>], faults: &mut Faults) -> Vec<StoryId> {
    let generated = drafts.iter().all(|draft| draft.id.is_none() && !draft.id_refused);
    let mut found = Faults::default();
    let mut ids = Vec::with_capacity(drafts.len());
    // A tree, not a hash: no choice of ids makes it slow.
    let mut forms: BTreeMap<String, usize> = BTreeMap::new();
    for (index, draft) in drafts.iter().enumerate() {
        let text = match &draft.id {
            Some(text) => text.clone(),
            None if generated => format!("US-{:03}", index + 1),
            None if draft.id_refused => continue,
            None => {
                draft.spot.push(&mut found, "", |path| {
                    fault(path, "missing-id", "this story has no id, and others in the file have one")
                        .with_hint("give it an \"id\"")
                });
                continue;
            }
        };
        match StoryId::new(&text) {
            Ok(id) => {
                if let Some(&first) = forms.get(&branch_form(&text)) {
                    refuse_clash(&drafts[first], draft, &mut found);
                } else {
                    forms.insert(branch_form(&text), index);
                }
                ids.push(id);
            }
            Err(error) => draft.spot.push(&mut found, "id", |path| fault(path, "bad-id", error.to_string())),
        }
    }
    faults.absorb(found);
    ids
}

fn refuse_clash(first: &Draft<'_>, second: &Draft<'_>, faults: &mut Faults) {
    let (Some(a), Some(b)) = (&first.id, &second.id) else { return };
    let (rule, how) = if a == b {
        ("duplicate-id", "twice")
    } else if a.eq_ignore_ascii_case(b) {
        ("ids-differ-by-case", "as two ids that differ only by case")
    } else {
        ("ids-share-a-branch", "as two ids that would share a branch name")
    };
    second.spot.push(faults, "id", |path| {
        fault(
            path,
            rule,
            format!("{a:?} at {} and {b:?} here: the file names them {how}", first.spot.path("id")),
        )
        .with_hint("rename one of the two, and see which of them its dependants mean")
    });
}

fn check_edges(drafts: &[Draft<'_>], limits: &Limits, faults: &mut Faults) -> Vec<Vec<u32>> {
    let edges: usize = drafts.iter().map(|draft| draft.on.len()).sum();
    if edges > limits.dependencies_max {
        faults.push(|| {
            let message = format!("{edges} dependencies, and {} are the most", limits.dependencies_max);
            (Some(0), fault("", "too-many-dependencies", message))
        });
        return Vec::new();
    }
    let mut by_id: BTreeMap<&str, u32> = BTreeMap::new();
    for (index, draft) in (0_u32..).zip(drafts) {
        if let Some(id) = draft.id.as_deref() {
            by_id.entry(id).or_insert(index);
        }
    }
    // While the ids of some stories cannot be read, a name that is not found is not unknown yet.
    let all_known = drafts.iter().all(|draft| !draft.id_refused);
    let mut comparisons = COMPARISONS_MAX;
    let resolve = |(index, draft): (u32, &Draft<'_>)| {
        let mut on = Vec::with_capacity(draft.on.len());
        for named in &draft.on {
            let below = || format!("{}[{}]", named.key, named.index);
            match by_id.get(named.id.as_ref()) {
                Some(&found) if found == index => draft.spot.push(faults, &below(), |path| {
                    fault(path, "self-dependency", format!("{:?} depends on itself", named.id))
                }),
                Some(&found) => on.push(found),
                None if !all_known => {}
                None => draft.spot.push(faults, &below(), |path| {
                    let near = near_names(&named.id, drafts, index, &mut comparisons);
                    let message = format!("no story is called {:?}", shorten(&named.id, 80));
                    let fault = fault(path, "unknown-dependency", message);
                    if near.is_empty() {
                        return fault;
                    }
                    fault.with_hint(format!("did you mean {}?", near.join(", ")))
                }),
            }
        }
        on.sort_unstable();
        on.dedup();
        on
    };
    (0_u32..).zip(drafts).map(resolve).collect()
}

/// Up to three ids that differ from `name` in at most a third of its letters, nearest first, never the story's own.
fn near_names<'d>(name: &str, drafts: &'d [Draft<'_>], own: u32, comparisons: &mut usize) -> Vec<&'d str> {
    let far = (name.chars().count() / 3).max(1);
    let mut near: Vec<(usize, &str)> = Vec::new();
    let others = (0_u32..).zip(drafts).filter(|(index, _)| *index != own);
    for id in others.filter_map(|(_, draft)| draft.id.as_deref()) {
        if name.len().abs_diff(id.len()) > far || name.len() > crate::id::ID_BYTES_MAX {
            continue;
        }
        if *comparisons == 0 {
            break;
        }
        *comparisons -= 1;
        let distance = strsim::osa_distance(&name.to_ascii_lowercase(), &id.to_ascii_lowercase());
        if distance <= far {
            // Kept short as it grows; equal distances stay in file order.
            let at = near.partition_point(|(d, _)| *d <= distance);
            near.insert(at, (distance, id));
            near.truncate(NEAR_NAMES_MAX);
        }
    }
    near.into_iter().map(|(_, id)| id).collect()
}

fn refuse_cycle(drafts: &[Draft<'_>], cycle: &[u32], faults: &mut Faults) {
    let name = |index: u32| drafts[index as usize].id.as_deref().unwrap_or("?");
    let Some(first) = cycle.first().map(|&index| &drafts[index as usize]) else { return };
    let names = if cycle.len() <= CYCLE_STORIES_MAX {
        cycle.iter().map(|&index| name(index).to_owned()).collect::<Vec<_>>()
    } else {
        let (head, tail) = (&cycle[..CYCLE_STORIES_MAX / 2], &cycle[cycle.len() - CYCLE_STORIES_MAX / 2..]);
        let between = format!("({} more)", cycle.len() - CYCLE_STORIES_MAX);
        let names = |part: &[u32]| part.iter().map(|&index| name(index).to_owned()).collect::<Vec<_>>();
        [names(head), vec![between], names(tail)].concat()
    };
    first.spot.push(faults, "", |path| {
        fault(path, "cycle", format!("these depend on each other in a circle: {}", names.join(" -> ")))
            .with_hint("take one of these dependencies out")
    });
}

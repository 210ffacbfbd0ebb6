//! What a document says of itself outside its stories: title, branch, id. Knows the members' names and the
//! protected branches; unaware of the list.

use super::Manifest;
use super::faults::{Faults, fault};
use super::find::{Found, refuse_repeated, whole};
use super::json::{Node, join_key, walk};
use super::outline::{NESTED_KEY, member_offset};
use super::story::{Object, Spot};
use crate::id::{BranchName, PrdKey};
use crate::limits::shorten;

/// Members of the document that mean something to us; the rest is kept in the shell only.
const HEAD_KEYS: [&str; 10] =
    ["title", "project", "name", "projectName", "description", "branchName", "id", "prdId", "tags", "owner"];

/// Branches that no PRD may land on by its own word, in any case of letters.
const PROTECTED_BRANCHES: [&str; 5] = ["main", "master", "trunk", "develop", "head"];

#[derive(Default)]
pub(super) struct Head {
    pub(super) key: Option<PrdKey>,
    pub(super) title: Option<String>,
    pub(super) description: Option<String>,
    pub(super) branch: Option<(String, String, usize)>,
    pub(super) tags: Vec<String>,
    pub(super) owner: Option<String>,
}

/// Goes through every member round the list, and takes what the head needs from the innermost object that
/// has it.
pub(super) fn read_heads(text: &str, found: &Found<'_>, faults: &mut Faults) -> Head {
    let mut head = Head::default();
    for (path, part, raw_members) in &found.heads {
        let spot = whole(path, part, text);
        let mut kept = Vec::new();
        for (key, member) in raw_members {
            // The list's entries and the inner document are gone through on their own.
            let own = found.list.as_ptr() == member.raw.as_ptr();
            let inner = path.is_empty() && key == NESTED_KEY && found.heads.len() > 1;
            if own || inner {
                continue;
            }
            let mut below = (*path).to_owned();
            join_key(&mut below, key);
            let wanted = HEAD_KEYS.contains(&key.as_ref());
            let mut repeated = Vec::new();
            let result = walk(member.raw, if wanted { None } else { Some(&[]) }, &mut repeated);
            let place = Spot { prefix: &below, index: None, ..whole("", member.raw, text) };
            refuse_repeated(place, repeated, faults);
            match result {
                Ok(node) if wanted => kept.push((key.clone(), node)),
                Ok(_) => {}
                Err(syntax) => place.push_syntax(faults, syntax),
            }
        }
        take_head(&mut head, Object { spot, members: kept, faults });
    }
    head
}

fn take_head(head: &mut Head, mut object: Object<'_, '_>) {
    let title = object.first_text(&["title", "project", "name", "projectName"]);
    head.title = head.title.take().or(title);
    let description = object.text("description");
    head.description = head.description.take().or(description);
    if let Some(branch) = object.text("branchName").filter(|_| head.branch.is_none()) {
        let at = member_offset(object.spot.text, "branchName");
        head.branch = Some((branch, object.spot.path("branchName"), object.spot.offset + at));
    }
    // Other programs use these keys for things of their own: what does not fit is not ours.
    for key in ["id", "prdId"] {
        if let Some(Node::Text(id)) = object.take(key) {
            head.key = head.key.take().or_else(|| PrdKey::new(&id).ok());
        }
    }
    if let Some(Node::List(tags)) = object.take("tags")
        && head.tags.is_empty()
    {
        head.tags = tags
            .into_iter()
            .filter_map(|tag| if let Node::Text(tag) = tag { Some(tag.into_owned()) } else { None })
            .collect();
    }
    if let Some(Node::Text(owner)) = object.take("owner") {
        head.owner = head.owner.take().or_else(|| Some(owner.into_owned()));
    }
}

/// What the document leaves open, its manifest may say.
pub(super) fn fill_from(head: &mut Head, manifest: &Manifest) {
    let said = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
    head.title = head.title.take().or_else(|| said(&manifest.title));
    head.description = head.description.take().or_else(|| said(&manifest.description));
    head.owner = head.owner.take().or_else(|| said(&manifest.owner));
    if head.tags.is_empty() {
        head.tags.clone_from(&manifest.tags);
    }
}

/// The manifest's id is there for nothing else, so a bad one is a fault.
pub(super) fn check_key(
    manifest: Option<&Manifest>,
    own: Option<PrdKey>,
    faults: &mut Faults,
) -> Option<PrdKey> {
    match manifest.and_then(|manifest| manifest.id.as_deref()).map(PrdKey::new) {
        None => own,
        Some(Ok(key)) => Some(key),
        Some(Err(error)) => {
            faults.push(|| (None, fault("MANIFEST.id", "bad-id", error.to_string())));
            None
        }
    }
}

pub(super) fn check_branch(
    own: Option<(String, String, usize)>,
    manifest: Option<&Manifest>,
    faults: &mut Faults,
) -> Option<BranchName> {
    let (name, path, offset) = match own {
        Some((name, path, offset)) => (name, path, Some(offset)),
        None => (manifest?.branch_name.clone()?, "MANIFEST.branch_name".to_owned(), None),
    };
    let short = name.trim().to_ascii_lowercase();
    let short = short.strip_prefix("refs/heads/").unwrap_or(&short);
    // Attempts have theirs below it.
    let is_ours = short == "ropewalk" || short.starts_with("ropewalk/");
    if is_ours || PROTECTED_BRANCHES.contains(&short) {
        faults.push(|| {
            let message =
                format!("{:?} is protected: a PRD does not choose it by itself", shorten(&name, 80));
            (
                offset,
                fault(path, "protected-branch", message)
                    .with_hint("name a branch of its own, such as feature/…"),
            )
        });
        return None;
    }
    match BranchName::new(&name) {
        Ok(branch) => Some(branch),
        Err(error) => {
            faults.push(|| (offset, fault(path, "bad-branch", error.to_string())));
            None
        }
    }
}

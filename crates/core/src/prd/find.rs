//! Where the stories of a file stand. Knows the shapes of whole files: a list, an object with a list, an
//! object below `prd`; unaware of what stories hold.

use super::faults::{Faults, fault};
use super::json::{Repeated, SyntaxFault, offset_of, walk};
use super::outline::{LIST_KEYS, NESTED_KEY, RawMembers, members};
use super::story::Spot;
use crate::limits::shorten;

/// Keys listed when a file has no story list: enough to recognize the wrong file.
const KEYS_SHOWN_MAX: usize = 12;

/// Where the stories are: the document's members, and the list among or below them.
pub(super) struct Found<'a> {
    /// Objects to take the head's members from, the innermost first, with the path of each.
    pub(super) heads: Vec<(&'static str, &'a str, RawMembers<'a>)>,
    pub(super) list_path: String,
    pub(super) list: &'a str,
    /// Keys beside it that could be the story list as well.
    pub(super) passed_over: Vec<&'static str>,
}

/// The spot of a whole part of the file.
pub(super) fn whole<'a>(prefix: &'a str, part: &'a str, text: &str) -> Spot<'a> {
    Spot { prefix, index: None, text: part, offset: offset_of(text, part) }
}

pub(super) fn refuse_syntax(prefix: &str, part: &str, text: &str, syntax: SyntaxFault, faults: &mut Faults) {
    whole(prefix, part, text).push_syntax(faults, syntax);
}

pub(super) fn refuse_repeated(spot: Spot<'_>, repeated: Vec<Repeated>, faults: &mut Faults) {
    for Repeated { path, key } in repeated {
        spot.push(faults, &path, |path| {
            fault(
                path,
                "duplicate-key",
                format!("the key {:?} stands twice in one object", shorten(&key, 80)),
            )
        });
    }
}

/// Finds the story list: the file itself, below one of [`LIST_KEYS`], or there below `prd`.
pub(super) fn find_list<'a>(text: &'a str, faults: &mut Faults) -> Option<Found<'a>> {
    // The cut text has no white space round it, so that offsets of parts are those of their first sign.
    let body = text.trim_matches([' ', '\t', '\r', '\n']);
    if body.starts_with('[') {
        return Some(Found {
            heads: Vec::new(),
            list_path: String::new(),
            list: body,
            passed_over: Vec::new(),
        });
    }
    let top = open_object("", body, text, faults)?;
    let Some(top) = top else {
        match walk(body, Some(&[]), &mut Vec::new()) {
            Err(syntax) => refuse_syntax("", body, text, syntax, faults),
            Ok(node) => whole("", body, text).push(faults, "", |path| {
                fault(
                    path,
                    "wrong-type",
                    format!("expected an object or an array of stories, found {}", node.kind()),
                )
            }),
        }
        return None;
    };
    if let Some((key, list)) = list_of(&top) {
        let passed_over = passed_over(&top, key);
        return Some(Found { list_path: key.to_owned(), list, heads: vec![("", body, top)], passed_over });
    }
    let nested = top.iter().find(|(key, _)| key == NESTED_KEY).map(|(_, member)| member.raw);
    if let Some(nested) = nested
        && let Some(inner) = open_object(NESTED_KEY, nested, text, faults)?
        && let Some((key, list)) = list_of(&inner)
    {
        let passed_over = passed_over(&inner, key);
        let heads = vec![(NESTED_KEY, nested, inner), ("", body, top)];
        return Some(Found { list_path: format!("{NESTED_KEY}.{key}"), list, heads, passed_over });
    }
    if let Some((key, member)) = top.iter().find(|(key, _)| LIST_KEYS.contains(&key.as_ref())) {
        let kind = walk(member.raw, Some(&[]), &mut Vec::new()).map_or("something else", |node| node.kind());
        whole("", body, text).push(faults, key, |path| {
            fault(path, "wrong-type", format!("expected an array of stories, found {kind}"))
        });
        return None;
    }
    whole("", body, text).push(faults, "", |path| {
        let shown: Vec<String> = top.iter().take(KEYS_SHOWN_MAX).map(|(key, _)| shorten(key, 40)).collect();
        let found = if shown.is_empty() { "no keys at all".to_owned() } else { shown.join(", ") };
        fault(path, "no-story-list", format!("there is no story list; the file has {found}"))
            .with_hint(format!("stories stand below one of {}", LIST_KEYS.join(", ")))
    });
    None
}

/// The members of an object; `None` after a syntax fault, `Some(None)` where it is no object.
fn open_object<'a>(
    path: &str,
    part: &'a str,
    text: &str,
    faults: &mut Faults,
) -> Option<Option<RawMembers<'a>>> {
    let mut repeated = Vec::new();
    match members(part, &mut repeated) {
        Ok(members) => {
            refuse_repeated(whole(path, part, text), repeated, faults);
            Some(members)
        }
        Err(syntax) => {
            refuse_syntax(path, part, text, syntax, faults);
            None
        }
    }
}

fn list_of<'a>(members: &RawMembers<'a>) -> Option<(&'static str, &'a str)> {
    LIST_KEYS.into_iter().find_map(|list_key| {
        members
            .iter()
            .find(|(key, member)| key == list_key && member.raw.starts_with('['))
            .map(|(_, m)| (list_key, m.raw))
    })
}

/// Other lists of objects under a key that stories may stand under: one of them may be meant.
fn passed_over(members: &RawMembers<'_>, taken: &str) -> Vec<&'static str> {
    let holds_objects =
        |raw: &str| raw.strip_prefix('[').is_some_and(|rest| rest.trim_start().starts_with('{'));
    let is_list = |key: &&str| members.iter().any(|(name, member)| name == *key && holds_objects(member.raw));
    LIST_KEYS.into_iter().filter(|key| *key != taken).filter(is_list).collect()
}

//! The outline of a PRD file: its members, and the raw text of each entry of its story list. Knows where
//! story lists are found; unaware of what an entry means.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::json::{
    MEMBERS_MAX, Repeated, SyntaxFault, TOO_MANY_VALUES, join_key, offset_of, repeated_keys, syntax_fault,
};

/// Keys that hold a story list, the likeliest first: a file with several has its stories below the first.
pub(super) const LIST_KEYS: [&str; 4] = ["userStories", "stories", "tasks", "items"];

/// The key of an object that holds the document.
pub(super) const NESTED_KEY: &str = "prd";

/// One member of an object as it stands in the text: key, raw key (for its place), raw value.
pub(super) struct RawMember<'a> {
    pub(super) raw_key: &'a str,
    pub(super) raw: &'a str,
}

pub(super) type RawMembers<'a> = Vec<(Cow<'a, str>, RawMember<'a>)>;

/// The members of an object in file order, values unread. `Ok(None)` when the text is not an object.
/// Nesting inside the values is not limited here: they are skipped without recursion.
pub(super) fn members<'a>(
    text: &'a str,
    repeated: &mut Vec<Repeated>,
) -> Result<Option<RawMembers<'a>>, SyntaxFault> {
    if !text.trim_start().starts_with('{') {
        return Ok(None);
    }
    let mut from = serde_json::Deserializer::from_str(text);
    let members = Members
        .deserialize(&mut from)
        .and_then(|members| from.end().map(|()| members))
        .map_err(|error| syntax_fault(text, String::new(), &error))?;
    for key in repeated_keys(&members) {
        let mut path = String::new();
        join_key(&mut path, key);
        repeated.push(Repeated { path, key: key.to_owned() });
    }
    Ok(Some(members))
}

/// The raw text of each entry of an array, the first `entries_max` of them, and how many there are in all.
/// The text is known to be an array.
pub(super) fn entries(text: &str, entries_max: usize) -> Result<(Vec<&str>, usize), SyntaxFault> {
    let mut from = serde_json::Deserializer::from_str(text);
    Entries { entries_max }
        .deserialize(&mut from)
        .and_then(|entries| from.end().map(|()| entries))
        .map_err(|error| syntax_fault(text, String::new(), &error))
}

/// Where the member `key` begins within an object's text; 0 when it has none such or cannot be read.
/// Only faults ask, so reading the object once more costs nothing that counts.
pub(super) fn member_offset(text: &str, key: &str) -> usize {
    match members(text, &mut Vec::new()) {
        Ok(Some(members)) => {
            members.iter().find(|(k, _)| k == key).map_or(0, |(_, member)| offset_of(text, member.raw_key))
        }
        Ok(None) | Err(_) => 0,
    }
}

struct Members;

impl<'a> DeserializeSeed<'a> for Members {
    type Value = RawMembers<'a>;
    fn deserialize<D: serde::Deserializer<'a>>(self, from: D) -> Result<RawMembers<'a>, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for Members {
    type Value = RawMembers<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut from: A) -> Result<RawMembers<'a>, A::Error> {
        let mut members = Vec::new();
        while let Some((raw_key, raw)) = from.next_entry::<&RawValue, &RawValue>()? {
            if members.len() >= MEMBERS_MAX {
                return Err(A::Error::custom(TOO_MANY_VALUES));
            }
            let raw_key = raw_key.get();
            members.push((unquote(raw_key), RawMember { raw_key, raw: raw.get() }));
        }
        Ok(members)
    }
}

/// The text of a raw key. One that cannot be read stays as it is: whoever walks the object refuses it.
fn unquote(raw: &str) -> Cow<'_, str> {
    match raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(plain) if !plain.contains('\\') => Cow::Borrowed(plain),
        _ => serde_json::from_str::<String>(raw).map_or(Cow::Borrowed(raw), Cow::Owned),
    }
}

struct Entries {
    entries_max: usize,
}

impl<'a> DeserializeSeed<'a> for Entries {
    type Value = (Vec<&'a str>, usize);
    fn deserialize<D: serde::Deserializer<'a>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'a> Visitor<'a> for Entries {
    type Value = (Vec<&'a str>, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while entries.len() < self.entries_max {
            match from.next_element::<&RawValue>()? {
                Some(raw) => entries.push(raw.get()),
                None => {
                    let count = entries.len();
                    return Ok((entries, count));
                }
            }
        }
        let mut count = entries.len();
        while from.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok((entries, count))
    }
}

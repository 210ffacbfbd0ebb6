//! JSON as PRD files hold it. Knows syntax, depth, repeated keys and where in the text a value stands;
//! unaware of stories.
//!
//! Two views of one text. `outline.rs` cuts the document into its members and its list into the raw text of
//! each element, without building anything of them: 100,000 stories cost 16 bytes each. [`walk`] then takes
//! one such text at a time into [`Node`]s, keeping only the members that somebody asked for; the rest is
//! checked and dropped, so that a hostile member cannot cost many times its own size in memory.
//!
//! A `serde_json::Value` of the whole file was rejected: it forgets repeated keys, the text of numbers and
//! every position.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq, Serializer};

/// Members of one object. Each costs 56 bytes until the object ends; real objects have some dozens.
pub(super) const MEMBERS_MAX: usize = 1_000_000;

/// Values kept of one text. Above the two million dependencies that one story might name.
const NODES_MAX: usize = 2_500_000;

/// Repeated keys that are noted down for one text: more are shown to nobody.
const REPEATED_MAX: usize = 100;

/// A value that somebody asked for, borrowing from the text where nothing was escaped.
#[derive(Debug)]
pub(super) enum Node<'a> {
    Null,
    Bool(bool),
    Whole(i128),
    Fraction(f64),
    Text(Cow<'a, str>),
    List(Vec<Node<'a>>),
    Map(Vec<Member<'a>>),
    /// Nobody asked for it; its syntax was checked.
    Dropped,
}

pub(super) type Member<'a> = (Cow<'a, str>, Node<'a>);

impl Node<'_> {
    /// What a fault calls it: "a string", "an array" …
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Node::Null => "null",
            Node::Bool(_) => "a boolean",
            Node::Whole(_) => "a whole number",
            Node::Fraction(_) => "a fraction",
            Node::Text(_) => "a string",
            Node::List(_) => "an array",
            Node::Map(_) => "an object",
            Node::Dropped => "a value",
        }
    }
}

impl Serialize for Node<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Node::Null | Node::Dropped => to.serialize_unit(),
            Node::Bool(yes) => to.serialize_bool(*yes),
            Node::Whole(number) => to.serialize_i128(*number),
            Node::Fraction(number) => to.serialize_f64(*number),
            Node::Text(text) => to.serialize_str(text),
            Node::List(nodes) => {
                let mut list = to.serialize_seq(Some(nodes.len()))?;
                nodes.iter().try_for_each(|node| list.serialize_element(node))?;
                list.end()
            }
            Node::Map(members) => {
                let mut map = to.serialize_map(Some(members.len()))?;
                members.iter().try_for_each(|(key, node)| map.serialize_entry(key, node))?;
                map.end()
            }
        }
    }
}

/// The first thing in a text that is not JSON as we read it.
#[derive(Debug)]
pub(super) struct SyntaxFault {
    /// Byte offset within the text that was read.
    pub(super) offset: usize,
    /// Path of the value it is in, from that text's own root.
    pub(super) path: String,
    pub(super) rule: &'static str,
    pub(super) message: String,
    pub(super) hint: Option<&'static str>,
}

/// A key that its object holds more than once.
#[derive(Debug)]
pub(super) struct Repeated {
    /// Path of the member, from the text's own root.
    pub(super) path: String,
    pub(super) key: String,
}

/// Reads one text to its end, keeping the values of the `wanted` members and of everything below them, or
/// all there is where `wanted` is `None`. Of a text that is not an object, `Some` keeps only the kind.
pub(super) fn walk<'a>(
    text: &'a str,
    wanted: Option<&[&str]>,
    repeated: &mut Vec<Repeated>,
) -> Result<Node<'a>, SyntaxFault> {
    let mut from = serde_json::Deserializer::from_str(text);
    let mut state = Walk { path: Vec::new(), repeated, kept: 0 };
    let result = Seed { walk: &mut state, keep: wanted.is_none(), wanted }.deserialize(&mut from);
    let path = write_path(&state.path);
    result.and_then(|node| from.end().map(|()| node)).map_err(|error| syntax_fault(text, path, &error))
}

enum Step<'a> {
    Key(Cow<'a, str>),
    Index(usize),
}

fn write_path(steps: &[Step<'_>]) -> String {
    let mut path = String::new();
    for step in steps {
        match step {
            Step::Key(key) => join_key(&mut path, key),
            Step::Index(index) => path.push_str(&format!("[{index}]")),
        }
    }
    path
}

/// Appends `.key`; keys that would not read as one word are quoted and escaped, and long ones cut.
pub(super) fn join_key(path: &mut String, key: &str) {
    if key.len() <= 64
        && !key.is_empty()
        && key.chars().all(|c| c.is_ascii_alphanumeric() || "_-$".contains(c))
    {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(key);
    } else {
        path.push_str(&format!("[{:?}]", key.chars().take(64).collect::<String>()));
    }
}

struct Walk<'a, 'w> {
    path: Vec<Step<'a>>,
    repeated: &'w mut Vec<Repeated>,
    kept: usize,
}

struct Seed<'a, 'w, 's, 'k> {
    walk: &'s mut Walk<'a, 'w>,
    keep: bool,
    /// At the root only: which members to keep.
    wanted: Option<&'k [&'k str]>,
}

impl<'a> DeserializeSeed<'a> for Seed<'a, '_, '_, '_> {
    type Value = Node<'a>;
    fn deserialize<D: serde::Deserializer<'a>>(self, from: D) -> Result<Node<'a>, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Seed<'a, '_, '_, '_> {
    type Value = Node<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Node<'a>, E> {
        Ok(Node::Null)
    }
    fn visit_bool<E>(self, yes: bool) -> Result<Node<'a>, E> {
        Ok(Node::Bool(yes))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Node<'a>, E> {
        Ok(Node::Whole(number.into()))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Node<'a>, E> {
        Ok(Node::Whole(number.into()))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Node<'a>, E> {
        Ok(Node::Fraction(number))
    }
    fn visit_borrowed_str<E>(self, text: &'a str) -> Result<Node<'a>, E> {
        Ok(Node::Text(Cow::Borrowed(text)))
    }
    fn visit_str<E>(self, text: &str) -> Result<Node<'a>, E> {
        // At the root only the kind matters, so a dropped text may be empty.
        Ok(Node::Text(if self.keep { Cow::Owned(text.to_owned()) } else { Cow::Borrowed("") }))
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut from: A) -> Result<Node<'a>, A::Error> {
        let mut nodes = Vec::new();
        for index in 0.. {
            self.walk.path.push(Step::Index(index));
            let Some(node) =
                from.next_element_seed(Seed { walk: self.walk, keep: self.keep, wanted: None })?
            else {
                break;
            };
            self.walk.path.pop();
            if self.keep {
                self.walk.kept += 1;
                if self.walk.kept > NODES_MAX {
                    return Err(A::Error::custom(TOO_MANY_VALUES));
                }
                nodes.push(node);
            }
        }
        self.walk.path.pop();
        Ok(Node::List(nodes))
    }

    fn visit_map<A: MapAccess<'a>>(self, mut from: A) -> Result<Node<'a>, A::Error> {
        let mut members: Vec<Member<'a>> = Vec::new();
        while let Some(key) = from.next_key_seed(Key)? {
            let keep = self.wanted.map_or(self.keep, |wanted| wanted.contains(&key.as_ref()));
            self.walk.path.push(Step::Key(key.clone()));
            let value = from.next_value_seed(Seed { walk: self.walk, keep, wanted: None })?;
            self.walk.path.pop();
            self.walk.kept += usize::from(keep);
            if self.walk.kept > NODES_MAX || members.len() >= MEMBERS_MAX {
                return Err(A::Error::custom(TOO_MANY_VALUES));
            }
            members.push((key, if keep { value } else { Node::Dropped }));
        }
        for key in repeated_keys(&members) {
            if self.walk.repeated.len() < REPEATED_MAX {
                let mut path = write_path(&self.walk.path);
                join_key(&mut path, key);
                self.walk.repeated.push(Repeated { path, key: key.to_owned() });
            }
        }
        Ok(Node::Map(members))
    }
}

pub(super) const TOO_MANY_VALUES: &str = "more values than one part of a PRD may hold";

struct Key;

impl<'a> DeserializeSeed<'a> for Key {
    type Value = Cow<'a, str>;
    fn deserialize<D: serde::Deserializer<'a>>(self, from: D) -> Result<Cow<'a, str>, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'a> Visitor<'a> for Key {
    type Value = Cow<'a, str>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_borrowed_str<E>(self, text: &'a str) -> Result<Cow<'a, str>, E> {
        Ok(Cow::Borrowed(text))
    }
    fn visit_str<E>(self, text: &str) -> Result<Cow<'a, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// The keys that stand more than once. Sorting, not hashing: no choice of keys makes it quadratic, and the
/// few members of a usual object are compared in place.
pub(super) fn repeated_keys<'k, T>(members: &'k [(Cow<'_, str>, T)]) -> Vec<&'k str> {
    const COMPARED_IN_PLACE_MAX: usize = 16;
    let key = |index: usize| members[index].0.as_ref();
    if members.len() <= COMPARED_IN_PLACE_MAX {
        return (1..members.len()).filter(|&i| (0..i).any(|j| key(i) == key(j))).map(key).collect();
    }
    let mut keys: Vec<&str> = members.iter().map(|(key, _)| key.as_ref()).collect();
    keys.sort_unstable();
    keys.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[1]).collect()
}

/// Turns the JSON reader's complaint into ours: its line and column into an offset, its words into a rule.
pub(super) fn syntax_fault(text: &str, path: String, error: &serde_json::Error) -> SyntaxFault {
    let offset = offset_at(text, error.line(), error.column());
    let full = error.to_string();
    let words = full.split(" at line ").next().unwrap_or_default();
    let (rule, message, hint) = match words {
        "recursion limit exceeded" => {
            ("too-deep", "the JSON is nested deeper than 128 levels".to_owned(), None)
        }
        "trailing characters" => {
            ("data-after-document", "there is more text after the end of the document".to_owned(), None)
        }
        "number out of range" => {
            ("number-out-of-range", "a number here is too large for any computer number".to_owned(), None)
        }
        "lone leading surrogate in hex escape" | "unexpected end of hex escape" => (
            "lone-surrogate",
            "half of a surrogate pair is escaped here, which stands for no character".to_owned(),
            Some("write the character itself, or both halves of its pair"),
        ),
        TOO_MANY_VALUES => ("too-many-values", TOO_MANY_VALUES.to_owned(), None),
        _ if error.is_eof() => {
            ("truncated", format!("the file ends too early: {words}"), Some("the file may have been cut off"))
        }
        _ => ("malformed-json", format!("this is not JSON: {words}"), malformed_hint(text, offset)),
    };
    SyntaxFault { offset, path, rule, message, hint }
}

fn malformed_hint(text: &str, offset: usize) -> Option<&'static str> {
    let (before, here) = (text[..offset].trim_end(), &text.as_bytes()[offset..]);
    match here {
        [b']' | b'}', ..] if before.ends_with(',') => Some("JSON allows no comma before a closing bracket"),
        [b'/' | b'#', ..] => Some("JSON allows no comments"),
        [b'\'', ..] => Some("JSON strings stand in double quotes"),
        [b'N' | b'I', ..] => Some("JSON knows no NaN and no Infinity; write null or leave the member out"),
        _ => None,
    }
}

/// The byte offset of a line and column as serde_json counts them: lines from 1, columns in bytes from 1,
/// and column 0 for the line feed before.
fn offset_at(text: &str, line: usize, column: usize) -> usize {
    let before = line.saturating_sub(1);
    let start = match before {
        0 => 0,
        n => text
            .bytes()
            .enumerate()
            .filter(|(_, b)| *b == b'\n')
            .nth(n - 1)
            .map_or(text.len(), |(i, _)| i + 1),
    };
    text.floor_char_boundary(start + column.saturating_sub(1))
}

/// Where a piece borrowed from a text begins in it, in bytes.
pub(super) fn offset_of(text: &str, piece: &str) -> usize {
    piece.as_ptr().addr().saturating_sub(text.as_ptr().addr()).min(text.len())
}

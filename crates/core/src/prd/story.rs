//! One object of a PRD read by its known members: types, words and ranges. Knows what each member may hold;
//! unaware of the other stories (see `check.rs`).

use std::borrow::Cow;

use super::Fault;
use super::faults::{Faults, fault};
use super::json::{Member, Node, SyntaxFault};
use super::outline::member_offset;
use crate::limits::shorten;
use crate::priority::{PRIORITY_ABS_MAX, Priority};

/// Members of a story that mean something to us. All others are kept in its text only.
pub(super) const STORY_KEYS: [&str; 17] = [
    "id",
    "title",
    "name",
    "description",
    "priority",
    "passes",
    "complete",
    "status",
    "dependencies",
    "dependsOn",
    "blockedBy",
    "fileScope",
    "acceptanceCriteria",
    "acceptance_criteria",
    "steps",
    "estimatedComplexity",
    "suggestedModel",
];

const DEPENDENCY_KEYS: [&str; 3] = ["dependencies", "dependsOn", "blockedBy"];
pub(super) const CRITERIA_KEYS: [&str; 3] = ["acceptanceCriteria", "acceptance_criteria", "steps"];
/// Where a criterion that is an object keeps its statement.
pub(super) const CRITERION_KEYS: [&str; 5] = ["text", "description", "criterion", "title", "name"];

/// The longest title made of a description, in characters: one line of a terminal.
const TITLE_CHARS_MAX: usize = 120;

/// A story as far as it can be understood alone.
pub(super) struct Draft<'a> {
    pub(super) spot: Spot<'a>,
    /// As written; also kept when it is no valid id, so that what names it is not called unknown as well.
    pub(super) id: Option<String>,
    /// There is an id that cannot be read, which was said already.
    pub(super) id_refused: bool,
    pub(super) title: Option<String>,
    pub(super) description: String,
    pub(super) priority: Priority,
    pub(super) claimed: bool,
    pub(super) on: Vec<Named<'a>>,
    pub(super) files: Vec<String>,
    pub(super) criteria: Vec<String>,
}

impl<'a> Draft<'a> {
    /// A story that cannot be read: it holds its place, so that the others can be checked.
    pub(super) fn unreadable(spot: Spot<'a>) -> Draft<'a> {
        Draft {
            spot,
            id: None,
            id_refused: true,
            title: None,
            description: String::new(),
            priority: Priority::ABSENT,
            claimed: false,
            on: Vec::new(),
            files: Vec::new(),
            criteria: Vec::new(),
        }
    }
}

/// A dependency by name, and which entry of which member it is.
pub(super) struct Named<'a> {
    pub(super) id: Cow<'a, str>,
    pub(super) key: &'static str,
    pub(super) index: u32,
}

/// An object's place: how its path begins, its text, and where that begins in the file.
#[derive(Clone, Copy)]
pub(super) struct Spot<'a> {
    pub(super) prefix: &'a str,
    pub(super) index: Option<u32>,
    pub(super) text: &'a str,
    pub(super) offset: usize,
}

impl Spot<'_> {
    /// The path of the object, or of what is below it (`id`, `dependencies[0]`, or nothing).
    pub(super) fn path(&self, below: &str) -> String {
        let mut path = self.prefix.to_owned();
        if let Some(index) = self.index {
            path.push_str(&format!("[{index}]"));
        }
        if !path.is_empty() && !below.is_empty() && !below.starts_with('[') {
            path.push('.');
        }
        path + below
    }

    /// Notes a fault at a member, with the place of the member.
    pub(super) fn push(&self, faults: &mut Faults, below: &str, make: impl FnOnce(String) -> Fault) {
        faults.push(|| {
            let key = below.split(['[', '.']).next().unwrap_or_default();
            let inside = if key.is_empty() { 0 } else { member_offset(self.text, key) };
            (Some(self.offset + inside), make(self.path(below)))
        });
    }

    /// Notes that the object cannot be read at all.
    pub(super) fn push_syntax(&self, faults: &mut Faults, syntax: SyntaxFault) {
        faults.push(|| {
            let fault = fault(self.path(&syntax.path), syntax.rule, syntax.message);
            let fault = match syntax.hint {
                Some(hint) => fault.with_hint(hint),
                None => fault,
            };
            (Some(self.offset + syntax.offset), fault)
        });
    }
}

/// An object whose members are taken out one by one.
pub(super) struct Object<'a, 'f> {
    pub(super) spot: Spot<'a>,
    pub(super) members: Vec<Member<'a>>,
    pub(super) faults: &'f mut Faults,
}

impl<'a> Object<'a, '_> {
    /// Takes a member out; null counts as absent.
    pub(super) fn take(&mut self, key: &str) -> Option<Node<'a>> {
        let (_, node) = self.members.iter_mut().find(|(k, _)| k == key)?;
        match std::mem::replace(node, Node::Null) {
            Node::Null => None,
            node => Some(node),
        }
    }

    /// Notes a fault at the member or element `below`.
    fn refuse(&mut self, below: &str, rule: &'static str, message: impl FnOnce() -> String) {
        self.spot.push(self.faults, below, |path| fault(path, rule, message()));
    }

    fn refuse_type(&mut self, below: &str, expected: &str, found: &Node<'_>) {
        self.refuse(below, "wrong-type", || format!("expected {expected}, found {}", found.kind()));
    }

    /// Takes a string. Blank ones are kept: only the caller knows whether they mean anything.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        match self.take(key)? {
            Node::Text(text) => self.clean(key, text).map(Cow::into_owned),
            other => {
                self.refuse_type(key, "a string", &other);
                None
            }
        }
    }

    /// The first of several strings that is there and not blank.
    pub(super) fn first_text(&mut self, keys: &[&str]) -> Option<String> {
        // All are read, so that a fault in the second is found although the first is enough.
        let texts: Vec<String> = keys.iter().filter_map(|key| self.text(key)).collect();
        texts.into_iter().find(|text| !text.trim().is_empty())
    }

    /// No program can be handed a NUL as an argument, and no text means anything by it.
    fn clean(&mut self, below: &str, text: Cow<'a, str>) -> Option<Cow<'a, str>> {
        if text.contains('\0') {
            self.refuse(below, "nul", || "it holds a NUL character".to_owned());
            return None;
        }
        Some(text)
    }

    /// Takes an array of strings.
    pub(super) fn texts(&mut self, key: &str) -> Vec<String> {
        self.list(key, "an array of strings", |object, below, node| match node {
            Node::Text(text) => object.clean(below, text).map(Cow::into_owned),
            other => {
                object.refuse_type(below, "a string", &other);
                None
            }
        })
    }

    fn list<T>(
        &mut self,
        key: &str,
        expected: &str,
        mut read: impl FnMut(&mut Self, &str, Node<'a>) -> Option<T>,
    ) -> Vec<T> {
        match self.take(key) {
            None => Vec::new(),
            Some(Node::List(nodes)) => {
                let mut below = String::new();
                let mut entries = Vec::with_capacity(nodes.len());
                for (index, node) in nodes.into_iter().enumerate() {
                    below.clear();
                    below.push_str(key);
                    push_index(&mut below, index);
                    entries.extend(read(self, &below, node));
                }
                entries
            }
            Some(other) => {
                self.refuse_type(key, expected, &other);
                Vec::new()
            }
        }
    }

    /// A name: a string, or a whole number by its digits.
    fn name(&mut self, below: &str, node: Node<'a>) -> Option<Cow<'a, str>> {
        match node {
            Node::Text(text) => Some(text),
            Node::Whole(number) => Some(Cow::Owned(number.to_string())),
            other => {
                self.refuse_type(below, "a string", &other);
                None
            }
        }
    }

    fn dependencies(&mut self) -> Vec<Named<'a>> {
        let mut all = Vec::new();
        for key in DEPENDENCY_KEYS {
            let mut index = 0;
            all.extend(self.list(key, "an array of story ids", |object, below, node| {
                index += 1;
                object.name(below, node).map(|id| Named { id, key, index: index - 1 })
            }));
        }
        all
    }

    fn criteria(&mut self) -> Vec<String> {
        let present = |key: &&str| self.members.iter().any(|(k, v)| k == *key && !matches!(v, Node::Null));
        let Some(key) = CRITERIA_KEYS.into_iter().find(|key| present(key)) else { return Vec::new() };
        self.list(key, "an array of criteria", |object, below, node| match node {
            Node::Text(text) => object.clean(below, text).map(Cow::into_owned),
            Node::Map(ref members) => {
                let stated = CRITERION_KEYS.into_iter().find_map(|key| {
                    members.iter().find_map(|(k, value)| match value {
                        Node::Text(text) if k == key && !text.trim().is_empty() => Some(text.to_string()),
                        _ => None,
                    })
                });
                let text = stated.or_else(|| serde_json::to_string(&node).ok())?;
                object.clean(below, Cow::Owned(text)).map(Cow::into_owned)
            }
            other => {
                object.refuse_type(below, "a string or an object", &other);
                None
            }
        })
    }

    fn priority(&mut self) -> Priority {
        let read = match self.take("priority") {
            None => Some(Priority::ABSENT),
            Some(Node::Whole(number)) => self.priority_number(number as f64),
            Some(Node::Fraction(number)) => self.priority_number(number),
            Some(Node::Text(word)) if word.trim().is_empty() => Some(Priority::ABSENT),
            Some(Node::Text(word)) => {
                let priority = Priority::from_word(word.trim());
                if priority.is_none() {
                    self.refuse("priority", "unknown-priority", || {
                        format!("{:?} is no priority", shorten(&word, 80))
                    });
                }
                priority
            }
            Some(other) => {
                self.refuse_type("priority", "a number or a word", &other);
                None
            }
        };
        read.unwrap_or_default()
    }

    fn priority_number(&mut self, number: f64) -> Option<Priority> {
        let priority = Priority::from_number(number);
        if priority.is_none() {
            self.refuse("priority", "number-out-of-range", || {
                format!("{number} is not between -{PRIORITY_ABS_MAX} and {PRIORITY_ABS_MAX}")
            });
        }
        priority
    }

    /// Whether any of the three markers says done. `passes` is ours to check; the other two are words of
    /// other programs, and what they mean beyond "done" is not our business.
    fn claimed(&mut self) -> bool {
        let passes = match self.take("passes") {
            None => false,
            Some(Node::Bool(yes)) => yes,
            Some(other) => {
                self.refuse_type("passes", "true or false", &other);
                false
            }
        };
        let complete = matches!(self.take("complete"), Some(Node::Bool(true)));
        let status = matches!(self.take("status"), Some(Node::Text(word)) if is_done(&word));
        passes || complete || status
    }
}

fn push_index(below: &mut String, index: usize) {
    use std::fmt::Write as _;
    // Writing to a String cannot fail.
    let _ = write!(below, "[{index}]");
}

/// A `status` that says done.
pub(super) fn is_done(word: &str) -> bool {
    ["done", "completed", "complete"].iter().any(|done| word.trim().eq_ignore_ascii_case(done))
}

/// Reads one entry of a story list.
pub(super) fn read_story<'a>(
    spot: Spot<'a>,
    node: Node<'a>,
    faults: &mut Faults,
    warnings: &mut Faults,
) -> Draft<'a> {
    let members = match node {
        Node::Map(members) => members,
        other => {
            spot.push(faults, "", |path| {
                fault(path, "wrong-type", format!("expected a story (an object), found {}", other.kind()))
            });
            return Draft::unreadable(spot);
        }
    };
    let mut object = Object { spot, members, faults };
    let (id, id_refused) = match object.take("id") {
        None => (None, false),
        Some(node) => match object.name("id", node) {
            Some(id) => (Some(id.into_owned()), false),
            None => (None, true),
        },
    };
    let title = object.first_text(&["title", "name"]);
    let description = object.text("description").unwrap_or_default();
    warn_of_words(&mut object, warnings);
    Draft {
        spot,
        id,
        id_refused,
        title: title.or_else(|| first_line(&description)),
        description,
        priority: object.priority(),
        claimed: object.claimed(),
        on: object.dependencies(),
        files: object.texts("fileScope"),
        criteria: object.criteria(),
    }
}

/// Words that claude-loop's own validator refuses and real files hold all the same.
fn warn_of_words(object: &mut Object<'_, '_>, warnings: &mut Faults) {
    for (key, known) in [
        ("estimatedComplexity", ["simple", "medium", "complex"]),
        ("suggestedModel", ["haiku", "sonnet", "opus"]),
    ] {
        let Some(Node::Text(word)) = object.take(key) else { continue };
        if !known.contains(&word.as_ref()) {
            object.spot.push(warnings, key, |path| {
                let message = format!(
                    "{:?} is none of {}; it is kept and not used",
                    shorten(&word, 80),
                    known.join(", ")
                );
                fault(path, "unknown-word", message)
            });
        }
    }
}

fn first_line(description: &str) -> Option<String> {
    let line = description.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().take(TITLE_CHARS_MAX).collect())
}

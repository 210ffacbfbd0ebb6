//! Writing a PRD back. Knows the text round the stories and the markers that say done; unaware of what else
//! a story holds: its text goes out as it came in.

use serde::{Deserialize, Serialize};

use super::json::offset_of;
use super::outline::{RawMembers, members};
use super::story::is_done;

/// The text of a PRD file round its stories.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shell {
    /// Path of the list: `userStories`, `prd.tasks`, or nothing where the file is the list.
    pub list: String,
    /// All text up to the first story, without a byte order mark.
    pub before: String,
    /// What stands between the stories, run by run: a text and how many times in a row it does.
    pub between: Vec<(String, u32)>,
    /// All text behind the last story.
    pub after: String,
}

impl Shell {
    /// As one text, for a store to keep.
    pub fn to_text(&self) -> String {
        // Strings and counts always serialize.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads what [`Shell::to_text`] wrote.
    ///
    /// # Errors
    /// When the text is not such a one.
    pub fn from_text(text: &str) -> Result<Shell, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The shell of `text`, whose list is `list_text` with these entries; both are borrowed from it.
    pub(super) fn cut(text: &str, list: String, list_text: &str, entries: &[&str]) -> Shell {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
            let inside = offset_of(text, list_text) + 1;
            let (before, after) = text.split_at(text.floor_char_boundary(inside));
            return Shell { list, before: before.to_owned(), between: Vec::new(), after: after.to_owned() };
        };
        let mut between: Vec<(String, u32)> = Vec::new();
        for pair in entries.windows(2) {
            let gap = &text[offset_of(text, pair[0]) + pair[0].len()..offset_of(text, pair[1])];
            match between.last_mut() {
                Some((run, count)) if run == gap => *count = count.saturating_add(1),
                _ => between.push((gap.to_owned(), 1)),
            }
        }
        let before = text[..offset_of(text, first)].to_owned();
        let after = text[offset_of(text, last) + last.len()..].to_owned();
        Shell { list, before, between, after }
    }
}

/// Writes the document as it was imported, with the landed stories marked. `stories` are the bodies in file
/// order. With none landed the text is the file's, byte for byte, but for a byte order mark, which RFC 8259
/// forbids writers.
///
/// Stories beyond those imported are set apart as the last two were. Linear in the text.
pub fn export<'s>(shell: &Shell, stories: impl Iterator<Item = (&'s str, bool)>) -> String {
    let mut text = shell.before.clone();
    let mut gaps =
        shell.between.iter().flat_map(|(gap, count)| std::iter::repeat_n(gap.as_str(), *count as usize));
    let usual = shell.between.last().map_or(",", |(gap, _)| gap.as_str());
    for (index, (body, landed)) in stories.enumerate() {
        if index > 0 {
            text.push_str(gaps.next().unwrap_or(usual));
        }
        match landed.then(|| mark_landed(body)).flatten() {
            Some(marked) => text.push_str(&marked),
            None => text.push_str(body),
        }
    }
    text.push_str(&shell.after);
    text
}

/// The story's text with its markers set; `None` where it is no object.
fn mark_landed(body: &str) -> Option<String> {
    let members = members(body, &mut Vec::new()).ok()??;
    let mut edits: Vec<(&str, String)> = Vec::new();
    let mut marked = false;
    for (key, member) in &members {
        match key.as_ref() {
            "passes" => {
                marked = true;
                edits.push((member.raw, "true".to_owned()));
            }
            // Other types under these keys are not markers.
            "complete" if matches!(member.raw, "false" | "null") => {
                edits.push((member.raw, "true".to_owned()))
            }
            "status" => edits.extend(status_done(member.raw).map(|done| (member.raw, done))),
            _ => {}
        }
    }
    let mut text = String::with_capacity(body.len() + 32);
    let mut copied = 0;
    for (raw, new) in edits {
        let at = offset_of(body, raw);
        text.push_str(&body[copied..at]);
        text.push_str(&new);
        copied = at + raw.len();
    }
    if !marked {
        let end = members.last().map_or_else(
            || body.find('{').map_or(0, |i| i + 1),
            |(_, last)| offset_of(body, last.raw) + last.raw.len(),
        );
        text.push_str(&body[copied..end]);
        text.push_str(&added_member(body, &members));
        copied = end;
    }
    text.push_str(&body[copied..]);
    Some(text)
}

/// `"passes": true`, set apart as the object's first two members are.
fn added_member(body: &str, members: &RawMembers<'_>) -> String {
    let Some((_, first)) = members.first() else { return "\"passes\": true".to_owned() };
    let key_start = offset_of(body, first.raw_key);
    let open = body.find('{').map_or(0, |index| index + 1);
    let lead = &body[open.min(key_start)..key_start];
    let colon = &body[key_start + first.raw_key.len()..offset_of(body, first.raw)];
    format!(",{lead}\"passes\"{colon}true")
}

/// The raw text of a status that says done in the words of the program that wrote it: `todo` goes with
/// `done`, `not_started` with `completed`. `None` where it says so already or is no word.
fn status_done(raw: &str) -> Option<String> {
    let word: Option<String> = serde_json::from_str(raw).ok()?;
    let done = match word.as_deref().map(|word| word.trim().to_ascii_lowercase()) {
        Some(word) if is_done(&word) => return None,
        Some(word)
            if ["todo", "to_do", "to-do", "doing", "backlog", "in-progress"].contains(&word.as_str()) =>
        {
            "done"
        }
        Some(_) | None => "completed",
    };
    Some(format!("\"{done}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(body: &str) -> String {
        let shell = Shell { before: "[".into(), after: "]".into(), ..Shell::default() };
        let text = export(&shell, [(body, true)].into_iter());
        text[1..text.len() - 1].to_owned()
    }

    #[test]
    fn a_landed_story_changes_in_its_markers_only() {
        assert_eq!(marked(r#"{"id":"a","passes":false,"p":31.10}"#), r#"{"id":"a","passes":true,"p":31.10}"#);
        assert_eq!(
            marked(r#"{ "status": "todo", "passes": false, "complete": false }"#),
            r#"{ "status": "done", "passes": true, "complete": true }"#
        );
        assert_eq!(marked(r#"{"status":"not_started"}"#), r#"{"status":"completed","passes":true}"#);
        assert_eq!(marked(r#"{"status":"Done","passes":true}"#), r#"{"status":"Done","passes":true}"#);
    }

    #[test]
    fn a_missing_marker_is_added_in_the_style_of_the_others() {
        assert_eq!(marked("{\n  \"id\": \"a\"\n}"), "{\n  \"id\": \"a\",\n  \"passes\": true\n}");
        assert_eq!(marked("{}"), "{\"passes\": true}");
        assert_eq!(marked("{ \"p\\u0061sses\" : false }"), "{ \"p\\u0061sses\" : true }");
    }

    #[test]
    fn what_is_no_object_is_left_alone() {
        for body in ["", "7", "[1", "{\"a\"", "\u{e9}"] {
            assert_eq!(marked(body), body);
        }
    }

    #[test]
    fn stories_beyond_the_imported_ones_are_set_apart_like_the_last() {
        let shell = Shell {
            before: "[".into(),
            between: vec![(", ".into(), 1)],
            after: "]".into(),
            list: String::new(),
        };
        let text = export(&shell, ["1", "2", "3"].map(|body| (body, false)).into_iter());
        assert_eq!(text, "[1, 2, 3]");
    }
}

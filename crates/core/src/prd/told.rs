//! What an agent is told of a story: its description and its criteria, from the text that `read` accepted.

use serde_json::Value;

use super::story::{CRITERIA_KEYS, CRITERION_KEYS};

/// A story in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoryText {
    pub description: String,
    pub criteria: Vec<String>,
}

/// Reads a stored story's JSON again. Nothing is refused here: `read` has done that, so what does not fit is
/// left out.
pub fn story_text(body: &str) -> StoryText {
    let Ok(Value::Object(story)) = serde_json::from_str(body) else { return StoryText::default() };
    let description = story.get("description").and_then(Value::as_str).unwrap_or_default().trim().to_owned();
    let criteria = CRITERIA_KEYS
        .iter()
        .filter_map(|key| story.get(*key)?.as_array())
        .flatten()
        .map(|criterion| match criterion {
            Value::String(text) => text.clone(),
            Value::Object(object) => CRITERION_KEYS
                .iter()
                .find_map(|key| object.get(*key)?.as_str().map(str::to_owned))
                .unwrap_or_else(|| criterion.to_string()),
            other => other.to_string(),
        })
        .collect();
    StoryText { description, criteria }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn criteria_come_as_strings_or_objects() {
        let told =
            story_text(r#"{"description":" d ","acceptanceCriteria":["a",{"id":1,"text":"b"},{"x":1}]}"#);
        assert_eq!(told.description, "d");
        assert_eq!(told.criteria, ["a", "b", r#"{"x":1}"#]);
        assert_eq!(story_text("not json"), StoryText::default());
    }
}

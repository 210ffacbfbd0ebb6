//! What a search looks at in a PRD. Knows which texts count and where a phrase ends; unaware of any index.

use ropewalk_core::row::{Prd, PrdContent};
use ropewalk_core::search::Query;

/// Bytes of story titles that a search looks at, per PRD. A PRD may have 100,000 stories; the first thousand or
/// so tell what it is about, and more would make the replacement of one index row cost megabytes.
pub const STORY_TITLES_BYTES_MAX: usize = 64 << 10;

/// The searchable texts of one PRD. Each is a field of its own: a phrase does not run on from one into the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// The key and the title.
    pub name: Vec<String>,
    /// The description, the owner and the tags.
    pub about: Vec<String>,
    /// Titles of stories in the file's order.
    pub stories: Vec<String>,
    /// The tags again, compared whole by `tag:NAME`.
    pub tags: Vec<String>,
}

impl Document {
    /// Takes whole titles while they fit into [`STORY_TITLES_BYTES_MAX`] together.
    pub fn new(prd: &Prd, content: &PrdContent, titles: impl IntoIterator<Item = String>) -> Document {
        let mut room = STORY_TITLES_BYTES_MAX;
        let stories = titles.into_iter().map_while(|title| {
            room = room.checked_sub(title.len())?;
            Some(title)
        });
        let mut about = vec![content.description.clone()];
        about.extend(content.owner.clone());
        about.extend(content.tags.clone());
        Document {
            name: vec![prd.key.to_string(), prd.title.clone()],
            about,
            stories: stories.collect(),
            tags: content.tags.clone(),
        }
    }

    /// Whether a search finds it: [`Query::matches`] field by field. Every store's index must agree with this.
    pub fn matches(&self, query: &Query) -> bool {
        match query {
            Query::And(a, b) => self.matches(a) && self.matches(b),
            Query::Or(a, b) => self.matches(a) || self.matches(b),
            Query::Not(inner) => !self.matches(inner),
            Query::Tag(_) => query.matches("", &self.tags),
            Query::Phrase(_) => self.fields().any(|field| query.matches(field, &[])),
        }
    }

    fn fields(&self) -> impl Iterator<Item = &String> {
        self.name.iter().chain(&self.about).chain(&self.stories)
    }
}

//! The search index: one row of words per PRD. Knows how a text becomes words and a query an FTS5 expression.
//!
//! Words are cut and folded in Rust by `words_of`, not by one of SQLite's tokenizers, whose Unicode tables are
//! older and which drop accents: so a search finds exactly what `Query::matches` says, in every script.

use ropewalk_core::id::PrdNumber;
use ropewalk_core::row::{Prd, PrdContent};
use ropewalk_core::search::{Query, words_of};
use rusqlite::{Connection, params};
use sha2::{Digest, Sha256};

use super::fault::Fault;
use super::sql::{all, from_json, limit, number, one, run, text};
use super::story;
use crate::document::{Document, STORY_TITLES_BYTES_MAX};

/// Stands between two fields: a token to the index, and no letter or digit, so that no query holds it.
const FIELD_MARK: char = '\u{e000}';
/// Begins the one token that a whole tag becomes.
const TAG_MARK: char = '\u{e001}';
/// A token that no row holds: what an empty phrase searches for.
const NOTHING_MARK: char = '\u{e002}';

/// Brings a PRD's row up to date, unless what it holds has not changed. Unknown PRDs have no row.
pub(crate) fn index(connection: &Connection, prd: PrdNumber) -> Result<(), Fault> {
    const SQL: &str = "select prd.body, prd_content.body, prd_content.indexed
        from prd join prd_content on prd_content.prd = prd.number where prd.number = $1";
    let found = one(connection, SQL, [prd.0], |row| {
        Ok((from_json::<Prd>(row, 0)?, from_json::<PrdContent>(row, 1)?, text(row, 2)?.to_owned()))
    })?;
    let Some((row, content, indexed)) = found else { return Ok(()) };
    let titles = story::titles(connection, prd, STORY_TITLES_BYTES_MAX)?;
    let columns = columns(&Document::new(&row, &content, titles));
    let hash = hash(&columns);
    if hash == indexed {
        return Ok(());
    }
    if !indexed.is_empty() {
        run(connection, "delete from prd_text where rowid = $1", [prd.0])?;
    }
    let [name, about, stories, tags] = columns;
    const INSERT: &str =
        "insert into prd_text (rowid, name, about, stories, tags) values ($1, $2, $3, $4, $5)";
    run(connection, INSERT, params![prd.0, name, about, stories, tags])?;
    run(connection, "update prd_content set indexed = $1 where prd = $2", params![hash, prd.0])?;
    Ok(())
}

fn columns(document: &Document) -> [String; 4] {
    let words = |fields: &[String]| {
        let fields: Vec<_> = fields.iter().map(|field| words_of(field).join(" ")).collect();
        fields.join(&format!(" {FIELD_MARK} "))
    };
    let tags: Vec<_> = document.tags.iter().map(|tag| tag_token(&tag.to_lowercase())).collect();
    [words(&document.name), words(&document.about), words(&document.stories), tags.join(" ")]
}

fn hash(columns: &[String; 4]) -> String {
    let mut hash = Sha256::new();
    for column in columns {
        hash.update((column.len() as u64).to_le_bytes());
        hash.update(column);
    }
    super::hex(&hash.finalize())
}

/// A tag of any characters as one token.
fn tag_token(tag: &str) -> String {
    format!("{TAG_MARK}{}", super::hex(tag.as_bytes()))
}

/// Words in the key and the title weigh most, then tags, then the description; a story's title tells least.
pub(crate) fn search(connection: &Connection, query: &Query, most: usize) -> Result<Vec<PrdNumber>, Fault> {
    const WITHIN: &str = "select rowid from prd_text where prd_text match $1
        order by bm25(prd_text, 10.0, 3.0, 1.0, 5.0), rowid limit $2";
    const OUTSIDE: &str = "select number from prd
        where number not in (select rowid from prd_text where prd_text match $1) order by number limit $2";
    let (sql, expression) = match Terms::of(query) {
        Terms::Within(expression) => (WITHIN, expression),
        Terms::Outside(expression) => (OUTSIDE, expression),
    };
    all(connection, sql, params![expression.text, limit(most)], |row| Ok(PrdNumber(number(row, 0)?)))
}

/// FTS5 has no complement, only `a NOT b`. So a query becomes a set or the complement of one, and De Morgan's
/// laws push every NOT outwards until the last one is left to SQL.
enum Terms {
    Within(Expression),
    Outside(Expression),
}

struct Expression {
    text: String,
    /// The operator at its top; none for a single term. FTS5's parser is not deep, so parentheses are written
    /// only where they are needed.
    operator: &'static str,
}

impl Terms {
    fn of(query: &Query) -> Terms {
        use Terms::{Outside, Within};
        match query {
            Query::Phrase(words) => Within(phrase(words)),
            Query::Tag(tag) => Within(Expression::term(format!("\"{}\"", tag_token(tag)))),
            Query::Not(inner) => match Terms::of(inner) {
                Within(a) => Outside(a),
                Outside(a) => Within(a),
            },
            Query::And(a, b) => match (Terms::of(a), Terms::of(b)) {
                (Within(a), Within(b)) => Within(a.and(b)),
                (Within(a), Outside(b)) => Within(a.without(b)),
                (Outside(a), Within(b)) => Within(b.without(a)),
                (Outside(a), Outside(b)) => Outside(a.or(b)),
            },
            Query::Or(a, b) => match (Terms::of(a), Terms::of(b)) {
                (Within(a), Within(b)) => Within(a.or(b)),
                (Within(a), Outside(b)) => Outside(b.without(a)),
                (Outside(a), Within(b)) => Outside(a.without(b)),
                (Outside(a), Outside(b)) => Outside(a.and(b)),
            },
        }
    }
}

/// A single word matches as a prefix, several in this order and whole. A query that was parsed holds only words
/// as `words_of` gives them; one built by hand may not, and such a word is in no text.
fn phrase(words: &[String]) -> Expression {
    let is_letter = |c: char| match c {
        FIELD_MARK | TAG_MARK | NOTHING_MARK => false,
        _ => !c.is_ascii() || c.is_ascii_lowercase() || c.is_ascii_digit(),
    };
    let is_word = |word: &String| !word.is_empty() && word.chars().all(is_letter);
    if words.is_empty() || !words.iter().all(is_word) {
        return Expression::term(format!("\"{NOTHING_MARK}\""));
    }
    let prefix = if words.len() == 1 { "*" } else { "" };
    Expression::term(format!("\"{}\"{prefix}", words.join(" ")))
}

impl Expression {
    fn term(text: String) -> Expression {
        Expression { text, operator: "" }
    }

    fn and(self, other: Expression) -> Expression {
        self.joined("AND", other)
    }

    fn or(self, other: Expression) -> Expression {
        self.joined("OR", other)
    }

    fn without(self, other: Expression) -> Expression {
        self.joined("NOT", other)
    }

    fn joined(self, operator: &'static str, other: Expression) -> Expression {
        // NOT is not associative: `a NOT (b NOT c)` needs its parentheses.
        let left = self.within(operator, true);
        let right = other.within(operator, operator != "NOT");
        Expression { text: format!("{left} {operator} {right}"), operator }
    }

    fn within(self, operator: &str, is_associative: bool) -> String {
        let is_plain = self.operator.is_empty() || (self.operator == operator && is_associative);
        if is_plain { self.text } else { format!("({})", self.text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(query: &str) -> String {
        match Terms::of(&Query::parse(query).expect(query)) {
            Terms::Within(e) => e.text,
            Terms::Outside(e) => format!("all but {}", e.text),
        }
    }

    #[test]
    fn a_query_becomes_a_set_or_the_complement_of_one() {
        for (query, expression) in [
            ("a", "\"a\"*"),
            ("us-001", "\"us 001\""),
            ("a b c d", "\"a\"* AND \"b\"* AND \"c\"* AND \"d\"*"),
            ("a (b OR c)", "\"a\"* AND (\"b\"* OR \"c\"*)"),
            ("NOT a", "all but \"a\"*"),
            ("NOT NOT a", "\"a\"*"),
            ("a NOT b NOT c", "\"a\"* NOT \"b\"* NOT \"c\"*"),
            ("NOT a NOT b", "all but \"a\"* OR \"b\"*"),
            ("a OR NOT b", "all but \"b\"* NOT \"a\"*"),
            ("a NOT (b NOT c)", "\"a\"* NOT (\"b\"* NOT \"c\"*)"),
            ("tag:X", "\"\u{e001}78\""),
        ] {
            assert_eq!(compiled(query), expression, "{query}");
        }
    }

    #[test]
    fn a_query_built_by_hand_cannot_leave_its_quotes() {
        let hostile = Query::Phrase(vec!["a\" OR \"b".into()]);
        assert!(matches!(Terms::of(&hostile), Terms::Within(e) if e.text.contains(NOTHING_MARK)));
    }
}

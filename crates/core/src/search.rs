//! Search expressions: words, `"phrases"`, `tag:NAME`, AND, OR, NOT, parentheses. Unaware of any index:
//! each store turns the tree into its own terms.

use serde::{Deserialize, Serialize};

/// A parsed search.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Query {
    /// Words that stand one after another; a single word matches as a prefix.
    Phrase(Vec<String>),
    /// A tag, compared whole and without regard to case.
    Tag(String),
    And(Box<Query>, Box<Query>),
    Or(Box<Query>, Box<Query>),
    /// Everything that the inner query does not match.
    Not(Box<Query>),
}

/// The most terms in one search; more is a paste by accident.
pub const TERMS_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot search for {text:?}: {rule}")]
pub struct QueryError {
    pub text: String,
    pub rule: &'static str,
}

impl Query {
    /// Reads a search. Words side by side mean AND; AND binds closer than OR; operators are in capitals.
    ///
    /// # Errors
    /// Names the rule: an empty search, a missing operand, a parenthesis or quote that is not closed.
    pub fn parse(text: &str) -> Result<Query, QueryError> {
        let tokens = tokens(text)?;
        let mut parser = Parser { text, tokens: &tokens, at: 0 };
        let query = parser.or()?;
        if parser.at < tokens.len() {
            return Err(parser.error("a ')' has no '('"));
        }
        Ok(query)
    }

    /// Whether a text with these tags matches. What every store's own search must agree with.
    pub fn matches(&self, text: &str, tags: &[String]) -> bool {
        match self {
            Query::Phrase(words) => phrase_matches(words, &words_of(text)),
            Query::Tag(tag) => tags.iter().any(|t| t.to_lowercase() == *tag),
            Query::And(a, b) => a.matches(text, tags) && b.matches(text, tags),
            Query::Or(a, b) => a.matches(text, tags) || b.matches(text, tags),
            Query::Not(inner) => !inner.matches(text, tags),
        }
    }
}

/// Lower-case runs of letters and digits, the way that the index cuts a text.
pub fn words_of(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_lowercase).collect()
}

fn phrase_matches(words: &[String], text: &[String]) -> bool {
    match words {
        [] => false,
        [word] => text.iter().any(|w| w.starts_with(word.as_str())),
        _ => text.windows(words.len()).any(|window| window == words),
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    And,
    Or,
    Not,
    Open,
    Close,
    Term(Query),
}

fn tokens(text: &str) -> Result<Vec<Token>, QueryError> {
    let fault = |rule| QueryError { text: text.chars().take(80).collect(), rule };
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '(' => (Some(Token::Open), 1),
            ')' => (Some(Token::Close), 1),
            '"' => {
                let end = rest[1..].find('"').ok_or_else(|| fault("a quote is not closed"))?;
                (phrase(&rest[1..=end]), end + 2)
            }
            _ => {
                let end = rest.find(|c: char| c.is_whitespace() || "()\"".contains(c)).unwrap_or(rest.len());
                (word(&rest[..end]), end)
            }
        };
        tokens.extend(token);
        rest = rest[length..].trim_start();
    }
    if tokens.is_empty() {
        return Err(fault("it holds no word"));
    }
    if tokens.len() > TERMS_MAX {
        return Err(fault("it has more than 64 terms"));
    }
    Ok(tokens)
}

fn word(text: &str) -> Option<Token> {
    match text {
        "AND" | "&&" => Some(Token::And),
        "OR" | "||" => Some(Token::Or),
        "NOT" | "!" => Some(Token::Not),
        _ => match text.strip_prefix("tag:").filter(|tag| !tag.is_empty()) {
            Some(tag) => Some(Token::Term(Query::Tag(tag.to_lowercase()))),
            None => phrase(text),
        },
    }
}

/// `US-001` is cut as the index cuts it, into two words that stand together.
fn phrase(text: &str) -> Option<Token> {
    let words = words_of(text);
    (!words.is_empty()).then_some(Token::Term(Query::Phrase(words)))
}

struct Parser<'a> {
    text: &'a str,
    tokens: &'a [Token],
    at: usize,
}

impl Parser<'_> {
    fn error(&self, rule: &'static str) -> QueryError {
        QueryError { text: self.text.chars().take(80).collect(), rule }
    }

    fn take(&mut self, token: &Token) -> bool {
        let found = self.tokens.get(self.at) == Some(token);
        self.at += usize::from(found);
        found
    }

    fn or(&mut self) -> Result<Query, QueryError> {
        let mut query = self.and()?;
        while self.take(&Token::Or) {
            query = Query::Or(Box::new(query), Box::new(self.and()?));
        }
        Ok(query)
    }

    fn and(&mut self) -> Result<Query, QueryError> {
        let mut query = self.not()?;
        loop {
            let explicit = self.take(&Token::And);
            let another = matches!(self.tokens.get(self.at), Some(Token::Not | Token::Open | Token::Term(_)));
            if !explicit && !another {
                return Ok(query);
            }
            query = Query::And(Box::new(query), Box::new(self.not()?));
        }
    }

    /// Depth is bounded by [`TERMS_MAX`], which bounds the tokens.
    fn not(&mut self) -> Result<Query, QueryError> {
        if self.take(&Token::Not) {
            return Ok(Query::Not(Box::new(self.not()?)));
        }
        if self.take(&Token::Open) {
            let query = self.or()?;
            return if self.take(&Token::Close) { Ok(query) } else { Err(self.error("a '(' is not closed")) };
        }
        match self.tokens.get(self.at) {
            Some(Token::Term(query)) => {
                self.at += 1;
                Ok(query.clone())
            }
            Some(Token::And | Token::Or | Token::Not | Token::Open | Token::Close) | None => {
                Err(self.error("AND, OR and NOT want a word beside them"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(query: &str, text: &str) -> bool {
        Query::parse(query).expect(query).matches(text, &["Memory".into()])
    }

    #[test]
    fn operators_words_phrases_and_tags_mean_what_they_say() {
        let text = "Stratified memory: US-001 adds an experience store";
        for yes in [
            "memory",
            "mem",
            "memory store",
            "memory AND store",
            "absent OR store",
            "NOT absent",
            "store NOT absent",
            "\"experience store\"",
            "tag:memory",
            "us-001",
            "(absent OR memory) store",
        ] {
            assert!(matches(yes, text), "{yes}");
        }
        for no in ["absent", "memory AND absent", "NOT memory", "\"store experience\"", "tag:mem", "us-002"] {
            assert!(!matches(no, text), "{no}");
        }
    }

    #[test]
    fn a_broken_search_is_refused_with_its_rule() {
        for broken in ["", "  ", "AND", "a AND", "OR a", "(a", "a)", "\"a", "NOT", "()", &"a ".repeat(65)] {
            assert!(Query::parse(broken).is_err(), "{broken:?}");
        }
    }
}

//! The two streams. Knows whether a person or a script reads; unaware of what is said.

use std::io::{IsTerminal, Write};

use serde::Serialize;

/// How to talk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Out {
    json: bool,
    quiet: bool,
}

impl Out {
    pub(crate) fn new(json: bool, quiet: bool) -> Out {
        Out { json, quiet }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether progress may be drawn: a person looks at stderr's terminal.
    pub(crate) fn may_draw(&self) -> bool {
        !self.quiet
            && std::io::stderr().is_terminal()
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
    }

    /// The result, for people: nothing with `--json` or `--quiet`.
    pub(crate) fn say(&self, text: &str) {
        if !self.json && !self.quiet {
            write_line(&mut anstream::stdout(), text);
        }
    }

    /// The one JSON value.
    pub(crate) fn json(&self, value: &impl Serialize) {
        let text =
            serde_json::to_string_pretty(value).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"));
        write_line(&mut std::io::stdout(), &text);
    }

    /// A result that is text in itself, such as completions: one JSON string with `--json`, else as it is.
    pub(crate) fn text(&self, text: &str) {
        if self.json { self.json(&text) } else { self.document(text) }
    }

    /// A document that is JSON already: printed as it is, whatever the mode.
    pub(crate) fn document(&self, text: &str) {
        let mut stdout = std::io::stdout();
        // See `write_line` on readers that have gone.
        let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    }

    /// Remarks beside the result.
    pub(crate) fn remark(&self, text: &str) {
        if !self.quiet {
            write_line(&mut anstream::stderr(), text);
        }
    }

    pub(crate) fn error(&self, text: &str) {
        write_line(&mut anstream::stderr(), text);
    }
}

fn write_line(stream: &mut impl Write, text: &str) {
    // A reader that has gone (`| head`) is no fault of ours, and there is nobody left to tell.
    let _ = writeln!(stream, "{}", text.trim_end_matches('\n'));
    let _ = stream.flush();
}

/// A text from outside, made harmless for a terminal: control characters (escapes, bells, carriage returns),
/// bidirectional overrides and invisible tags are shown as their code, never acted upon.
pub(crate) fn inert(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => safe.push(c),
            c if c.is_control() => safe.push_str(&format!("\\x{:02x}", u32::from(c))),
            '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{e0000}'..='\u{e007f}' => {
                safe.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
            }
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::inert;

    #[test]
    fn escapes_and_overrides_are_shown_not_acted_upon() {
        assert_eq!(inert("a\u{1b}]52;c;x\u{7}b\u{202e}c\rd\n"), "a\\x1b]52;c;x\\x07b\\u{202e}c\\x0dd\n");
    }
}

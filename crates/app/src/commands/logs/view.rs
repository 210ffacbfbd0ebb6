//! Output as it is shown: byte for byte into a pipe, harmless and in lines on a terminal, as a page in a JSON
//! value.

use std::io::{self, ErrorKind, Write};

use ropewalk_host::output::lines::{Line, Lines};
use ropewalk_host::output::stored::PIECE_BYTES;
use serde_json::Value;

use super::{News, Reading, unreadable};
use crate::failure::Failure;
use crate::out::inert;

/// Writes to stdout.
pub(super) struct View {
    /// None: byte for byte.
    lines: Option<Lines>,
    is_terminal: bool,
    /// Whether a line has begun that is not ended.
    is_inside_line: bool,
}

impl View {
    pub(super) fn new(grep: Option<&[u8]>, is_terminal: bool) -> View {
        let lines = (grep.is_some() || is_terminal).then(|| Lines::new(grep));
        View { lines, is_terminal, is_inside_line: false }
    }

    pub(super) fn show(&mut self, news: News<'_>) {
        let mut stdout = io::stdout().lock();
        let is_terminal = self.is_terminal;
        let shown = match (&mut self.lines, news) {
            (None, News::Bytes(bytes)) => {
                self.is_inside_line = bytes.last().is_some_and(|last| *last != b'\n');
                stdout.write_all(bytes)
            }
            (None, News::Hole(bytes)) => {
                let before = if std::mem::take(&mut self.is_inside_line) { "\n" } else { "" };
                writeln!(stdout, "{before}{}", hole_line(bytes))
            }
            (Some(lines), news) => {
                let mut text = Vec::new();
                in_lines(lines, news, |line| write_line(&mut text, line, is_terminal));
                stdout.write_all(&text)
            }
        };
        done(shown.and_then(|()| stdout.flush()));
    }

    pub(super) fn finish(&mut self) {
        let mut text = Vec::new();
        if let Some(lines) = &mut self.lines {
            lines.finish(|line| write_line(&mut text, line, self.is_terminal));
        }
        let mut stdout = io::stdout().lock();
        done(stdout.write_all(&text).and_then(|()| stdout.flush()));
    }
}

fn done(written: io::Result<()>) {
    match written {
        // Whoever reads has enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        // There is nobody left to tell.
        _ => {}
    }
}

enum Shown<'a> {
    Line(Line<'a>),
    Hole(u64),
}

fn in_lines(lines: &mut Lines, news: News<'_>, mut show: impl FnMut(Shown<'_>)) {
    match news {
        News::Bytes(bytes) => lines.push(bytes, |line| show(Shown::Line(line))),
        News::Hole(bytes) => {
            lines.finish(|line| show(Shown::Line(line)));
            show(Shown::Hole(bytes));
        }
    }
}

fn write_line<'a>(text: &mut Vec<u8>, line: impl Into<Shown<'a>>, is_harmless: bool) {
    match line.into() {
        Shown::Hole(bytes) => text.extend_from_slice(hole_line(bytes).as_bytes()),
        Shown::Line(line) => {
            if is_harmless {
                text.extend_from_slice(inert(&String::from_utf8_lossy(line.bytes)).as_bytes());
            } else {
                text.extend_from_slice(line.bytes);
            }
            if line.cut_bytes > 0 {
                let remark = format!(" [… {} of this line not shown …]", size(line.cut_bytes));
                text.extend_from_slice(remark.as_bytes());
            }
        }
    }
    text.push(b'\n');
}

impl<'a> From<Line<'a>> for Shown<'a> {
    fn from(line: Line<'a>) -> Shown<'a> {
        Shown::Line(line)
    }
}

fn hole_line(bytes: u64) -> String {
    format!("[… {} not kept …]", size(bytes))
}

/// A size for people.
fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("kB", 1_000)];
    let unit = UNITS.iter().find(|(_, unit)| bytes >= *unit);
    unit.map_or_else(
        || format!("{bytes} bytes"),
        |(name, unit)| format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
    )
}

/// Text in one JSON value: whoever wants more asks on, or uses a pipe.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// As much of the output as goes into one JSON value.
pub(super) struct Page {
    offset: u64,
    next_offset: u64,
    size: u64,
    not_kept_bytes: u64,
    text: Vec<u8>,
}

impl Page {
    pub(super) fn read(reading: &mut Reading, grep: Option<&[u8]>) -> Result<Page, Failure> {
        let (offset, mut text, mut not_kept_bytes) = (reading.at, Vec::new(), 0);
        let size = reading.stored.size().map_err(unreadable)?;
        let mut lines = grep.map(|grep| Lines::new(Some(grep)));
        let mut buffer = vec![0; PIECE_BYTES];
        let mut is_more = true;
        while is_more && text.len() < PAGE_BYTES_MAX {
            is_more = reading.step(&mut buffer, &mut |news| {
                if let News::Hole(bytes) = news {
                    not_kept_bytes += bytes;
                }
                match (&mut lines, news) {
                    (Some(lines), news) => in_lines(lines, news, |line| write_line(&mut text, line, false)),
                    (None, News::Bytes(bytes)) => text.extend_from_slice(bytes),
                    (None, News::Hole(bytes)) => {
                        if text.last().is_some_and(|last| *last != b'\n') {
                            text.push(b'\n');
                        }
                        write_line(&mut text, Shown::Hole(bytes), false);
                    }
                }
            })?;
        }
        let mut next_offset = reading.at;
        if is_more {
            // A page ends with a line, unless the line is longer than the page.
            match &lines {
                Some(lines) => next_offset -= lines.begun_bytes(),
                None => {
                    let rest = text.iter().rev().take_while(|byte| **byte != b'\n').count();
                    let rest = if rest < text.len() { rest } else { partial_character(&text) };
                    text.truncate(text.len() - rest);
                    next_offset -= rest as u64;
                }
            }
        } else if let Some(lines) = &mut lines {
            lines.finish(|line| write_line(&mut text, line, false));
        }
        Ok(Page { offset, next_offset, size, not_kept_bytes, text })
    }

    pub(super) fn add_to(&self, value: &mut Value) {
        value["size"] = self.size.into();
        value["offset"] = self.offset.into();
        value["next_offset"] = self.next_offset.into();
        value["not_kept_bytes"] = self.not_kept_bytes.into();
        value["text"] = String::from_utf8_lossy(&self.text).into();
        value["cut"] = (self.next_offset < self.size).into();
    }
}

/// How many bytes at the end are the beginning of a character.
fn partial_character(text: &[u8]) -> usize {
    (1..4.min(text.len())).find(|back| text[text.len() - back] >= 0xc0).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_lines_are_shown_for_people() {
        assert_eq!(hole_line(3 << 30 | 300 << 20), "[… 3.2 GiB not kept …]");
        assert_eq!([size(999), size(1_500), size(1 << 20)], ["999 bytes", "1.5 kB", "1.0 MiB"]);
        let line = Line { bytes: b"a\x1b[31m\xff", cut_bytes: 2_000, is_ended: true };
        let shown = |is_harmless| {
            let mut text = Vec::new();
            write_line(&mut text, line, is_harmless);
            text
        };
        let remark = " [… 2.0 kB of this line not shown …]\n";
        assert_eq!(shown(true), format!("a\\x1b[31m\u{fffd}{remark}").as_bytes());
        assert_eq!(shown(false), [b"a\x1b[31m\xff", remark.as_bytes()].concat());
    }

    #[test]
    fn a_page_is_not_cut_within_a_character() {
        assert_eq!(
            ["", "a", "aé", "a€", "a😀"].map(|text| partial_character(text.as_bytes())),
            [0, 0, 2, 3, 0]
        );
        assert_eq!(partial_character(&"é".as_bytes()[..1]), 0);
        assert_eq!(partial_character(&"a😀".as_bytes()[..4]), 3);
    }
}

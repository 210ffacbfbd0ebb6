//! One file of configuration, read with the place of everything in it. Knows TOML and the bound on the file;
//! unaware of the other layers.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use ropewalk_core::limits::{Limits, shorten};
use toml::de::{DeTable, DeValue};

use super::Given;
use super::fault::{ConfigFault, Wrong, quote};
use super::keys;
use super::origin::{Layer, Origin};
use super::read;

/// The largest file that is read. Real ones have a few hundred bytes; a repository's may be anybody's, and
/// must not fill the memory.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The most bytes of toml's own message that are passed on: it quotes the line, which may be the whole file.
const SYNTAX_BYTES_MAX: usize = 1_024;

/// The most faults that are told of one file: whoever mends a hundred will run it again, and a file that is
/// something else altogether must not take minutes to complain about.
const FAULTS_MAX: usize = 100;

/// A file's content, read once: what is judged and what is used are the same bytes.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// As it is shown, and what relative paths in it count from.
    path: PathBuf,
    /// Nothing where there is no file; why it cannot be read.
    bytes: Result<Option<Vec<u8>>, String>,
}

impl Source {
    pub(crate) fn read(path: &Path) -> Source {
        Source { path: path.to_owned(), bytes: read_bytes(path).map_err(|error| error.to_string()) }
    }

    /// A file in `folder`. A link is followed, but not out of the folder: what stands there is somebody else's.
    pub(crate) fn read_within(folder: &Path, name: &str) -> Source {
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let path = folder.join(name);
        match path.canonicalize() {
            Ok(real) if real.starts_with(&folder) => Source { path, ..Source::read(&real) },
            Ok(real) => {
                let error = format!("it is a link to {}, which is outside of the repository", real.display());
                Source { path, bytes: Err(error) }
            }
            // Absent, or a link to nothing: reading it says which.
            Err(_) => Source::read(&path),
        }
    }

    pub(crate) fn of_bytes(path: &Path, bytes: Vec<u8>) -> Source {
        Source { path: path.to_owned(), bytes: Ok(Some(bytes)) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Nothing where there is no file, or none that can be read.
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        self.bytes.as_ref().ok()?.as_deref()
    }
}

/// What a file gives, and all its faults in the order of the file. A file that does not exist gives nothing.
pub(super) fn read(source: &Source, layer: Layer, limits: &Limits) -> (Vec<Given>, Vec<ConfigFault>) {
    let path = source.path();
    let whole = |what| (Vec::new(), vec![ConfigFault::new(Origin::file(layer, path, None), None, what)]);
    let bytes = match &source.bytes {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return (Vec::new(), Vec::new()),
        Err(error) => return whole(Wrong::Unreadable { error: error.clone() }),
    };
    match std::str::from_utf8(bytes) {
        Ok(text) => Reading { path, layer, text, limits, given: Vec::new(), faults: Vec::new() }.read(),
        Err(error) => {
            // What comes before the bad byte is text, so the place can be told and shown as toml would.
            let text = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let (line, column) = place(&text, text.len());
            let shown = plain(text.rsplit('\n').next().unwrap_or_default());
            let gutter = " ".repeat(line.to_string().len());
            let caret = format!("{gutter} |\n{line} | {shown}\n{gutter} | {}^", " ".repeat(column - 1));
            let what = Wrong::Syntax { error: format!("the file is not UTF-8: {error}\n{caret}") };
            let origin = Origin::file(layer, path, Some(line));
            (Vec::new(), vec![ConfigFault::new(origin, Some(column), what)])
        }
    }
}

/// The file's bytes, or nothing where there is no file.
fn read_bytes(path: &Path) -> io::Result<Option<Vec<u8>>> {
    // Looked at before it is opened: opening a named pipe would wait for its other end.
    match std::fs::metadata(path) {
        Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.is_file() => return Err(io::Error::other("it is not a file")),
        Ok(_) => {}
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    Ok(Some(bytes))
}

/// One file while it is read.
struct Reading<'a> {
    path: &'a Path,
    layer: Layer,
    text: &'a str,
    limits: &'a Limits,
    given: Vec<Given>,
    faults: Vec<ConfigFault>,
}

impl Reading<'_> {
    fn read(mut self) -> (Vec<Given>, Vec<ConfigFault>) {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        if errors.is_empty() {
            self.read_table("", table.get_ref());
        }
        // What toml makes of a file that is no TOML is a guess: its keys are not looked at, so that one slip
        // does not bring a tail of unknown keys.
        let mut line_before = 0;
        for error in errors.into_iter().take(FAULTS_MAX) {
            let span = error.span().unwrap_or(0..0);
            // Once lost, toml stumbles on along the line; only the first fault of a line says something.
            let line = place(self.text, span.start).0;
            if line != line_before {
                let what =
                    Wrong::Syntax { error: plain(&shorten(error.to_string().trim_end(), SYNTAX_BYTES_MAX)) };
                self.fault(span, what);
            }
            line_before = line;
        }
        self.faults.sort_by_key(|fault| (fault.origin.line, fault.column));
        (self.given, self.faults)
    }

    fn read_table(&mut self, section: &str, table: &DeTable<'_>) {
        for (name, entry) in table {
            // A name that had to be quoted stays quoted: "agent.use" is not the key `use` of [agent].
            let text = name.get_ref();
            let bare = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
            let shown = if bare && (1..=80).contains(&text.len()) { text.to_string() } else { quote(text) };
            let path = if section.is_empty() { shown } else { format!("{section}.{shown}") };
            match (keys::find(&path), entry.get_ref()) {
                (Some(key), _) => match read::from_toml(key, entry, self.limits) {
                    Ok(value) => {
                        let origin =
                            Origin::file(self.layer, self.path, Some(place(self.text, name.span().start).0));
                        self.given.push(Given { key, value, origin });
                    }
                    Err(wrongs) => wrongs.into_iter().for_each(|(span, wrong)| self.fault(span, wrong)),
                },
                (None, other) => match (keys::section(&path), other) {
                    (Some(known), DeValue::Table(inner)) => self.read_table(known, inner),
                    (Some(known), other) => {
                        let (expected, found) = (format!("a table, [{known}]"), read::describe(other));
                        self.fault(entry.span(), Wrong::Type { key: known, expected, found });
                    }
                    (None, other) => {
                        let near = keys::nearest_paths(&path, matches!(other, DeValue::Table(_)));
                        self.fault(name.span(), Wrong::UnknownKey { key: path, near });
                    }
                },
            }
        }
    }

    fn fault(&mut self, span: Range<usize>, what: Wrong) {
        if self.faults.len() >= FAULTS_MAX {
            return;
        }
        let (line, column) = place(self.text, span.start);
        let origin = Origin::file(self.layer, self.path, Some(line));
        self.faults.push(ConfigFault::new(origin, Some(column), what));
    }
}

/// Line and column of an offset in bytes, both from 1, the column in characters.
fn place(text: &str, offset: usize) -> (usize, usize) {
    // A span that cuts a character in two would be toml's mistake; the end of the file is then as good a place.
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// A message that quotes a file, without what a terminal would obey. One character for one, so that the caret
/// stays under its spot.
fn plain(message: &str) -> String {
    let calm = |c: char| match c {
        '\n' => c,
        '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    message.chars().map(calm).collect()
}

//! Lines cut out of a stream of bytes for people. Knows line ends, and that a line may be endless; unaware of
//! where the bytes come from and how they are shown.

use memchr::memmem::Finder;

/// A longer line is cut, in views only.
pub const LINE_BYTES_MAX: usize = 64 << 10;

/// A line, or its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Without its line end.
    pub bytes: &'a [u8],
    /// How much of it was cut off.
    pub cut_bytes: u64,
    /// Whether its line end has come.
    pub is_ended: bool,
}

/// Collects lines: at most [`LINE_BYTES_MAX`] of one are held.
#[derive(Debug)]
pub struct Lines {
    finder: Option<Finder<'static>>,
    /// Of the line that has begun.
    begun: Vec<u8>,
    cut_bytes: u64,
    /// The end of what was cut off: what is looked for may begin in it.
    cut_end: Vec<u8>,
    is_found: bool,
}

impl Lines {
    /// With a text: only lines that contain it, the part that is cut off included.
    pub fn new(text: Option<&[u8]>) -> Lines {
        Lines {
            finder: text.map(|text| Finder::new(text).into_owned()),
            begun: Vec::new(),
            cut_bytes: 0,
            cut_end: Vec::new(),
            is_found: false,
        }
    }

    /// Takes the next bytes, and shows the lines that they complete.
    pub fn push(&mut self, bytes: &[u8], mut show: impl FnMut(Line<'_>)) {
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', bytes) {
            let rest = &bytes[start..end];
            if self.begun.is_empty() && rest.len() <= LINE_BYTES_MAX {
                // The usual case: the line is whole in one piece.
                if self.finder.as_ref().is_none_or(|finder| finder.find(rest).is_some()) {
                    show(Line { bytes: rest, cut_bytes: 0, is_ended: true });
                }
            } else {
                self.take(rest);
                self.end(true, &mut show);
            }
            start = end + 1;
        }
        self.take(&bytes[start..]);
    }

    /// Shows what has begun and will not be ended.
    pub fn finish(&mut self, mut show: impl FnMut(Line<'_>)) {
        if !self.begun.is_empty() {
            self.end(false, &mut show);
        }
    }

    /// How much of a line has come that is not ended.
    pub fn begun_bytes(&self) -> u64 {
        self.begun.len() as u64 + self.cut_bytes
    }

    fn take(&mut self, bytes: &[u8]) {
        let room = LINE_BYTES_MAX - self.begun.len();
        let (kept, cut) = bytes.split_at(room.min(bytes.len()));
        self.begun.extend_from_slice(kept);
        if cut.is_empty() {
            return;
        }
        if let Some(finder) = &self.finder {
            let overlap = finder.needle().len().saturating_sub(1);
            if self.cut_bytes == 0 {
                self.cut_end.extend_from_slice(&self.begun[self.begun.len().saturating_sub(overlap)..]);
            }
            // Only the border is copied.
            self.cut_end.extend_from_slice(&cut[..overlap.min(cut.len())]);
            self.is_found |= finder.find(&self.cut_end).is_some() || finder.find(cut).is_some();
            if cut.len() >= overlap {
                self.cut_end.clear();
                self.cut_end.extend_from_slice(&cut[cut.len() - overlap..]);
            } else {
                let excess = self.cut_end.len().saturating_sub(overlap);
                self.cut_end.drain(..excess);
            }
        }
        self.cut_bytes += cut.len() as u64;
    }

    fn end(&mut self, is_ended: bool, show: &mut impl FnMut(Line<'_>)) {
        let is_shown = match &self.finder {
            None => true,
            Some(finder) => self.is_found || finder.find(&self.begun).is_some(),
        };
        if is_shown {
            show(Line { bytes: &self.begun, cut_bytes: self.cut_bytes, is_ended });
        }
        self.begun.clear();
        self.cut_end.clear();
        self.cut_bytes = 0;
        self.is_found = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: Option<&str>, bytes: &[u8], size: usize) -> Vec<(Vec<u8>, u64, bool)> {
        let mut lines = Lines::new(text.map(str::as_bytes));
        let mut all = Vec::new();
        let mut show = |line: Line<'_>| all.push((line.bytes.to_vec(), line.cut_bytes, line.is_ended));
        bytes.chunks(size).for_each(|piece| lines.push(piece, &mut show));
        lines.finish(&mut show);
        all
    }

    #[test]
    fn lines_are_the_same_in_whatever_pieces_they_come() {
        for size in [1, 2, 3, 100] {
            let all = shown(None, b"one\n\ntwo\r\nend", size);
            let texts: Vec<_> = all.iter().map(|(bytes, _, ended)| (bytes.as_slice(), *ended)).collect();
            assert_eq!(texts, [(b"one".as_slice(), true), (b"", true), (b"two\r", true), (b"end", false)]);
            let found = shown(Some("wo"), b"one\n\ntwo\r\nwow", size);
            assert_eq!(found, [(b"two\r".to_vec(), 0, true), (b"wow".to_vec(), 0, false)]);
        }
    }

    #[test]
    fn an_endless_line_is_cut_and_what_is_cut_off_is_searched() {
        let mut bytes = vec![b'x'; 3 * LINE_BYTES_MAX];
        bytes[2 * LINE_BYTES_MAX..][..6].copy_from_slice(b"needle");
        bytes.extend_from_slice(b"\nshort\n");
        for size in [1, 5, 7, 4_096, LINE_BYTES_MAX, bytes.len()] {
            let all = shown(None, &bytes, size);
            assert_eq!((all.len(), all[0].0.len(), all[0].1), (2, LINE_BYTES_MAX, 2 * LINE_BYTES_MAX as u64));
            assert_eq!(shown(Some("needle"), &bytes, size).len(), 1, "pieces of {size}");
            assert_eq!(shown(Some("needles"), &bytes, size).len(), 0);
        }
        let mut border = vec![b'x'; LINE_BYTES_MAX - 3];
        border.extend_from_slice(b"needle\n");
        assert_eq!(shown(Some("needle"), &border, 1_000).len(), 1);
    }
}

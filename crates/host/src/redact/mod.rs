//! Secrets taken out of a stream of bytes. Knows the values, their spellings and known kinds of keys; unaware
//! of where the bytes come from and go to.
//!
//! Matches that overlap are replaced as one, whole: no part of a secret is left because another one began
//! before it. At a border between two reads only what may be the beginning of a secret is kept back, at most
//! the longest spelling less one byte (for a kind of key: until it is decided); it goes on as soon as it
//! cannot be one any more, and at the end. So a live view lags by at most that much, and only where the
//! output ends like a secret begins.

mod forms;
mod keys;

use std::fmt;

use aho_corasick::{AhoCorasick, Input, MatchKind};

pub use forms::VALUE_BYTES_MIN;
use keys::{KINDS, Rest, Verdict};

/// What stands for a secret.
pub const MARKER: &[u8] = b"[redacted]";

/// How much of what precedes a window matters: an escape before a word is three bytes long.
const BEFORE_BYTES: usize = 3;

/// More than anybody can have declared.
#[derive(Debug, thiserror::Error)]
#[error("the secrets cannot be looked for: {0}")]
pub struct TooMuch(String);

/// What to look for, made once and used by any number of [`Redactor`]s.
pub struct Needles {
    search: AhoCorasick,
    /// The spellings of values, sorted, then the marks of keys.
    needles: Vec<Vec<u8>>,
    values: usize,
    /// All of `needles`, sorted: to find what the end of a window may be the beginning of.
    sorted: Vec<Vec<u8>>,
    is_first: [bool; 256],
    longest: usize,
}

impl fmt::Debug for Needles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Needles").field("count", &self.needles.len()).finish_non_exhaustive()
    }
}

impl Needles {
    /// Values shorter than [`VALUE_BYTES_MIN`], white space around them not counted, are not looked for.
    ///
    /// # Errors
    /// When the values together are beyond what can be searched for (gigabytes).
    pub fn new<V: AsRef<str>>(values: &[V], with_keys: bool) -> Result<Needles, TooMuch> {
        let mut needles: Vec<_> = values.iter().flat_map(|value| forms::forms(value.as_ref())).collect();
        needles.sort_unstable();
        needles.dedup();
        let values = needles.len();
        if with_keys {
            needles.extend(KINDS.iter().map(|kind| kind.mark.as_bytes().to_vec()));
        }
        let search = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(&needles)
            .map_err(|error| TooMuch(error.to_string()))?;
        let mut is_first = [false; 256];
        needles.iter().for_each(|needle| is_first[usize::from(needle[0])] = true);
        let longest = needles.iter().map(Vec::len).max().unwrap_or(0);
        let mut sorted = needles.clone();
        sorted.sort_unstable();
        sorted.dedup();
        Ok(Needles { search, needles, values, sorted, is_first, longest })
    }

    /// A whole text at once.
    pub fn redact(&self, text: &[u8]) -> Vec<u8> {
        let mut kept = Vec::with_capacity(text.len());
        Redactor::default().pass(self, text, true, |part| kept.extend_from_slice(part));
        kept
    }

    /// The first position from which on the window may be the beginning of something looked for that is longer.
    fn pending(&self, window: &[u8]) -> usize {
        let from = window.len().saturating_sub(self.longest.saturating_sub(1));
        let is_pending = |at: &usize| {
            let end = &window[*at..];
            // Those that begin with `end` stand together, the one that equals it first.
            let first = self.sorted.partition_point(|needle| needle.as_slice() < end);
            let longer = |needle: &&Vec<u8>| needle.len() > end.len();
            self.sorted[first..].iter().take(2).filter(longer).any(|needle| needle.starts_with(end))
        };
        (from..window.len())
            .filter(|at| self.is_first[usize::from(window[*at])])
            .find(is_pending)
            .unwrap_or(window.len())
    }

    /// The longest value that stands here. Only for where a mark hides a shorter value from the search.
    fn value_at(&self, bytes: &[u8]) -> Option<usize> {
        let values = &self.needles[..self.values];
        values.iter().filter(|value| bytes.starts_with(value)).map(Vec::len).max()
    }
}

/// One stream's passage.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    /// So many bytes at the beginning of the next window belong to what is replaced already.
    covered: usize,
    /// A key that goes on behind them.
    rest: Option<Rest>,
    before: Vec<u8>,
}

impl Redactor {
    /// Hands the window's clean parts and the markers to `sink`, in order. Returns how many bytes of the
    /// window are done with: the rest must begin the next window, and new bytes follow it. With `last`
    /// nothing follows and all is done with.
    pub fn pass(
        &mut self,
        needles: &Needles,
        window: &[u8],
        last: bool,
        mut sink: impl FnMut(&[u8]),
    ) -> usize {
        let mut end = self.covered;
        if let Some(rest) = &mut self.rest {
            end += rest.take(&window[end..]);
            if end < window.len() || last {
                self.rest = None;
            }
        }
        let mut hold = if last { window.len() } else { needles.pending(window) };
        let mut at = 0;
        while let Some(found) = needles.search.find(Input::new(window).range(at..)) {
            let start = found.start();
            if start >= hold {
                break;
            }
            at = start + 1;
            let length = match self.length_of(needles, window, start, found.pattern().as_usize(), last) {
                Found::Nothing => continue,
                Found::Open => {
                    hold = start;
                    break;
                }
                Found::Secret(length) => length,
            };
            if start >= end {
                if start > end {
                    sink(&window[end..start]);
                }
                sink(MARKER);
            }
            end = end.max(start + length);
        }
        if end < hold {
            sink(&window[end..hold]);
        }
        self.covered = end.saturating_sub(hold);
        self.remember(&window[..hold]);
        hold
    }

    fn length_of(
        &mut self,
        needles: &Needles,
        window: &[u8],
        start: usize,
        which: usize,
        last: bool,
    ) -> Found {
        let Some(kind) = which.checked_sub(needles.values) else {
            return Found::Secret(needles.needles[which].len());
        };
        match KINDS[kind].at(window, start, &self.before, last) {
            Verdict::No => needles.value_at(&window[start..]).map_or(Found::Nothing, Found::Secret),
            Verdict::Open => Found::Open,
            Verdict::Key(length, rest) => {
                self.rest = self.rest.take().or(rest);
                Found::Secret(length.max(needles.value_at(&window[start..]).unwrap_or(0)))
            }
        }
    }

    fn remember(&mut self, done: &[u8]) {
        self.before.extend_from_slice(&done[done.len().saturating_sub(BEFORE_BYTES)..]);
        let excess = self.before.len().saturating_sub(BEFORE_BYTES);
        self.before.drain(..excess);
    }
}

enum Found {
    Nothing,
    Open,
    Secret(usize),
}

#[cfg(test)]
mod tests;

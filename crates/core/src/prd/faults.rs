//! Faults of a document, gathered in one pass. Knows places and the bound on how many are shown; unaware of
//! the rules that were broken.

use super::{Fault, Place};

/// Faults shown of one document. Nobody reads more, and a file of the wrong kind has millions.
pub const FAULTS_MAX: usize = 100;

/// A heap of faults of one phase of reading. Phases go through the text from front to back, so the first
/// hundred of each hold the first hundred of all.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// With the byte offset in the whole text, or none for what has no line (a manifest knows its own).
    kept: Vec<(Option<usize>, Fault)>,
    dropped: usize,
}

impl Faults {
    /// Notes a fault; `fault` is not even made when there are enough.
    pub(super) fn push(&mut self, fault: impl FnOnce() -> (Option<usize>, Fault)) {
        if self.kept.len() < FAULTS_MAX {
            self.kept.push(fault());
        } else {
            self.dropped += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    pub(super) fn absorb(&mut self, other: Faults) {
        self.kept.extend(other.kept);
        self.dropped += other.dropped;
    }

    /// Sorts by place in the text, works out lines and columns (both from 1, columns in characters), and
    /// cuts to [`FAULTS_MAX`] with a last one that says how many more there are.
    pub(super) fn finish(mut self, text: &str) -> Vec<Fault> {
        self.kept.sort_by_key(|(offset, _)| *offset);
        let more = self.dropped + self.kept.len().saturating_sub(FAULTS_MAX);
        self.kept.truncate(FAULTS_MAX);
        let (mut line, mut line_start, mut seen) = (1_u32, 0, 0);
        let mut faults: Vec<Fault> = Vec::with_capacity(self.kept.len() + 1);
        for (offset, mut fault) in self.kept {
            if let Some(offset) = offset.map(|offset| text.floor_char_boundary(offset)) {
                for (index, _) in
                    text.as_bytes()[seen..offset].iter().enumerate().filter(|(_, b)| **b == b'\n')
                {
                    line = line.saturating_add(1);
                    line_start = seen + index + 1;
                }
                seen = offset;
                fault.place.line = Some(line);
                // A file on one line may be 256 MB: columns are counted only where that is cheap.
                let before = &text[line_start..offset];
                let column = if before.len() < 1 << 16 { before.chars().count() } else { before.len() };
                fault.place.column = u32::try_from(column + 1).ok();
            }
            faults.push(fault);
        }
        if more > 0 {
            faults.push(Fault {
                place: Place::default(),
                rule: "more-faults",
                message: format!("and {more} more"),
                hint: None,
            });
        }
        faults
    }
}

/// A fault whose line is worked out later.
pub(super) fn fault(path: impl Into<String>, rule: &'static str, message: impl Into<String>) -> Fault {
    Fault {
        place: Place { path: path.into(), line: None, column: None },
        rule,
        message: message.into(),
        hint: None,
    }
}

impl Fault {
    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Fault {
        self.hint = Some(hint.into());
        self
    }
}

//! How urgent a task is. Lower goes first, as in every PRD file met so far.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::time::Time;

/// A priority in thousandths: files hold fractions (31.1 … 31.8) to squeeze a story between two others,
/// and whole thousandths keep the order exact where floats would not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Priority(i64);

/// The span of accepted priorities: beyond it a number is a mistake (a date, an id), not an order.
pub const PRIORITY_ABS_MAX: f64 = 1_000_000.0;

impl Priority {
    /// Absent priorities sort behind all that are given.
    pub const ABSENT: Priority = Priority(i64::MAX);

    /// From a number, whole or not; `None` outside ±[`PRIORITY_ABS_MAX`] or when it is not a number.
    pub fn from_number(number: f64) -> Option<Priority> {
        // The cast cannot lose: the span was checked, and thousandths of it are far below 2^53.
        (number.abs() <= PRIORITY_ABS_MAX).then(|| Priority((number * 1000.0).round() as i64))
    }

    /// From a word: `P0` to `P9` (any case), `critical`, `high`, `medium`/`normal`, `low`, or a number in text.
    pub fn from_word(word: &str) -> Option<Priority> {
        let number = match word.to_ascii_lowercase().as_str() {
            "critical" | "urgent" | "highest" => 0.0,
            "high" => 1.0,
            "medium" | "normal" => 2.0,
            "low" => 3.0,
            "lowest" => 4.0,
            text => match text.strip_prefix('p') {
                Some(digit) if digit.len() == 1 => f64::from(digit.parse::<u8>().ok()?),
                _ => text.parse().ok()?,
            },
        };
        Priority::from_number(number)
    }

    /// A place in a line: since when somebody waits, moved by how urgent it is. A fixed number, so the order never
    /// changes behind a set's back, and whoever waits long enough comes first. `step_ms`: what a whole step is worth.
    pub(crate) fn rank(self, since: Time, step_ms: u64) -> i64 {
        /// A thousand steps: an absent priority waits a week behind the most urgent, not for ever.
        const THOUSANDTHS_MAX: i64 = 1_000_000;
        let level = self.0.clamp(-THOUSANDTHS_MAX, THOUSANDTHS_MAX);
        let step = i64::try_from(step_ms).unwrap_or(i64::MAX / THOUSANDTHS_MAX);
        since.0.saturating_add(level.saturating_mul(step) / 1_000)
    }

    pub fn thousandths(self) -> i64 {
        self.0
    }

    pub fn from_thousandths(thousandths: i64) -> Priority {
        Priority(thousandths)
    }
}

impl Default for Priority {
    fn default() -> Self {
        Priority::ABSENT
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Priority::ABSENT {
            return f.write_str("-");
        }
        write!(f, "{}", self.0 as f64 / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fractions_and_words_share_one_order() {
        let order = ["P0", "high", "2", "31.1", "31.2", "32"].map(|w| Priority::from_word(w).expect(w));
        assert!(order.is_sorted() && order[5] < Priority::ABSENT);
        assert_eq!(Priority::from_word("p1"), Priority::from_word("1"));
    }

    #[test]
    fn what_is_no_priority_is_refused() {
        for word in ["", "soon", "1e9", "NaN", "inf", "p", "p10x"] {
            assert_eq!(Priority::from_word(word), None, "{word}");
        }
    }
}

//! Tables for people: columns that fit, no frames, readable without colour.

use comfy_table::Table;
use comfy_table::presets::NOTHING;

use crate::out::inert;

/// A table with these headings.
pub(crate) fn table(headings: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(headings.iter().map(|heading| heading.to_uppercase()));
    for row in rows {
        table.add_row(row.iter().map(|cell| cut(&inert(cell).replace('\n', " "))));
    }
    let text = table.to_string();
    text.lines().map(|line| line.trim_end().trim_start_matches(' ')).collect::<Vec<_>>().join("\n")
}

/// The most characters of a cell: one long title must not push the others off the screen. `show` has it whole.
const CELL_CHARS_MAX: usize = 80;

fn cut(cell: &str) -> String {
    if cell.chars().count() <= CELL_CHARS_MAX {
        return cell.to_owned();
    }
    cell.chars().take(CELL_CHARS_MAX - 1).chain(['…']).collect()
}

/// A span of time, short: `350 ms`, `2.4 s`, `3 min 20 s`, `2 h 5 min`.
pub(crate) fn span(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        60_000..3_600_000 => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
        _ => format!("{} h {} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short() {
        assert_eq!(
            [350, 2_450, 200_000, 7_500_000].map(span),
            ["350 ms", "2.4 s", "3 min 20 s", "2 h 5 min"]
        );
    }
}

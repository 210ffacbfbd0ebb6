//! What a run looks like while it goes on: drawn lines on a terminal, plain lines in a pipe. Shows views only.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use ropewalk_core::view::{Board, NoteLine, ParkLine, PrdLine, RunLine};

use crate::out::{Out, inert};
use crate::table::span;

/// Lines of running attempts that are drawn; of more, the number is told.
const RUNNING_MAX: usize = 12;
/// Lines of what waits.
const WAITING_MAX: usize = 6;
/// Characters of a progress bar: fits beside a title in 80 columns.
const BAR_WIDTH: usize = 20;

pub(crate) struct Progress<'a> {
    out: &'a Out,
    drawn: Option<Drawn>,
}

struct Drawn {
    all: MultiProgress,
    lines: Vec<ProgressBar>,
}

impl<'a> Progress<'a> {
    pub(crate) fn new(out: &'a Out) -> Progress<'a> {
        let drawn = out.may_draw().then(|| Drawn {
            all: MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)),
            lines: Vec::new(),
        });
        Progress { out, drawn }
    }

    /// How long to wait for news: a drawn clock wants to tick, a pipe does not.
    pub(crate) fn patience(&self) -> Duration {
        if self.drawn.is_some() { Duration::from_millis(500) } else { Duration::from_secs(10) }
    }

    pub(crate) fn show(&mut self, board: &Board, notes: &[NoteLine]) {
        for line in notes.iter().map(note_line) {
            match &self.drawn {
                // A terminal that has gone is no fault of the run's.
                Some(drawn) => drop(drawn.all.println(line)),
                None => self.out.remark(&line),
            }
        }
        if let Some(drawn) = &mut self.drawn {
            drawn.draw(&lines_of(board));
        }
    }

    /// Takes the drawn lines off the screen; what was printed stays.
    pub(crate) fn end(&mut self) {
        if let Some(drawn) = &mut self.drawn {
            drawn.draw(&[]);
            drop(drawn.all.clear());
        }
    }
}

impl Drawn {
    fn draw(&mut self, lines: &[String]) {
        while self.lines.len() > lines.len() {
            if let Some(bar) = self.lines.pop() {
                bar.finish_and_clear();
                self.all.remove(&bar);
            }
        }
        while self.lines.len() < lines.len() {
            let bar = self.all.add(ProgressBar::no_length());
            if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
                bar.set_style(style);
            }
            self.lines.push(bar);
        }
        for (bar, line) in self.lines.iter().zip(lines) {
            bar.set_message(line.clone());
        }
    }
}

/// One line of history.
pub(crate) fn note_line(note: &NoteLine) -> String {
    let attempt = note.attempt.map(|n| format!(" attempt {n}")).unwrap_or_default();
    let text =
        if note.text.is_empty() { String::new() } else { format!(": {}", note.text.replace('\n', " ")) };
    inert(&format!("{} {}{attempt} {}{text}", clock(note.at.0), note.name, note.what))
}

/// The time of day on the user's clock.
pub(crate) fn clock(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms)
        .map(|at| at.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S").to_string())
        .unwrap_or_default()
}

/// The date and the time of day on the user's clock.
pub(crate) fn date(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms)
        .map(|at| at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string())
        .unwrap_or_default()
}

/// The drawn picture: one line a PRD, one a running attempt, then what lands and what waits and why.
fn lines_of(board: &Board) -> Vec<String> {
    let mut lines: Vec<_> = board.prds.iter().filter(|prd| prd.progress.stories > 0).map(prd_line).collect();
    lines.extend(board.running.iter().take(RUNNING_MAX).map(run_line));
    if board.running.len() > RUNNING_MAX {
        lines.push(format!("  … and {} more running", board.running.len() - RUNNING_MAX));
    }
    for line in board.landing.iter().take(WAITING_MAX) {
        lines.push(inert(&format!("  ⇢ {} {} on {}", line.name, line.state, line.target)));
    }
    lines.extend(board.parked.iter().take(WAITING_MAX).map(park_line));
    if board.parked.len() > WAITING_MAX {
        lines.push(format!("  … and {} more wait for you", board.parked.len() - WAITING_MAX));
    }
    lines
}

fn prd_line(prd: &PrdLine) -> String {
    let progress = &prd.progress;
    let wanted = (progress.stories - progress.cancelled).max(1);
    let full = (BAR_WIDTH * progress.done as usize) / wanted as usize;
    let bar = format!("{}{}", "█".repeat(full), "░".repeat(BAR_WIDTH.saturating_sub(full)));
    let mut text = format!("{} {bar} {}/{wanted} landed", prd.key, progress.done);
    for (count, word) in [
        (progress.running, "running"),
        (progress.landing, "landing"),
        (progress.ready, "ready"),
        (progress.blocked, "blocked"),
        (progress.parked, "parked"),
    ] {
        if count > 0 {
            text += &format!(", {count} {word}");
        }
    }
    if let Some(fault) = &prd.fault {
        text += &format!(": {fault}");
    }
    inert(&format!("{text}  {}", prd.title))
}

fn run_line(run: &RunLine) -> String {
    let again = if run.attempt > 1 { format!(" (attempt {})", run.attempt) } else { String::new() };
    inert(&format!("  ▸ {}{again} {} {}  {}", run.name, run.state, span(run.age_ms), run.title))
}

fn park_line(park: &ParkLine) -> String {
    inert(&format!("  ✋ {} waits for you: {}", park.name, park.reason.replace('\n', " ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ropewalk_core::id::{PrdNumber, TaskId};

    #[test]
    fn the_picture_has_a_line_for_each_prd_attempt_and_question() {
        let progress =
            ropewalk_core::row::Progress { stories: 4, done: 2, running: 1, parked: 1, ..Default::default() };
        let board = Board {
            prds: vec![PrdLine {
                number: PrdNumber(1),
                key: "PRD-001".into(),
                title: "A \u{1b}[31mtitle".into(),
                state: "active".into(),
                progress,
                branch: None,
                fault: None,
                command: None,
            }],
            running: vec![RunLine {
                task: TaskId(3),
                name: "PRD-001/US-003".into(),
                title: "third".into(),
                attempt: 2,
                state: "running".into(),
                age_ms: 61_000,
                is_near_deadline: false,
                rung: None,
            }],
            parked: vec![ParkLine {
                task: TaskId(4),
                prd: None,
                name: "PRD-001/US-004".into(),
                reason: "3 attempts failed".into(),
                next: "ropewalk retry 4".into(),
            }],
            ..Board::default()
        };
        assert_eq!(
            lines_of(&board),
            [
                "PRD-001 ██████████░░░░░░░░░░ 2/4 landed, 1 running, 1 parked  A \\x1b[31mtitle",
                "  ▸ PRD-001/US-003 (attempt 2) running 1 min 1 s  third",
                "  ✋ PRD-001/US-004 waits for you: 3 attempts failed",
            ]
        );
    }
}

//! What an agent is told. Unaware of agents: the same text goes to a program's stdin and into a file.

use crate::checkpoint::Resume;
use crate::row::{Prd, Story};
use crate::task::{Task, TaskKind};

/// What went before: the last attempt's end, or why its candidate was returned.
#[derive(Clone, Copy, Debug, Default)]
pub struct Before<'a> {
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// How the last attempt ended, in a line.
    pub ended: Option<&'a str>,
    /// The end of the last attempt's output.
    pub output: Option<&'a str>,
    /// The conflict or the failing check that returned the last candidate.
    pub returned: Option<&'a str>,
    /// The checkpoint that it goes on from.
    pub resume: Option<&'a Resume>,
}

/// How an agent's work is taken, told to it in so many words. Absent for a plain command.
fn terms(checks: &[String]) -> String {
    let mut text = "\n## How your work is taken\n\nWork in the current folder: a git worktree of your own. End with exit \
                    status 0 when the work is done, another one when it is not. What you leave uncommitted is \
                    committed for you; what you start is ended with you.\n"
        .to_owned();
    if !checks.is_empty() {
        text += "\nBefore it lands, these must succeed on your work merged with everybody else's:\n\n";
        for check in checks {
            text += &format!("    {check}\n");
        }
    }
    text
}

/// The prompt of an attempt: the story as the file has it, how the work is taken, and what the next attempt must
/// know. `checks`: the commands that must succeed.
pub fn prompt(
    task: &Task,
    prd: Option<&Prd>,
    story: Option<(&Story, &str, &[String])>,
    checks: &[String],
    before: &Before<'_>,
) -> String {
    let mut text = String::new();
    match (story, prd) {
        (Some((story, description, criteria)), Some(prd)) => {
            text += &format!("# {}: {}\n\n", story.id, story.title);
            text += &format!("A story of {}: {}\n", prd.key, prd.title);
            if !description.is_empty() && description != story.title {
                text += &format!("\n{description}\n");
            }
            if !criteria.is_empty() {
                text += "\n## Acceptance criteria\n\n";
                for criterion in criteria {
                    text += &format!("- {criterion}\n");
                }
            }
            text += &format!("\n## The story as written\n\n```json\n{}\n```\n", story.body);
        }
        (_, _) => text += &format!("{}\n", task.title),
    }
    if task.kind == TaskKind::Implement {
        text += &terms(checks);
    }
    if before.attempt > 1 {
        text += &format!("\n## This is attempt {}\n", before.attempt);
        if let Some(resume) = before.resume {
            text += &format!(
                "\nThe folder holds what attempt {} had done at checkpoint {}: go on from there.\n",
                resume.of.number, resume.number
            );
            if let Some(session) = &resume.session {
                text += &format!("\nThat conversation was called {session}.\n");
            }
        }
        if let Some(returned) = before.returned {
            text += &format!("\nThe last attempt's work was returned before it landed:\n\n{returned}\n");
        } else {
            if let Some(ended) = before.ended {
                text += &format!("\nThe last attempt ended: {ended}\n");
            }
            if let Some(output) = before.output {
                text += &format!("\nThe end of its output:\n\n{output}\n");
            }
        }
    }
    text
}

/// Subject and trailers of a commit that lands a task. The trailers tie history to the store.
pub fn landing_message(task: &Task, prd: Option<&Prd>, attempt: u32) -> String {
    let subject = match (&task.story, prd) {
        (Some(story), _) => format!("{story}: {}", one_line(&task.title)),
        (None, Some(prd)) if !prd.is_collection => format!("{}: {}", prd.key, one_line(&prd.title)),
        (None, _) => one_line(&task.title),
    };
    let mut text = format!("{subject}\n\nRopewalk-Task: {}\nRopewalk-Attempt: {attempt}\n", task.id);
    if let Some(prd) = prd {
        text += &format!("Ropewalk-Prd: {}\n", prd.key);
    }
    text
}

/// The most characters of a subject line; git's own tools cut beyond it.
const SUBJECT_CHARS_MAX: usize = 100;

/// Subject and trailers of the commit that keeps what an attempt left uncommitted.
pub fn leftover_message(task: &Task, prd: Option<&Prd>, attempt: u32) -> String {
    let landing = landing_message(task, prd, attempt);
    format!("Attempt {attempt} of {landing}")
}

/// One line without control characters, cut to [`SUBJECT_CHARS_MAX`].
fn one_line(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let line = line.trim();
    if line.chars().count() <= SUBJECT_CHARS_MAX {
        return line.to_owned();
    }
    line.chars().take(SUBJECT_CHARS_MAX - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_one_line_whatever_the_title_holds() {
        assert_eq!(one_line("a\nb\u{1b}[31m\tc "), "a b [31m c");
        assert_eq!(one_line(&"x".repeat(500)).chars().count(), SUBJECT_CHARS_MAX);
    }
}

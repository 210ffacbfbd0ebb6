//! Whether what a repository's `ropewalk.toml` asks to be run may be run. The simple rule: a file that asks for nothing
//! to be run needs no trust, and any other counts not at all until the user has trusted every byte of it.

use std::io::{BufRead, IsTerminal};

use ropewalk_host::trusted::{Standing, Trusted};

use crate::config::{Demand, Source, demands};
use crate::failure::Failure;
use crate::out::{Out, inert};
use crate::place::Place;

/// An attempt knows itself by this variable. (An agent could unset it: this keeps slips out, not malice, which a
/// program with all of the user's rights has other ways for.)
const IN_ATTEMPT: &str = "ROPEWALK_ATTEMPT";

/// The project's file and how it stands.
pub(crate) struct Case<'p> {
    pub(crate) source: &'p Source,
    pub(crate) demands: Vec<Demand>,
    pub(crate) standing: Standing,
}

impl Case<'_> {
    pub(crate) fn may_run(&self) -> bool {
        self.demands.is_empty() || self.standing == Standing::Trusted
    }

    /// What would be run, one line each; after a change, what came and what went.
    pub(crate) fn lines(&self) -> Vec<String> {
        let Standing::Changed { before } = &self.standing else {
            return self.demands.iter().map(Demand::text).collect();
        };
        let before = demands(&Source::of_bytes(self.source.path(), before.clone()));
        let gone = before.iter().filter(|old| !self.demands.contains(old));
        let mut lines: Vec<String> = gone.map(|old| format!("- {}", old.text())).collect();
        lines.extend(self.demands.iter().map(|demand| {
            let mark = if before.contains(demand) { ' ' } else { '+' };
            format!("{mark} {}", demand.text())
        }));
        lines
    }

    /// In one sentence.
    pub(crate) fn said(&self) -> String {
        let path = self.source.path().display();
        match (&self.standing, self.demands.is_empty()) {
            (_, true) => format!("{path} asks for nothing to be run; it needs no trust"),
            (Standing::Trusted, false) => format!("{path} is trusted"),
            (Standing::Changed { .. }, false) => format!("{path} has changed since you trusted it"),
            (Standing::Unknown, false) => {
                format!("{path} asks for commands to be run, and you have not trusted it")
            }
        }
    }
}

/// The file of the place, if there is one that can be read.
pub(crate) fn case(place: &Place) -> Result<Option<Case<'_>>, Failure> {
    let Some(source) = place.source() else { return Ok(None) };
    let Some(bytes) = source.bytes() else { return Ok(None) };
    let demands = demands(source);
    let standing = match demands.is_empty() {
        true => Standing::Unknown,
        false => Trusted::of(&place.home)
            .standing(source.path(), bytes)
            .map_err(|error| Failure::broken(error.to_string()))?,
    };
    Ok(Some(Case { source, demands, standing }))
}

/// Trusts the file as it was read.
pub(crate) fn give(place: &Place) -> Result<(), Failure> {
    let given = place.source().and_then(|source| Some((source, source.bytes()?)));
    let Some((source, bytes)) = given else { return Ok(()) };
    Trusted::of(&place.home).give(source.path(), bytes).map_err(|error| Failure::broken(error.to_string()))
}

/// Refuses a file that is not trusted, and says what it would run.
pub(crate) fn refuse_untrusted(place: &Place) -> Result<(), Failure> {
    match case(place)? {
        Some(case) if !case.may_run() => Err(untrusted(&case)),
        Some(_) | None => Ok(()),
    }
}

fn untrusted(case: &Case<'_>) -> Failure {
    let failure = Failure::untrusted(format!("{}:\n  {}", case.said(), case.lines().join("\n  ")));
    failure.hint("look at it, and then run `ropewalk trust` (without a terminal: `ropewalk trust --yes`)")
}

/// On a terminal asks for what is missing; elsewhere [`refuse_untrusted`] will say it.
pub(crate) fn settle(place: &Place, out: &Out) -> Result<(), Failure> {
    if !is_somebody_there() {
        return Ok(());
    }
    // A file with faults is refused for those; nobody is asked to trust it.
    place.untrusted_config(&crate::cli::Set::default(), None)?;
    match case(place)? {
        Some(case) if !case.may_run() => ask(place, &case, &mut std::io::stdin().lock(), out),
        Some(_) | None => Ok(()),
    }
}

/// Whether there is a person to ask: one who sees the question and can type an answer.
pub(crate) fn is_somebody_there() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Shows what would be run and asks. Anything but yes is no.
pub(crate) fn ask(
    place: &Place,
    case: &Case<'_>,
    input: &mut impl BufRead,
    out: &Out,
) -> Result<(), Failure> {
    refuse_in_attempt()?;
    out.error(&inert(&format!("{}:\n  {}", case.said(), case.lines().join("\n  "))));
    out.error("may these be run? [y/N]");
    let mut answer = String::new();
    // A terminal that has gone answers nothing.
    let _ = input.read_line(&mut answer);
    match is_yes(&answer) {
        true => give(place),
        false => Err(Failure::untrusted(format!(
            "{} is not trusted; nothing was done",
            case.source.path().display()
        ))),
    }
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// Trust is the user's to give, not an agent's.
pub(crate) fn refuse_in_attempt() -> Result<(), Failure> {
    match std::env::var_os(IN_ATTEMPT) {
        None => Ok(()),
        Some(_) => Err(Failure::untrusted("an attempt cannot trust a file; that is for the user to do")
            .hint("run `ropewalk trust` yourself, in the project")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_yes_is_one() {
        for yes in ["y\n", "yes\n", " YES \r\n", "Y"] {
            assert!(is_yes(yes), "{yes:?}");
        }
        for no in ["", "\n", "n\n", "no\n", "yep\n", "y y\n", "\u{1b}[Ay\n"] {
            assert!(!is_yes(no), "{no:?}");
        }
    }

    #[test]
    fn after_a_change_it_is_said_what_came_and_what_went() {
        let path = std::path::Path::new("/r/ropewalk.toml");
        let of = |text: &str| Source::of_bytes(path, text.as_bytes().to_vec());
        let source = of("check.commands = ['b']\nagent.shell.command = 'a'\n");
        let before = b"check.commands = ['a']\nagent.shell.command = 'a'\n".to_vec();
        let demands = demands(&source);
        let mut case = Case { source: &source, demands, standing: Standing::Changed { before } };
        let mut lines = case.lines();
        lines.sort();
        let wanted =
            ["  agent.shell.command = \"a\"", "+ check.commands = [\"b\"]", "- check.commands = [\"a\"]"];
        assert_eq!(lines, wanted);
        assert!(!case.may_run());
        case.standing = Standing::Trusted;
        assert!(case.may_run());
    }
}

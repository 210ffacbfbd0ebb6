//! An agent for tests: does what the story says, and keeps a record that shows who ran when. Only the standard
//! library; unaware of Ropewalk but for the environment that any agent gets.
//!
//! `fake-agent FOLDER [STEPS]`: FOLDER takes the record, `attempts.log`, the list of everything that was started,
//! `pids`, and the locks. The steps are those of the prompt's line `fake: STEPS`, else those of the command line,
//! else `edit STORY.txt`; several are parted by `;` and run in order:
//!
//! ```text
//! edit FILE [TEXT]    write the file; without a text, the task and the attempt
//! append FILE [TEXT]  add a line to it
//! remove FILE         delete it, if it is there
//! first N STEP        STEP in the first N attempts only
//! fail [N]            exit 1; with N, in the first N attempts only
//! commit TEXT         commit all that is there
//! git WORDS           run git with these words; what it returns is no matter
//! wipe                delete the current folder with all that is in it
//! say TEXT            a line on stdout
//! mark WORD           a line in the record
//! wait MS             work for so long
//! gate NAME           go on when FOLDER/NAME is there
//! hang                work for ever
//! ```
//!
//! Processes (`processes.rs`). HOW is one or more of `deaf` (ignores SIGTERM), `session` (in a session of its own),
//! `bare` (with an empty environment), `orphan` (its parent has ended), `shut` (with stdout and stderr closed),
//! joined by `+`; or `plain`:
//!
//! ```text
//! become HOW          go on like that, as the very same process (`session`: as its only child)
//! leave HOW STEP      leave a process behind that does STEP; go on once it is in the list
//! deaf                become deaf and work for ever
//! fork                leave orphan+session hang
//! forks COUNT         leave so many processes behind; go on once they are in the list
//! chain               start a process that does the same, and end, under ever new pids: until FOLDER/end or
//!                     FOLDER/end-TASK is there, and not for ever, so that one which escapes is gone in a minute
//! halt                stop by SIGSTOP
//! vanish              end by SIGKILL
//! orphan              end the parent by SIGKILL, and go on
//! ```
//!
//! Output (`output.rs`); `flood` and `noise` are the same bytes for the same seed:
//!
//! ```text
//! flood BYTES [SEED]  so much on stdout, in lines
//! noise BYTES [SEED]  so much that is no text
//! endless [BYTES]     one line on stdout that never ends; or ends by ending
//! pieces N FORM NAME  the variable NAME's value as FORM (plain, base64, hex, percent), N bytes a write
//! ```
//!
//! Resources (`resources.rs`):
//!
//! ```text
//! eat MB              take so much memory and keep it
//! burn MS             compute for so long
//! files [COUNT]       open descriptors until there are no more, and keep them
//! fill FILE [BYTES]   write a file until it has so many bytes or the disk is full; a line in the record says which
//! ```
//!
//! Each process writes its pid and its start time into `FOLDER/pids` before it does anything else, so that a test
//! can look whether one of them is alive.

mod output;
mod processes;
mod resources;

use std::fs::{File, OpenOptions, TryLockError, create_dir_all};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

type Fault = Box<dyn std::error::Error>;

/// Follows the folder on the command line of a process that this program has started itself.
const ROLE: &str = "--as";

struct Agent {
    folder: PathBuf,
    task: String,
    attempt: u32,
    role: Role,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// What was started as an agent.
    First,
    /// The same, after it has started itself anew.
    Same,
    /// What it left behind.
    Left,
}

/// What a step leads to.
enum Next {
    GoOn,
    Exit(u8),
}

fn main() -> ExitCode {
    let args: Vec<String> =
        std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    let Some((folder, given)) = args.split_first() else { return complain(&"no folder is given") };
    let variable = |name| std::env::var(name).unwrap_or_default();
    let (agent, given) = match given {
        [role, how, task, attempt, steps @ ..] if role == ROLE => (
            Agent {
                folder: PathBuf::from(folder),
                task: task.clone(),
                attempt: attempt.parse().unwrap_or(1),
                role: if how == Role::Same.name() { Role::Same } else { Role::Left },
            },
            steps,
        ),
        _ => (
            Agent {
                folder: PathBuf::from(folder),
                task: variable("ROPEWALK_TASK"),
                attempt: variable("ROPEWALK_ATTEMPT").parse().unwrap_or(1),
                role: Role::First,
            },
            given,
        ),
    };
    match agent.work(given) {
        Ok(code) => code,
        Err(error) => complain(&error),
    }
}

fn complain(what: &dyn std::fmt::Display) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "fake-agent: {what}");
    ExitCode::from(70)
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Role::First => "first",
            Role::Same => "same",
            Role::Left => "left",
        }
    }
}

impl Agent {
    fn work(&self, given: &[String]) -> Result<ExitCode, Fault> {
        self.enlist()?;
        let steps = self.steps(given)?;
        let steps: Vec<&str> = steps.split(';').map(str::trim).filter(|step| !step.is_empty()).collect();
        let _lock = match self.role {
            Role::Left => None,
            Role::First | Role::Same => match self.lock()? {
                None => {
                    self.record("clash")?;
                    return Ok(ExitCode::from(71));
                }
                lock => lock,
            },
        };
        if self.role != Role::Same {
            self.record("start")?;
        }
        for (at, step) in steps.iter().enumerate() {
            if let Next::Exit(code) = self.step(step, &steps[at + 1..])? {
                self.record("end")?;
                return Ok(ExitCode::from(code));
            }
        }
        self.record("end")?;
        Ok(ExitCode::SUCCESS)
    }

    /// The story's own steps win, so that one command serves a whole PRD.
    fn steps(&self, given: &[String]) -> Result<String, Fault> {
        if self.role != Role::First {
            return Ok(given.join(" "));
        }
        let mut prompt = String::new();
        std::io::stdin().read_to_string(&mut prompt)?;
        if let Some(steps) = prompt.lines().find_map(|line| line.strip_prefix("fake: ")) {
            return Ok(steps.to_owned());
        }
        let own = std::env::var("ROPEWALK_STORY").unwrap_or_else(|_| format!("task-{}", self.task));
        Ok(if given.is_empty() { format!("edit {own}.txt") } else { given.join(" ") })
    }

    /// Held until this process ends, however it ends. `None`: another live attempt of the task holds it.
    fn lock(&self) -> Result<Option<File>, Fault> {
        let locks = self.folder.join("locks");
        create_dir_all(&locks)?;
        let file = OpenOptions::new().create(true).append(true).open(locks.join(&self.task))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// How the record and the list name this process: a test tells the agent from what it left behind.
    fn name(&self) -> String {
        match self.role {
            Role::First | Role::Same => self.task.clone(),
            Role::Left => format!("{}-left", self.task),
        }
    }

    fn record(&self, what: &str) -> Result<(), Fault> {
        let line = format!("{} {} {what} {}\n", self.name(), self.attempt, std::process::id());
        append(&self.folder.join("attempts.log"), &line)
    }

    /// Writes this process into the list: what it is called, its attempt, its pid, its start time.
    fn enlist(&self) -> Result<(), Fault> {
        let line = format!(
            "{} {} {} {}\n",
            self.name(),
            self.attempt,
            std::process::id(),
            processes::own_stat(processes::START_TIME)?
        );
        append(&self.folder.join("pids"), &line)
    }

    /// Does a step; `rest` is what follows it.
    fn step(&self, step: &str, rest: &[&str]) -> Result<Next, Fault> {
        let (name, words) = step.split_once(' ').unwrap_or((step, ""));
        let (word, text) = words.split_once(' ').unwrap_or((words, ""));
        let default = || format!("task {} attempt {}", self.task, self.attempt);
        let line = || if text.is_empty() { default() } else { text.to_owned() } + "\n";
        match name {
            "edit" => write(Path::new(word), &line(), false)?,
            "append" => write(Path::new(word), &line(), true)?,
            "remove" => drop(std::fs::remove_file(word)),
            "first" if self.attempt <= word.parse()? => return self.step(text, rest),
            "first" => {}
            "fail" if words.is_empty() || self.attempt <= word.parse()? => {
                writeln!(std::io::stderr(), "attempt {} fails as told", self.attempt)?;
                return Ok(Next::Exit(1));
            }
            "fail" => {}
            "commit" => commit(words)?,
            "git" => drop(Command::new("git").args(words.split(' ')).status()?),
            "wipe" => std::fs::remove_dir_all(std::env::current_dir()?)?,
            "say" => writeln!(std::io::stdout(), "{words}")?,
            "mark" => self.record(word)?,
            "wait" => rest_for(Duration::from_millis(word.parse()?)),
            "gate" => wait_until(|| self.folder.join(word).exists()),
            "hang" => hang(),
            "become" => self.become_how(word, rest)?,
            "leave" => self.leave(word, text)?,
            "deaf" => self.become_how("deaf", &["mark deaf", "hang"])?,
            "fork" => self.leave("orphan+session", "hang")?,
            "forks" => self.fork_often(word.parse()?)?,
            "chain" => return self.chain(word),
            "halt" => processes::send("-STOP", std::process::id())?,
            "vanish" => processes::send("-KILL", std::process::id())?,
            "orphan" => processes::send("-KILL", processes::own_stat(processes::PARENT)?.try_into()?)?,
            "flood" => output::flood(word.parse()?, text.parse().unwrap_or(1))?,
            "noise" => output::noise(word.parse()?, text.parse().unwrap_or(1))?,
            "endless" => output::endless(word.parse().unwrap_or(u64::MAX))?,
            "pieces" => {
                let (form, name) = text.split_once(' ').ok_or("pieces N FORM NAME")?;
                output::pieces(word.parse()?, form, name)?;
            }
            "eat" => resources::eat(word.parse()?),
            "burn" => resources::burn(Duration::from_millis(word.parse()?)),
            "files" => self.record(resources::open_files(word.parse().unwrap_or(u64::MAX)))?,
            "fill" => self.record(resources::fill(Path::new(word), text.parse().unwrap_or(u64::MAX))?)?,
            other => return Err(format!("{other:?} is no step").into()),
        }
        Ok(Next::GoOn)
    }
}

/// One `write` in append mode: lines of several processes never mix.
fn append(file: &Path, line: &str) -> Result<(), Fault> {
    let mut file = OpenOptions::new().create(true).append(true).open(file)?;
    Ok(file.write_all(line.as_bytes())?)
}

fn write(file: &Path, text: &str, append: bool) -> Result<(), Fault> {
    if let Some(folder) = file.parent() {
        create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().create(true).write(true).truncate(!append).append(append).open(file)?;
    Ok(file.write_all(text.as_bytes())?)
}

fn hang() {
    loop {
        std::thread::park();
    }
}

fn rest_for(span: Duration) {
    let until = Instant::now() + span;
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}

fn wait_until(is_so: impl Fn() -> bool) {
    while !is_so() {
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

fn commit(text: &str) -> Result<(), Fault> {
    for args in [&["add", "-A"][..], &["commit", "-qm", text]] {
        if !Command::new("git").args(args).status()?.success() {
            return Err("git failed".into());
        }
    }
    Ok(())
}

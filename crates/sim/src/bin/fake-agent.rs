//! An agent for tests: does what the story says, and keeps a record that shows who ran when. Only the standard
//! library; unaware of Ropewalk but for the environment that any agent gets.
//!
//! `fake-agent FOLDER [STEPS]`: FOLDER takes the record, `attempts.log`, and the locks. The steps are those of
//! the prompt's line `fake: STEPS`, else those of the command line, else `edit STORY.txt`; several are parted by
//! `;` and run in order:
//!
//! ```text
//! edit FILE [TEXT]    write the file; without a text, the task and the attempt
//! append FILE [TEXT]  add a line to it
//! remove FILE         delete it, if it is there
//! first N STEP        STEP in the first N attempts only
//! fail [N]            exit 1; with N, in the first N attempts only
//! commit TEXT         commit all that is there
//! say TEXT            a line on stdout
//! wait MS             work for so long
//! gate NAME           go on when FOLDER/NAME is there
//! hang                work for ever
//! deaf                ignore SIGTERM from here on
//! fork                leave a process behind that has a session of its own and no parent
//! flood BYTES         so much on stdout, in lines
//! endless             one line on stdout that never ends
//! vanish              end by SIGKILL
//! ```

use std::fs::{File, OpenOptions, TryLockError, create_dir_all};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

type Done = Result<(), Box<dyn std::error::Error>>;

/// Set when this program has started itself anew with SIGTERM ignored.
const DEAF: &str = "FAKE_AGENT_DEAF";

struct Agent {
    folder: PathBuf,
    task: String,
    attempt: u32,
}

fn main() -> ExitCode {
    let args: Vec<String> =
        std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    let Some((folder, given)) = args.split_first() else { return complain(&"no folder is given") };
    let variable = |name| std::env::var(name).unwrap_or_default();
    let agent = Agent {
        folder: PathBuf::from(folder),
        task: variable("ROPEWALK_TASK"),
        attempt: variable("ROPEWALK_ATTEMPT").parse().unwrap_or(1),
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

impl Agent {
    fn work(&self, given: &[String]) -> Result<ExitCode, Box<dyn std::error::Error>> {
        let steps = self.steps(given)?;
        let Some(_lock) = self.lock()? else {
            self.record("clash")?;
            return Ok(ExitCode::from(71));
        };
        self.record("start")?;
        for step in steps.split(';').map(str::trim).filter(|step| !step.is_empty()) {
            if let Some(code) = self.step(step)? {
                self.record("end")?;
                return Ok(ExitCode::from(code));
            }
        }
        self.record("end")?;
        Ok(ExitCode::SUCCESS)
    }

    /// The story's own steps win, so that one command serves a whole PRD.
    fn steps(&self, given: &[String]) -> Result<String, Box<dyn std::error::Error>> {
        if std::env::var_os(DEAF).is_some() {
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
    fn lock(&self) -> Result<Option<File>, Box<dyn std::error::Error>> {
        let locks = self.folder.join("locks");
        create_dir_all(&locks)?;
        let file = OpenOptions::new().create(true).append(true).open(locks.join(&self.task))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// One `write` in append mode: lines of several processes never mix.
    fn record(&self, what: &str) -> Done {
        let line = format!("{} {} {what} {}\n", self.task, self.attempt, std::process::id());
        let mut log = OpenOptions::new().create(true).append(true).open(self.folder.join("attempts.log"))?;
        Ok(log.write_all(line.as_bytes())?)
    }

    /// Does a step; the value is the exit code when this was the last.
    fn step(&self, step: &str) -> Result<Option<u8>, Box<dyn std::error::Error>> {
        let (name, rest) = step.split_once(' ').unwrap_or((step, ""));
        let (word, text) = rest.split_once(' ').unwrap_or((rest, ""));
        let default = || format!("task {} attempt {}", self.task, self.attempt);
        let line = || if text.is_empty() { default() } else { text.to_owned() } + "\n";
        match name {
            "edit" => write(Path::new(word), &line(), false)?,
            "append" => write(Path::new(word), &line(), true)?,
            "remove" => drop(std::fs::remove_file(word)),
            "first" if self.attempt <= word.parse()? => return self.step(text),
            "first" => {}
            "fail" if rest.is_empty() || self.attempt <= word.parse()? => {
                writeln!(std::io::stderr(), "attempt {} fails as told", self.attempt)?;
                return Ok(Some(1));
            }
            "fail" => {}
            "commit" => commit(rest)?,
            "say" => writeln!(std::io::stdout(), "{rest}")?,
            "wait" => rest_for(Duration::from_millis(word.parse()?)),
            "gate" => {
                while !self.folder.join(word).exists() {
                    std::thread::park_timeout(Duration::from_millis(5));
                }
            }
            "hang" => loop {
                std::thread::park();
            },
            "deaf" => deafen(&self.folder)?,
            "fork" => leave_behind(&self.folder)?,
            "flood" => flood(word.parse()?)?,
            "endless" => loop {
                std::io::stdout().write_all(&[b'~'; 4_096])?;
            },
            "vanish" => signal_self()?,
            other => return Err(format!("{other:?} is no step").into()),
        }
        Ok(None)
    }
}

fn write(file: &Path, text: &str, append: bool) -> Done {
    if let Some(folder) = file.parent() {
        create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().create(true).write(true).truncate(!append).append(append).open(file)?;
    Ok(file.write_all(text.as_bytes())?)
}

fn rest_for(span: Duration) {
    let until = Instant::now() + span;
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}

fn commit(text: &str) -> Done {
    for args in [&["add", "-A"][..], &["commit", "-qm", text]] {
        if !Command::new("git").args(args).status()?.success() {
            return Err("git failed".into());
        }
    }
    Ok(())
}

/// The standard library cannot ignore a signal, but what a shell ignores stays ignored in what it starts.
fn deafen(folder: &Path) -> Done {
    if std::env::var_os(DEAF).is_some() {
        return Ok(());
    }
    let mut child = Command::new("/bin/sh")
        .args(["-c", "trap '' TERM; \"$0\" \"$@\" & wait"])
        .arg(std::env::current_exe()?)
        .arg(folder)
        .arg("hang")
        .env(DEAF, "1")
        .env("ROPEWALK_TASK", format!("{}-deaf", std::env::var("ROPEWALK_TASK").unwrap_or_default()))
        .stdin(Stdio::null())
        .spawn()?;
    child.wait()?;
    Ok(())
}

/// The shell in between ends at once: what it started has no parent that knows it.
fn leave_behind(folder: &Path) -> Done {
    Command::new("/bin/sh")
        .args(["-c", "setsid \"$0\" \"$@\" </dev/null &"])
        .arg(std::env::current_exe()?)
        .arg(folder)
        .arg("hang")
        .env("ROPEWALK_TASK", format!("{}-left", std::env::var("ROPEWALK_TASK").unwrap_or_default()))
        .status()?;
    Ok(())
}

fn flood(bytes: usize) -> Done {
    let mut stdout = std::io::stdout().lock();
    let line = [&[b'x'; 79][..], b"\n"].concat();
    let mut left = bytes;
    while left > 0 {
        let count = left.min(line.len());
        stdout.write_all(&line[..count])?;
        left -= count;
    }
    Ok(stdout.flush()?)
}

fn signal_self() -> Done {
    Command::new("kill").args(["-KILL", &std::process::id().to_string()]).status()?;
    Ok(())
}

//! The fake agent's ways with processes. Knows the shell, which can do to a process what the standard library can
//! not: ignore a signal, close a descriptor, lead a session.

use std::io::Write as _;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::{Agent, Fault, Next, ROLE, Role, append, wait_until};

/// Links of a chain, and the life of each: where nobody reaps quickly, more would use up the machine's pids.
const LINKS_MAX: u32 = 10_000;
const LINK: std::time::Duration = std::time::Duration::from_millis(3);

/// Fields of `/proc/PID/stat`, counted from 1 as proc(5) does.
pub(super) const PARENT: usize = 4;
pub(super) const START_TIME: usize = 22;

/// A number of this process's own `/proc/PID/stat`.
pub(super) fn own_stat(field: usize) -> Result<u64, Fault> {
    number_in("/proc/self/stat", field)
}

fn number_in(stat: &str, field: usize) -> Result<u64, Fault> {
    let stat = String::from_utf8_lossy(&std::fs::read(stat)?).into_owned();
    // What follows the name's closing parenthesis begins with field 3.
    let tail = stat.rsplit_once(')').ok_or("a stat without a name")?.1;
    Ok(tail.split_ascii_whitespace().nth(field - 3).ok_or("a short stat")?.parse()?)
}

pub(super) fn send(os_signal: &str, pid: u32) -> Result<(), Fault> {
    Command::new("kill").args([os_signal, &pid.to_string()]).status()?;
    Ok(())
}

/// A shell's words that start `"$0" "$@"` with these properties.
struct Script {
    before: &'static str,
    prefix: String,
    after: &'static str,
    is_orphan: bool,
}

fn script(how: &str) -> Result<Script, Fault> {
    let mut script = Script { before: "", prefix: String::new(), after: "", is_orphan: false };
    for word in how.split('+') {
        match word {
            "plain" => {}
            // What a shell ignores stays ignored in what it executes.
            "deaf" => script.before = "trap '' TERM; ",
            "session" => script.prefix += "setsid -w ",
            "bare" => script.prefix += "env -i ",
            "shut" => script.after = " >&- 2>&-",
            "orphan" => script.is_orphan = true,
            other => return Err(format!("{other:?} is no way to start").into()),
        }
    }
    Ok(script)
}

impl Agent {
    fn command(&self, script: &str, role: Role, steps: &[&str]) -> Result<Command, Fault> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).arg(std::env::current_exe()?).arg(&self.folder);
        command.args([ROLE, role.name(), &self.task, &self.attempt.to_string()]).arg(steps.join("; "));
        Ok(command)
    }

    /// The lock goes at the border and is taken again behind it: an attempt that came in between is a clash.
    pub(super) fn become_how(&self, how: &str, rest: &[&str]) -> Result<(), Fault> {
        let Script { before, prefix, after, .. } = script(how)?;
        std::io::stdout().flush()?;
        let script = format!("{before}exec {prefix}\"$0\" \"$@\"{after}");
        Err(self.command(&script, Role::Same, rest)?.exec().into())
    }

    pub(super) fn leave(&self, how: &str, step: &str) -> Result<(), Fault> {
        let Script { before, prefix, after, is_orphan } = script(how)?;
        let listed = self.listed();
        // The shell in between ends at once: what it started has no parent that knows it.
        let (exec, end) = if is_orphan { ("", " &") } else { ("exec ", "") };
        let script = format!("{before}{exec}{prefix}\"$0\" \"$@\" </dev/null{after}{end}");
        let mut child = self.command(&script, Role::Left, &[step])?.stdin(Stdio::null()).spawn()?;
        if is_orphan {
            child.wait()?;
        }
        wait_until(|| self.listed() > listed);
        Ok(())
    }

    /// How many processes this attempt has left behind.
    fn listed(&self) -> usize {
        let text = std::fs::read_to_string(self.folder.join("pids")).unwrap_or_default();
        let mine = format!("{}-left {} ", self.task, self.attempt);
        text.lines().filter(|line| line.starts_with(&mine)).count()
    }

    /// Copies of a shell that wait for a pipe that nobody will open, and whose parent has ended: thousands of them
    /// cost little. They are listed by us, for they can not list themselves.
    pub(super) fn fork_often(&self, count: usize) -> Result<(), Fault> {
        const SCRIPT: &str = "mkfifo \"$1\" 2>&-; i=0; while [ $i -lt $0 ]; do (read x <\"$1\") >&- 2>&- & \
            echo $!; i=$((i+1)); done";
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", SCRIPT, &count.to_string()]).arg(self.folder.join("never")).stderr(Stdio::null());
        let pids = String::from_utf8(shell.output()?.stdout)?;
        let mut list = String::new();
        for pid in pids.split_ascii_whitespace() {
            let start_time = number_in(&format!("/proc/{pid}/stat"), START_TIME)?;
            list += &format!("{}-left {} {pid} {start_time}\n", self.task, self.attempt);
        }
        append(&self.folder.join("pids"), &list)
    }

    pub(super) fn chain(&self, left: &str) -> Result<Next, Fault> {
        let left = left.parse().unwrap_or(LINKS_MAX);
        let is_over = ["end".to_owned(), format!("end-{}", self.task.trim_end_matches("-left"))]
            .iter()
            .any(|name| self.folder.join(name).exists());
        std::thread::park_timeout(LINK);
        if left > 0 && !is_over && self.folder.is_dir() {
            self.own_kind(&format!("chain {}", left - 1))?.spawn()?;
        }
        Ok(Next::Exit(0))
    }

    /// One that is left behind, without a shell in between: for those that come in thousands.
    fn own_kind(&self, step: &str) -> Result<Command, Fault> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(&self.folder).args([
            ROLE,
            Role::Left.name(),
            &self.task,
            &self.attempt.to_string(),
            step,
        ]);
        command.stdin(Stdio::null());
        Ok(command)
    }
}

//! Tasks that are plain commands, and an engine to run them: for tests in which git is not the point.

use std::process::Command;

use serde_json::Value;

use super::{Bench, Running, send_all, wait_for};

impl Bench {
    /// Queues a plain command; the value is its number.
    pub(crate) fn add(&self, command: &str, more: &[&str]) -> u64 {
        let mut args = vec!["task", "add", "a plain task", "--no-worktree", "--command", command];
        args.extend(more);
        self.json(&args)["tasks"][0].as_u64().expect("a number")
    }

    /// An engine with so many slots that answers, or has had so little to do that it has ended; `furnish` may change its
    /// environment.
    pub(crate) fn engine(&self, slots: &str, furnish: impl FnOnce(&mut Command)) -> Running {
        let mut running = self.spawn_engine(slots, furnish);
        let mut has_ended = || matches!(running.child.try_wait(), Ok(Some(_)));
        wait_for("an engine", || (self.is_served() || has_ended()).then_some(()));
        running
    }

    pub(crate) fn spawn_engine(&self, slots: &str, furnish: impl FnOnce(&mut Command)) -> Running {
        let args = ["run", "--workers", slots];
        let mut command = self.command(&args);
        furnish(&mut command);
        self.start(command, args.join(" "))
    }

    /// Whether an engine answers.
    pub(crate) fn is_served(&self) -> bool {
        let ran = self.run(&["status", "--json"]);
        ran.code == Some(0) && ran.value()["engine"] == true
    }

    pub(crate) fn task(&self, task: u64) -> Value {
        self.json(&["task", "show", &task.to_string()])
    }

    /// The number and the state of every task.
    pub(crate) fn states(&self) -> Vec<(u64, String)> {
        let tasks = self.json(&["task", "list", "--limit", "5000"]);
        let line = |task: &Value| {
            (task["id"].as_u64().unwrap_or(0), task["state"].as_str().unwrap_or("").to_owned())
        };
        tasks.as_array().expect("a list").iter().map(line).collect()
    }

    /// Those of these tasks that are not done, with their states.
    pub(crate) fn not_done(&self, tasks: &[u64]) -> Vec<(u64, String)> {
        let is_open = |(task, state): &(u64, String)| tasks.contains(task) && state != "done";
        self.states().into_iter().filter(is_open).collect()
    }

    /// `kill -9` of all workers at once; their agents are left alone.
    pub(crate) fn kill_workers(&self) {
        send_all("-KILL", &self.workers());
    }
}

/// The number in a variable that a person or a script may set, else the usual one.
pub(crate) fn number_of(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[expect(clippy::print_stderr, reason = "a failing test says how to play it again")]
pub(crate) fn tell(text: &str) {
    eprintln!("{text}");
}

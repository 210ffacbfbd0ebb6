//! One file per command; each asks, waits, shows.

mod bench;
mod config;
mod demo;
mod detach;
mod doctor;
mod generate;
mod init;
mod logs;
mod merge;
mod prd;
mod rescue;
mod run;
mod status;
mod stop;
mod system;
mod task;
mod trust;
pub(crate) mod watch;
pub(crate) mod worker;
mod worktree;

use crate::cli::{Cli, Command};
use crate::failure::Failure;
use crate::out::Out;

/// Carries a command out; the value is the exit code.
pub(crate) fn dispatch(cli: &Cli, out: &Out) -> Result<u8, Failure> {
    match &cli.command {
        Command::Init(init) => init::init(init, out),
        Command::Trust(trust) => trust::trust(trust, out),
        Command::Run(run) => run::run(run, out),
        Command::Demo(demo) => demo::demo(demo, out),
        Command::Task(task) => task::task(task, out),
        Command::Prd(prd) => prd::prd(prd, out),
        Command::Status(how) => status::status(how, out),
        Command::Stop(how) => stop::stop(how, out),
        Command::Checkpoint(name) => task::checkpoint(&name.id, out),
        Command::Logs(logs) => logs::logs(logs, out),
        Command::Why(name) => task::why(&name.id, out),
        Command::Cancel(names) => task::cancel(&names.ids, out),
        Command::Retry(retry) => task::retry(retry, out),
        Command::Merge(command) => merge::merge(command, out),
        Command::Conflicts => merge::conflicts(out),
        Command::Diff(diff) => merge::diff(diff, out),
        Command::Review(review) => merge::review(review, out),
        Command::Rescue(command) => rescue::rescue(command, out),
        Command::Worktree(command) => worktree::worktree(command, out),
        Command::Doctor => doctor::doctor(out),
        Command::Bench(command) => bench::bench(command, out),
        Command::Config(config) => config::config(config, out),
        Command::Completions { shell } => generate::completions(*shell, out),
        Command::Man { folder } => generate::man(folder, out),
    }
}

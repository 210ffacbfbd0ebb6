//! One file per command; each asks, waits, shows.

mod config;
mod demo;
mod generate;
mod init;
mod logs;
mod prd;
mod run;
mod status;
mod task;
pub(crate) mod watch;
pub(crate) mod worker;

use ropewalk_core::command::Done;
use ropewalk_daemon::api::{Request, Response};
use ropewalk_daemon::session::Session;

use crate::cli::{Cli, Command};
use crate::failure::Failure;
use crate::out::Out;
use crate::place::Place;

/// Carries a command out; the value is the exit code.
pub(crate) fn dispatch(cli: Cli, out: &Out) -> Result<u8, Failure> {
    match cli.command {
        Command::Init(init) => init::init(&init, out),
        Command::Run(run) => run::run(&run, out),
        Command::Demo(demo) => demo::demo(&demo, out),
        Command::Task(task) => task::task(&task, out),
        Command::Prd(prd) => prd::prd(&prd, out),
        Command::Status => status::status(out),
        Command::Logs(logs) => logs::logs(&logs, out),
        Command::Why(name) => task::why(&name.id, out),
        Command::Cancel(names) => task::cancel(names.ids, out),
        Command::Retry(name) => task::retry(&name.id, out),
        Command::Config(config) => config::config(&config, out),
        Command::Completions { shell } => generate::completions(shell, out),
        Command::Man { folder } => generate::man(&folder, out),
    }
}

/// Asks; a refusal is a failure.
pub(crate) fn ask(session: &mut Session, place: &Place, request: Request) -> Result<Response, Failure> {
    match session.ask(place.common_dir().as_deref(), request)? {
        Response::Refused(refusal) => Err(refusal.into()),
        response => Ok(response),
    }
}

/// Asks for a change.
pub(crate) fn done(session: &mut Session, place: &Place, request: Request) -> Result<Done, Failure> {
    match ask(session, place, request)? {
        Response::Done(done) => Ok(done),
        response => Err(unexpected(&response)),
    }
}

pub(crate) fn unexpected(response: &Response) -> Failure {
    Failure::broken(format!("the engine gave another kind of answer than was asked for: {response:?}"))
}

//! The program `ropewalk`: the command line and the terminal. Sends requests, shows views, has no rules.

mod cli;
mod commands;
mod config;
mod failure;
mod out;
mod place;
mod progress;
mod table;
mod trust;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    end_on_panic();
    // A worker must be alone in its process before anything else starts a thread.
    if let Some(code) = commands::worker::serve_if_asked() {
        return code;
    }
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; clap prints each where it belongs.
            let _ = error.print();
            if error.use_stderr() && std::env::args_os().any(|word| word == "--json") {
                failure::Failure::input(error.kind().to_string()).show_json(&out::Out::new(true, false));
            }
            return ExitCode::from(if error.use_stderr() { failure::USAGE } else { 0 });
        }
    };
    let out = out::Out::new(cli.json, cli.quiet);
    let mut tries = 0;
    loop {
        tries += 1;
        match commands::dispatch(&cli, &out) {
            Ok(code) => return ExitCode::from(code),
            // Asked at the very moment at which an engine ended.
            Err(failure) if failure.may_ask_again() && tries < TRIES_MAX => {}
            Err(failure) => {
                failure.show(&out);
                return ExitCode::from(failure.exit_code());
            }
        }
    }
}

/// A thread of ours that panics leaves the others waiting for it for ever. To end at once is as safe as `kill -9`: what
/// was acknowledged is stored, workers go on, and the next start takes it all up.
fn end_on_panic() {
    let say = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        say(info);
        std::process::abort();
    }));
}

/// How often a command is put again to whoever serves next: engines do not end that often in a row.
const TRIES_MAX: u32 = 5;

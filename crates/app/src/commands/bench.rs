//! `bench`: what this machine makes of us. Each command measures one promise, beside what is possible at best.

mod folder;
mod git;
mod log;
mod output;

use crate::cli::Bench;
use crate::failure::Failure;
use crate::out::Out;

pub(crate) fn bench(bench: &Bench, out: &Out) -> Result<u8, Failure> {
    match bench {
        Bench::Output(bench) => output::output(bench, out),
        Bench::Git(bench) => git::git(bench, out),
        Bench::Print { file, times } => log::print(file, *times),
    }
}

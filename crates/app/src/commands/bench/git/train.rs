//! A hundred branches, each one change of a file of its own, as one line of history: by a process for each step, by
//! merging in a checkout, and by us.

use std::path::Path;

use ropewalk_core::id::Oid;
use ropewalk_host::git::Specimen;

use super::{Part, Way, refused};
use crate::cli::BenchGit;
use crate::failure::Failure;

const BRANCHES: u32 = 100;

pub(super) fn train(specimen: &Specimen, bench: &BenchGit, _folder: &Path) -> Result<Part, Failure> {
    let changed: Vec<_> = (0..BRANCHES).map(|at| vec![at * (bench.files / BRANCHES)]).collect();
    let heads = specimen.branch_off("train", &changed).map_err(refused)?;
    let (mut stepwise, mut checkout) = (Way::new("a process a step"), Way::new("checkout and merge"));
    for _ in 0..bench.rounds {
        let stepwise = stepwise.time(|| by_steps(specimen, &heads))?;
        let checkout = checkout.time(|| by_checkout(specimen))?;
        specimen.git(&["checkout", "-q", "main"]).map_err(refused)?;
        same_files(&stepwise, &checkout)?;
    }
    Ok(Part { name: "train", ways: vec![stepwise, checkout], promises: vec![] })
}

fn same_files(one: &str, other: &str) -> Result<(), Failure> {
    if one == other {
        return Ok(());
    }
    Err(Failure::broken(format!("two ways ended with different files: the trees {one} and {other}")))
}

/// `merge-tree`, `commit-tree` and `update-ref` for each branch. Gives the tree at the end.
fn by_steps(specimen: &Specimen, heads: &[Oid]) -> Result<String, Failure> {
    let git = |args: &[&str]| specimen.git(args).map_err(refused);
    let mut tip = specimen.tip("main").map_err(refused)?.to_string();
    let mut tree = String::new();
    for head in heads {
        tree = git(&["merge-tree", "--write-tree", &tip, head.as_str()])?;
        tip = git(&["commit-tree", &tree, "-p", &tip, "-p", head.as_str(), "-m", "merge"])?;
        git(&["update-ref", "refs/heads/stepwise", &tip])?;
    }
    Ok(tree)
}

/// `merge` for each branch in a checkout. Gives the tree at the end.
fn by_checkout(specimen: &Specimen) -> Result<String, Failure> {
    let git = |args: &[&str]| specimen.git(args).map_err(refused);
    git(&["checkout", "-q", "-B", "merged", "main"])?;
    for at in 0..BRANCHES {
        git(&["merge", "-q", "--no-ff", "--no-edit", &format!("train{at}")])?;
    }
    git(&["rev-parse", "HEAD^{tree}"])
}

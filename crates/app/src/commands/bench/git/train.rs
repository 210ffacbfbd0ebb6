//! A hundred branches, each one change of a file of its own, as one line of history: by a process for each step, by
//! merging in a checkout, and by us.

use std::path::Path;

use ropewalk_core::id::{BranchName, Oid};
use ropewalk_core::settings::LandMethod;
use ropewalk_host::git::{Car, Coupled, Landing, MadeBranch, Repository, Specimen};

use super::{Part, Way, refused};
use crate::cli::BenchGit;
use crate::failure::Failure;

const BRANCHES: u32 = 100;
/// What a landing by a train is promised to be faster, and than what.
const GOAL_STEPWISE: f64 = 20.0;
const GOAL_CHECKOUT: f64 = 60.0;

pub(super) fn train(specimen: &Specimen, bench: &BenchGit, folder: &Path) -> Result<Part, Failure> {
    let changed: Vec<_> = (0..BRANCHES).map(|at| vec![at * (bench.files / BRANCHES)]).collect();
    let heads = specimen.branch_off("train", &changed).map_err(refused)?;
    let repository =
        Repository::open(specimen.folder(), &specimen.folder().join(".git"), &folder.join("control"));
    let repository = repository.map_err(refused)?;
    let (mut ours, mut stepwise, mut checkout) =
        (Way::new("a train, landed"), Way::new("a process a step"), Way::new("checkout and merge"));
    for round in 0..bench.rounds {
        let by_steps = stepwise.time(|| by_steps(specimen, &heads))?;
        let by_checkout = checkout.time(|| by_checkout(specimen))?;
        specimen.git(&["checkout", "-q", "main"]).map_err(refused)?;
        let target = new_branch(specimen, &repository, round)?;
        // A commit of another moment: what the round before wrote is of no use to this one.
        let by_train = ours.time(|| by_train(&repository, &target, &heads, i64::from(round) * 1000))?;
        same_files(&by_train, &by_steps)?;
        same_files(&by_train, &by_checkout)?;
    }
    let promises = vec![ours.beside(&stepwise, GOAL_STEPWISE), ours.beside(&checkout, GOAL_CHECKOUT)];
    Ok(Part { name: "train", ways: vec![ours, stepwise, checkout], promises })
}

fn new_branch(specimen: &Specimen, repository: &Repository, round: u32) -> Result<BranchName, Failure> {
    let name =
        BranchName::new(&format!("landed{round}")).map_err(|error| Failure::broken(error.to_string()))?;
    match repository.make_branch(&name, &specimen.tip("main").map_err(refused)?).map_err(refused)? {
        MadeBranch::Made => Ok(name),
        MadeBranch::Taken => Err(Failure::broken(format!("the branch {name} is there already"))),
    }
}

/// The whole train, and the target moved to its end; both durable. Gives the tree at the end.
fn by_train(
    repository: &Repository,
    target: &BranchName,
    heads: &[Oid],
    at_ms: i64,
) -> Result<String, Failure> {
    let car = |head| Car { head, message: "merge\n", at_ms, method: LandMethod::Merge };
    let cars: Vec<_> = heads.iter().map(car).collect();
    let train = repository.train(target, &cars, 0).map_err(refused)?;
    let train = train.ok_or_else(|| Failure::broken("the target is gone"))?;
    let Some(Coupled::Merged { commit, tree, .. }) = train.cars.last() else {
        return Err(Failure::broken("the last car was not merged"));
    };
    match repository.land(target, &train.onto, commit, "bench").map_err(refused)? {
        Landing::Landed { .. } => Ok(tree.to_string()),
        other => Err(Failure::broken(format!("the train did not land: {other:?}"))),
    }
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

//! A worktree, from the wish to the last file: by `git worktree add`, and by us from a spare, of the same commit and of
//! one in which a hundredth of the files differs. And giving it back.

use std::path::Path;

use ropewalk_core::id::{AttemptId, AttemptNumber, Oid, TaskId};
use ropewalk_host::git::{Repository, Specimen};

use super::{Part, Promise, Way, refused};
use crate::cli::BenchGit;
use crate::failure::Failure;

/// How many times as fast as git a worktree is to be ready; more where there is more to write.
const GOAL: f64 = 4.0;
const GOAL_LARGE: f64 = 6.0;
const LARGE_FILES: u32 = 50_000;

/// One file in so many differs between the two commits.
const DIFFERS: u32 = 100;

pub(super) fn worktree(specimen: &Specimen, bench: &BenchGit, folder: &Path) -> Result<Part, Failure> {
    let differ = (0..bench.files / DIFFERS).map(|at| at * DIFFERS).collect();
    let other = specimen.branch_off("other", &[differ]).map_err(refused)?.remove(0);
    let main = specimen.tip("main").map_err(refused)?;
    let top = specimen.folder();
    let repository = Repository::open(top, &top.join(".git"), &folder.join("control")).map_err(refused)?;
    let trees = folder.join("trees");
    std::fs::create_dir(&trees).map_err(|error| Failure::broken(format!("{}: {error}", trees.display())))?;
    let spares = repository.spares(&trees);
    let mut add = Way::new("git worktree add");
    let mut remove = Way::new("git worktree remove");
    let mut same = Way::new("from a spare of the same commit");
    let mut near = Way::new("from a spare that differs in 1 %");
    let mut back = Way::new("given back, as its user waits");
    spares.warm(&main, 1).map_err(refused)?;
    for round in 1..=bench.rounds {
        let path = trees.join("by-git");
        let at = path.to_string_lossy().into_owned();
        add.time(|| specimen.git(&["worktree", "add", "-q", "--detach", &at, "main"]).map_err(refused))?;
        remove.time(|| specimen.git(&["worktree", "remove", "--force", &at]).map_err(refused))?;
        for (number, commit) in [(1, &main), (2, &other), (3, &main)] {
            let way = if number == 1 { &mut same } else { &mut near };
            let id = AttemptId { task: TaskId(u64::from(round)), number: AttemptNumber(number) };
            let path = trees.join(id.to_string());
            way.time(|| repository.add_worktree(id, &path, commit).map_err(refused))?;
            same_files(specimen, &path, commit)?;
            // What an agent does at least.
            let wrote = std::fs::write(path.join(Specimen::path(0)), "changed\n");
            wrote.map_err(|error| Failure::broken(format!("{}: {error}", path.display())))?;
            back.time(|| repository.release_worktree(id, &path).map_err(refused))?;
            while spares.wash_one().map_err(refused)? {}
        }
    }
    let goal = if bench.files < LARGE_FILES { GOAL } else { GOAL_LARGE };
    // Both are beside the same way of git's: each is told by its own name.
    let promise = |way: &Way| Promise { name: way.name, ..way.beside(&add, goal) };
    let promises = vec![promise(&same), promise(&near)];
    Ok(Part { name: "worktree", ways: vec![add, same, near, remove, back], promises })
}

/// Whether the worktree holds exactly the commit: by git, with an index that knows nothing of it.
fn same_files(specimen: &Specimen, path: &Path, commit: &Oid) -> Result<(), Failure> {
    let path = path.to_string_lossy();
    let common = specimen.folder().join(".git");
    let (git_dir, work_tree) = (format!("--git-dir={}", common.display()), format!("--work-tree={path}"));
    specimen.git(&[&git_dir, &work_tree, "diff", "--quiet", commit.as_str(), "--"]).map_err(refused)?;
    match specimen.git(&["-C", &path, "status", "--porcelain", "--ignored"]).map_err(refused)?.as_str() {
        "" => Ok(()),
        differ => Err(Failure::broken(format!("the worktree is not its commit:\n{differ}"))),
    }
}

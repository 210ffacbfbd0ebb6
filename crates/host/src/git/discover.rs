//! Finding the repository that a folder belongs to. Knows what a repository must be for Ropewalk to work on
//! it and says what to do when it is not; unaware of what it is used for.

use std::path::{Path, PathBuf};

use ropewalk_core::id::BranchName;

use super::admin::under_way;
use super::run::{Call, GitError};

/// The oldest git whose `merge-tree`, `worktree` and `update-ref` do what we need.
const OLDEST: (u32, u32) = (2, 39);

/// A repository that Ropewalk can work on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovered {
    /// The top folder of the main checkout.
    pub top: PathBuf,
    /// The git folder that all its worktrees share.
    pub common_dir: PathBuf,
    /// The branch that is checked out where we looked.
    pub base: BranchName,
}

/// Why a folder's repository cannot be worked on, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RepositoryFault {
    #[error("{} is not in a git repository; run `git init` there, or give the folder of one", .0.display())]
    NotARepository(PathBuf),
    #[error("{} is a bare repository; give a folder where its files are checked out", .0.display())]
    Bare(PathBuf),
    #[error("{} has no commit yet; make one first", .0.display())]
    Unborn(PathBuf),
    #[error("{} has no branch checked out; run `git switch` with the branch to work from", .0.display())]
    Detached(PathBuf),
    #[error(
        "{} is in the middle of a {operation}; finish it, or end it with --abort (bisect: `git bisect reset`)",
        folder.display()
    )]
    MidOperation { folder: PathBuf, operation: &'static str },
    #[error("there is no git program; install git 2.39 or newer")]
    GitMissing,
    #[error("git is version {0}; install 2.39 or newer")]
    GitTooOld(String),
    #[error(transparent)]
    Git(GitError),
}

impl From<GitError> for RepositoryFault {
    fn from(error: GitError) -> Self {
        if error.git_missing { RepositoryFault::GitMissing } else { RepositoryFault::Git(error) }
    }
}

/// Checks that git can be run and is new enough; tells its version, such as `2.47.3`.
///
/// # Errors
/// Says which of the two is not so, and what to install.
pub fn version_check() -> Result<String, GitError> {
    let said = Call::new("version", Path::new("/")).arg("version").run()?.text();
    match is_new_enough(&said) {
        true => Ok(said.trim_start_matches("git version ").to_owned()),
        false => Err(GitError::new(
            "version",
            Path::new("/"),
            format!("it is {said:?}; install {}.{} or newer", OLDEST.0, OLDEST.1),
        )),
    }
}

/// Finds the repository of `folder`: subfolders and linked worktrees lead to the main checkout. Ignores the
/// caller's `GIT_…` variables; heeds the person's `safe.directory`. Runs nothing but git's look-ups.
///
/// # Errors
/// Says why the repository cannot be worked on.
pub fn discover(folder: &Path) -> Result<Discovered, RepositoryFault> {
    let version = Call::new("version", Path::new("/")).arg("version").run()?.text();
    if !is_new_enough(&version) {
        return Err(RepositoryFault::GitTooOld(version.trim_start_matches("git version ").to_owned()));
    }
    let folder = folder
        .canonicalize()
        .map_err(|error| RepositoryFault::Git(GitError::io("find repository", folder, &error)))?;
    let ask = |question: &[&str]| {
        let call = Call::new("find repository", &folder).with_callers_configuration();
        call.arg("rev-parse").arg("--path-format=absolute").args(question).run().map(|said| said.text())
    };
    let common = match ask(&["--git-common-dir"]) {
        Ok(text) => PathBuf::from(text),
        Err(error) if error.detail.contains("not a git repository") => {
            return Err(RepositoryFault::NotARepository(folder));
        }
        Err(error) => return Err(error.into()),
    };
    if ask(&["--is-inside-work-tree"])? != "true" {
        return Err(RepositoryFault::Bare(folder));
    }
    let own_dir = PathBuf::from(ask(&["--git-dir"])?);
    let here = PathBuf::from(ask(&["--show-toplevel"])?);
    if let Some(operation) = under_way(&own_dir) {
        return Err(RepositoryFault::MidOperation { folder: here, operation });
    }
    let base = branch_of(&folder, &here)?;
    if ask(&["--verify", "--quiet", "HEAD^{commit}"]).is_err() {
        return Err(RepositoryFault::Unborn(here));
    }
    let top = if own_dir == common { here } else { main_checkout(&folder)? };
    Ok(Discovered { top, common_dir: common, base })
}

/// Whether the repository of this common git folder has a branch of that name.
///
/// # Errors
/// When git fails.
pub fn has_branch(common_dir: &Path, branch: &BranchName) -> Result<bool, GitError> {
    let call = Call::new("find branch", common_dir).arg("--git-dir").arg(common_dir);
    let said = call.args(["show-ref", "--verify", "--quiet", &branch.full_ref()]).run_accepting(&[0, 1])?;
    Ok(said.code == 0)
}

fn branch_of(folder: &Path, here: &Path) -> Result<BranchName, RepositoryFault> {
    let call = Call::new("find branch", folder).with_callers_configuration();
    let said = call.args(["symbolic-ref", "--quiet", "HEAD"]).run_accepting(&[0, 1])?;
    let text = said.text();
    let Some(short) = text.strip_prefix("refs/heads/") else {
        return Err(RepositoryFault::Detached(here.to_owned()));
    };
    BranchName::new(short)
        .map_err(|error| RepositoryFault::Git(GitError::new("find branch", here, error.to_string())))
}

/// The main checkout of a linked worktree's repository: the first that git lists.
fn main_checkout(folder: &Path) -> Result<PathBuf, RepositoryFault> {
    let call = Call::new("find repository", folder).with_callers_configuration();
    let text = call.args(["worktree", "list", "--porcelain", "-z"]).run()?.text();
    let mut facts = text.split('\0').take_while(|fact| !fact.is_empty());
    let top = facts.next().and_then(|fact| fact.strip_prefix("worktree ")).unwrap_or_default();
    if facts.any(|fact| fact == "bare") {
        return Err(RepositoryFault::Bare(PathBuf::from(top)));
    }
    Ok(PathBuf::from(top))
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.trim_start_matches("git version ").split('.').map(|part| part.parse::<u32>());
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= OLDEST)
}

#[cfg(test)]
mod tests {
    use super::is_new_enough;

    #[test]
    fn versions_are_read_as_distributions_write_them() {
        for new in ["git version 2.39.0", "git version 2.47.3", "git version 2.50.1 (Apple Git-155)", "3.0"] {
            assert!(is_new_enough(new), "{new}");
        }
        for old in ["git version 2.38.9", "git version 1.99", "", "git version x"] {
            assert!(!is_new_enough(old), "{old}");
        }
    }
}

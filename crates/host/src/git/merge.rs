//! Merging and looking at history without a checkout. Knows commits and trees; unaware of refs beyond the
//! target it reads, and of everything that moves.

use ropewalk_core::id::{BranchName, Oid};
use ropewalk_core::settings::LandMethod;

use super::repository::Repository;
use super::run::GitError;
use super::snapshot::split_nul;
use super::train::{Car, Coupled, Train};

/// Lines kept on either side of a conflict, as many as a diff shows.
const CONTEXT_LINES: usize = 3;
/// Of one conflicted file no more than this is read.
const FILE_BYTES_MAX: usize = 1 << 20;
/// A graph line with a long subject takes about a hundred bytes.
const GRAPH_BYTES_MAX: usize = 1 << 20;

/// How a merge that nobody sees yet ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merge {
    /// `commit` (files: `tree`) has the target's tip `onto` and the head as parents. No ref points to it.
    Merged { onto: Oid, commit: Oid, tree: Oid },
    /// The target, at `onto`, has all of it already.
    Contained { onto: Oid },
    /// `text` has git's messages and the conflicting lines with markers, bounded.
    Conflict { files: Vec<String>, text: String },
    /// There is no such branch.
    NoTarget,
}

/// Why two sides do not fit, bounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConflictText {
    pub files: Vec<String>,
    pub text: String,
}

impl ConflictText {
    /// Of an agent that began a history of its own.
    pub(crate) fn unrelated() -> ConflictText {
        ConflictText { files: vec![], text: "the two have no common history".to_owned() }
    }
}

impl Repository {
    /// Merges `head` into the tip of `target` without touching either: a train of one car. The same arguments on the
    /// same tip give the same commit.
    ///
    /// # Errors
    /// When git fails.
    pub fn merge(
        &self,
        target: &BranchName,
        head: &Oid,
        message: &str,
        at_ms: i64,
        text_max: usize,
    ) -> Result<Merge, GitError> {
        let car = Car { head, message, at_ms, method: LandMethod::Merge };
        let Some(Train { onto, mut cars }) = self.train(target, &[car], text_max)? else {
            return Ok(Merge::NoTarget);
        };
        Ok(match cars.pop() {
            Some(Coupled::Merged { onto, commit, tree }) => Merge::Merged { onto, commit, tree },
            Some(Coupled::Conflict { files, text }) => Merge::Conflict { files, text },
            Some(Coupled::Contained) | None => Merge::Contained { onto },
        })
    }

    /// The files of both, with all that either changed since they parted.
    ///
    /// # Errors
    /// When git fails.
    pub(crate) fn merged_tree(
        &self,
        line: &Oid,
        head: &Oid,
        text_max: usize,
    ) -> Result<Result<Oid, ConflictText>, GitError> {
        self.merged_tree_of(&[], line, head, text_max).or_else(|error| {
            if error.timed_out || self.have_common_history(line, head)? {
                return Err(error);
            }
            Ok(Err(ConflictText::unrelated()))
        })
    }

    /// The same, with options of `merge-tree`.
    pub(crate) fn merged_tree_of(
        &self,
        options: &[&str],
        line: &Oid,
        head: &Oid,
        text_max: usize,
    ) -> Result<Result<Oid, ConflictText>, GitError> {
        let call = self.on_objects("merge").args(["merge-tree", "--write-tree", "--messages", "--name-only"]);
        let call = call.arg("-z").args(options).args([line.as_str(), head.as_str()]);
        let said = call.run_accepting(&[0, 1])?;
        let end = said.stdout.iter().position(|byte| *byte == 0).unwrap_or(said.stdout.len());
        let tree = self.oid("merge", &String::from_utf8_lossy(&said.stdout[..end]))?;
        if said.code == 0 {
            return Ok(Ok(tree));
        }
        self.conflict(&tree, said.stdout.get(end + 1..).unwrap_or_default(), text_max).map(Err)
    }

    /// # Errors
    /// When one of them is no commit.
    pub(crate) fn have_common_history(&self, a: &Oid, b: &Oid) -> Result<bool, GitError> {
        let call = self.on_objects("merge-base").args(["merge-base", a.as_str(), b.as_str()]);
        Ok(call.run_accepting(&[0, 1])?.code == 0)
    }

    /// The trailers of that key, of the latest landings on `tip` that `head` has not and that changed one of these files;
    /// the latest first, at most `count_max`.
    ///
    /// # Errors
    /// When git fails.
    pub fn landed_in(
        &self,
        tip: &Oid,
        head: &Oid,
        files: &[String],
        trailer: &str,
        count_max: usize,
    ) -> Result<Vec<String>, GitError> {
        // Not `head..tip`: with a path, git leaves out what differs from the head itself.
        let base =
            self.on_objects("merge-base").args(["merge-base", tip.as_str(), head.as_str()]).run()?.text();
        let call = self.on_objects("log").args(["--literal-pathspecs", "log", "--first-parent", "-m"]);
        let format = format!("--format=%(trailers:key={trailer},valueonly)");
        let call = call.arg(format).arg(format!("--max-count={count_max}")).arg(format!("{base}..{tip}"));
        let said = call.arg("--").args(files).run()?;
        let lines =
            said.text().lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
        Ok(lines)
    }

    /// Reads what follows the tree in `merge-tree -z`: paths, an empty one, then messages, each as a count of
    /// paths, the paths, a type and a text.
    fn conflict(&self, tree: &Oid, said: &[u8], text_max: usize) -> Result<ConflictText, GitError> {
        let mut parts = said.split(|byte| *byte == 0);
        let paths: Vec<&[u8]> = parts.by_ref().take_while(|part| !part.is_empty()).collect();
        let mut text = String::new();
        while let Some(count) =
            parts.next().and_then(|part| std::str::from_utf8(part).ok()?.parse::<usize>().ok())
        {
            let message = parts.by_ref().skip(count).nth(1).unwrap_or_default();
            text += &String::from_utf8_lossy(message);
        }
        for path in &paths {
            if text.len() >= text_max {
                break;
            }
            let hunks = self.conflict_hunks(tree, path)?;
            if !hunks.is_empty() {
                text += &format!("\n--- {}\n{hunks}", String::from_utf8_lossy(path));
            }
        }
        cut(&mut text, text_max);
        let files = paths.iter().map(|path| String::from_utf8_lossy(path).into_owned()).collect();
        Ok(ConflictText { files, text })
    }

    fn conflict_hunks(&self, tree: &Oid, path: &[u8]) -> Result<String, GitError> {
        let name = [tree.as_str().as_bytes(), b":", path].concat();
        let call = self.on_objects("cat-file").args(["cat-file", "blob"]);
        let call = call.arg(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&name));
        // Not every conflicted path has a file in the tree: one side may have deleted or moved it.
        let said = call.cut_at(FILE_BYTES_MAX).run_accepting(&[0, 128])?;
        if said.code != 0 || said.stdout.contains(&0) {
            return Ok(String::new());
        }
        Ok(hunks_with_markers(&String::from_utf8_lossy(&said.stdout)))
    }

    /// What changed between two commits, as a patch or as a list with counts; cut at `bytes_max`. No program that a
    /// repository names (an external diff, a text converter) runs.
    ///
    /// # Errors
    /// When git fails, such as for a commit that does not exist.
    pub fn diff(&self, from: &Oid, to: &Oid, stat: bool, bytes_max: usize) -> Result<String, GitError> {
        let call = self.on_objects("diff").args(["diff-tree", "-r", "-M", "--no-ext-diff", "--no-textconv"]);
        let call = call.args(["--no-color", if stat { "--stat=120" } else { "-p" }]);
        let said = call.args([from.as_str(), to.as_str()]).cut_at(bytes_max).run()?;
        let mut text = String::from_utf8_lossy(&said.stdout).into_owned();
        if said.stdout.len() >= bytes_max {
            text += "\n[… cut …]\n";
        }
        Ok(text)
    }

    /// Whether `a` is `b` or one of its ancestors.
    ///
    /// # Errors
    /// When git fails, such as for a commit that does not exist.
    pub fn is_ancestor(&self, a: &Oid, b: &Oid) -> Result<bool, GitError> {
        let call =
            self.on_objects("merge-base").args(["merge-base", "--is-ancestor", a.as_str(), b.as_str()]);
        Ok(call.run_accepting(&[0, 1])?.code == 0)
    }

    /// The tree of a commit.
    ///
    /// # Errors
    /// When there is no such commit.
    pub fn tree_of(&self, commit: &Oid) -> Result<Oid, GitError> {
        let call = self.on_objects("rev-parse").args(["rev-parse", "--verify", "--quiet"]);
        let missing = |error: GitError| GitError { detail: format!("there is no commit {commit}"), ..error };
        let said = call.arg(format!("{commit}^{{tree}}")).run();
        self.oid(
            "rev-parse",
            &said.map_err(|error| if error.timed_out { error } else { missing(error) })?.text(),
        )
    }

    /// The history of `to` (without what `from` has) as a drawing for people, newest first.
    ///
    /// # Errors
    /// When git fails or there is no such branch.
    pub fn log_graph(
        &self,
        from: Option<&Oid>,
        to: &BranchName,
        lines_max: usize,
    ) -> Result<String, GitError> {
        let tip = self.branch_tip(to)?;
        let tip = tip.ok_or_else(|| GitError::new("log", self.top(), format!("there is no branch {to}")))?;
        let mut call = self.on_objects("log").args(["log", "--graph", "--no-color", "--no-show-signature"]);
        call = call.arg(format!("--max-count={lines_max}")).arg("--format=%h %s").arg(tip.as_str());
        if let Some(from) = from {
            call = call.arg(format!("^{from}"));
        }
        let text = call.cut_at(GRAPH_BYTES_MAX).run()?.text();
        let lines: Vec<&str> = text.lines().take(lines_max).collect();
        // Subjects are an agent's: they must not steer a terminal.
        Ok(lines.join("\n").replace(|c: char| c.is_control() && c != '\n', "?"))
    }

    /// The paths that differ between two commits, with git's letter for how (`A`, `M`, `D`, `T`).
    pub(crate) fn changed_paths(&self, old: &Oid, new: &Oid) -> Result<Vec<(u8, Vec<u8>)>, GitError> {
        let call =
            self.on_objects("diff-tree").args(["diff-tree", "-r", "-z", "--no-renames", "--name-status"]);
        let said = call.args([old.as_str(), new.as_str()]).run()?;
        let mut parts = split_nul(&said.stdout);
        let mut changed = Vec::new();
        while let (Some(letter), Some(path)) = (parts.next(), parts.next()) {
            changed.push((letter[0], path.to_vec()));
        }
        Ok(changed)
    }
}

/// The lines between conflict markers and a few around them.
fn hunks_with_markers(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut keep = vec![false; lines.len()];
    let mut inside = false;
    for (at, line) in lines.iter().enumerate() {
        let (opens, closes) = (line.starts_with("<<<<<<< "), line.starts_with(">>>>>>> "));
        inside |= opens;
        if opens || closes {
            keep[at.saturating_sub(CONTEXT_LINES)..(at + CONTEXT_LINES + 1).min(lines.len())].fill(true);
        }
        keep[at] |= inside;
        inside &= !closes;
    }
    let mut hunks = String::new();
    for (at, line) in lines.iter().enumerate().filter(|(at, _)| keep[*at]) {
        if at > 0 && !keep[at - 1] {
            hunks += &format!("@@ line {}\n", at + 1);
        }
        hunks += line;
        hunks.push('\n');
    }
    hunks
}

/// Shortens the text to at most `bytes_max` bytes, between characters.
fn cut(text: &mut String, bytes_max: usize) {
    let end = (0..=bytes_max.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.truncate(end.unwrap_or(0));
}

//! A repository made for measurements, the same on every machine, and git on it as a person runs it: with git's own
//! settings, not ours. Unaware of what is measured.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ropewalk_core::id::{BranchName, Oid};

use super::run::GitError;

/// How files lie in folders: so many to a folder, and so many folders in one above it.
const FOLDER_FILES: u32 = 50;
const FOLDERS: u32 = 10;
/// Lines of a file: from and to. Their mean makes files of 1.5 kB, as sources are.
const LINES: (u64, u64) = (10, 120);
/// All commits are of one moment, so that the same files are the same commits.
const DATE: &str = "@1767225600 +0000";

/// A generated repository with its files checked out on `main`.
#[derive(Debug)]
pub struct Specimen {
    folder: PathBuf,
}

impl Specimen {
    /// Makes a repository of so many files, packed, in a folder that does not exist yet.
    ///
    /// # Errors
    /// When the folder cannot be written or git refuses.
    pub fn generate(folder: &Path, files: u32) -> Result<Specimen, GitError> {
        write_files(folder, files).map_err(|error| GitError::io("generate", folder, &error))?;
        let specimen = Specimen { folder: folder.to_owned() };
        specimen.git(&["init", "-q", "-b", "main"])?;
        specimen.git(&["add", "-A"])?;
        specimen.git(&["commit", "-q", "-m", "base"])?;
        specimen.git(&["gc", "-q"])?;
        Ok(specimen)
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of a file, by number, from the top folder.
    pub fn path(number: u32) -> String {
        let folder = number / FOLDER_FILES;
        format!("src/m{:03}/p{}/f{number:06}.txt", folder / FOLDERS, folder % FOLDERS)
    }

    /// Makes the branches `PREFIX0`, `PREFIX1` … at commits on top of `main`, as loose objects. Each adds a line to the
    /// files that `changed` names for it. Gives their commits.
    ///
    /// # Errors
    /// When git refuses.
    pub fn branch_off(&self, prefix: &str, changed: &[Vec<u32>]) -> Result<Vec<Oid>, GitError> {
        let mut stream = Vec::new();
        for (at, files) in changed.iter().enumerate() {
            stream.extend(format!("commit refs/heads/{prefix}{at}\nmark :{}\n", at + 1).bytes());
            stream.extend(format!("committer bench <bench@localhost> {}\ndata 2\nm\n", &DATE[1..]).bytes());
            stream.extend(b"from refs/heads/main^0\n");
            for file in files {
                let path = Specimen::path(*file);
                let mut text = text_of(*file);
                text += &format!("changed by {prefix}{at}\n");
                stream.extend(format!("M 100644 inline {path}\ndata {}\n{text}\n", text.len()).bytes());
            }
        }
        // An agent's commits are loose objects too.
        self.git_fed(&["-c", "fastimport.unpackLimit=1000000000", "fast-import", "--quiet"], &stream)?;
        let tip = |at: usize| self.tip(&format!("{prefix}{at}"));
        (0..changed.len()).map(tip).collect()
    }

    /// The commit a branch or another name stands for.
    ///
    /// # Errors
    /// When there is no such name.
    pub fn tip(&self, name: &str) -> Result<Oid, GitError> {
        let text = self.git(&["rev-parse", "--verify", name])?;
        Oid::new(&text).map_err(|error| GitError::new("rev-parse", &self.folder, error.to_string()))
    }

    /// The branch that is checked out.
    pub fn main() -> BranchName {
        BranchName::new("main").expect("a plain word is a name")
    }

    /// Runs git in the repository; its output without the last line's end.
    ///
    /// # Errors
    /// When it fails.
    pub fn git<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<String, GitError> {
        self.git_fed(args, b"")
    }

    /// The same with something to read, which must be less than a pipe holds or be read before anything is printed.
    ///
    /// # Errors
    /// When it fails.
    pub fn git_fed<S: AsRef<OsStr>>(&self, args: &[S], input: &[u8]) -> Result<String, GitError> {
        let failed = |error: io::Error| GitError::io("measure", &self.folder, &error);
        let mut command = Command::new("git");
        command.args(args).current_dir(&self.folder);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GIT_")) {
            command.env_remove(name);
        }
        command.envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1"), ("LC_ALL", "C")]);
        command.envs([("GIT_AUTHOR_NAME", "bench"), ("GIT_AUTHOR_EMAIL", "bench@localhost")]);
        command.envs([("GIT_COMMITTER_NAME", "bench"), ("GIT_COMMITTER_EMAIL", "bench@localhost")]);
        command.envs([("GIT_AUTHOR_DATE", DATE), ("GIT_COMMITTER_DATE", DATE)]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input).map_err(failed)?;
        }
        let output = child.wait_with_output().map_err(failed)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(GitError::new(
                "measure",
                &self.folder,
                format!("{}: {}", output.status, said.trim_end()),
            ));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }
}

fn write_files(folder: &Path, files: u32) -> io::Result<()> {
    for number in 0..files {
        let path = folder.join(Specimen::path(number));
        if number % FOLDER_FILES == 0 {
            fs::create_dir_all(path.parent().unwrap_or(folder))?;
        }
        fs::write(path, text_of(number))?;
    }
    Ok(())
}

fn text_of(number: u32) -> String {
    // The multiplier and increment of Knuth's MMIX.
    let mut state = u64::from(number);
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    random();
    let lines = LINES.0 + random() % (LINES.1 - LINES.0);
    (0..lines).map(|line| format!("line {line} 0.{:010}\n", random())).collect()
}

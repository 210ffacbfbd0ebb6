//! The layers together: which one wins, where values say they come from, and every fault.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use ropewalk_core::id::BranchName;
use ropewalk_core::limits::Limits;
use ropewalk_core::settings::{EnvValue, OnDependencyFailure, OnOutputFull, Settings};

use super::value::Kind;
use super::*;

mod faults;
mod keys_read;
mod kinds;
mod layers;
mod outside;
mod rules;
mod shown;
mod trust;

type Env = Vec<(String, String)>;

fn env(pairs: &[(&str, &str)]) -> Env {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A folder with a project's file and a user's file, each only if given.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new(project: Option<&[u8]>, user: Option<&[u8]>) -> Files {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in [(PROJECT_FILE, project), ("config.toml", user)] {
            if let Some(bytes) = bytes {
                std::fs::write(folder.path().join(name), bytes).unwrap();
            }
        }
        Files { folder }
    }

    fn project(&self) -> PathBuf {
        self.folder.path().join(PROJECT_FILE)
    }

    fn user(&self) -> PathBuf {
        self.folder.path().join("config.toml")
    }

    fn resolve(&self, flags: &Flags, env: Env) -> Result<Config, Vec<ConfigFault>> {
        let project = Source::read(&self.project());
        resolve(flags, env.into_iter(), Some(&project), Some(&self.user()))
    }
}

fn project(text: &str) -> Result<Config, Vec<ConfigFault>> {
    Files::new(Some(text.as_bytes()), None).resolve(&Flags::default(), Vec::new())
}

fn flags_and_env(flags: &Flags, pairs: &[(&str, &str)]) -> Result<Config, Vec<ConfigFault>> {
    resolve(flags, env(pairs).into_iter(), None, None)
}

/// The faults as people read them, the file's folder left out.
fn said(faults: &[ConfigFault]) -> Vec<String> {
    let line = |fault: &ConfigFault| {
        let text = match &fault.origin.file {
            Some(file) => {
                let name = file.file_name().unwrap().to_str().unwrap();
                fault.to_string().replace(file.to_str().unwrap(), name)
            }
            None => fault.to_string(),
        };
        fault.hint().map_or(text.clone(), |hint| format!("{text} ({hint})"))
    };
    faults.iter().map(line).collect()
}

fn one_fault(result: Result<Config, Vec<ConfigFault>>) -> String {
    let said = said(&result.expect_err("must be refused"));
    assert_eq!(said.len(), 1, "{said:#?}");
    said.concat()
}

fn entry(config: &Config, key: &str) -> Entry {
    config.entries().into_iter().find(|entry| entry.key == key).unwrap()
}

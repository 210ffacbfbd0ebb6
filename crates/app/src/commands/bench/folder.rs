//! The folder that a measurement writes in. Unaware of what is measured.

use std::fs;
use std::path::{Path, PathBuf};

use ropewalk_host::durable::create_private_folder;

use crate::failure::Failure;
use crate::place::Place;

/// A folder for this measurement alone; it goes with it.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    /// Makes one in `parent`; nothing: beside the state.
    pub(super) fn new(parent: Option<&Path>) -> Result<Folder, Failure> {
        let parent = match parent {
            Some(folder) => folder.to_owned(),
            None => Place::look()?.home,
        };
        // A worker has another working directory.
        let path = std::path::absolute(parent.join(format!("bench-{}", std::process::id())))
            .map_err(|error| Failure::broken(format!("the folder cannot be named: {error}")))?;
        create_private_folder(&path).map_err(|error| Failure::broken(error.to_string()))?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays is in the way of nobody, and its name says what it is.
        let _ = fs::remove_dir_all(&self.0);
    }
}

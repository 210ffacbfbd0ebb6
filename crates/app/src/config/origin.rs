//! Where a value comes from. Knows the layers and their order; unaware of keys.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// The layers, lowest first: the order in which they are laid over each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Layer {
    Default,
    User,
    Project,
    Environment,
    Flag,
}

/// The place that a value was given at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Origin {
    pub(crate) layer: Layer,
    /// The flag (`--workers`) or the variable (`ROPEWALK_WORKERS`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<PathBuf>,
    /// Counted from 1; none when it is about the file as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<usize>,
}

impl Origin {
    pub(super) fn default_value() -> Origin {
        Origin { layer: Layer::Default, name: None, file: None, line: None }
    }

    pub(super) fn flag(name: &str) -> Origin {
        Origin { layer: Layer::Flag, name: Some(name.to_owned()), file: None, line: None }
    }

    pub(super) fn variable(name: &str) -> Origin {
        Origin { layer: Layer::Environment, name: Some(name.to_owned()), file: None, line: None }
    }

    pub(super) fn file(layer: Layer, file: &Path, line: Option<usize>) -> Origin {
        Origin { layer, name: None, file: Some(file.to_owned()), line }
    }

    /// The folder that a relative path in the value counts from. `None` means the current folder: that is
    /// where somebody who types a flag or a variable stands.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.file.as_deref().and_then(Path::parent).filter(|folder| !folder.as_os_str().is_empty())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, &self.name) {
            (Some(file), _) => write!(f, "{}", file.display())?,
            (None, Some(name)) => f.write_str(name)?,
            (None, None) => f.write_str("default")?,
        }
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

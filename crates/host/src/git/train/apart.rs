//! Whether two sides of a merge stay apart. Pure: knows paths and how they changed; unaware of git's programs.

use std::collections::HashSet;

use ropewalk_core::id::Oid;

/// A path that differs between two commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PathChange {
    pub path: Vec<u8>,
    pub how: How,
}

/// What the later commit has at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum How {
    Added(Entry),
    Modified(Entry),
    Deleted,
}

/// An entry of a tree: git's mode in digits, and what it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub mode: String,
    pub oid: Oid,
}

/// Paths that one side has changed.
#[derive(Clone, Debug, Default)]
pub(super) struct Touched {
    paths: HashSet<Vec<u8>>,
    /// Those that a changed path lies in.
    folders: HashSet<Vec<u8>>,
    adds: bool,
    deletes: bool,
}

impl Touched {
    pub(super) fn extend<'a>(&mut self, changes: impl IntoIterator<Item = &'a PathChange>) {
        for PathChange { path, how } in changes {
            self.adds |= matches!(how, How::Added(_));
            self.deletes |= *how == How::Deleted;
            self.folders.extend(folders_of(path).map(<[u8]>::to_vec));
            self.paths.insert(path.clone());
        }
    }

    /// Whether the changes of the other side cannot meet these. A path must be changed by one side alone, and be no
    /// folder on the other. And no rename may carry one side's change elsewhere: git finds one where a path of the
    /// base is gone and another is new, and then moves what the other side changed at the old path (which is two
    /// changes of one path) or added in its folder. So where one side deletes, the other must not add.
    pub(super) fn is_apart<'a>(&self, others: impl IntoIterator<Item = &'a PathChange>) -> bool {
        let (mut adds, mut deletes) = (false, false);
        let meets = |path: &[u8]| {
            self.paths.contains(path)
                || self.folders.contains(path)
                || folders_of(path).any(|folder| self.paths.contains(folder))
        };
        for PathChange { path, how } in others {
            adds |= matches!(how, How::Added(_));
            deletes |= *how == How::Deleted;
            if meets(path) {
                return false;
            }
        }
        !(adds && self.deletes || deletes && self.adds)
    }
}

fn folders_of(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    slashes.map(|(at, _)| &path[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(text: &str) -> Vec<PathChange> {
        let entry = || Entry { mode: "100644".to_owned(), oid: Oid::new(&"1".repeat(40)).unwrap() };
        let change = |word: &str| {
            let how = match &word[..1] {
                "+" => How::Added(entry()),
                "~" => How::Modified(entry()),
                _ => How::Deleted,
            };
            PathChange { path: word[1..].into(), how }
        };
        text.split_whitespace().map(change).collect()
    }

    #[test]
    fn sides_are_apart_unless_a_path_or_a_rename_can_join_them() {
        for (ours, theirs, is_apart) in [
            ("", "", true),
            ("", "+a -b ~c", true),
            ("~a", "~b", true),
            ("~a/b", "~a/c", true),
            ("+a/b", "+a/c", true),
            ("~ab", "~a/c", true),
            ("-a", "-b", true),
            ("-a", "~b", true),
            ("~a", "~a", false),
            ("-a", "-a", false),
            ("+a", "+a/b", false),
            ("+a", "~a/b/c", false),
            ("-a", "+b", false),
            ("-a +b", "~c", true),
            ("-a +b", "+c", false),
        ] {
            for (one, other) in [(ours, theirs), (theirs, ours)] {
                let mut touched = Touched::default();
                touched.extend(&changes(one));
                assert_eq!(touched.is_apart(&changes(other)), is_apart, "{one:?} with {other:?}");
            }
        }
    }
}

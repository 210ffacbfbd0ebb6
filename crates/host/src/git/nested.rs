//! Repositories inside a worktree that the outer one knows only by a link. Knows where they keep their commits;
//! runs no git in them, since everything there is an agent's.

use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::snapshot::PrivateIndex;

/// Folders below `modules/` that are looked through: submodules of submodules of submodules.
const DEPTH_MAX: usize = 6;

/// A HEAD holds one ref or commit id; more is not one.
const HEAD_BYTES_MAX: u64 = 4 << 10;

/// Repositories that hold commits which a link in the outer repository does not keep: clones that were added as they
/// are, and submodules that were worked in. Removing the worktree would remove these commits for good.
pub(super) fn with_history_of_their_own(
    folder: &Path,
    admin: Option<&Path>,
    index: &PrivateIndex,
) -> Vec<Vec<u8>> {
    let is_clone = |path: &&Vec<u8>| {
        let inner = folder.join(std::ffi::OsStr::from_bytes(path)).join(".git");
        inner.symlink_metadata().is_ok_and(|facts| facts.is_dir())
    };
    let mut found: Vec<Vec<u8>> = index.submodules.iter().filter(is_clone).cloned().collect();
    if let Some(admin) = admin {
        worked_in(&admin.join("modules"), index, DEPTH_MAX, &mut found);
    }
    found
}

/// Git folders of submodules whose HEAD is not exactly the commit that the outer repository names.
fn worked_in(folder: &Path, index: &PrivateIndex, depth: usize, found: &mut Vec<Vec<u8>>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        let path = entry.path();
        if path.join("objects").is_dir() {
            let head = read_head(&path.join("HEAD")).unwrap_or_default();
            if !index.linked.iter().any(|oid| oid.as_bytes() == head.trim_ascii()) {
                found.push(entry.file_name().as_bytes().to_vec());
            }
        } else if depth > 0 {
            worked_in(&path, index, depth - 1, found);
        }
    }
}

fn read_head(path: &Path) -> Option<Vec<u8>> {
    let is_file = path.symlink_metadata().ok()?.is_file();
    let mut bytes = Vec::new();
    if is_file {
        fs::File::open(path).ok()?.take(HEAD_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    }
    Some(bytes)
}

//! Where cgroup hierarchies are mounted and where in them a process is. Knows the two tables of `/proc`; unaware
//! of what is done with the folders.

use std::fs;
use std::path::{Path, PathBuf};

/// One line of `mountinfo` that mounts a cgroup hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// The folder of the hierarchy that is seen at `point`: `/` but for a container.
    pub(crate) root: PathBuf,
    pub(crate) point: PathBuf,
    pub(crate) is_v2: bool,
    /// Of v1: its controllers among other words.
    pub(crate) options: Vec<String>,
}

pub(crate) fn mounts() -> Vec<Mount> {
    parse_mounts(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

fn parse_mounts(text: &str) -> Vec<Mount> {
    let one = |line: &str| {
        let (head, tail) = line.split_once(" - ")?;
        let mut head = head.split(' ').skip(3);
        let mut tail = tail.split(' ');
        let kind = tail.next()?;
        let is_v2 = kind == "cgroup2";
        if !is_v2 && kind != "cgroup" {
            return None;
        }
        Some(Mount {
            root: unescape(head.next()?),
            point: unescape(head.next()?),
            is_v2,
            options: tail.nth(1).unwrap_or_default().split(',').map(str::to_owned).collect(),
        })
    };
    text.lines().filter_map(one).collect()
}

/// Spaces and the like stand there as three octal digits.
fn unescape(word: &str) -> PathBuf {
    let mut text = word.to_owned();
    for (code, plain) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        text = text.replace(code, plain);
    }
    PathBuf::from(text)
}

/// This process's own folder in the v2 hierarchy.
pub(crate) fn own_v2(mounts: &[Mount]) -> Option<PathBuf> {
    let mount = mounts.iter().find(|mount| mount.is_v2)?;
    inside(mount, &own_path("")?)
}

/// This process's own folder in the v1 hierarchy of a controller.
pub(crate) fn own_v1(mounts: &[Mount], controller: &str) -> Option<PathBuf> {
    let is_it = |mount: &&Mount| !mount.is_v2 && mount.options.iter().any(|option| option == controller);
    inside(mounts.iter().find(is_it)?, &own_path(controller)?)
}

fn own_path(controller: &str) -> Option<PathBuf> {
    path_in(&fs::read_to_string("/proc/self/cgroup").ok()?, controller)
}

/// Lines are `NUMBER:CONTROLLERS:PATH`, with no controllers for v2.
fn path_in(text: &str, controller: &str) -> Option<PathBuf> {
    text.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let is_it = fields.next()?.split(',').any(|found| found == controller);
        let path = fields.next()?;
        is_it.then(|| PathBuf::from(path))
    })
}

/// A path of the hierarchy as a path of ours. `None` when the mount does not show it.
fn inside(mount: &Mount, path: &Path) -> Option<PathBuf> {
    let rest = path.strip_prefix(&mount.root).ok()?;
    // `/../x` is what a process outside of the own cgroup namespace has.
    if rest.components().any(|part| part == std::path::Component::ParentDir) {
        return None;
    }
    let folder = if rest.as_os_str().is_empty() { mount.point.clone() } else { mount.point.join(rest) };
    folder.is_dir().then_some(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
36 31 0:33 /a\\040b /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
42 31 0:39 / /mnt rw - ext4 /dev/cgroup2 rw";

    #[test]
    fn hierarchies_are_found_also_on_a_hybrid_machine() {
        let mounts = parse_mounts(HYBRID);
        assert_eq!(mounts.len(), 3);
        assert_eq!(mounts[1].root, Path::new("/a b"));
        assert_eq!(mounts[1].options, ["rw", "cpu", "cpuacct"]);
        let v2: Vec<_> = mounts.iter().filter(|mount| mount.is_v2).collect();
        assert_eq!(v2[0].point, Path::new("/sys/fs/cgroup/unified"));
    }

    #[test]
    fn the_own_place_is_that_of_the_asked_for_controller() {
        let text = "4:memory:/a:b\n3:cpu,cpuacct:/c\n1:name=systemd:/d\n0::/e f\n";
        for (controller, path) in [("memory", "/a:b"), ("cpuacct", "/c"), ("", "/e f")] {
            assert_eq!(path_in(text, controller), Some(PathBuf::from(path)), "{controller}");
        }
        assert_eq!(path_in(text, "pids"), None);
    }

    #[test]
    fn a_place_that_the_mount_does_not_show_is_none() {
        let mount = Mount {
            root: PathBuf::from("/shown"),
            point: std::env::temp_dir(),
            is_v2: true,
            options: Vec::new(),
        };
        assert_eq!(inside(&mount, Path::new("/shown")), Some(std::env::temp_dir()));
        for hidden in ["/", "/other", "/shown/no-such-folder", "/shown/../x"] {
            assert_eq!(inside(&mount, Path::new(hidden)), None, "{hidden}");
        }
    }
}

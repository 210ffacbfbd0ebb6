//! The file system under a folder: its room, its kind, and a file of ours that keeps some room back. Knows
//! `statvfs`, `statfs` and `fallocate`; unaware of what is stored and of when there is too little.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ropewalk_core::disk::{Floor, Free};
use rustix::fs::{FallocateFlags, Mode, OFlags, fallocate, statfs, statvfs};
use rustix::io::{Errno, retry_on_intr};

use crate::durable::FileError;

/// How much room the file system of `path` has.
///
/// # Errors
/// When there is nothing at the path, or the file system does not answer.
pub fn free(path: &Path) -> Result<Free, FileError> {
    let told = statvfs(path).map_err(|errno| FileError::at("measure the disk of", path)(errno.into()))?;
    Ok(Free {
        free_bytes: told.f_bavail.saturating_mul(told.f_frsize),
        total_bytes: told.f_blocks.saturating_mul(told.f_frsize),
        free_inodes: told.f_favail,
        total_inodes: told.f_files,
    })
}

/// Entries that are looked at to say how large a folder is: a person wants to know, not to wait.
const MEASURED_MAX: usize = 100_000;

/// The bytes of all files in a folder, or of the first of very many. What cannot be read counts as nothing.
pub fn bytes_in(folder: &Path) -> u64 {
    let (mut bytes, mut seen) = (0_u64, 0);
    let mut ahead = vec![folder.to_owned()];
    while let Some(next) = ahead.pop() {
        for entry in fs::read_dir(next).into_iter().flatten().flatten() {
            seen += 1;
            if seen > MEASURED_MAX {
                return bytes;
            }
            match entry.metadata() {
                Ok(facts) if facts.is_dir() => ahead.push(entry.path()),
                Ok(facts) => bytes = bytes.saturating_add(facts.len()),
                Err(_) => {}
            }
        }
    }
    bytes
}

/// What a file system is, as far as it matters to a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSystem {
    pub name: String,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// On a disk of this machine.
    Local,
    /// In memory: gone after a restart.
    Memory,
    /// Its files may change behind this machine's back, so locks and shared memory are not to be relied on.
    Remote,
    /// A program serves it, or we have not heard of it: may be either.
    Unknown,
}

/// File systems by their magic numbers. Source: Linux, `include/uapi/linux/magic.h` and `statfs(2)`.
const FILE_SYSTEMS: [(u32, &str, Kind); 26] = [
    (0x0000_ef53, "ext4", Kind::Local),
    (0x5846_5342, "xfs", Kind::Local),
    (0x9123_683e, "btrfs", Kind::Local),
    (0xca45_1a4e, "bcachefs", Kind::Local),
    (0xf2f5_2010, "f2fs", Kind::Local),
    (0x2fc1_2fc1, "zfs", Kind::Local),
    (0x3153_464a, "jfs", Kind::Local),
    (0x5265_4973, "reiserfs", Kind::Local),
    (0x0000_3434, "nilfs", Kind::Local),
    (0x0000_4d44, "vfat", Kind::Local),
    (0x2011_bab0, "exfat", Kind::Local),
    (0x7366_746e, "ntfs3", Kind::Local),
    (0x794c_7630, "overlay", Kind::Local),
    (0x0102_1994, "tmpfs", Kind::Memory),
    (0x8584_58f6, "ramfs", Kind::Memory),
    (0x0000_6969, "nfs", Kind::Remote),
    (0x0000_517b, "smb", Kind::Remote),
    (0xff53_4d42, "cifs", Kind::Remote),
    (0xfe53_4d42, "smb2", Kind::Remote),
    (0x00c3_6400, "ceph", Kind::Remote),
    (0x0102_1997, "9p", Kind::Remote),
    (0x5346_414f, "afs", Kind::Remote),
    (0x0bd0_0bd0, "lustre", Kind::Remote),
    (0x0116_1970, "gfs2", Kind::Remote),
    (0x7461_636f, "ocfs2", Kind::Remote),
    (0x6573_5546, "fuse", Kind::Unknown),
];

/// What the file system of `path` is.
///
/// # Errors
/// As [`free`].
pub fn file_system(path: &Path) -> Result<FileSystem, FileError> {
    let told = statfs(path).map_err(|errno| FileError::at("look at the disk of", path)(errno.into()))?;
    // The field's type differs between architectures; each magic number has 32 bits.
    Ok(by_magic(told.f_type as u32))
}

fn by_magic(magic: u32) -> FileSystem {
    let known = FILE_SYSTEMS.iter().find(|(number, ..)| *number == magic);
    match known {
        Some((_, name, kind)) => FileSystem { name: (*name).to_owned(), kind: *kind },
        None => FileSystem { name: format!("type {magic:#x}"), kind: Kind::Unknown },
    }
}

/// The reserve's size. What must still be written when the disk is full: the database's log (4 MB between two
/// checkpoints) and as much again in the database, and the exit records of some hundred attempts. Ten times that.
pub const RESERVE_BYTES: u64 = 64 << 20;

/// On a small file system the reserve is at most this part of it.
const RESERVE_PART: u64 = 8;

/// A file that takes up room for no purpose but to give it back: when the disk is full it goes, and what must be
/// written then has room.
///
/// Nothing here fails: without a reserve everything works as long as there is room otherwise. The weaker rung, on
/// a file system without `fallocate`: the file is written through. Only who holds the engine's lock may use it.
#[derive(Debug)]
pub struct Reserve {
    home: PathBuf,
    floor: Floor,
}

impl Reserve {
    /// The reserve of a state folder; made if it is not there and there is room for it above the floor.
    pub fn open(home: &Path, floor: Floor) -> Reserve {
        let mut reserve = Reserve { home: home.to_owned(), floor };
        // A file with a hole in it holds nothing back: a copy, or one whose making was cut off.
        if reserve.metadata().is_some_and(|found| found.blocks().saturating_mul(512) < found.len()) {
            reserve.release();
        }
        reserve.restore();
        reserve
    }

    /// How much is held back now.
    pub fn held_bytes(&self) -> u64 {
        self.metadata().map_or(0, |found| found.len())
    }

    /// Gives the room back. Returns whether there was any to give.
    pub fn release(&mut self) -> bool {
        let held_bytes = self.held_bytes();
        if held_bytes > 0 {
            // Cut first: on a file system that copies on write and is full, a removal may need more room than there
            // is until something has been cut.
            let _ = self.file(OFlags::WRONLY).and_then(|file| file.set_len(0));
            let _ = fs::remove_file(self.path());
        }
        self.held_bytes() < held_bytes
    }

    /// Takes the room again if there is enough of it: the reserve itself above the floor, so that having it back
    /// never stops work. Returns whether the reserve is there.
    pub fn restore(&mut self) -> bool {
        let Ok(free) = free(&self.home) else { return false };
        let (wanted_bytes, held_bytes) =
            (RESERVE_BYTES.min(free.total_bytes / RESERVE_PART), self.held_bytes());
        if held_bytes >= wanted_bytes {
            return held_bytes > 0;
        }
        let missing_bytes = wanted_bytes - held_bytes;
        if free.free_bytes < self.floor.bytes_of(free.total_bytes).saturating_add(missing_bytes) {
            return false;
        }
        let made = self.file(OFlags::WRONLY | OFlags::CREATE).and_then(|file| {
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
            allocate(&file, wanted_bytes)
        });
        if made.is_err() {
            // Half a reserve would only make matters worse.
            self.release();
        }
        made.is_ok()
    }

    fn path(&self) -> PathBuf {
        self.home.join("reserve")
    }

    /// Nothing if it is no plain file: then it is not ours, and stays.
    fn metadata(&self) -> Option<fs::Metadata> {
        fs::symlink_metadata(self.path()).ok().filter(fs::Metadata::is_file)
    }

    fn file(&self, flags: OFlags) -> io::Result<File> {
        // Neither followed nor waited for, should it be a link or a pipe.
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(rustix::fs::open(self.path(), flags, Mode::RUSR | Mode::WUSR)?.into())
    }
}

/// Makes a file at least so long, with room on the disk behind every byte.
fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    match retry_on_intr(|| fallocate(file, FallocateFlags::empty(), 0, bytes)) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => fill(file, bytes),
        allocated => Ok(allocated?),
    }
}

/// Writes from the file's start. Not zeros: a file system that compresses would make nothing of them.
fn fill(mut file: &File, bytes: u64) -> io::Result<()> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut left_bytes = bytes;
    let mut chunk = vec![0; 1 << 20];
    while left_bytes > 0 {
        for word in chunk.chunks_exact_mut(8) {
            // Xorshift (Marsaglia, 2003): quick, and nothing that compression finds a pattern in.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        let part = usize::try_from(left_bytes).map_or(chunk.len(), |left| left.min(chunk.len()));
        file.write_all(&chunk[..part])?;
        left_bytes -= part as u64;
    }
    // Some file systems find out only now that there is no room.
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Never an obstacle: what these tests need must not depend on how full this disk is.
    const NO_FLOOR: Floor = Floor { bytes: 0, inodes: 0 };

    #[test]
    fn room_is_told_of_folders_that_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let free = free(folder.path()).unwrap();
        assert!(free.total_bytes > 0 && free.free_bytes <= free.total_bytes, "{free:?}");
        assert!(free.free_inodes <= free.total_inodes, "{free:?}");
        let text = super::free(&folder.path().join("no")).unwrap_err().to_string();
        assert!(text.starts_with("cannot measure the disk of /"), "{text}");
    }

    #[test]
    fn file_systems_are_known_by_their_numbers() {
        let kind = |magic| by_magic(magic).kind;
        assert_eq!(
            [0xef53, 0x0102_1994, 0x6969, 0x6573_5546].map(kind),
            [Kind::Local, Kind::Memory, Kind::Remote, Kind::Unknown]
        );
        assert_eq!(by_magic(7), FileSystem { name: "type 0x7".into(), kind: Kind::Unknown });
        let mut numbers: Vec<u32> = FILE_SYSTEMS.iter().map(|(number, ..)| *number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), FILE_SYSTEMS.len());
        if cfg!(target_os = "linux") {
            assert_eq!(file_system(Path::new("/proc")).unwrap().name, "type 0x9fa0");
        }
    }

    #[test]
    fn a_reserve_takes_room_gives_it_back_and_takes_it_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reserve");
        let mut reserve = Reserve::open(folder.path(), NO_FLOOR);
        let held = reserve.held_bytes();
        assert!(held > 0 && held <= RESERVE_BYTES);
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.len(), metadata.permissions().mode() & 0o777), (held, 0o600));
        assert!(metadata.blocks() * 512 >= held, "it is not a hole");
        let before = metadata.ino();
        assert!(reserve.restore() && Reserve::open(folder.path(), NO_FLOOR).restore(), "it is there");
        assert_eq!(fs::metadata(&path).unwrap().ino(), before, "and was left as it is");
        assert!(reserve.release());
        assert_eq!((reserve.held_bytes(), path.exists()), (0, false));
        assert!(!reserve.release(), "there is no more to give");
        assert!(reserve.restore());
        assert_eq!(reserve.held_bytes(), held);
    }

    #[test]
    fn a_folder_that_is_not_there_has_no_reserve_and_that_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let mut nowhere = Reserve::open(&folder.path().join("no"), NO_FLOOR);
        assert!(!nowhere.restore() && !nowhere.release());
        assert_eq!(nowhere.held_bytes(), 0);
    }

    #[test]
    fn a_reserve_that_is_only_a_hole_or_too_short_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reserve");
        File::create(&path).unwrap().set_len(RESERVE_BYTES).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let held = Reserve::open(folder.path(), NO_FLOOR).held_bytes();
        let metadata = fs::metadata(&path).unwrap();
        assert!(held > 0 && metadata.blocks() * 512 >= held);
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        fs::write(&path, b"short").unwrap();
        assert_eq!(Reserve::open(folder.path(), NO_FLOOR).held_bytes(), held);
    }

    #[test]
    fn what_is_not_a_plain_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (path, victim) = (folder.path().join("reserve"), folder.path().join("victim"));
        fs::write(&victim, b"mine").unwrap();
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        let mut reserve = Reserve::open(folder.path(), NO_FLOOR);
        assert!(!reserve.restore() && !reserve.release());
        assert_eq!(fs::read(&victim).unwrap(), b"mine");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(!reserve.restore() && !reserve.release() && path.is_dir());
    }

    #[test]
    fn a_file_system_without_allocation_is_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let bytes = (1 << 20) + 5;
        fill(&File::create(&path).unwrap(), bytes).unwrap();
        let content = fs::read(&path).unwrap();
        assert_eq!(content.len() as u64, bytes);
        let mut counts = [0_u32; 256];
        content.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
        assert!(counts.iter().all(|count| (3_500..4_700).contains(count)), "it has a pattern");
    }
}

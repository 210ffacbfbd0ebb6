//! Unix sockets in a folder of any depth. Knows how to bind and connect; unaware of what is said.
//!
//! A socket's address holds 108 bytes, a path up to 4,096. So the folder is opened, and the address goes by
//! way of `/proc/self/fd/N/name`. (`chdir` would do too, but a process has only one working directory.)

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

/// Listens on `folder/name`, which only the user may connect to (0600). A file of that name is removed first:
/// names carry our own pid, so it is a dead process's.
pub fn listen(folder: &Path, name: &str) -> io::Result<UnixListener> {
    let (_held, address) = address(folder, name)?;
    match fs::remove_file(folder.join(name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Narrowed before it exists, not after: no moment in which somebody else may connect. The mask belongs to
    // the whole process, which is why this may only be called where there is a single thread.
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(address);
    rustix::process::umask(before);
    let listener = listener?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

pub fn connect(folder: &Path, name: &str) -> io::Result<UnixStream> {
    let (_held, address) = address(folder, name)?;
    UnixStream::connect(address)
}

/// The short address, and the open folder that it is good for as long as it is held.
fn address(folder: &Path, name: &str) -> io::Result<(File, PathBuf)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let held = File::from(rustix::fs::open(folder, flags, Mode::empty())?);
    let address = PathBuf::from(format!("/proc/self/fd/{}/{name}", held.as_raw_fd()));
    Ok((held, address))
}

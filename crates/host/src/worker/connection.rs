//! The worker's end of a connection to a daemon. Knows lines; unaware of what they ask.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{AddressFamily, sockopt};

use super::protocol::{FromWorker, Lines, ToWorker, encode};

#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    lines: Lines,
}

impl Connection {
    pub(crate) fn over(stream: UnixStream) -> io::Result<Connection> {
        stream.set_nonblocking(true)?;
        Ok(Connection { stream, lines: Lines::default() })
    }

    /// The connection that a pool hands its worker as standard input; `None` when that is something else.
    pub(crate) fn from_stdin() -> io::Result<Option<Connection>> {
        let stdin = io::stdin();
        match sockopt::socket_domain(&stdin) {
            Ok(AddressFamily::UNIX) => {
                Connection::over(UnixStream::from(stdin.as_fd().try_clone_to_owned()?)).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Everything that has been said up to now, and whether the daemon is still there.
    pub(crate) fn receive(&mut self) -> (Vec<ToWorker>, bool) {
        let mut bytes = [0; 16 << 10];
        let mut said = Vec::new();
        loop {
            let more = match self.stream.read(&mut bytes) {
                Ok(0) => return (said, false),
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return (said, true),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return (said, false),
            };
            self.lines.push(&bytes[..more]);
            loop {
                match self.lines.next() {
                    Ok(Some(message)) => said.push(message),
                    Ok(None) => break,
                    // Whatever speaks there is no daemon of ours.
                    Err(_) => return (said, false),
                }
            }
        }
    }

    /// Says it without waiting. A daemon that has let so many small messages pile up that they fill the socket
    /// is as good as gone: a supervisor must never wait for it.
    pub(crate) fn send(&mut self, message: &FromWorker) -> io::Result<()> {
        let bytes = encode(message)?;
        let written = self.stream.write(&bytes)?;
        if written == bytes.len() { Ok(()) } else { Err(ErrorKind::WriteZero.into()) }
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Closing is not enough: standard input is a second descriptor of the same socket.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

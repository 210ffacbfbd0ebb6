//! The engine's socket: one JSON object a line each way. Knows connections; unaware of what is asked.

use std::io::{BufRead, BufReader, Read as _, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ropewalk_core::command::{Refusal, RefusalKind};
use ropewalk_host::socket;

use crate::answer::{DoorDesk, answer};
use crate::api::{Ask, Response};
use crate::door::Door;

/// The longest request: a PRD file of the greatest size with every byte escaped.
const LINE_BYTES_MAX: u64 = 600 << 20;

/// Connections at once: people and their scripts, not a public service. One more is told to come back.
const CONNECTIONS_MAX: usize = 256;

const SOCKET: &str = "engine.sock";

fn path(home: &Path) -> PathBuf {
    home.join(SOCKET)
}

/// Ends the listening when dropped, and removes the socket.
#[derive(Debug)]
pub(crate) struct Listener {
    home: PathBuf,
    has_ended: Arc<AtomicBool>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which looks at the flag.
        let _ = connect(&self.home);
        let _ = std::fs::remove_file(path(&self.home));
    }
}

pub(crate) fn connect(home: &Path) -> std::io::Result<UnixStream> {
    socket::connect(home, SOCKET)
}

/// Makes the socket. The caller holds the engine's lock, so one that lies there already is nobody's.
pub(crate) fn bind(home: &Path) -> Result<UnixListener, String> {
    let fault = |error: std::io::Error| format!("cannot listen on {}: {error}", path(home).display());
    let listener = socket::listen(home, SOCKET).map_err(fault)?;
    listener.set_nonblocking(false).map_err(fault)?;
    Ok(listener)
}

/// Answers whoever connects, until the returned value is dropped.
pub(crate) fn listen(listener: UnixListener, door: &Door) -> Result<Listener, String> {
    let home = door.home().to_owned();
    let has_ended = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&has_ended);
    let door = door.clone();
    std::thread::Builder::new()
        .name("socket".into())
        .spawn(move || accept(&listener, &door, &flag))
        .map_err(|error| error.to_string())?;
    Ok(Listener { home, has_ended })
}

fn accept(listener: &UnixListener, door: &Door, has_ended: &AtomicBool) {
    let count = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        if has_ended.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        if count.load(Ordering::SeqCst) >= CONNECTIONS_MAX {
            refuse(stream, "too many connections");
            continue;
        }
        count.fetch_add(1, Ordering::SeqCst);
        let (door, guard) = (door.clone(), Guard(Arc::clone(&count)));
        let spawned = std::thread::Builder::new().name("connection".into()).spawn(move || {
            let _guard = guard;
            converse(stream, &door);
        });
        if spawned.is_err() {
            // The guard was dropped with the closure; the peer sees its connection closed.
            continue;
        }
    }
}

/// Counts a connection down, however its thread ends.
struct Guard(Arc<AtomicUsize>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn refuse(mut stream: UnixStream, text: &str) {
    let refusal = Response::Refused(Refusal::new(RefusalKind::Busy, text));
    let _ = send(&mut stream, &refusal);
    let _ = stream.shutdown(Shutdown::Both);
}

fn send(stream: &mut UnixStream, response: &Response) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(response)?;
    line.push(b'\n');
    stream.write_all(&line)
}

fn converse(stream: UnixStream, door: &Door) {
    let Ok(mut writer) = stream.try_clone() else { return };
    let reader = match door.reader() {
        Ok(reader) => reader,
        Err(error) => return refuse(stream, &error.to_string()),
    };
    let mut desk = DoorDesk { door: door.clone(), reader };
    let mut lines = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        match lines.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let response = match serde_json::from_slice::<Ask>(&line) {
            Ok(ask) => answer(&mut desk, ask),
            Err(error) => {
                let text = format!("the request is not understood: {error}");
                Response::Refused(Refusal::new(RefusalKind::Invalid, text))
            }
        };
        if send(&mut writer, &response).is_err() {
            return;
        }
    }
}

//! Hearing one worker. Knows what each message changes in the pool; unaware of how a worker is started or
//! handed anything.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::sync::Arc;

use super::overdue::Due;
use super::{Chore, Shared, WorkerEvent};
use crate::containment::remove_of;
use crate::identity::ProcessIdentity;
use crate::worker::protocol::{FromWorker, Lines};

impl Shared {
    /// The thread of one connection. `child` is the worker's process when it is ours to reap.
    pub(super) fn hear(self: Arc<Self>, number: u32, stream: Arc<UnixStream>, child: Option<Child>) {
        let mut lines = Lines::default();
        let mut bytes = [0; 16 << 10];
        let mut reader = &*stream;
        'connected: while let Ok(read @ 1..) = reader.read(&mut bytes) {
            lines.push(&bytes[..read]);
            loop {
                match lines.next() {
                    Ok(Some(message)) => self.note(number, message),
                    Ok(None) => break,
                    Err(_) => break 'connected,
                }
            }
        }
        let _ = stream.shutdown(std::net::Shutdown::Both);
        let worker = self.unlink(number);
        if let Some(mut child) = child {
            // After `close(leave)` this may take as long as the worker's work; nothing else waits here.
            let _ = child.wait();
            if let Some(worker) = worker {
                // Only what one that was killed could not take away itself.
                remove_of(&worker);
            }
            self.lock().children -= 1;
            self.changed.notify_all();
        }
    }

    fn note(&self, number: u32, message: FromWorker) {
        match message {
            FromWorker::Hello { worker, assignment, .. } => self.greeted(number, worker, assignment),
            FromWorker::Started { key, agent, started_at_ms } => {
                self.tell_of(number, &key.clone(), WorkerEvent::Started { key, agent, started_at_ms });
            }
            FromWorker::Alive { key, recording } => {
                self.note_alive(number, &key, recording);
                self.tell_of(number, &key.clone(), WorkerEvent::Alive { key });
            }
            FromWorker::NearDeadline { key, left_ms } => {
                self.tell_of(number, &key.clone(), WorkerEvent::NearDeadline { key, left_ms });
            }
            FromWorker::Ended { key, record } => {
                let mut state = self.lock();
                let Some(link) = state.links.get_mut(&number) else { return };
                if link.key.as_deref() != Some(&key) {
                    return;
                }
                state.set_idle(number);
                state.look = true;
                drop(state);
                self.changed.notify_all();
                self.end(&key.clone(), WorkerEvent::Ended { key, record });
            }
        }
    }

    fn greeted(&self, number: u32, worker: ProcessIdentity, assignment: Option<String>) {
        let mut state = self.lock();
        state.failures = 0;
        let Some(link) = state.links.get_mut(&number) else { return };
        link.worker = Some(worker.clone());
        if assignment.is_none() {
            // Expected to run something and does not: it has ended meanwhile, or never came to it.
            let expected = link.key.take();
            state.set_idle(number);
            if let Some(key) = expected {
                state.chores.push_back(Chore::Settle { key, worker: Some(worker) });
            }
        }
        state.look = true;
        drop(state);
        self.changed.notify_all();
    }

    /// One that cannot write its record is waited for as long as it says so.
    fn note_alive(&self, number: u32, key: &str, recording: bool) {
        let mut state = self.lock();
        if let Some(entry) = state.running.get_mut(key).filter(|entry| entry.link == Some(number))
            && recording
        {
            entry.is_recording = true;
            entry.due = Some(Due::after_sign_of_recording());
        }
    }

    /// Tells something of an assignment, if this worker is the one that has it.
    fn tell_of(&self, number: u32, key: &str, event: WorkerEvent) {
        let told = {
            let state = self.lock();
            !state.closed && state.running.get(key).is_some_and(|entry| entry.link == Some(number))
        };
        if told {
            (self.on_event)(event);
        }
    }

    /// Returns whose connection it was.
    fn unlink(&self, number: u32) -> Option<ProcessIdentity> {
        let mut state = self.lock();
        state.idle.retain(|idle| *idle != number);
        let link = state.links.remove(&number);
        let worker = link.as_ref().and_then(|link| link.worker.clone());
        if let Some(link) = link {
            if link.own && link.worker.is_none() {
                state.failures += 1;
                "it ended before it said anything; see workers/log".clone_into(&mut state.fault);
            }
            if let Some(key) = link.key
                && let Some(entry) = state.running.get_mut(&key)
            {
                entry.link = None;
                state.chores.push_back(Chore::Settle { key, worker: link.worker });
            }
        }
        state.look = true;
        drop(state);
        self.changed.notify_all();
        worker
    }
}

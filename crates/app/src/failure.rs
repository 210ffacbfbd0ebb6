//! What went wrong, for a person and for a script: what happened, where, what to do next; a stable code; an
//! exit code by kind.

use ropewalk_core::command::{Refusal, RefusalKind};
use ropewalk_daemon::api::{FaultLine, Response};
use ropewalk_daemon::driver::DriverError;
use ropewalk_daemon::session::SessionError;
use ropewalk_host::lock::LockError;
use serde_json::json;

use crate::config::ConfigFault;
use crate::out::{Out, inert};

/// The exit code of a wrong command line or input.
pub(crate) const USAGE: u8 = 2;
/// The run ended, but something waits for a person.
pub(crate) const WAITS_FOR_PERSON: u8 = 3;
/// Ended by Ctrl-C.
pub(crate) const INTERRUPTED: u8 = 130;

/// The code of an engine that ended while it was asked.
const ENGINE_GONE: &str = "engine-gone";

#[derive(Debug)]
pub(crate) struct Failure {
    code: &'static str,
    exit: u8,
    text: String,
    hints: Vec<String>,
    faults: Vec<FaultLine>,
    /// Surely nothing was done, and asking once more may meet another engine, or none.
    may_ask_again: bool,
}

impl Failure {
    fn new(code: &'static str, exit: u8, text: impl Into<String>) -> Failure {
        Failure { code, exit, text: text.into(), hints: Vec::new(), faults: Vec::new(), may_ask_again: false }
    }

    /// The machine or we ourselves failed.
    pub(crate) fn broken(text: impl Into<String>) -> Failure {
        Failure::new("failed", 1, text)
    }

    /// A defect of ours: the answer does not fit the question.
    pub(crate) fn unexpected(response: &Response) -> Failure {
        Failure::broken(format!("the engine gave another kind of answer than was asked for: {response:?}"))
    }

    /// The input is wrong.
    pub(crate) fn input(text: impl Into<String>) -> Failure {
        Failure::new("bad-input", USAGE, text)
    }

    /// A repository's own file asks for something to be run, and the user has not said that it may.
    pub(crate) fn untrusted(text: impl Into<String>) -> Failure {
        Failure::new("untrusted", USAGE, text)
    }

    pub(crate) fn not_found(text: impl Into<String>) -> Failure {
        Failure::new("not-found", 4, text)
    }

    pub(crate) fn conflict(text: impl Into<String>) -> Failure {
        Failure::new("conflict", 5, text)
    }

    /// A document with faults: all of them.
    pub(crate) fn document(file: &str, faults: Vec<FaultLine>) -> Failure {
        let count = if faults.len() == 1 { "1 fault".to_owned() } else { format!("{} faults", faults.len()) };
        let mut failure = Failure::new("bad-document", USAGE, format!("{file} is not imported: {count}"));
        failure.faults = faults.into_iter().map(|f| FaultLine { place: join(file, &f.place), ..f }).collect();
        failure
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hints.push(hint.into());
        self
    }

    /// Whether the engine ended while it was asked: whoever can go on without it does.
    pub(crate) fn is_engine_gone(&self) -> bool {
        self.code == ENGINE_GONE
    }

    pub(crate) fn may_ask_again(&self) -> bool {
        self.may_ask_again
    }

    pub(crate) fn exit_code(&self) -> u8 {
        self.exit
    }

    pub(crate) fn show_json(&self, out: &Out) {
        let faults = serde_json::to_value(&self.faults).unwrap_or_default();
        let error = json!({"code": self.code, "text": self.text, "hints": self.hints, "faults": faults});
        out.json(&json!({ "error": error }));
    }

    pub(crate) fn show(&self, out: &Out) {
        if out.is_json() {
            self.show_json(out);
        }
        out.error(&format!("error: {}", inert(&self.text)));
        for fault in &self.faults {
            out.error(&format!("  {}: {} [{}]", inert(&fault.place), inert(&fault.message), fault.rule));
            if let Some(hint) = &fault.hint {
                out.error(&format!("    hint: {}", inert(hint)));
            }
        }
        for hint in &self.hints {
            out.error(&format!("hint: {}", inert(hint)));
        }
    }
}

fn join(file: &str, place: &str) -> String {
    if place.is_empty() { file.to_owned() } else { format!("{file}:{place}") }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        let (code, exit) = match refusal.kind {
            RefusalKind::NotFound => ("not-found", 4),
            RefusalKind::Conflict => ("conflict", 5),
            RefusalKind::Invalid => ("bad-input", USAGE),
            RefusalKind::Busy => ("busy", 75),
            RefusalKind::Gone => (ENGINE_GONE, 75),
            RefusalKind::Failed => ("failed", 1),
        };
        Failure {
            hints: refusal.hint.into_iter().collect(),
            may_ask_again: refusal.kind == RefusalKind::Gone,
            ..Failure::new(code, exit, refusal.text)
        }
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Failure {
        match &error {
            SessionError::Lock(LockError::Busy { .. }) => Failure::new("busy", 75, error.to_string()),
            SessionError::Gone { .. } => Failure::new(ENGINE_GONE, 75, error.to_string()),
            SessionError::Lock(_) | SessionError::Store(_) | SessionError::Connection { .. } => {
                Failure::broken(error.to_string())
            }
        }
    }
}

impl From<DriverError> for Failure {
    fn from(error: DriverError) -> Failure {
        match &error {
            DriverError::Lock(LockError::Busy { .. }) => Failure::new("busy", 75, error.to_string()),
            DriverError::Store(_) => Failure::broken(error.to_string())
                .hint("nothing that was acknowledged is lost; free space or mend the fault, then run the same command"),
            DriverError::Lock(_) | DriverError::Machine(_) => Failure::broken(error.to_string()),
        }
    }
}

impl From<Vec<ConfigFault>> for Failure {
    fn from(faults: Vec<ConfigFault>) -> Failure {
        let mut failure = Failure::new("bad-config", USAGE, "the settings are not usable");
        failure.faults = faults
            .iter()
            .map(|fault| FaultLine {
                place: "settings".into(),
                rule: fault.code().into(),
                message: fault.to_string(),
                hint: fault.hint(),
            })
            .collect();
        failure
    }
}

impl From<ConfigFault> for Failure {
    fn from(fault: ConfigFault) -> Failure {
        Failure::from(vec![fault])
    }
}

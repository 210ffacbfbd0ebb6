//! Refusals that more than one command gives.

use crate::command::{Refusal, RefusalKind};
use crate::id::PrdKey;

pub(super) fn conflict(text: impl Into<String>) -> Refusal {
    Refusal::new(RefusalKind::Conflict, text)
}

pub(super) fn has_placeholders(key: &PrdKey) -> Refusal {
    conflict(format!("{key} still holds placeholders such as {{{{NAME}}}}"))
        .hint("fill them in the file and import it again")
}

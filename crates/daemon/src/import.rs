//! From a file's text to the command that imports it, and back again. Unaware of where the text came from.

use std::path::Path;

use ropewalk_core::command::{ImportPrd, Refusal, RefusalKind};
use ropewalk_core::id::{PrdKey, ProjectId};
use ropewalk_core::limits::Limits;
use ropewalk_core::prd::{self, Fault, Shell, Source};

use crate::api::{FaultLine, Import};

/// The command that an import request means, or every fault of its document.
pub(crate) fn read(
    request: Import,
    project: ProjectId,
) -> Result<Result<ImportPrd, Vec<FaultLine>>, Refusal> {
    let invalid = |text: String| Refusal::new(RefusalKind::Invalid, text);
    let key =
        request.key.as_deref().map(PrdKey::new).transpose().map_err(|error| invalid(error.to_string()))?;
    let stem = Path::new(&request.source).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let source = Source {
        bytes: request.content.as_bytes(),
        file_stem: &stem,
        manifest: request.manifest.as_deref().map(str::as_bytes),
    };
    Ok(match prd::read(source, &Limits::default()) {
        Ok(document) => Ok(ImportPrd {
            project,
            document,
            key,
            source: Some(request.source),
            approve: request.approve,
            trust_passes: request.trust_passes,
            settings: request.settings,
        }),
        Err(faults) => Err(faults.iter().map(fault_line).collect()),
    })
}

/// A fault in words, for people and for the wire.
pub fn fault_line(fault: &Fault) -> FaultLine {
    let position = match (fault.place.line, fault.place.column) {
        (Some(line), Some(column)) => format!("{line}:{column}"),
        (Some(line), None) => line.to_string(),
        (None, _) => String::new(),
    };
    let place = match (position.as_str(), fault.place.path.as_str()) {
        ("", path) => path.to_owned(),
        (position, "") => position.to_owned(),
        (position, path) => format!("{position} {path}"),
    };
    FaultLine { place, rule: fault.rule.to_owned(), message: fault.message.clone(), hint: fault.hint.clone() }
}

/// The document as imported, with what is done marked.
pub(crate) fn export<'s>(
    shell: &str,
    stories: impl Iterator<Item = (&'s str, bool)>,
) -> Result<String, Refusal> {
    let shell = Shell::from_text(shell).map_err(|_| {
        Refusal::new(RefusalKind::Conflict, "this PRD did not come from a file: nothing to export")
    })?;
    Ok(prd::export(&shell, stories))
}

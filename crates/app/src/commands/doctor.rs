//! `doctor`: what this machine offers. Works where nothing else does.

use std::path::PathBuf;

use ropewalk_core::disk::Floor;
use ropewalk_daemon::doctor::{Finding, Grade, examine};

use crate::config;
use crate::failure::Failure;
use crate::out::{Out, inert};

pub(crate) fn doctor(out: &Out) -> Result<u8, Failure> {
    // No `Place`: a fault in the settings or the repository is no reason to say nothing of the machine.
    let home = home();
    let report = examine(home.as_deref().map_err(String::as_str), &Floor::default());
    if out.is_json() {
        out.json(&report);
    } else {
        for finding in &report.findings {
            out.say(&inert(&shown(finding)));
        }
        let missing = report.findings.iter().filter(|f| f.is_needed && f.grade == Grade::Missing);
        let missing: Vec<&str> = missing.map(|finding| finding.topic.as_str()).collect();
        out.say(&match report.can_work {
            true => "\nagents can run here".to_owned(),
            false => format!("\nnothing can run here until this is mended: {}", missing.join(", ")),
        });
    }
    Ok(if report.can_work { 0 } else { 1 })
}

fn home() -> Result<PathBuf, String> {
    let env = config::environment().map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        faults.join("; ")
    })?;
    config::home(env.into_iter()).map_err(|fault| fault.to_string())
}

fn shown(finding: &Finding) -> String {
    let mut text = format!("{:<9}{:<13}{}", finding.grade.name(), finding.topic, finding.text);
    if let Some(advice) = &finding.advice {
        text += &format!("\n{:<22}hint: {advice}", "");
    }
    text
}

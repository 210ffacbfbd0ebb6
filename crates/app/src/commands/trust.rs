//! `trust`: what this repository's ropewalk.toml asks to be run, and the user's word that it may.

use ropewalk_daemon::session::Session;
use ropewalk_host::trusted::{Standing, Trusted};
use serde_json::json;

use crate::cli::{self, Set};
use crate::config::PROJECT_FILE;
use crate::failure::Failure;
use crate::out::{Out, inert};
use crate::place::Place;
use crate::trust::{self, Case};

pub(crate) fn trust(how: &cli::Trust, out: &Out) -> Result<u8, Failure> {
    let place = Place::look()?;
    let found = place.repository()?;
    if how.revoke {
        return revoke(&place, out);
    }
    // What is faulty is said first: nobody should trust what nobody can read.
    place.untrusted_config(&Set::default(), None)?;
    let Some(case) = trust::case(&place)? else {
        tell(
            out,
            &json!({"file": null, "trusted": false, "needed": false, "runs": []}),
            &[&format!("there is no {PROJECT_FILE} in {}; nothing needs trust", found.top.display())],
        );
        return Ok(0);
    };
    if how.show || case.may_run() {
        show(&case, out);
        return Ok(0);
    }
    if how.yes {
        trust::refuse_in_attempt()?;
        out.remark(&inert(&format!("{}:\n  {}", case.said(), case.lines().join("\n  "))));
        trust::give(&place)?;
    } else if trust::is_somebody_there() {
        trust::ask(&place, &case, &mut std::io::stdin().lock(), out)?;
    } else {
        trust::refuse_untrusted(&place)?;
    }
    let case = Case { standing: Standing::Trusted, ..case };
    show(&case, out);
    Ok(0)
}

fn show(case: &Case<'_>, out: &Out) {
    let is_changed = matches!(case.standing, Standing::Changed { .. });
    let value = json!({
        "file": case.source.path(),
        "trusted": case.may_run(),
        "needed": !case.demands.is_empty(),
        "changed": is_changed,
        "runs": case.demands,
    });
    let mut lines = vec![case.said()];
    lines.extend(case.lines().iter().map(|line| format!("  {line}")));
    tell(out, &value, &lines);
}

fn tell(out: &Out, value: &serde_json::Value, lines: &[impl AsRef<str>]) {
    if out.is_json() {
        out.json(value);
    }
    for line in lines {
        out.say(&inert(line.as_ref()));
    }
}

fn revoke(place: &Place, out: &Out) -> Result<u8, Failure> {
    let Some(source) = place.source() else { return Ok(0) };
    let revoked =
        Trusted::of(&place.home).revoke(source.path()).map_err(|error| Failure::broken(error.to_string()))?;
    if revoked {
        // The project's settings of its last use are stored: without this, a run from elsewhere would still use them.
        place.add_project_without_file(&mut Session::open(&place.home)?)?;
    }
    let path = source.path().display();
    let words = match revoked {
        true => format!(
            "{path} is not trusted any more; what runs goes on, and what is queued has no settings of it any more"
        ),
        false => format!("{path} was not trusted"),
    };
    tell(out, &json!({"file": source.path(), "revoked": revoked}), &[words]);
    Ok(0)
}

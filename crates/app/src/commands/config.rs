//! `config`: the settings in force and where each comes from.

use serde_json::json;

use crate::cli::{self, Set};
use crate::config;
use crate::failure::Failure;
use crate::out::{Out, inert};
use crate::place::Place;
use crate::table::table;

pub(crate) fn config(command: &cli::Config, out: &Out) -> Result<u8, Failure> {
    match command {
        cli::Config::Show { origin } => show(*origin, out),
        cli::Config::Path => path(out),
        cli::Config::Reference => {
            out.text(&config::reference());
            Ok(0)
        }
    }
}

fn show(with_origin: bool, out: &Out) -> Result<u8, Failure> {
    let place = Place::look()?;
    let config = place.untrusted_config(&Set::default(), None)?;
    let entries = config.entries();
    if out.is_json() {
        out.json(&entries);
        return Ok(0);
    }
    if with_origin {
        let rows = entries
            .iter()
            .map(|entry| vec![entry.key.to_string(), entry.value.clone(), entry.origin.to_string()]);
        out.say(&table(&["key", "value", "from"], rows));
    } else {
        for entry in &entries {
            out.say(&inert(&format!("{} = {}", entry.key, entry.value)));
        }
    }
    Ok(0)
}

fn path(out: &Out) -> Result<u8, Failure> {
    let place = Place::look()?;
    let (project, user) = (place.project_file(), place.user_file());
    if out.is_json() {
        out.json(&json!({"state": place.home, "project": project, "user": user}));
        return Ok(0);
    }
    let shown = |path: Option<std::path::PathBuf>| path.map_or("-".into(), |path| path.display().to_string());
    out.say(&format!(
        "state    {}\nproject  {}\nuser     {}",
        place.home.display(),
        shown(project),
        shown(user)
    ));
    Ok(0)
}

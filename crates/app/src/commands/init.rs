//! `init`: a commented ropewalk.toml, and the project known to the store.

use ropewalk_daemon::session::Session;
use ropewalk_host::durable::write_durably;
use serde_json::json;

use crate::cli::Init;
use crate::config;
use crate::failure::Failure;
use crate::out::Out;
use crate::place::Place;
use crate::trust;

pub(crate) fn init(init: &Init, out: &Out) -> Result<u8, Failure> {
    let place = Place::look()?;
    let found = place.repository()?;
    let file = found.top.join(config::PROJECT_FILE);
    if file.exists() && !init.force {
        return Err(Failure::conflict(format!("{} is there already", file.display()))
            .hint("edit it, or write over it with --force"));
    }
    write_durably(&file, config::template(&found.base).as_bytes())
        .map_err(|error| Failure::broken(error.to_string()))?;
    trust::give(&place)?;
    place.add_project(&mut Session::open(&place.home)?)?;
    if out.is_json() {
        out.json(&json!({"file": file, "base": found.base.as_str(), "repository": found.top}));
    }
    out.say(&format!("wrote {}", file.display()));
    out.say(&format!("repository {}, base branch {}", found.top.display(), found.base));
    out.say(&format!("\nnext:\n  set [agent.shell] command in {}", config::PROJECT_FILE));
    out.say("  ropewalk trust                     # once more after each change of it");
    out.say("  ropewalk run prd.json\n  ropewalk status");
    Ok(0)
}

//! What a repository's own file asks to be run. Unaware of whether the user trusts it.

use ropewalk_core::limits::Limits;
use serde::Serialize;

use super::file::{self, Source};
use super::keys;
use super::origin::Layer;

/// A key whose value needs the user's trust, as the file gives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Demand {
    pub(crate) key: &'static str,
    /// As TOML, on one line.
    pub(crate) value: String,
}

impl Demand {
    pub(crate) fn text(&self) -> String {
        format!("{} = {}", self.key, self.value)
    }
}

/// What is the user's to decide: how the engine keeps all projects' work, and whether anything lands without a look.
fn is_the_users(path: &str) -> bool {
    path.starts_with("engine.") || ["auto_land", "land.review"].contains(&path)
}

/// All that needs trust in a file, in the order of the table. An empty list needs it too: it may take the place of
/// checks that the user has set. What is faulty in it is left out: nobody acts on a file with faults.
pub(crate) fn demands(source: &Source) -> Vec<Demand> {
    let (given, _) = file::read(source, Layer::Project, &Limits::default());
    let needing = keys::all().filter(|key| key.kind.needs_trust() || is_the_users(key.path));
    let given = needing.filter_map(|key| given.iter().find(|given| given.key.path == key.path));
    given.map(|given| Demand { key: given.key.path, value: given.value.to_string() }).collect()
}

//! The table of keys as text for people: the file that `init` writes, and the reference. Unaware of layers.

use ropewalk_core::id::BranchName;
use ropewalk_core::limits::Limits;

use super::keys::{self, Key, split};
use super::value::{expected, quoted};

/// A `ropewalk.toml` to start from. Only `base` is set; every other key stands there as a comment with its
/// default (or an example), so that a default that changes later changes for this project too.
pub(crate) fn template(base: &BranchName) -> String {
    let limits = Limits::default();
    let mut text = String::from(
        "# What ropewalk may do in this repository. Every key may be left out; `ropewalk config show --origin`\n\
         # says what is in force and where it comes from.\n",
    );
    let mut section = "";
    for key in keys::all() {
        let (of, name) = split(key.path);
        text.push('\n');
        if of != section {
            section = of;
            text.push_str(&format!("[{section}]\n"));
        }
        text.push_str(&format!("# {}\n# Takes {}.\n", key.doc, expected(key, &limits)));
        // The commented forms hold the key at the very start of the line, so that taking "# " away is enough.
        let line = match key.path {
            "base" => format!("base = {}\n", quoted(base.as_str())),
            _ => format!("# {name} = {}\n", shown(key, &limits)),
        };
        text.push_str(&line);
    }
    text
}

/// The reference of all keys, as a table in Markdown.
pub(crate) fn reference() -> String {
    let limits = Limits::default();
    let mut text =
        String::from("| key | takes | default | variable | flag | meaning |\n|---|---|---|---|---|---|\n");
    for key in keys::all() {
        let default = (key.default)(&limits).map_or("none".to_owned(), |value| format!("`{value}`"));
        let flag = key.flag.as_ref().map_or("none".to_owned(), |flag| format!("`{}`", flag.name));
        text.push_str(&format!(
            "| `{}` | {} | {default} | `{}` | {flag} | {} |\n",
            key.path,
            expected(key, &limits),
            key.variable(),
            key.doc
        ));
    }
    text
}

/// The default as the file would say it, or the example where the default says nothing.
fn shown(key: &Key, limits: &Limits) -> String {
    key.example.map(str::to_owned).or_else(|| Some((key.default)(limits)?.to_string())).unwrap_or_default()
}

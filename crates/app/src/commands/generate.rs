//! Completions and man pages, from the command line's one definition.

use std::path::Path;

use clap::CommandFactory;

use crate::cli::Cli;
use crate::failure::Failure;
use crate::out::Out;

pub(crate) fn completions(shell: clap_complete::Shell, out: &Out) -> Result<u8, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ropewalk", &mut text);
    out.text(&String::from_utf8_lossy(&text));
    Ok(0)
}

pub(crate) fn man(folder: &Path, out: &Out) -> Result<u8, Failure> {
    std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(Cli::command(), folder)).map_err(
        |error| Failure::broken(format!("man pages cannot be written to {}: {error}", folder.display())),
    )?;
    if out.is_json() {
        out.json(&serde_json::json!({"folder": folder}));
    }
    out.say(&format!("man pages are in {}", folder.display()));
    Ok(0)
}

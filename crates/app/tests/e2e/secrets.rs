//! A declared secret never reaches the disk, however it is printed, nor what is made of the output.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Bench, story};

const NAME: &str = "DEPLOY_TOKEN";
/// With bytes that base64 and percent forms turn into others.
const VALUE: &str = "s3cr3t/V4lue+with=odd?bytes~7f91";

/// As the fake agent prints it: each form in pieces of each size.
fn printed() -> String {
    let mut steps = Vec::new();
    for form in ["plain", "base64", "hex", "percent"] {
        for size in [1, 7, 4_096] {
            steps.push(format!("pieces {size} {form} {NAME}"));
        }
    }
    steps.join("; ")
}

/// The forms of the value that must not be found, in small letters.
fn forms() -> Vec<(&'static str, Vec<u8>)> {
    let hex: String = VALUE.bytes().map(|byte| format!("{byte:02x}")).collect();
    let percent: String = VALUE.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let usual = VALUE.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02x}"),
    });
    let usual: String = usual.collect();
    vec![
        ("plain", VALUE.to_lowercase().into_bytes()),
        ("base64", base64(VALUE.as_bytes()).trim_end_matches('=').to_lowercase().into_bytes()),
        ("hex", hex.into_bytes()),
        ("percent", percent.into_bytes()),
        ("percent where needed", usual.to_lowercase().into_bytes()),
    ]
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, at| bits << 8 | u32::from(three.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= three.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files_below(&path)),
            Ok(kind) if kind.is_file() => found.push(path),
            _ => {}
        }
    }
    found
}

/// Every place in the state folder where a form of the value stands.
fn hits(bench: &Bench) -> Vec<String> {
    let mut hits = Vec::new();
    let files = files_below(&bench.home);
    assert!(files.iter().any(|file| file.ends_with("ropewalk.db")), "the database is looked at: {files:?}");
    for file in files {
        let bytes = fs::read(&file).unwrap_or_default().to_ascii_lowercase();
        for (name, form) in forms() {
            let at = bytes.windows(form.len()).position(|window| window == form);
            hits.extend(at.map(|at| format!("{} at {at} of {}", name, file.display())));
        }
    }
    hits
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

#[test]
fn the_search_for_a_secret_finds_every_form_in_an_unfiltered_output() {
    let bench = Bench::bare_of_repository();
    let task = bench.add(&bench.agent(&printed()), &["--env", NAME]);
    bench
        .engine("1", |command| {
            command.env(NAME, VALUE);
        })
        .wait()
        .expect(0);
    let found = hits(&bench);
    let stdout = format!("{task}.1/stdout");
    for form in ["plain", "base64", "hex", "percent"] {
        let is_it = |hit: &String| hit.starts_with(&format!("{form} at")) && hit.ends_with(&stdout);
        assert!(found.iter().any(is_it), "{form} is not found: {found:?}");
    }
}

#[test]
fn a_declared_secret_is_nowhere_in_the_state_folder_whatever_the_pieces_and_the_form() {
    let bench = Bench::bare_of_repository();
    let steps = format!("say before; {}; say after", printed());
    let declared = ["--env", NAME, "--secret", NAME];
    let out = bench.add(&bench.agent(&steps), &declared);
    let err = bench.add(&format!("exec {} 1>&2", bench.agent(&steps)), &declared);
    // Some of it is still in the pipe when the worker dies.
    let lost = bench.add(
        &bench.agent(&format!("first 1 {}; first 1 vanish", printed().replace("; ", "; first 1 "))),
        &declared,
    );
    bench
        .engine("2", |command| {
            command.env(NAME, VALUE);
        })
        .wait()
        .expect(0);
    assert_eq!(hits(&bench), [""; 0]);
    for (task, stream) in [(out, "stdout"), (err, "stderr")] {
        let text = read(&bench.home.join(format!("attempts/{task}.1/{stream}")));
        assert!(text.starts_with("before\n") && text.ends_with("after\n"), "all else is kept: {text:?}");
        // What stands around the values: three sizes, four forms.
        assert!(text.matches('.').count() >= 4 * (1 + 7 + 4_096), "{} bytes", text.len());
    }
    assert_eq!(bench.task(lost)["state"], "done");
}

#[test]
fn a_secret_in_a_failed_attempts_output_is_not_in_the_next_ones_prompt() {
    let bench = Bench::new();
    let steps = format!("{}; say I lost the thread; fail 1; edit one.txt", printed());
    let prd = bench.prd(&[story("US-001", &[]).steps(&steps)]);
    let prd = prd.to_str().expect("UTF-8");
    let agent = bench.agent("");
    let args = ["run", prd, "--command", &agent, "--env", NAME, "--secret", NAME];
    let mut command = bench.command(&args);
    command.env(NAME, VALUE);
    bench.start(command, args.join(" ")).wait().expect(0);
    assert_eq!(hits(&bench), [""; 0]);
    let prompts: Vec<_> = files_below(&bench.home).iter().map(|file| read(file)).collect();
    assert!(prompts.iter().any(|text| text.contains("I lost the thread")), "what it printed is told");
}

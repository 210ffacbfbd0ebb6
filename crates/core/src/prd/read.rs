//! From bytes to a document. Knows the order of the checks; unaware of where the list stands (`find.rs`), of
//! what is round it (`head.rs`), inside a story (`story.rs`) and between stories (`check.rs`).

use std::collections::BTreeSet;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::check::{Checked, check};
use super::export::Shell;
use super::faults::{Faults, fault};
use super::find::{find_list, refuse_repeated, whole};
use super::head::{check_branch, check_key, fill_from, read_heads};
use super::json::{offset_of, walk};
use super::manifest::read_manifest;
use super::outline::entries;
use super::story::{Draft, STORY_KEYS, Spot, read_story};
use super::{Approval, Fault, Manifest, PrdDocument, Source, StoryDocument};
use crate::id::{BranchName, PrdKey};
use crate::limits::{Limits, shorten};

/// Placeholders named in a warning: a template has some ten.
const PLACEHOLDERS_SHOWN_MAX: usize = 12;

/// Reads a PRD file and the manifest beside it. Linear in the bytes, and some three times them in memory.
///
/// # Errors
/// All faults of the file, in the order of their places, at most [`FAULTS_MAX`](super::FAULTS_MAX) and a
/// last one that counts the rest. Where the file is not JSON there is one, because nothing can be said of
/// what follows.
pub fn read(source: Source<'_>, limits: &Limits) -> Result<PrdDocument, Vec<Fault>> {
    let manifest = source.manifest.map(read_manifest).transpose();
    let read = match open(source.bytes, limits) {
        Ok(text) => read_text(text, source, limits, manifest.as_ref().ok().and_then(Option::as_ref)),
        Err(fault) => Err(vec![*fault]),
    };
    match (read, manifest) {
        (Ok(mut document), Ok(manifest)) => {
            document.manifest = manifest;
            Ok(document)
        }
        (Ok(_), Err(fault)) => Err(vec![fault]),
        (Err(faults), Ok(_)) => Err(faults),
        (Err(mut faults), Err(fault)) => {
            faults.insert(0, fault);
            Err(faults)
        }
    }
}

/// The bytes as text, without a byte order mark.
fn open<'a>(bytes: &'a [u8], limits: &Limits) -> Result<&'a str, Box<Fault>> {
    let refuse = |rule, message: String| Err(Box::new(fault("", rule, message)));
    if bytes.len() as u64 > limits.prd_bytes_max {
        return refuse(
            "too-large",
            format!("it has {} bytes, and {} are the most", bytes.len(), limits.prd_bytes_max),
        );
    }
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) {
        let message = "it is not UTF-8: byte 0 begins a UTF-16 byte order mark".to_owned();
        return Err(Box::new(fault("", "utf-16", message).with_hint("save the file as UTF-8")));
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => {
            let at = error.valid_up_to();
            let mut fault = fault("", "not-utf8", format!("it is not UTF-8: byte {at} begins no character"));
            let lines = bytes[..at].iter().filter(|b| **b == b'\n').count();
            fault.place.line = u32::try_from(lines + 1).ok();
            return Err(Box::new(fault));
        }
    };
    if text.trim().is_empty() {
        return refuse("empty", "the file is empty".to_owned());
    }
    Ok(text)
}

fn read_text(
    text: &str,
    source: Source<'_>,
    limits: &Limits,
    manifest: Option<&Manifest>,
) -> Result<PrdDocument, Vec<Fault>> {
    let mut faults = Faults::default();
    let mut warnings = Faults::default();
    let Some(found) = find_list(text, &mut faults) else { return Err(faults.finish(text)) };
    let mut head = read_heads(text, &found, &mut faults);
    let (list_text, count) = match entries(found.list, limits.stories_max) {
        Ok(entries) => entries,
        Err(syntax) => {
            whole(&found.list_path, found.list, text).push_syntax(&mut faults, syntax);
            return Err(faults.finish(text));
        }
    };
    if count > limits.stories_max {
        whole(&found.list_path, found.list, text).push(&mut faults, "", |path| {
            fault(
                path,
                "too-many-stories",
                format!("{count} stories, and {} are the most", limits.stories_max),
            )
        });
    }
    for key in &found.passed_over {
        let message = format!("these are not read: the stories are taken from {}", found.list_path);
        warnings
            .push(|| (None, fault(*key, "passed-over", message).with_hint("put all stories under one key")));
    }
    let (mut story_faults, mut story_warnings) = (Faults::default(), Faults::default());
    let drafts = read_stories(text, &found.list_path, &list_text, &mut story_faults, &mut story_warnings);
    faults.absorb(story_faults);
    let checked = check(&drafts, limits, &mut faults);
    if let Some(manifest) = manifest {
        fill_from(&mut head, manifest);
    }
    let mut head_faults = Faults::default();
    let key = check_key(manifest, head.key, &mut head_faults);
    let branch = check_branch(head.branch, manifest, &mut head_faults);
    faults.absorb(head_faults);
    if !faults.is_empty() {
        return Err(faults.finish(text));
    }
    let hash = hex(&Sha256::digest(source.bytes));
    let approval = approval(manifest, &hash, &mut warnings);
    warn_of_mark(source.bytes, &mut warnings);
    let mut document = PrdDocument {
        key,
        title: head.title.unwrap_or_else(|| source.file_stem.to_owned()),
        description: head.description.unwrap_or_default(),
        branch,
        tags: head.tags,
        owner: head.owner,
        stories: assemble(drafts, checked),
        shell: Shell::cut(text, found.list_path.clone(), found.list, &list_text),
        hash,
        manifest: None,
        approval,
        warnings: Vec::new(),
        has_placeholders: false,
    };
    document.has_placeholders = warn_of_placeholders(&document, &mut warnings);
    warnings.absorb(story_warnings);
    document.warnings = warnings.finish(text);
    Ok(document)
}

fn warn_of_mark(bytes: &[u8], warnings: &mut Faults) {
    if bytes.starts_with(&[0xEF, 0xBB, 0xBF]) {
        warnings.push(|| {
            let message = "the file begins with a byte order mark; it is read past and not written back";
            (Some(0), fault("", "byte-order-mark", message))
        });
    }
}

fn read_stories<'a>(
    text: &str,
    list_path: &'a str,
    entries: &[&'a str],
    faults: &mut Faults,
    warnings: &mut Faults,
) -> Vec<Draft<'a>> {
    let mut drafts = Vec::with_capacity(entries.len());
    for (index, &entry) in (0_u32..).zip(entries) {
        let spot =
            Spot { prefix: list_path, index: Some(index), text: entry, offset: offset_of(text, entry) };
        let mut repeated = Vec::new();
        let node = walk(entry, Some(&STORY_KEYS), &mut repeated);
        refuse_repeated(spot, repeated, faults);
        drafts.push(match node {
            Ok(node) => read_story(spot, node, faults, warnings),
            Err(syntax) => {
                spot.push_syntax(faults, syntax);
                Draft::unreadable(spot)
            }
        });
    }
    drafts
}

fn assemble(drafts: Vec<Draft<'_>>, checked: Checked) -> Vec<StoryDocument> {
    let stories = drafts.into_iter().zip(checked.ids).zip(checked.depends_on);
    stories
        .map(|((draft, id), depends_on)| {
            let mut head = [0; 8];
            head.copy_from_slice(&Sha256::digest(draft.spot.text)[..8]);
            let hash = u64::from_be_bytes(head);
            StoryDocument {
                title: draft.title.unwrap_or_else(|| id.to_string()),
                id,
                priority: draft.priority,
                depends_on,
                claimed: draft.claimed,
                files: draft.files,
                criteria: draft.criteria,
                description: draft.description,
                body: draft.spot.text.to_owned(),
                hash,
            }
        })
        .collect()
}

fn approval(manifest: Option<&Manifest>, hash: &str, warnings: &mut Faults) -> Approval {
    let Some(recorded) = manifest.and_then(|manifest| manifest.approval_hash.as_deref()) else {
        return Approval::None;
    };
    if recorded.trim().eq_ignore_ascii_case(hash) {
        return Approval::Verified;
    }
    let recorded = shorten(recorded, 80);
    warnings.push(|| {
        let message =
            format!("the PRD was edited after its approval: approved was {recorded}, the file is {hash}");
        (None, fault("MANIFEST.approval.approval_hash", "approval-mismatch", message))
    });
    Approval::Mismatch { recorded, actual: hash.to_owned() }
}

/// Warns once, naming the placeholders, and says whether there are any.
fn warn_of_placeholders(document: &PrdDocument, warnings: &mut Faults) -> bool {
    let head = [Some(document.title.as_str()), document.key.as_ref().map(PrdKey::as_str)];
    let branch = document.branch.as_ref().map(BranchName::as_str);
    let stories = document.stories.iter().flat_map(|story| [story.id.as_str(), story.title.as_str()]);
    let texts = head.into_iter().flatten().chain(branch).chain(stories);
    let names: BTreeSet<&str> = texts.flat_map(placeholders).collect();
    if names.is_empty() {
        return false;
    }
    let shown: Vec<&str> = names.iter().copied().take(PLACEHOLDERS_SHOWN_MAX).collect();
    warnings.push(|| {
        let message = format!("{} placeholders are not filled in: {}", names.len(), shown.join(", "));
        (None, fault("", "placeholders", message).with_hint("fill them in before the PRD is approved"))
    });
    true
}

/// Every `{{NAME}}` of a text.
fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let start = rest.find("{{")?;
            let end = start + rest[start..].find("}}")? + 2;
            let found = &rest[start..end];
            rest = &rest[end..];
            let name = found.trim_matches(['{', '}', ' ']);
            if !name.is_empty()
                && name.len() <= 64
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            {
                return Some(found);
            }
        }
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

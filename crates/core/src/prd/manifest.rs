//! `MANIFEST.yaml`, as claude-loop lays it beside a PRD. Knows its fields under all the names met so far;
//! unaware of the PRD it belongs to.
//!
//! Read straight into typed fields: a plain `2026-01-12` or `001` stays the text it is. Fields that nobody
//! reads may hold anything. Anchors and nesting are bounded by the YAML reader's own budget.

use std::fmt;

use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::Fault;
use super::faults::fault;

/// Bytes of a manifest. Real ones have less than 5 kB.
const MANIFEST_BYTES_MAX: usize = 1 << 20;

/// What a manifest says of its PRD, as text and unchecked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub id: Option<String>,
    pub title: Option<String>,
    /// `draft`, `active`, `completed`, `abandoned`, or whatever stands there.
    pub status: Option<String>,
    pub owner: Option<String>,
    pub tags: Vec<String>,
    pub description: Option<String>,
    pub branch_name: Option<String>,
    pub created_at: Option<String>,
    pub approved_by: Option<String>,
    pub approved_at: Option<String>,
    /// SHA-256 of the PRD at the time of approval, in hexadecimal.
    pub approval_hash: Option<String>,
}

/// The file's own shape: snake and camel case, and the approval nested or not.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Written {
    id: Option<String>,
    title: Option<String>,
    status: Option<String>,
    owner: Option<String>,
    author: Option<String>,
    tags: Option<Texts>,
    description: Option<String>,
    branch_name: Option<String>,
    #[serde(rename = "branchName")]
    branch_name_camel: Option<String>,
    created_at: Option<String>,
    #[serde(rename = "createdAt")]
    created_at_camel: Option<String>,
    created: Option<String>,
    approval: Option<WrittenApproval>,
    approved_at: Option<String>,
    #[serde(rename = "approvedAt")]
    approved_at_camel: Option<String>,
    approved_by: Option<String>,
    #[serde(rename = "approvedBy")]
    approved_by_camel: Option<String>,
    approval_hash: Option<String>,
    #[serde(rename = "approvalHash")]
    approval_hash_camel: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WrittenApproval {
    approved_by: Option<String>,
    approved_at: Option<String>,
    approval_hash: Option<String>,
}

/// A list of strings, or one string on its own.
#[derive(Default)]
struct Texts(Vec<String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Texts, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Texts;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of words")
            }
            fn visit_unit<E>(self) -> Result<Texts, E> {
                Ok(Texts::default())
            }
            fn visit_str<E>(self, word: &str) -> Result<Texts, E> {
                Ok(Texts(vec![word.to_owned()]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Texts, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = from.next_element::<String>()? {
                    words.push(word);
                }
                Ok(Texts(words))
            }
        }
        from.deserialize_any(Visit)
    }
}

/// Reads a manifest. An empty file is an empty manifest.
///
/// # Errors
/// One fault: too long, not UTF-8, or the first thing that is not YAML or not of its field's type, by line.
pub(super) fn read_manifest(bytes: &[u8]) -> Result<Manifest, Fault> {
    if bytes.len() > MANIFEST_BYTES_MAX {
        let message = format!("it has {} bytes, and {MANIFEST_BYTES_MAX} are the most", bytes.len());
        return Err(fault("MANIFEST", "too-large", message));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let message = format!("it is not UTF-8: byte {} begins no character", error.valid_up_to());
        fault("MANIFEST", "not-utf8", message)
    })?;
    // Asked for nothing, the reader still goes through all of it: a comment alone is no document.
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Manifest::default());
    }
    let written: Option<Written> = serde_saphyr::from_str(text).map_err(|error| {
        let mut fault = fault("MANIFEST", "malformed-yaml", first_line(&error.without_snippet().to_string()));
        if let Some(location) = error.location() {
            fault.place.line = u32::try_from(location.line()).ok();
            fault.place.column = u32::try_from(location.column()).ok();
        }
        fault
    })?;
    Ok(written.unwrap_or_default().into())
}

fn first_line(text: &str) -> String {
    crate::limits::shorten(text.lines().next().unwrap_or_default(), 300)
}

impl From<Written> for Manifest {
    fn from(written: Written) -> Manifest {
        let approval = written.approval.unwrap_or_default();
        Manifest {
            id: written.id,
            title: written.title,
            status: written.status,
            owner: written.owner.or(written.author),
            tags: written.tags.unwrap_or_default().0,
            description: written.description,
            branch_name: written.branch_name.or(written.branch_name_camel),
            created_at: written.created_at.or(written.created_at_camel).or(written.created),
            approved_by: approval.approved_by.or(written.approved_by).or(written.approved_by_camel),
            approved_at: approval.approved_at.or(written.approved_at).or(written.approved_at_camel),
            approval_hash: approval.approval_hash.or(written.approval_hash).or(written.approval_hash_camel),
        }
    }
}

//! The files that a story means to touch, and whether two stories may meet there. Unaware of trees: what stands in a
//! `fileScope` are paths, folders and patterns, written before any of it may exist.

/// Whether some file may be in both. Says yes too often rather than too seldom: it decides only who starts first.
pub fn may_meet(one: &[String], other: &[String]) -> bool {
    one.iter().any(|a| other.iter().any(|b| is_above(stem(a), stem(b)) || is_above(stem(b), stem(a))))
}

/// The part of a pattern before anything in it is open: a path, or the folder above the first wildcard.
fn stem(pattern: &str) -> &str {
    let pattern = pattern.trim().trim_start_matches("./");
    let stem = match pattern.find(['*', '?', '[', '{']) {
        Some(open) => pattern[..open].rfind('/').map_or("", |slash| &pattern[..slash]),
        None => pattern,
    };
    stem.trim_end_matches('/')
}

/// Whether `path` is `folder` or lies below it.
fn is_above(folder: &str, path: &str) -> bool {
    match path.strip_prefix(folder) {
        Some(rest) => folder.is_empty() || rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_meet_in_the_same_file_and_in_folders_above_it() {
        let meet = |a: &str, b: &str| may_meet(&[a.to_owned()], &[b.to_owned()]);
        for (a, b) in [
            ("src/a.rs", "src/a.rs"),
            ("src/", "./src/a.rs"),
            ("src/**/*.rs", "src/deep/a.rs"),
            ("src/a*.rs", "src/b.rs"),
            ("*", "docs/x.md"),
        ] {
            assert!(meet(a, b) && meet(b, a), "{a} and {b}");
        }
        for (a, b) in [("src/a.rs", "src/a.rsx"), ("lib/**", "src/a.rs"), ("a", "ab/c")] {
            assert!(!meet(a, b) && !meet(b, a), "{a} and {b}");
        }
        assert!(!may_meet(&[], &["src".to_owned()]), "who names nothing is in nobody's way");
    }
}

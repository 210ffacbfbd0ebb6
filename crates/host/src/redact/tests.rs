use super::*;

/// Passes a text in pieces, as reads would deliver them.
fn in_pieces(needles: &Needles, text: &[u8], size: usize) -> Vec<u8> {
    let (mut redactor, mut kept, mut window) = (Redactor::default(), Vec::new(), Vec::new());
    for piece in text.chunks(size) {
        window.extend_from_slice(piece);
        let done = redactor.pass(needles, &window, false, |part| kept.extend_from_slice(part));
        window.drain(..done);
        assert!(window.len() < needles.longest.max(1_200), "{} bytes are kept back", window.len());
    }
    assert_eq!(redactor.pass(needles, &window, true, |part| kept.extend_from_slice(part)), window.len());
    kept
}

/// The same in every cut; the text at once for the rest of the test.
fn cleaned(needles: &Needles, text: &[u8]) -> Vec<u8> {
    let whole = needles.redact(text);
    for size in [1, 2, 3, 7, 61, 4_096] {
        let pieces = in_pieces(needles, text, size);
        assert!(pieces == whole, "pieces of {size}: {}", String::from_utf8_lossy(&pieces));
    }
    whole
}

fn shown(needles: &Needles, text: &str) -> String {
    String::from_utf8(cleaned(needles, text.as_bytes())).unwrap()
}

/// Numbers without a pattern, the same at each run.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

const VALUES: [&str; 6] = [
    "correct horse \"battery\"",
    "s3cr3t/+?=ü",
    "abab",
    "ababababcd",
    "tok-0123456789abcdef",
    "line one of it\nline two of it",
];

#[test]
fn no_form_of_a_value_passes_in_whatever_pieces_it_comes() {
    let needles = Needles::new(&VALUES, true).unwrap();
    let forms: Vec<Vec<u8>> = VALUES.iter().flat_map(|value| forms::forms(value)).collect();
    let mut state = 0x9e37_79b9_7f4a_7c15;
    for _ in 0..60 {
        let mut text = Vec::new();
        for _ in 0..40 {
            let form = &forms[random(&mut state) as usize % forms.len()];
            match random(&mut state) % 4 {
                // The beginning of one alone is no secret, and goes before another.
                0 => text.extend_from_slice(&form[..random(&mut state) as usize % form.len()]),
                1 => text.extend((0..random(&mut state) % 200).map(|n| (n * 37) as u8)),
                _ => text.extend_from_slice(form),
            }
        }
        let kept = cleaned(&needles, &text);
        for form in &forms {
            assert!(memchr::memmem::find(&kept, form).is_none(), "{}", String::from_utf8_lossy(form));
        }
    }
}

#[test]
fn clean_bytes_of_any_kind_stay_as_they_are() {
    let needles = Needles::new(&VALUES, true).unwrap();
    let mut state = 7;
    let noise: Vec<u8> = (0..200_000).map(|_| random(&mut state) as u8).collect();
    assert!(cleaned(&needles, &noise) == noise);
    let text =
        "aba bab ab sk-short task-0123456789abcdef0123456789abcdef eyJ eyJhbGciOi. tok-0123456789abcde";
    assert_eq!(shown(&needles, text), text);
}

#[test]
fn overlapping_matches_go_as_one() {
    let needles = Needles::new(&["abcdef", "defghi", "aaaa"], false).unwrap();
    assert_eq!(shown(&needles, "xabcdefghiy"), "x[redacted]y");
    assert_eq!(shown(&needles, "aaaaaaaaaaaaab"), "[redacted]b");
    assert_eq!(shown(&needles, "abcdefabcdef"), "[redacted][redacted]");
    assert_eq!(shown(&needles, "abcdeabcdef"), "abcde[redacted]");
}

#[test]
fn what_cannot_be_a_beginning_is_let_go_at_once() {
    let needles = Needles::new(&["password-1"], false).unwrap();
    let mut redactor = Redactor::default();
    let mut kept = Vec::new();
    let done = redactor.pass(&needles, b"ready> passwort: pass", false, |part| kept.extend_from_slice(part));
    assert_eq!((done, kept.as_slice()), (17, b"ready> passwort: ".as_slice()));
}

#[test]
fn known_keys_are_found_where_they_stand() {
    let needles = Needles::new::<&str>(&[], true).unwrap();
    let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P";
    let body = "MIIEvQIBADANBgkqhkiG9w0BAQ\nEFAASCBKcwggSjAgEAAoIBAQC7\n";
    let pem = format!("-----BEGIN RSA PRIVATE KEY-----\n{body}-----END RSA PRIVATE KEY-----");
    let letters = "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEfGh";
    let keys = [
        format!("sk-ant-api03-{letters}-x_y"),
        format!("sk-proj-{letters}"),
        format!("sk-{letters}"),
        format!("ghp_{}", &letters[..36]),
        format!("github_pat_{letters}_{letters}"),
        "AKIAIOSFODNN7EXAMPLE".to_owned(),
        format!("xoxb-123456789012-{}", &letters[..24]),
        format!("glpat-{}", &letters[..20]),
        format!("AIza{}", &letters[..35]),
        jwt.to_owned(),
        pem.clone(),
        pem.replace('\n', "\\n"),
    ];
    for key in &keys {
        for (before, after) in
            [("", ""), ("key=", " "), ("\\n", "\""), ("%3D", "&"), ("\u{1b}[32m", "\u{1b}[0m"), ("(", ")")]
        {
            assert_eq!(
                shown(&needles, &format!("{before}{key}{after}")),
                format!("{before}[redacted]{after}")
            );
        }
    }
    let all = keys.join(" ");
    assert_eq!(shown(&needles, &all), vec!["[redacted]"; keys.len()].join(" "));
}

#[test]
fn what_only_looks_like_a_key_stays() {
    let needles = Needles::new::<&str>(&[], true).unwrap();
    for text in [
        "-----BEGIN CERTIFICATE-----\nMIIEvQIBADANBgkq\n-----END CERTIFICATE-----",
        "-----BEGIN PRIVATE KEY",
        "AKIAIOSFODNN7EXAMPLEX",
        "AKIAIOSFODNN7EXAMPL",
        "disk-0123456789abcdef0123456789abcdef0123",
        "eyJhbGciOiJIUzI1NiJ9.notajson.at-all-but-long",
        "ghp_short",
        "sk-learn and task-runner",
    ] {
        assert_eq!(shown(&needles, text), text);
    }
    // A block that is cut off takes no more than a block can be long.
    let endless = format!("-----BEGIN PRIVATE KEY-----{}", "A".repeat(100_000));
    assert!(shown(&needles, &endless).len() > 80_000);
}

#[test]
fn this_program_own_sources_hold_next_to_nothing_that_looks_like_a_key() {
    let needles = Needles::new::<&str>(&[], true).unwrap();
    let (mut bytes, mut hits) = (0, 0);
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            // The examples of these very tests are meant to be hits.
            if path.ends_with("redact/tests.rs") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = std::fs::read(&path).unwrap();
                bytes += text.len();
                let marked = |text: &[u8]| memchr::memmem::find_iter(text, MARKER).count();
                hits += marked(&needles.redact(&text)) - marked(&text);
            }
        }
    }
    assert!(bytes > 100_000 && hits * 100_000 < bytes, "{hits} in {bytes} bytes");
}

//! Numbers of bytes as people write them: `512MiB`, `2G`, `1500000`. Knows the spelling; unaware of which sizes a key
//! accepts.

/// The units. A lone letter is the binary one, as `ulimit`, systemd and container tools read it; with a B it is the
/// decimal one, as the SI and disks have it. Binary ones first: of two equally short forms the first is shown.
const UNITS: [(&str, u64); 13] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("K", 1 << 10),
    ("M", 1 << 20),
    ("G", 1 << 30),
    ("T", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// Reads a number of bytes. Letters count in any case: `2g` can mean nothing else than `2G`.
///
/// # Errors
/// The rule that the text breaks, as the end of a sentence that quotes it.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    const SHAPE: &str = "write bytes with or without a unit, such as 512MiB, 2GB or 1500000";
    if text.is_empty() {
        return Err(format!("is blank; {SHAPE}"));
    }
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let known = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit) || unit.is_empty());
    match (digits, known) {
        ("", _) | (_, None) => Err(format!("is not a size; {SHAPE}")),
        (digits, Some((_, unit_bytes))) => {
            let bytes = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(*unit_bytes));
            bytes.ok_or_else(|| "is too large to be counted".to_owned())
        }
    }
}

/// Writes a number of bytes so that [`parse_size`] reads it back: exactly, in the unit that gives the fewest digits.
pub(super) fn show_size(bytes: u64) -> String {
    let whole = UNITS.iter().filter(|(_, unit_bytes)| bytes > 0 && bytes.is_multiple_of(*unit_bytes));
    match whole.min_by_key(|(_, unit_bytes)| bytes / unit_bytes) {
        Some((name, unit_bytes)) if *unit_bytes > 1 => format!("{}{name}", bytes / unit_bytes),
        _ => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{parse_size, show_size};

    #[test]
    fn sizes_are_read_and_written_back_in_their_shortest_form() {
        for (text, bytes, shown) in [
            ("512MiB", 512 << 20, "512MiB"),
            ("2G", 2 << 30, "2GiB"),
            ("2g", 2 << 30, "2GiB"),
            ("2GB", 2_000_000_000, "2GB"),
            ("2gb", 2_000_000_000, "2GB"),
            ("1024KiB", 1 << 20, "1MiB"),
            ("1500000", 1_500_000, "1500kB"),
            ("1536k", 1_536 << 10, "1536KiB"),
            ("7", 7, "7"),
            ("7B", 7, "7"),
            ("1025", 1_025, "1025"),
            ("0", 0, "0"),
            ("0MiB", 0, "0"),
            ("8T", 8 << 40, "8TiB"),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
            assert_eq!(show_size(bytes), shown);
            assert_eq!(parse_size(shown), Ok(bytes), "{shown}");
        }
        for bytes in [u64::MAX, u64::MAX - 1, 1 << 63, (1 << 53) - 1, 10_u64.pow(19)] {
            assert_eq!(parse_size(&show_size(bytes)), Ok(bytes));
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_an_example() {
        for text in
            ["", " ", "GB", "1.5GiB", "2 GB", " 2GB", "2GB ", "-1", "+1", "1e9", "2Gi", "2bytes", "٣", "1G1M"]
        {
            let said = parse_size(text).expect_err(text);
            assert!(said.contains("such as 512MiB"), "{text:?}: {said}");
        }
    }

    #[test]
    fn a_size_beyond_counting_is_refused_and_does_not_wrap() {
        for text in ["99999999999999999999", "18446744073709551616", "16777216TiB", "18446745TB"] {
            assert_eq!(parse_size(text), Err("is too large to be counted".to_owned()), "{text}");
        }
    }
}

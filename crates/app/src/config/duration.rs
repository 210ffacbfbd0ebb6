//! Lengths of time as people write them: `90s`, `30m`, `7d`, `1h30m`. Knows the spelling; unaware of which
//! lengths a key accepts.

/// The units, longest first, which is also the order in which they must be written.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads a length of time, in milliseconds.
///
/// A bare number is refused: whoever writes `timeout = 30` may mean seconds or minutes, and an agent that is
/// ended after 30 milliseconds looks like an agent that fails.
///
/// # Errors
/// The rule that the text breaks, as the end of a sentence that quotes it.
pub(crate) fn parse_duration(text: &str) -> Result<u64, String> {
    const SHAPE: &str = "write days, hours, minutes and seconds, such as 90s, 30m, 7d or 1h30m";
    if text.is_empty() {
        return Err(format!("is blank; {SHAPE}"));
    }
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("has no unit; {SHAPE}"));
    }
    let mut rest = text;
    let mut total_ms: u64 = 0;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let (digits, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        if digits.is_empty() {
            return Err(format!("is not a duration; {SHAPE}"));
        }
        // `find` moves past the units it has seen: a second `m`, or an `h` after it, is not found again.
        let Some((_, unit_ms)) = units.find(|(name, _)| *name == unit) else {
            return Err(format!("is not a duration; {SHAPE}"));
        };
        let part_ms = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(*unit_ms));
        total_ms = part_ms.and_then(|ms| total_ms.checked_add(ms)).ok_or("is too long to be counted")?;
        rest = after;
    }
    Ok(total_ms)
}

/// Writes a length of time so that [`parse_duration`] reads it back: the fewest units, zero as `0s`.
pub(crate) fn show_duration(ms: u64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut rest = ms;
    let mut text = String::new();
    for (name, unit_ms) in UNITS {
        if rest >= unit_ms {
            text.push_str(&format!("{}{name}", rest / unit_ms));
            rest %= unit_ms;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{parse_duration, show_duration};

    #[test]
    fn durations_are_read_and_written_back_in_their_shortest_form() {
        for (text, ms, shown) in [
            ("90s", 90_000, "1m30s"),
            ("30m", 1_800_000, "30m"),
            ("2h", 7_200_000, "2h"),
            ("120m", 7_200_000, "2h"),
            ("1h30m", 5_400_000, "1h30m"),
            ("1h0m5s", 3_605_000, "1h5s"),
            ("1500ms", 1_500, "1s500ms"),
            ("7d", 604_800_000, "7d"),
            ("36h", 129_600_000, "1d12h"),
            ("0s", 0, "0s"),
        ] {
            assert_eq!(parse_duration(text), Ok(ms), "{text}");
            assert_eq!(show_duration(ms), shown);
            assert_eq!(parse_duration(shown), Ok(ms), "{shown}");
        }
        assert_eq!(parse_duration(&show_duration(u64::MAX)), Ok(u64::MAX));
    }

    #[test]
    fn what_is_no_duration_is_refused_with_an_example() {
        for text in [
            "", " ", "1800000", "30", "m", "h2", "30M", "30 m", " 30m", "30m ", "1m1h", "1m1m", "-5m", "+5m",
            "1.5h", "5D", "1h1d", "30min", "1h30", "٣m", "5µs",
        ] {
            let said = parse_duration(text).expect_err(text);
            assert!(said.contains("such as 90s"), "{text:?}: {said}");
        }
    }

    #[test]
    fn a_duration_beyond_counting_is_refused_and_does_not_wrap() {
        for text in ["99999999999999999999s", "18446744073709551615h", "5124095576030h59m", "5124095576031h"]
        {
            assert_eq!(parse_duration(text), Err("is too long to be counted".to_owned()), "{text}");
        }
    }
}

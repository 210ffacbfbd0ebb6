//! Instants as people write them after `--since`. Knows the spellings; unaware of what is looked for from
//! there on.

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::config::duration::parse_duration;
use crate::failure::Failure;

/// Reads an instant, in milliseconds of the wall clock: a length of time before now, a time of the last 24
/// hours, or a date and time, in the machine's time zone unless it names another.
pub(super) fn instant(text: &str, now_ms: i64) -> Result<i64, Failure> {
    instant_in(text, now_ms, &TimeZone::system()).ok_or_else(|| {
        Failure::input(format!("--since {text:?} is no time")).hint(
            "write a length of time (10m), a time of day (14:30) or a date and time (2026-03-01T14:30:00Z)",
        )
    })
}

fn instant_in(text: &str, now_ms: i64, zone: &TimeZone) -> Option<i64> {
    if let Ok(ms) = parse_duration(text) {
        return Some(now_ms.saturating_sub(i64::try_from(ms).unwrap_or(i64::MAX)));
    }
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some(instant.as_millisecond());
    }
    let of = |moment: DateTime| Some(moment.to_zoned(zone.clone()).ok()?.timestamp().as_millisecond());
    // A date alone is its midnight. Tried first where there is a date: a time is also found in other texts.
    if text.contains('-') {
        return of(text.parse().ok()?);
    }
    if !text.contains(':') {
        // A bare number is no hour: as with lengths of time, its unit is not guessed.
        return None;
    }
    let today = Timestamp::from_millisecond(now_ms).ok()?.to_zoned(zone.clone()).date();
    let moment = today.to_datetime(text.parse::<Time>().ok()?);
    let instant = of(moment)?;
    // What is still to come was meant of yesterday.
    if instant > now_ms { of(moment.checked_sub(1.day()).ok()?) } else { Some(instant) }
}

#[cfg(test)]
mod tests {
    use jiff::tz::offset;

    use super::*;

    #[test]
    fn instants_are_read_in_each_spelling() {
        let zone = TimeZone::fixed(offset(2));
        let ms = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond();
        let now = ms("2026-03-05T12:00:00Z");
        for (text, instant) in [
            ("10m", "2026-03-05T11:50:00Z"),
            ("1h30m", "2026-03-05T10:30:00Z"),
            ("13:30", "2026-03-05T11:30:00Z"),
            ("13:30:05", "2026-03-05T11:30:05Z"),
            ("14:30", "2026-03-04T12:30:00Z"),
            ("2026-03-01T10:00:00Z", "2026-03-01T10:00:00Z"),
            ("2026-03-01T10:00:00+01:00", "2026-03-01T09:00:00Z"),
            ("2026-03-01T10:00", "2026-03-01T08:00:00Z"),
            ("2026-03-01 10:00:30", "2026-03-01T08:00:30Z"),
            ("2026-03-01", "2026-02-28T22:00:00Z"),
        ] {
            assert_eq!(instant_in(text, now, &zone), Some(ms(instant)), "{text}");
        }
        for text in ["", "10", "yesterday", "25:00", "2026-13-01", "-5m"] {
            assert_eq!(instant_in(text, now, &zone), None, "{text}");
        }
        assert!(instant("soon", now).is_err());
    }
}

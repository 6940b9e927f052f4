//! Points in time as text (RFC 3339), which credentials and sign-in messages are dated with.

use kwaainet_core::civil_date;

const DAY_S: i64 = 86_400;

/// Milliseconds since 1970 as text, in whole seconds of UTC: `2026-11-23T01:02:03Z`.
pub fn timestamp(unix_ms: i64) -> String {
    let seconds = unix_ms.div_euclid(1_000);
    let (days, rest) = (seconds.div_euclid(DAY_S), seconds.rem_euclid(DAY_S));
    let (year, month, day) = civil_date(days);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Text as milliseconds since 1970; none where it is no `date-time` of RFC 3339, section 5.6. A leap second counts as
/// the one after it.
pub fn parse_timestamp(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>, max: i64| {
        let digits = text.get(range)?;
        let clean = digits.bytes().all(|c| c.is_ascii_digit());
        let number: i64 = digits.parse().ok()?;
        (clean && number <= max).then_some(number)
    };
    let sign = |at: usize, allowed: &[u8]| allowed.contains(text.as_bytes().get(at)?).then_some(());
    let (year, month, day) = (number(0..4, 9_999)?, number(5..7, 12)?, number(8..10, 31)?);
    let (hour, minute) = (number(11..13, 23)?, number(14..16, 59)?);
    let second = number(17..19, 60)?;
    for (at, allowed) in [(4, "-"), (7, "-"), (10, "Tt"), (13, ":"), (16, ":")] {
        sign(at, allowed.as_bytes())?;
    }
    let mut rest = &text[19..];
    let mut ms = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let length = fraction.bytes().take_while(u8::is_ascii_digit).count();
        let digits = &fraction[..length];
        (1..=18).contains(&length).then_some(())?;
        ms = format!("{digits:0<3}")[..3].parse().ok()?;
        rest = &fraction[length..];
    }
    let offset_minutes = match rest.as_bytes() {
        [b'Z' | b'z'] => 0,
        [direction @ (b'+' | b'-'), ..] if rest.len() == 6 && rest.as_bytes()[3] == b':' => {
            let at = text.len() - 6;
            let minutes = number(at + 1..at + 3, 23)? * 60 + number(at + 4..at + 6, 59)?;
            if *direction == b'+' {
                minutes
            } else {
                -minutes
            }
        }
        _ => return None,
    };
    let days = days_since_1970(year, month, day)?;
    let seconds = days * DAY_S + hour * 3_600 + (minute - offset_minutes) * 60 + second;
    Some(seconds * 1_000 + ms)
}

/// The inverse of [`civil_date`] (Hinnant, "chrono-Compatible Low-Level Date Algorithms"); none for days that are not.
fn days_since_1970(year: i64, month: i64, day: i64) -> Option<i64> {
    let shifted = if month > 2 { year } else { year - 1 };
    let (era, year_of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    (civil_date(days) == (year, usize::try_from(month).ok()?, day)).then_some(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_four_centuries_is_read_as_it_was_written() {
        for day in -20_000..130_000 {
            let ms = (day * DAY_S + 3_723) * 1_000;
            assert_eq!(parse_timestamp(&timestamp(ms)), Some(ms), "day {day}");
        }
    }

    /// The examples of RFC 3339, section 5.8.
    #[test]
    fn zones_and_fractions_are_understood() {
        for (text, utc) in [
            ("1985-04-12T23:20:50.52Z", "1985-04-12T23:20:50.520Z"),
            ("1996-12-19T16:39:57-08:00", "1996-12-20T00:39:57Z"),
            ("1990-12-31T23:59:60Z", "1991-01-01T00:00:00Z"),
            ("1937-01-01T12:00:27.87+00:20", "1937-01-01T11:40:27.870Z"),
            ("2026-11-23t01:02:03z", "2026-11-23T01:02:03Z"),
        ] {
            let read = parse_timestamp(text);
            assert!(read.is_some(), "{text}");
            assert_eq!(read, parse_timestamp(utc), "{text}");
        }
        assert_eq!(parse_timestamp("1970-01-01T00:00:00.999999Z"), Some(999));
        assert_eq!(timestamp(1_999), "1970-01-01T00:00:01Z");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for bad in [
            "",
            "2026-11-23",
            "2026-11-23T01:02:03",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01 00:00:00Z",
            "+026-01-01T00:00:00Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+0100",
            "2026-01-01T00:00:00+24:00",
            "2026-01-01T00:00:00Zx",
            "2026-01-01T00:00:0éZ",
        ] {
            assert_eq!(parse_timestamp(bad), None, "{bad}");
        }
    }
}

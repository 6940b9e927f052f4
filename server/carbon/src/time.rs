//! Times as the sources of the field write them: RFC 3339, in its looser forms too. Nothing here reads a clock.

use std::fmt;

use kwaainet_core::civil_date;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Instant(pub i64);

/// A text that is no time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no time: expected one like 2026-01-31T12:00:00Z")]
pub struct ParseTimeError;

const DAY_MS: i64 = 86_400_000;
/// Years that are understood, so that no sum overflows.
const YEARS: std::ops::RangeInclusive<i64> = 1970..=9999;

impl Instant {
    /// A date, with a time if there is one (seconds and their fraction may be missing), and an offset from
    /// Greenwich; without one it is taken for Greenwich's own.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, ParseTimeError> {
        parse(text.trim()).ok_or(ParseTimeError)
    }

    /// The start of the hour.
    pub fn hour(self) -> Self {
        Self(self.0 - self.0.rem_euclid(3_600_000))
    }

    /// Later by so much.
    pub fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Year, month and day.
    pub fn date(self) -> (i64, usize, i64) {
        civil_date(self.0.div_euclid(DAY_MS))
    }

    /// `2026-01-31`.
    pub fn day_text(self) -> String {
        let (year, month, day) = self.date();
        format!("{year:04}-{month:02}-{day:02}")
    }
}

/// RFC 3339 in UTC with whole seconds.
impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.rem_euclid(DAY_MS) / 1_000;
        let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        write!(f, "{}T{hour:02}:{minute:02}:{second:02}Z", self.day_text())
    }
}

/// A month of the Gregorian calendar, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Month {
    year: i64,
    month: i64,
}

impl Month {
    /// The one of this time.
    pub fn of(at: Instant) -> Self {
        let (year, month, _) = at.date();
        let month = month as i64;
        Self { year, month }
    }

    /// From `2026-01`.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, ParseTimeError> {
        let (year, month) = text.split_once('-').ok_or(ParseTimeError)?;
        let year = digits(year, 4).ok_or(ParseTimeError)?;
        let month = digits(month, 2).ok_or(ParseTimeError)?;
        let is_one = YEARS.contains(&year) && (1..=12).contains(&month);
        is_one.then_some(Self { year, month }).ok_or(ParseTimeError)
    }

    /// Its start and the start of the next one.
    pub fn bounds(self) -> (Instant, Instant) {
        let next = match self.month {
            12 => (self.year + 1, 1),
            month => (self.year, month + 1),
        };
        let start = |(year, month)| Instant(days(year, month, 1) * DAY_MS);
        (start((self.year, self.month)), start(next))
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

/// Days from 1970-01-01: the inverse of [`civil_date`], by the same eras that begin in March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn digits(text: &str, len: usize) -> Option<i64> {
    let all = text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| text.parse().ok()).flatten()
}

fn parse(text: &str) -> Option<Instant> {
    let date = text.get(..10)?;
    let mut parts = date.split('-');
    let year = digits(parts.next()?, 4)?;
    let month = digits(parts.next()?, 2)?;
    let day = digits(parts.next()?, 2)?;
    if parts.next().is_some() || !YEARS.contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    let start = days(year, month, day);
    if !(1..=31).contains(&day) || civil_date(start) != (year, month as usize, day) {
        return None;
    }
    let rest = &text[10..];
    let at = Instant(start * DAY_MS);
    if rest.is_empty() {
        return Some(at);
    }
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, offset_ms) = split_offset(rest)?;
    Some(at.plus_ms(clock_ms(clock)? - offset_ms))
}

/// What stands before the offset from Greenwich, and the offset.
fn split_offset(text: &str) -> Option<(&str, i64)> {
    if let Some(clock) = text.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    // In a query's text a plus sign is a space.
    let Some(at) = text.rfind(['+', '-', ' ']) else {
        return Some((text, 0));
    };
    let (clock, offset) = text.split_at(at);
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = offset[1..].split_once(':')?;
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    let sound = hours < 24 && minutes < 60;
    sound.then_some((clock, sign * (hours * 60 + minutes) * 60_000))
}

fn clock_ms(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let hour = digits(parts.next()?, 2)?;
    let minute = digits(parts.next()?, 2)?;
    let (second, fraction) = match parts.next() {
        None => (0, 0),
        Some(seconds) => {
            let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
            let sound = (1..=12).contains(&fraction.len())
                && fraction.bytes().all(|byte| byte.is_ascii_digit());
            let thousandths: String = fraction.chars().chain("000".chars()).take(3).collect();
            (
                digits(whole, 2)?,
                sound.then(|| digits(&thousandths, 3)).flatten()?,
            )
        }
    };
    // A leap second counts as the next minute's first.
    let sound = parts.next().is_none() && hour < 24 && minute < 60 && second <= 60;
    sound.then_some(((hour * 60 + minute) * 60 + second) * 1_000 + fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> Option<i64> {
        Instant::parse(text).ok().map(|at| at.0)
    }

    #[test]
    fn times_are_read_in_the_forms_that_sources_use() {
        for text in [
            "2018-01-20T12:00Z",
            "2018-01-20T12:00:00Z",
            "2018-01-20T12:00:00.000Z",
            "2018-01-20T12:00:00",
            "2018-01-20T13:00:00+01:00",
            "2018-01-20T13:00:00 01:00",
            "2018-01-20T06:30:00-05:30",
            "2018-01-20 12:00:00.0000000+00:00",
        ] {
            assert_eq!(ms(text), Some(1_516_449_600_000), "{text}");
        }
        assert_eq!(ms("1970-01-01"), Some(0));
        assert_eq!(ms("2024-02-29"), Some(1_709_164_800_000));
        assert_eq!(ms("2018-01-20T12:00:00.5Z"), Some(1_516_449_600_500));
        for text in [
            "",
            "2018",
            "2018-02-29",
            "2018-13-01",
            "2018-01-20T25:00Z",
            "2018-01-20T12:00:00.Z",
            "2018-01-20T12:00+1",
            "20180120",
            "2018-01-20x",
            "٢٠١٨-01-20",
            "0001-01-01",
        ] {
            assert_eq!(ms(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_comes_back() {
        for day in (0..146_097).step_by(13) {
            let at = Instant(day * DAY_MS + 45_296_000);
            assert_eq!(Instant::parse(&at.to_string()), Ok(at));
        }
    }

    #[test]
    fn months_end_where_the_next_begins() {
        let month = Month::parse("2024-02").expect("it is a month");
        let (start, end) = month.bounds();
        assert_eq!((end.0 - start.0) / DAY_MS, 29);
        assert_eq!(Month::of(Instant(end.0 - 1)), month);
        assert_eq!(Month::of(end).to_string(), "2024-03");
        assert!(Month::parse("2024-13").is_err());
        assert!(Month::parse("2024-1").is_err());
    }
}

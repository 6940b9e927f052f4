//! Times as people write and read them.

use anyhow::{Context, bail};
use kwaainet_core::civil_date;

/// A span of time as people write it, in seconds.
pub(super) fn seconds(text: &str) -> anyhow::Result<i64> {
    let unit = text.chars().last().context("it is empty")?;
    let each = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => bail!("it needs a unit: s, m, h or d"),
    };
    let number: i64 = text[..text.len() - 1]
        .parse()
        .context("it needs a whole number")?;
    match number.checked_mul(each) {
        // A thousand years, so that no sum overflows.
        Some(seconds) if (1..=31_536_000_000).contains(&seconds) => Ok(seconds),
        _ => bail!("it must be between a second and a thousand years"),
    }
}

/// The day of a time in milliseconds since 1970, in UTC.
pub(super) fn date(ms: i64) -> String {
    let (year, month, day) = civil_date(ms.div_euclid(86_400_000));
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_written() {
        assert_eq!(seconds("30d").ok(), Some(2_592_000));
        assert_eq!(seconds("90s").ok(), Some(90));
        for bad in ["", "d", "30", "-1d", "0s", "1.5h", "99999999999d"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn dates_are_right_at_the_edges() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(951_782_400_000), "2000-02-29");
        assert_eq!(date(1_767_225_599_999), "2025-12-31");
        assert_eq!(date(-1), "1969-12-31");
    }
}

//! The yearly table that ships with the node; see `data/SOURCES.md` for where it comes from and its licence.

use crate::{Average, Intensity};

const TABLE: &str = include_str!("../data/yearly.csv");

/// Country by the two or three letters of ISO 3166-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Country {
    /// Two letters.
    pub alpha2: &'static str,
    /// Three letters.
    pub alpha3: &'static str,
}

/// A country's average over a year.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Yearly {
    /// Which country.
    pub country: Country,
    /// Which year.
    pub year: u16,
    /// The average.
    pub intensity: Intensity<Average>,
}

impl Yearly {
    /// Of the country with this code, in whatever case.
    pub fn of(code: &str) -> Option<Self> {
        let is_it = |row: &Self| {
            row.country.alpha2.eq_ignore_ascii_case(code)
                || row.country.alpha3.eq_ignore_ascii_case(code)
        };
        Self::all().find(is_it)
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
        lines.skip(1).filter_map(row)
    }
}

impl Yearly {
    /// Who made the table, as its licence asks to be said.
    pub const ATTRIBUTION: &str =
        "Ember; Energy Institute; processed by Our World in Data (CC BY 4.0)";
}

fn row(line: &'static str) -> Option<Yearly> {
    let mut fields = line.split(',');
    let (alpha2, alpha3) = (fields.next()?, fields.next()?);
    Some(Yearly {
        country: Country { alpha2, alpha3 },
        year: fields.next()?.parse().ok()?,
        intensity: Intensity::of(fields.next()?.parse().ok()?)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_country_with_a_year_and_a_sound_figure() {
        let lines = TABLE.lines().filter(|line| !line.starts_with('#')).count() - 1;
        let rows: Vec<_> = Yearly::all().collect();
        assert_eq!(rows.len(), lines);
        assert!(rows.len() > 200);
        for row in &rows {
            let Country { alpha2, alpha3 } = row.country;
            let is_code = |code: &str| code.bytes().all(|byte| byte.is_ascii_uppercase());
            assert!(alpha2.len() == 2 && alpha3.len() == 3 && is_code(alpha2) && is_code(alpha3));
            assert!((2020..=2026).contains(&row.year), "{row:?}");
            assert!(
                (5.0..=1_400.0).contains(&row.intensity.g_per_kwh()),
                "{row:?}"
            );
            assert_eq!(Yearly::of(alpha2), Some(*row), "each once");
        }
        let germany = Yearly::of("deu").expect("it is there");
        assert_eq!((germany.country.alpha2, germany.year), ("DE", 2023));
        assert!((germany.intensity.g_per_kwh() - 380.95).abs() < 1e-9);
        assert_eq!(Yearly::of("XX"), None);
    }
}

//! A place whose intensity is known: one of a live source's, or a country.

use kwaainet_carbon::{Instant, IntensityKind, Yearly};

use super::super::{ApiError, App};
use super::wrong;

/// A place.
pub(super) enum Place {
    /// As a live source names it.
    Live {
        location: String,
        kind: IntensityKind,
    },
    /// Over a year.
    Yearly(Yearly),
}

/// What was observed in an interval.
pub(super) struct Interval {
    pub(super) from: Instant,
    pub(super) to: Instant,
    pub(super) g_per_kwh: f64,
}

impl Place {
    pub(super) fn find(app: &App, name: &str) -> Result<Self, ApiError> {
        let mut sources = app.carbon.sources().iter();
        if let Some(source) = sources.find(|source| source.location().eq_ignore_ascii_case(name)) {
            return Ok(Self::Live {
                location: source.location().to_owned(),
                kind: source.kind(),
            });
        }
        let yearly = Yearly::of(name).map(Self::Yearly);
        yearly.ok_or_else(|| wrong("location", "nothing is known of this place"))
    }

    pub(super) fn kind(&self) -> IntensityKind {
        match self {
            Self::Live { kind, .. } => *kind,
            Self::Yearly(_) => IntensityKind::Average,
        }
    }

    /// Intervals that touch this time.
    pub(super) async fn observed(
        &self,
        app: &App,
        from: Instant,
        to: Instant,
    ) -> Result<Vec<Interval>, ApiError> {
        match self {
            Self::Live { location, kind } => {
                let time = (from.0, to.0);
                let kept = app.store.intensities(location, kind.as_str(), time).await?;
                let interval = |(from, to, mg): (i64, i64, u32)| Interval {
                    from: Instant(from),
                    to: Instant(to),
                    g_per_kwh: f64::from(mg) / 1e3,
                };
                Ok(kept.into_iter().map(interval).collect())
            }
            Self::Yearly(yearly) => {
                let year = year(yearly);
                let touches = |year: &Interval| year.from < to && year.to > from;
                Ok(year.into_iter().filter(touches).collect())
            }
        }
    }

    /// The same where nobody said when: of a country, the year that is known.
    pub(super) async fn latest(
        &self,
        app: &App,
        from: Instant,
        to: Instant,
    ) -> Result<Vec<Interval>, ApiError> {
        match self {
            Self::Live { .. } => self.observed(app, from, to).await,
            Self::Yearly(yearly) => Ok(year(yearly).into_iter().collect()),
        }
    }
}

fn year(yearly: &Yearly) -> Option<Interval> {
    let start = |year: u16| Instant::parse(&format!("{year}-01-01")).ok();
    Some(Interval {
        from: start(yearly.year)?,
        to: start(yearly.year + 1)?,
        g_per_kwh: yearly.intensity.g_per_kwh(),
    })
}

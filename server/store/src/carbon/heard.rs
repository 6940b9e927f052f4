//! What live sources said: intensities that were observed, and forecasts as they were made.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::{Store, StoreError};

/// The intensity of one interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntensityRecord {
    /// As the source names it.
    pub location: String,
    /// `average` or `marginal`.
    pub kind: &'static str,
    /// When it begins: milliseconds since 1970.
    pub from_ms: i64,
    /// When it ends.
    pub to_ms: i64,
    /// Milligrams of CO2 equivalent for each kilowatt-hour.
    pub mg_per_kwh: u32,
    /// Who says so.
    pub source: &'static str,
}

/// A forecast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForecastRecord {
    /// As the source names it.
    pub location: String,
    /// `average` or `marginal`.
    pub kind: &'static str,
    /// When it was made: milliseconds since 1970.
    pub generated_at_ms: i64,
    /// When this node heard it.
    pub heard_at_ms: i64,
    /// Its points as JSON.
    pub points: String,
}

/// Intensities of one answer at most: a month of five minutes each.
const INTENSITIES_MAX: u32 = 9_000;

impl Store {
    /// Keeps an intensity; a later word on the same interval replaces it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_intensity(&self, record: &IntensityRecord) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO carbon_intensities (location, kind, from_ms, to_ms, mg_per_kwh, source)
             VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT (location, kind, from_ms) DO UPDATE SET to_ms = excluded.to_ms,
                 mg_per_kwh = excluded.mg_per_kwh, source = excluded.source",
        )
        .bind(&record.location)
        .bind(record.kind)
        .bind(record.from_ms)
        .bind(record.to_ms)
        .bind(record.mg_per_kwh)
        .bind(record.source)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Intervals of a place that touch this time, in order: when each begins and ends, and its milligrams.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn intensities(
        &self,
        location: &str,
        kind: &str,
        (from_ms, to_ms): (i64, i64),
    ) -> Result<Vec<(i64, i64, u32)>, StoreError> {
        let rows = sqlx::query(
            "SELECT from_ms, to_ms, mg_per_kwh FROM carbon_intensities
             WHERE location = ? AND kind = ? AND to_ms > ? AND from_ms < ? ORDER BY from_ms LIMIT ?",
        )
        .bind(location)
        .bind(kind)
        .bind(from_ms)
        .bind(to_ms)
        .bind(INTENSITIES_MAX)
        .fetch_all(&self.readers)
        .await?;
        let interval = |row: &SqliteRow| {
            Ok((
                row.try_get("from_ms")?,
                row.try_get("to_ms")?,
                row.try_get("mg_per_kwh")?,
            ))
        };
        rows.iter().map(interval).collect()
    }

    /// Keeps a forecast.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_forecast(&self, record: &ForecastRecord) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO carbon_forecasts (location, kind, generated_at_ms, heard_at_ms, points)
             VALUES (?, ?, ?, ?, ?) ON CONFLICT (location, kind, generated_at_ms) DO NOTHING",
        )
        .bind(&record.location)
        .bind(record.kind)
        .bind(record.generated_at_ms)
        .bind(record.heard_at_ms)
        .bind(&record.points)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// The newest forecast of a place that this node had at that time: when it was made, and its points as JSON.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forecast_at(
        &self,
        location: &str,
        kind: &str,
        at_ms: i64,
    ) -> Result<Option<(i64, String)>, StoreError> {
        let row = sqlx::query(
            "SELECT generated_at_ms, points FROM carbon_forecasts
             WHERE location = ? AND kind = ? AND generated_at_ms <= ?3 AND heard_at_ms <= ?3
             ORDER BY generated_at_ms DESC LIMIT 1",
        )
        .bind(location)
        .bind(kind)
        .bind(at_ms)
        .fetch_optional(&self.readers)
        .await?;
        let found = |row: SqliteRow| Ok((row.try_get("generated_at_ms")?, row.try_get("points")?));
        row.map(found).transpose()
    }

    /// Throws away intensities and forecasts from before these times.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_heard(
        &self,
        intensities_ms: i64,
        forecasts_ms: i64,
    ) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM carbon_intensities WHERE to_ms < ?")
            .bind(intensities_ms)
            .execute(&self.writer)
            .await?;
        sqlx::query("DELETE FROM carbon_forecasts WHERE heard_at_ms < ?")
            .bind(forecasts_ms)
            .execute(&self.writer)
            .await?;
        Ok(())
    }
}

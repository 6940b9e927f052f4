//! What is kept of energy and carbon: a request's figures with its receipt, the node's hours, and what live sources
//! said.

mod heard;
#[cfg(test)]
mod tests;

use kwaainet_core::{Carbon, EnergyMethod, Footprint, GridEvidence, JobId, PrincipalId};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::receipts::whole;
use crate::{Store, StoreError};

pub use heard::{ForecastRecord, IntensityRecord};

/// A request that is over, with what it took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarbonRequest {
    /// The job.
    pub job: JobId,
    /// Who asked.
    pub principal: PrincipalId,
    /// For which model.
    pub model: String,
    /// `generate`, `embed` or `transcribe`.
    pub work: String,
    /// `done`, `error` or `cancelled`.
    pub outcome: String,
    /// When it was admitted: milliseconds since 1970.
    pub admitted_at_ms: i64,
    /// Milliseconds from then to its end.
    pub duration_ms: u64,
    /// Tokens that were read, those of them from a cache not, and written.
    pub tokens: u64,
    /// What it took, where that is known.
    pub footprint: Option<Footprint>,
}

/// What was counted of an hour, to be added to what is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CarbonHour {
    /// When it begins: milliseconds since 1970.
    pub hour_ms: i64,
    /// Microjoules that the meter saw.
    pub total_uj: u64,
    /// What jobs took of it.
    pub jobs_uj: u64,
    /// What is nobody's; with the jobs' the total.
    pub unattributed_uj: u64,
    /// Of the total, what came while an intensity was known.
    pub known_uj: u64,
    /// What that cost, in nanograms.
    pub carbon_ng: u64,
}

/// What a house took and made in an hour; replaces what is there.
#[derive(Clone, Debug, PartialEq)]
pub struct MatchedHour {
    /// When it begins: milliseconds since 1970.
    pub hour_ms: i64,
    /// Milliwatt-hours that were taken.
    pub load_mwh: u64,
    /// Of it, what the house's own power stations gave.
    pub matched_mwh: u64,
    /// Seconds that were seen.
    pub seen_s: u32,
    /// How well it is known.
    pub evidence: Option<&'static str>,
}

/// An hour as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptHour {
    /// What the meter saw.
    pub hour: CarbonHour,
    /// Milliwatt-hours that the house took.
    pub load_mwh: u64,
    /// Of it, what its own power stations gave.
    pub matched_mwh: u64,
    /// Seconds that were seen.
    pub seen_s: u32,
    /// How well that is known, if anything is.
    pub evidence: Option<String>,
}

/// What several requests took together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CarbonSum {
    /// What they have in common.
    pub name: String,
    /// How many there are.
    pub requests: u64,
    /// Tokens read and written.
    pub tokens: u64,
    /// Microjoules, where known.
    pub energy_uj: u64,
    /// Nanograms of the energy, where known.
    pub operational_ng: u64,
    /// And of the machine.
    pub embodied_ng: u64,
    /// How many of them have no figure of carbon.
    pub unknown: u64,
}

/// What requests are added up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CarbonBy {
    /// The day on which they were admitted, in UTC.
    Day,
    /// Their model.
    Model,
    /// How their energy is known.
    Method,
}

/// Sums of one kind at most.
const SUMS_MAX: u32 = 1_000;
/// Hours of one list at most: more than a month has.
const HOURS_MAX: u32 = 800;

impl Store {
    /// One request of anybody's. Whose it is has to be checked by whoever shows it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn carbon_request(&self, job: &JobId) -> Result<Option<CarbonRequest>, StoreError> {
        let row = sqlx::query(
            "SELECT job, principal, model, work, outcome, admitted_at_ms, duration_ms,
                    prompt_tokens - cached_tokens + completion_tokens AS tokens,
                    energy_uj, energy_method, energy_uncertainty, machine_us, operational_ng,
                    embodied_ng, grid_evidence
             FROM receipts WHERE job = ?",
        )
        .bind(job.as_str())
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(request).transpose()
    }

    /// Adds what was counted to its hours, in one transaction.
    ///
    /// # Errors
    /// When the database fails; then nothing was written.
    pub async fn add_carbon_hours(&self, hours: &[CarbonHour]) -> Result<(), StoreError> {
        let mut transaction = self.writer.begin().await?;
        for hour in hours {
            sqlx::query(
                "INSERT INTO carbon_hours
                     (hour_ms, total_uj, jobs_uj, unattributed_uj, known_uj, carbon_ng)
                 VALUES (?, ?, ?, ?, ?, ?)
                 ON CONFLICT (hour_ms) DO UPDATE SET
                     total_uj = total_uj + excluded.total_uj,
                     jobs_uj = jobs_uj + excluded.jobs_uj,
                     unattributed_uj = unattributed_uj + excluded.unattributed_uj,
                     known_uj = known_uj + excluded.known_uj,
                     carbon_ng = carbon_ng + excluded.carbon_ng",
            )
            .bind(hour.hour_ms)
            .bind(whole(hour.total_uj))
            .bind(whole(hour.jobs_uj))
            .bind(whole(hour.unattributed_uj))
            .bind(whole(hour.known_uj))
            .bind(whole(hour.carbon_ng))
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Sets what a house took and made in these hours. An hour of which more was seen before stays as it is.
    ///
    /// # Errors
    /// When the database fails; then nothing was written.
    pub async fn set_matched_hours(&self, hours: &[MatchedHour]) -> Result<(), StoreError> {
        let mut transaction = self.writer.begin().await?;
        for hour in hours {
            sqlx::query(
                "INSERT INTO carbon_hours (hour_ms, load_mwh, matched_mwh, seen_s, evidence)
                 VALUES (?, ?, ?, ?, ?)
                 ON CONFLICT (hour_ms) DO UPDATE SET load_mwh = excluded.load_mwh,
                     matched_mwh = excluded.matched_mwh, seen_s = excluded.seen_s,
                     evidence = excluded.evidence
                 WHERE excluded.seen_s >= seen_s",
            )
            .bind(hour.hour_ms)
            .bind(whole(hour.load_mwh))
            .bind(whole(hour.matched_mwh))
            .bind(hour.seen_s)
            .bind(hour.evidence)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// The hours that begin in this time, in order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn carbon_hours(
        &self,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Vec<KeptHour>, StoreError> {
        let rows = sqlx::query(
            "SELECT hour_ms, total_uj, jobs_uj, unattributed_uj, known_uj, carbon_ng, load_mwh,
                    matched_mwh, seen_s, evidence
             FROM carbon_hours WHERE hour_ms >= ? AND hour_ms < ? ORDER BY hour_ms LIMIT ?",
        )
        .bind(from_ms)
        .bind(to_ms)
        .bind(HOURS_MAX)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(hour).collect()
    }

    /// What the requests that were admitted in this time took: of one principal, or of all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn carbon_sums(
        &self,
        by: CarbonBy,
        principal: Option<&PrincipalId>,
        (from_ms, to_ms): (i64, i64),
    ) -> Result<Vec<CarbonSum>, StoreError> {
        let name = match by {
            CarbonBy::Day => "date(admitted_at_ms / 1000, 'unixepoch')",
            CarbonBy::Model => "model",
            CarbonBy::Method => "COALESCE(energy_method, 'unknown')",
        };
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {name} AS name, COUNT(*) AS requests,
                    SUM(prompt_tokens - cached_tokens + completion_tokens) AS tokens,
                    COALESCE(SUM(energy_uj), 0) AS energy_uj,
                    COALESCE(SUM(operational_ng), 0) AS operational_ng,
                    COALESCE(SUM(embodied_ng), 0) AS embodied_ng,
                    SUM(operational_ng IS NULL) AS unknown
             FROM receipts
             WHERE admitted_at_ms >= ? AND admitted_at_ms < ? AND (?3 IS NULL OR principal = ?3)
             GROUP BY 1 ORDER BY 1 LIMIT ?4"
        )))
        .bind(from_ms)
        .bind(to_ms)
        .bind(principal.map(PrincipalId::as_str))
        .bind(SUMS_MAX)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(sum).collect()
    }
}

fn request(row: &SqliteRow) -> Result<CarbonRequest, StoreError> {
    Ok(CarbonRequest {
        job: JobId::new(row.try_get::<String, _>("job")?),
        principal: PrincipalId::new(row.try_get::<String, _>("principal")?),
        model: row.try_get("model")?,
        work: row.try_get("work")?,
        outcome: row.try_get("outcome")?,
        admitted_at_ms: row.try_get("admitted_at_ms")?,
        duration_ms: count(row, "duration_ms")?,
        tokens: count(row, "tokens")?,
        footprint: footprint(row)?,
    })
}

fn footprint(row: &SqliteRow) -> Result<Option<Footprint>, StoreError> {
    let Some(method) = row.try_get::<Option<String>, _>("energy_method")? else {
        return Ok(None);
    };
    let evidence = row.try_get::<Option<String>, _>("grid_evidence")?;
    let carbon = match evidence {
        None => None,
        Some(evidence) => Some(Carbon {
            operational_ng: count(row, "operational_ng")?,
            embodied_ng: count(row, "embodied_ng")?,
            evidence: GridEvidence::of_name(&evidence).ok_or(MALFORMED)?,
        }),
    };
    Ok(Some(Footprint {
        energy_uj: count(row, "energy_uj")?,
        method: EnergyMethod::of_name(&method).ok_or(MALFORMED)?,
        uncertainty_percent: row.try_get("energy_uncertainty")?,
        machine_us: count(row, "machine_us")?,
        carbon,
    }))
}

const MALFORMED: StoreError = StoreError::Malformed("footprint");

fn hour(row: &SqliteRow) -> Result<KeptHour, StoreError> {
    Ok(KeptHour {
        hour: CarbonHour {
            hour_ms: row.try_get("hour_ms")?,
            total_uj: count(row, "total_uj")?,
            jobs_uj: count(row, "jobs_uj")?,
            unattributed_uj: count(row, "unattributed_uj")?,
            known_uj: count(row, "known_uj")?,
            carbon_ng: count(row, "carbon_ng")?,
        },
        load_mwh: count(row, "load_mwh")?,
        matched_mwh: count(row, "matched_mwh")?,
        seen_s: row.try_get("seen_s")?,
        evidence: row.try_get("evidence")?,
    })
}

fn sum(row: &SqliteRow) -> Result<CarbonSum, StoreError> {
    Ok(CarbonSum {
        name: row.try_get("name")?,
        requests: count(row, "requests")?,
        tokens: count(row, "tokens")?,
        energy_uj: count(row, "energy_uj")?,
        operational_ng: count(row, "operational_ng")?,
        embodied_ng: count(row, "embodied_ng")?,
        unknown: count(row, "unknown")?,
    })
}

/// A number that is never below zero.
fn count(row: &SqliteRow, name: &str) -> Result<u64, StoreError> {
    Ok(row.try_get::<i64, _>(name)?.max(0).cast_unsigned())
}

//! From receipts to transfers, exactly once: what a receipt came to, the transfers, the meters and how far the receipts
//! were read are one transaction.

use std::collections::HashSet;

use kwaainet_core::Outcome;
use kwaainet_rewards::{
    Accrual, AccrualState, Agreement, Books, GreenShare, Meter, MeterKey, Meters, MicroVda,
    PairKey, TARIFF, Terms, TransferKind, TransferResult, Usage, Wanted, Work, charge,
    epoch_begins_ms, settle,
};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{QueryBuilder, Row};

use super::{batch, rows};
use crate::log::ROWS_MAX;
use crate::services::{self, ServiceRecord};
use crate::{Store, StoreError};

/// A receipt of this node's own hallway, as far as it matters to the accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccruableReceipt {
    /// Counts the receipts of this node.
    pub seq: i64,
    /// Which job.
    pub job: String,
    /// Who asked.
    pub principal: String,
    /// Who served, if anybody did.
    pub backend: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// Milliseconds since 1970.
    pub admitted_at_ms: i64,
    /// How long a slot was busy.
    pub duration_ms: u64,
}

/// A receipt that is held, and that the consumer has signed meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldService {
    /// As it was accrued.
    pub usage: Usage,
    /// The receipt with both signatures.
    pub service: ServiceRecord,
}

impl Store {
    /// Up to which receipt of this source was accrued; 0 before the first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn accrued_up_to(&self, source: &str) -> Result<i64, StoreError> {
        let row = sqlx::query("SELECT after FROM ledger_cursors WHERE source = ?")
            .bind(source)
            .fetch_optional(&self.readers)
            .await?;
        Ok(row
            .map(|row| row.try_get("after"))
            .transpose()?
            .unwrap_or(0))
    }

    /// The node's own receipts after this one, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn receipts_after(
        &self,
        after: i64,
        limit: u32,
    ) -> Result<Vec<AccruableReceipt>, StoreError> {
        let rows = sqlx::query(
            "SELECT seq, job, principal, backend, outcome, admitted_at_ms, duration_ms
             FROM receipts WHERE seq > ? ORDER BY seq LIMIT ?",
        )
        .bind(after)
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(receipt).collect()
    }

    /// Accrues receipts that were read from this source up to this one. What was accrued before is passed over.
    /// Says what became of each of the others.
    ///
    /// # Errors
    /// When the database fails; then nothing was written, and the same may be tried again.
    pub async fn accrue(
        &self,
        usages: &[Usage],
        cursor: (&str, i64),
        terms: Terms,
        now_ns: i64,
    ) -> Result<Vec<Accrual>, StoreError> {
        self.accrue_all(usages, &[cursor], terms, now_ns).await
    }

    /// The same for several sources. None is ever set back.
    ///
    /// # Errors
    /// When the database fails; then nothing was written, and the same may be tried again.
    pub async fn accrue_all(
        &self,
        usages: &[Usage],
        cursors: &[(&str, i64)],
        terms: Terms,
        now_ns: i64,
    ) -> Result<Vec<Accrual>, StoreError> {
        let mut transaction = self.writer.begin().await?;
        let known = known(&mut transaction, usages).await?;
        let mut seen = known.clone();
        let new: Vec<&Usage> = usages
            .iter()
            .filter(|usage| seen.insert((usage.channel, usage.number)))
            .collect();
        let (mut books, mut meters) = open(&mut transaction, &new, now_ns).await?;
        let mut accruals = Vec::with_capacity(new.len());
        for usage in &new {
            accruals.push(charge(&mut books, &mut meters, usage, terms, now_ns));
        }
        batch::save(&mut transaction, books).await?;
        save_meters(&mut transaction, &meters).await?;
        insert(&mut transaction, &new, &accruals).await?;
        for (source, up_to) in cursors {
            sqlx::query(
                "INSERT INTO ledger_cursors (source, after) VALUES (?, ?)
                 ON CONFLICT (source) DO UPDATE SET after = MAX(after, excluded.after)",
            )
            .bind(source)
            .bind(up_to)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(accruals)
    }

    /// Forgets how far a source was accrued, once that source itself is gone.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_accrued(&self, source: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM ledger_cursors WHERE source = ?")
            .bind(source)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Receipts that are held and have both signatures by now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn held_services(&self, limit: u32) -> Result<Vec<HeldService>, StoreError> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {}, ledger_accruals.channel, ledger_accruals.number AS place, reference, ledger_accruals.kind, work,
                    class_milli, ledger_accruals.at_ms, consumers.subject AS consumer, providers.subject AS provider
             FROM ledger_accruals
             JOIN services ON services.hash = ledger_accruals.reference AND services.counter IS NOT NULL
             JOIN ledger_accounts AS consumers ON consumers.id = ledger_accruals.consumer
             JOIN ledger_accounts AS providers ON providers.id = ledger_accruals.provider
             WHERE ledger_accruals.state = 2 LIMIT ?",
            services::OF_SERVICES,
        )))
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(held).collect()
    }

    /// Pays receipts that were held, now that both sides agree; those that are not held are passed over.
    ///
    /// # Errors
    /// When the database fails; then nothing was written, and the same may be tried again.
    pub async fn settle(
        &self,
        usages: &[Usage],
        terms: Terms,
        now_ns: i64,
    ) -> Result<Vec<Accrual>, StoreError> {
        let mut transaction = self.writer.begin().await?;
        let mut waiting = Vec::with_capacity(usages.len());
        for usage in usages {
            let row = sqlx::query(
                "SELECT 1 FROM ledger_accruals WHERE channel = ? AND number = ? AND state = 2",
            )
            .bind(usage.channel.as_slice())
            .bind(usage.number as i64)
            .fetch_optional(&mut *transaction)
            .await?;
            waiting.extend(row.map(|_| usage));
        }
        let (mut books, mut meters) = open(&mut transaction, &waiting, now_ns).await?;
        let mut accruals = Vec::with_capacity(waiting.len());
        for usage in &waiting {
            accruals.push(settle(&mut books, &mut meters, usage, terms, now_ns));
        }
        batch::save(&mut transaction, books).await?;
        save_meters(&mut transaction, &meters).await?;
        for (usage, accrual) in waiting.iter().zip(&accruals) {
            let (state, why) = numbers(accrual.state);
            sqlx::query(
                "UPDATE ledger_accruals SET state = ?, why = ?, paid = ?, charged = ?, bonus = ?
                 WHERE channel = ? AND number = ?",
            )
            .bind(state)
            .bind(why)
            .bind(accrual.paid.0 as i64)
            .bind(accrual.charged.0 as i64)
            .bind(accrual.bonus.0 as i64)
            .bind(usage.channel.as_slice())
            .bind(usage.number as i64)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(accruals)
    }
}

/// Which of these were accrued before.
async fn known(
    connection: &mut SqliteConnection,
    usages: &[Usage],
) -> Result<HashSet<([u8; 32], u64)>, StoreError> {
    let mut known = HashSet::new();
    for usages in usages.chunks(ROWS_MAX) {
        let mut query = QueryBuilder::new(
            "SELECT channel, number FROM ledger_accruals WHERE (channel, number) IN (",
        );
        query.push_values(usages, |mut row, usage| {
            row.push_bind(usage.channel.to_vec())
                .push_bind(usage.number as i64);
        });
        query.push(")");
        for row in query.build().fetch_all(&mut *connection).await? {
            let number: i64 = row.try_get("number")?;
            known.insert((digest(&row, "channel")?, number as u64));
        }
    }
    Ok(known)
}

/// The books and meters that these touch.
async fn open(
    connection: &mut SqliteConnection,
    usages: &[&Usage],
    now_ns: i64,
) -> Result<(Books, Meters), StoreError> {
    let (mut wanted, mut keys) = (Wanted::default(), HashSet::new());
    for usage in usages {
        usage.wants(&mut wanted);
        keys.extend(usage.meters());
    }
    let books = batch::load(connection, wanted, now_ns).await?;
    let (mut meters, tariff) = (Meters::default(), TARIFF.hash());
    for key in keys {
        let row = sqlx::query(
            "SELECT remainder FROM ledger_meters
             WHERE consumer = ? AND provider = ? AND kind = ? AND tariff = ?",
        )
        .bind(rows::bytes(key.consumer.0))
        .bind(rows::bytes(key.provider.0))
        .bind(key.kind)
        .bind(tariff.as_slice())
        .fetch_optional(&mut *connection)
        .await?;
        if let Some(row) = row {
            let remainder: i64 = row.try_get("remainder")?;
            let remainder = remainder as u64;
            meters.remainders.insert(key, Meter { remainder });
        }
    }
    let pairs: HashSet<PairKey> = usages.iter().filter_map(|usage| usage.pair()).collect();
    for pair in pairs {
        let given = given(connection, pair).await?;
        meters.given.insert(pair, given);
    }
    Ok((books, meters))
}

/// Bonuses that a pair has had in an epoch.
async fn given(connection: &mut SqliteConnection, pair: PairKey) -> Result<MicroVda, StoreError> {
    let row = sqlx::query(
        "SELECT COALESCE(SUM(bonus), 0) AS given FROM ledger_accruals
         WHERE consumer = ? AND provider = ? AND at_ms >= ? AND at_ms < ?",
    )
    .bind(rows::bytes(pair.consumer.0))
    .bind(rows::bytes(pair.provider.0))
    .bind(epoch_begins_ms(pair.epoch))
    .bind(epoch_begins_ms(pair.epoch + 1))
    .fetch_one(connection)
    .await?;
    rows::amount(&row, "given")
}

async fn save_meters(connection: &mut SqliteConnection, meters: &Meters) -> Result<(), StoreError> {
    let tariff = TARIFF.hash();
    for (
        MeterKey {
            consumer,
            provider,
            kind,
        },
        meter,
    ) in &meters.remainders
    {
        sqlx::query(
            "INSERT INTO ledger_meters (consumer, provider, kind, tariff, remainder) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (consumer, provider, kind, tariff) DO UPDATE SET remainder = excluded.remainder",
        )
        .bind(rows::bytes(consumer.0))
        .bind(rows::bytes(provider.0))
        .bind(*kind)
        .bind(tariff.as_slice())
        .bind(meter.remainder as i64)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

async fn insert(
    connection: &mut SqliteConnection,
    usages: &[&Usage],
    accruals: &[Accrual],
) -> Result<(), StoreError> {
    let both: Vec<(&Usage, &Accrual)> = usages.iter().copied().zip(accruals).collect();
    for both in both.chunks(ROWS_MAX) {
        let mut insert = QueryBuilder::new(
            "INSERT INTO ledger_accruals (channel, number, reference, kind, work, class_milli, consumer, provider,
                 at_ms, state, why, paid, charged, bonus) ",
        );
        insert.push_values(both, |mut row, (usage, accrual)| {
            let (work, class_milli) = measure(usage.work);
            let [
                MeterKey {
                    consumer, provider, ..
                },
                _,
            ] = usage.meters();
            let (state, why) = numbers(accrual.state);
            row.push_bind(usage.channel.to_vec())
                .push_bind(usage.number as i64)
                .push_bind(usage.reference.to_vec())
                .push_bind(usage.work.kind().code())
                .push_bind(work as i64)
                .push_bind(class_milli as i64)
                .push_bind(rows::bytes(consumer.0))
                .push_bind(rows::bytes(provider.0))
                .push_bind(usage.at_ms)
                .push_bind(state)
                .push_bind(why)
                .push_bind(accrual.paid.0 as i64)
                .push_bind(accrual.charged.0 as i64)
                .push_bind(accrual.bonus.0 as i64);
        });
        insert.build().execute(&mut *connection).await?;
    }
    Ok(())
}

/// How much of which class.
fn measure(work: Work) -> (u64, u64) {
    match work {
        Work::Compute {
            busy_ms,
            class_milli,
        } => (busy_ms, class_milli),
        Work::Storage { byte_seconds } => (byte_seconds, 0),
        Work::Verification | Work::MultiChain => (1, 0),
    }
}

/// A state as it is stored, with the reason of a refusal.
fn numbers(state: AccrualState) -> (i64, u32) {
    match state {
        AccrualState::Nothing => (0, 0),
        AccrualState::Paid => (1, 0),
        AccrualState::Held => (2, 0),
        AccrualState::Refused(why) => (3, TransferResult::number(why)),
    }
}

fn held(row: &SqliteRow) -> Result<HeldService, StoreError> {
    let (work, class_milli): (i64, i64) = (row.try_get("work")?, row.try_get("class_milli")?);
    let kind: u16 = row.try_get("kind")?;
    let place: i64 = row.try_get("place")?;
    if kind != TransferKind::Compute.code() {
        return Err(StoreError::Malformed("held receipt"));
    }
    Ok(HeldService {
        usage: Usage {
            channel: digest(row, "channel")?,
            number: place as u64,
            consumer: row.try_get("consumer")?,
            provider: row.try_get("provider")?,
            work: Work::Compute {
                busy_ms: work as u64,
                class_milli: class_milli as u64,
            },
            at_ms: row.try_get("at_ms")?,
            // Whoever settles it knows better.
            green: GreenShare::default(),
            agreement: Agreement::Both,
            reference: digest(row, "reference")?,
        },
        service: services::record(row)?,
    })
}

fn digest(row: &SqliteRow, column: &str) -> Result<[u8; 32], StoreError> {
    let bytes: Vec<u8> = row.try_get(column)?;
    bytes
        .try_into()
        .map_err(|_| StoreError::Malformed("digest"))
}

fn receipt(row: &SqliteRow) -> Result<AccruableReceipt, StoreError> {
    let outcome: String = row.try_get("outcome")?;
    let outcomes = [Outcome::Done, Outcome::Error, Outcome::Cancelled];
    let outcome = outcomes.into_iter().find(|known| known.as_str() == outcome);
    let duration_ms: i64 = row.try_get("duration_ms")?;
    Ok(AccruableReceipt {
        seq: row.try_get("seq")?,
        job: row.try_get("job")?,
        principal: row.try_get("principal")?,
        backend: row.try_get("backend")?,
        outcome: outcome.ok_or(StoreError::Malformed("receipt"))?,
        admitted_at_ms: row.try_get("admitted_at_ms")?,
        duration_ms: duration_ms.max(0) as u64,
    })
}
